"""Tokens by client credentials (RFC 6749, section 4.4)."""

from __future__ import annotations

from base64 import b64encode
from time import monotonic
from typing import Final
from urllib.parse import quote_plus, urlencode

import httpx2

from flownb.errors import NodeError
from flownb.model.http_node import OAuth2Auth
from flownb.runtimes.base import Scope
from flownb.runtimes.http.client import Token
from flownb.runtimes.http.failing import as_node_error, status_error, url_shown
from flownb.secrets import Redactor
from flownb.templates.expressions import Target, render_apart

Key = tuple[str, str, str, str]
"""URL, client, its secret, and what is asked for."""
_OK: Final = 200
_REFUSED: Final = (400, 401)


async def token_key(auth: OAuth2Auth, scope: Scope) -> Key:
    """Return where a token comes from and for whom, with the values at hand.

    Raises:
        ExpressionError: A template in it cannot be worked out.
    """
    texts = (auth.token_url, auth.client_id, auth.client_secret, auth.scope or "")
    url, client, secret, wanted = [str(await render_apart(text, scope.values, Target.HTTP)) for text in texts]
    return url, client, secret, wanted


async def fetch_token(client: httpx2.AsyncClient, key: Key, patience: httpx2.Timeout, redactor: Redactor) -> Token:
    """Fetch a token. The client shows who it is by HTTP Basic; a server that refuses that gets it in the body.

    Args:
        client: The run's client.
        key: Where, and for whom.
        patience: How long is waited.
        redactor: Knows the secrets.

    Raises:
        HttpStatusError: The server refuses.
        NodeError: It cannot be reached, or gives no token.
    """
    url, name, secret, scope = key
    pair = b64encode(f"{quote_plus(name)}:{quote_plus(secret)}".encode()).decode()
    form = {"grant_type": "client_credentials", **({"scope": scope} if scope else {})}
    both = {**form, "client_id": name, "client_secret": secret}
    try:
        shown = url_shown(httpx2.URL(url), redactor)
        response = await _posted(client, url, form, {"Authorization": f"Basic {pair}"}, patience)
        if response.status_code in _REFUSED:
            response = await _posted(client, url, both, {}, patience)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise as_node_error(error, "POST", "the `token_url`") from None
    own = Redactor([secret, pair])
    if response.status_code != _OK:
        body = own.text(redactor.text(response.text[:2000]))
        raise status_error(response.status_code, "POST", shown, body, response.headers.get("retry-after"))
    return _token(response, shown)


async def _posted(
    client: httpx2.AsyncClient, url: str, form: dict[str, str], headers: dict[str, str], patience: httpx2.Timeout
) -> httpx2.Response:
    known = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", **headers}
    return await client.post(url, content=urlencode(form).encode(), headers=known, timeout=patience)


def _token(response: httpx2.Response, shown: str) -> Token:
    try:
        data = response.json()
    except ValueError:
        data = None
    value = data.get("access_token") if isinstance(data, dict) else None
    if not isinstance(value, str) or not value or not value.isprintable():
        raise NodeError(f"POST {shown}: it gives no `access_token`", "look at `token_url`")
    lasts = data.get("expires_in")
    is_number = isinstance(lasts, int | float) and not isinstance(lasts, bool)
    return Token(value, monotonic() + lasts if is_number else None)
