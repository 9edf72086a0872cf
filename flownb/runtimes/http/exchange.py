"""Sends requests and follows redirects: what is meant for one host never goes to another."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, cast

import httpx2
from pydantic import JsonValue

from flownb.errors import NodeError
from flownb.model.http_node import HttpNode, OAuth2Auth
from flownb.runtimes.base import Scope
from flownb.runtimes.http.answer import beginning, dropped
from flownb.runtimes.http.ask import Ask, credentials, is_same_host
from flownb.runtimes.http.client import Connections, Token, timeout_of
from flownb.runtimes.http.failing import as_node_error, status_error, url_shown
from flownb.runtimes.http.tokens import fetch_token, token_key
from flownb.secrets import Redactor

_MOST_REDIRECTS: Final = 20
_ERROR: Final = 400
_TO_GET: Final = {
    HTTPStatus.MOVED_PERMANENTLY: ("POST",),
    HTTPStatus.FOUND: ("POST", "PUT", "PATCH", "DELETE"),
    HTTPStatus.SEE_OTHER: ("POST", "PUT", "PATCH", "DELETE", "GET", "OPTIONS"),
}
"""Redirect → the methods that become GET (RFC 9110, 15.4)."""


@dataclass(slots=True)
class Exchange:
    """The requests of one attempt of a node."""

    node: HttpNode
    """The node."""
    scope: Scope
    """What it sees."""
    client: httpx2.AsyncClient
    """The run's client."""
    connections: Connections
    """What the run's nodes share."""
    home: httpx2.URL
    """The URL that the text names: what `auth` gives goes to that host alone."""
    cookies: httpx2.Cookies
    """Those that were set meanwhile."""
    token: str = ""
    """The token that was fetched; a secret like any other."""

    def shown(self, url: httpx2.URL) -> str:
        """Return a URL as it may be shown: without its query where that holds something of a secret, whatever it looks like."""
        return self.hidden(url_shown(url, self.scope.redactor, with_query=not self.scope.tainted or url != self.home))

    def hidden(self, text: str) -> str:
        """Return a text without secrets, the token among them."""
        text = self.scope.redactor.text(text)
        return Redactor([self.token]).text(text) if self.token else text

    def without_token(self, value: object) -> object:
        """Return a value without the token that was fetched, where the server gave it back."""
        token = Redactor([self.token]) if self.token else None
        if token is None or not token.holds(value):
            return value
        if isinstance(value, bytes):
            raise NodeError("the answer holds the token that was fetched, and is bytes", "take it as `output: text`")
        return token.json(cast("JsonValue", value))  # Only JSON holds any.

    @asynccontextmanager
    async def answered(self, ask: Ask) -> AsyncIterator[httpx2.Response]:
        """Send a request, and redirects of it, and give the answer, whose body is still to be read; then let go of it.

        Raises:
            HttpStatusError: Its status is 400 or more.
            NodeConnectionError: There is no connection, or it broke off.
            NodeTimeoutError: The server was silent for too long.
            NodeError: Something else is wrong with the request or the answer.
        """
        response: httpx2.Response | None = None
        try:
            response = await self._redirected(ask)
            if response.status_code >= _ERROR:
                body = self.hidden(await beginning(response))
                after = response.headers.get("retry-after")
                place = response.request.method, self.shown(response.url)
                raise status_error(response.status_code, *place, body, after)
            yield response
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self._explained(error, ask) from None
        finally:
            if response is not None:
                await response.aclose()

    def _explained(self, error: Exception, ask: Ask) -> NodeError:
        """Return the node's error for one of the library's."""
        made = as_node_error(error, ask.method, self.shown(ask.url))
        return type(made)(self.hidden(made.message), made.hint)

    async def _redirected(self, ask: Ask) -> httpx2.Response:
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._authorized(ask)
            if not (self.node.follow and response.has_redirect_location):
                return response
            await dropped(response)
            ask = self._onward(ask, response)
        raise httpx2.TooManyRedirects("too many redirects")

    def _onward(self, ask: Ask, response: httpx2.Response) -> Ask:
        """Return the request that a redirect asks for."""
        url = httpx2.URL(response.headers["location"])
        url = url if url.scheme else ask.url.join(url)
        if url.scheme not in ("http", "https") or not url.host:
            raise NodeError(f"{ask.method} {self.shown(ask.url)}: it redirects to what is no URL", "look at the server")
        if ask.method in _TO_GET.get(HTTPStatus(response.status_code), ()):
            ask = ask.without_body()
        if not is_same_host(self.home, url) and ask.body.content() is not None and self._is_private(ask):
            raise NodeError(
                f"{ask.method} {self.shown(ask.url)}: it redirects a body that holds a secret to another host",
                "send it there yourself, if you trust that host",
            )
        return ask.at(url.copy_with(userinfo=b""))

    def _is_private(self, ask: Ask) -> bool:
        return bool(self.scope.tainted) or ask.body.holds(self.scope)

    async def _authorized(self, ask: Ask) -> httpx2.Response:
        """Send a request with what `auth` gives; where a fetched token does not do, once more with a new one."""
        if self.node.auth is None or not is_same_host(self.home, ask.url):
            return await self._sent(ask, None)
        if not isinstance(self.node.auth, OAuth2Auth):
            return await self._sent(ask, await credentials(self.node, self.scope))
        response = await self._sent(ask, await self._bearer())
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            await dropped(response)
            response = await self._sent(ask, await self._bearer(stale=self.token))
        return response

    async def _bearer(self, stale: str = "") -> str:
        assert isinstance(self.node.auth, OAuth2Auth)
        key = await token_key(self.node.auth, self.scope)

        async def fetch() -> Token:
            return await fetch_token(self.client, key, timeout_of(self.node), self.scope.redactor)

        self.token = await self.connections.token(key, fetch, stale)
        return f"Bearer {self.token}"

    async def _sent(self, ask: Ask, authorization: str | None) -> httpx2.Response:
        headers = [(name.encode(), value.encode()) for name, value in ask.headers]
        if authorization is not None:
            if ask.has("authorization"):
                raise NodeError("the request has both `auth` and a header `Authorization`", "take one of them away")
            headers.append((b"Authorization", authorization.encode()))
        if ask.body.stream is not None:
            headers.append((b"Content-Length", str(ask.body.stream.size).encode()))
        request = self.client.build_request(
            ask.method, ask.url, headers=headers, content=ask.body.content(), timeout=timeout_of(self.node)
        )
        if self.cookies and not ask.has("cookie"):
            self.cookies.set_cookie_header(request)
        response = await self.client.send(request, stream=True, auth=None, follow_redirects=False)
        if "set-cookie" in response.headers:
            self.cookies.extract_cookies(response)
        return response
