"""What a node asks for: its text, query and `auth`, worked out with the values at hand."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final
from urllib.parse import urlencode

import httpx2

from flownb.errors import NodeError
from flownb.model.http_node import BasicAuth, BearerAuth, HttpNode
from flownb.runtimes.base import Scope
from flownb.runtimes.http.body import Body, as_text, make_body
from flownb.templates.expressions import Target, render_apart
from flownb.templates.request import RequestText, own_text, split_request

Headers = tuple[tuple[str, str], ...]
HARMLESS: Final = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "content-type", "if-match", "if-modified-since"),
        *("if-none-match", "if-unmodified-since", "range", "user-agent"),
    }
)
"""Headers that follow to another host; every other may hold what is meant for the first one alone."""
_FIRST: Final = re.compile(r"([A-Z]+)[ \t]+(\S.*)")
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):(.*)")
_AUTHORITY: Final = re.compile(r"[A-Z]+[ \t]+(https?://[^/?#]*)")
_VALUE: Final = "\0"
_split = lru_cache(maxsize=256)(split_request)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request."""

    method: str
    """The method."""
    url: httpx2.URL
    """The URL, with its query."""
    headers: Headers
    """Name and value, in the text's order; without what `auth` adds."""
    body: Body
    """The body."""

    def has(self, name: str) -> bool:
        """Return whether the text gives a header."""
        return any(known.lower() == name for known, _ in self.headers)

    def at(self, url: httpx2.URL) -> Ask:
        """Return the same request to another URL; one of another host gets harmless headers only."""
        if is_same_host(self.url, url):
            return replace(self, url=url)
        kept = tuple((name, value) for name, value in self.headers if name.lower() in HARMLESS)
        return replace(self, url=url, headers=kept)

    def plus(self, name: str, value: str) -> Ask:
        """Return it with one more header."""
        return replace(self, headers=(*self.headers, (name, value)))

    def without_body(self) -> Ask:
        """Return it as a GET."""
        kept = tuple((name, value) for name, value in self.headers if not name.lower().startswith("content-"))
        return replace(self, method="GET", headers=kept, body=Body())


def is_same_host(first: httpx2.URL, second: httpx2.URL) -> bool:
    """Return whether what is meant for one URL may go to another: the same origin, or the same host by TLS now."""
    if _origin(first) == _origin(second):
        return True
    return _origin(first) == ("http", second.host, 80) and _origin(second) == ("https", first.host, 443)


def _origin(url: httpx2.URL) -> tuple[str, str, int]:
    return url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80)


async def make_ask(node: HttpNode, scope: Scope) -> Ask:
    """Return the request of a node.

    Raises:
        ExpressionError: A template in it cannot be worked out, or a value would add a line or a header.
        NodeError: With its values in it, it is no request.
    """
    try:
        return await _made(node, scope)
    except UnicodeEncodeError:
        raise NodeError(
            "a value of the request holds half a character, which is no UTF-8", "look at its texts"
        ) from None


async def _made(node: HttpNode, scope: Scope) -> Ask:
    text = _split(node.body)
    head = str(await render_apart(text.head, scope.values, Target.HTTP))
    lines = [line.strip() for line in head.split("\n") if line.strip()]
    first = _FIRST.fullmatch(lines[0]) if lines else None
    if first is None:
        raise NodeError("the first line of the request is not `METHOD url`", "write as `GET https://example.com/`")
    _check_host(text, first[2])
    url = _url(first[2])
    query = urlencode([pair async for pair in _query(node, scope)]) if node.params else ""
    if query:
        url = url.copy_with(query="&".join(filter(None, (url.query.decode(), query))).encode())
    headers = [_header(line) for line in lines[1:]]
    if url.userinfo:
        headers.append(("Authorization", f"Basic {b64encode(f'{url.username}:{url.password}'.encode()).decode()}"))
        url = url.copy_with(userinfo=b"")
    "".join(value for _, value in headers).encode()  # What is no UTF-8 is refused before a file is opened.
    body = await make_body(text, scope)
    is_parts = body.type.startswith("multipart/")
    if body.type and (is_parts or not any(name.lower() == "content-type" for name, _ in headers)):
        headers = [(name, value) for name, value in headers if name.lower() != "content-type"]
        headers.append(("Content-Type", body.type))
    return Ask(first[1], url, tuple(headers), body)


def _header(line: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise NodeError(
            "a line of the request is no header", "write `Name: value`; the body begins behind a blank line"
        )
    return match[1], match[2].strip()


def _url(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise NodeError(f"the request's URL cannot be read: {error}", "encode what is put in: `| urlencode`") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise NodeError(
            "the request's URL does not begin with `https://` or `http://` and a host", "look at its values"
        )
    return url


def _check_host(text: RequestText, url: str) -> None:
    """Refuse a value that makes another host of one that the text itself names in part, as `https://api.example.com{{ path }}`."""
    own = _AUTHORITY.match(own_text(text.head))
    if own is None or _VALUE not in own[1] or not own[1].rsplit("/", 1)[-1].strip(_VALUE):
        return
    pieces = [re.escape(piece) for piece in own[1].split(_VALUE)]
    inner = r"[^/?#@\\\s]*".join(pieces[:-1])
    last = rf"[^/?#@\\\s]*{pieces[-1]}" if pieces[-1] else r"(?::\d+)?"
    if re.match(rf"{inner}{last}(?:[/?#]|$)", url) is None:
        raise NodeError(
            "a value in the request's URL would make another host of it",
            "put a `/` before the value: `https://example.com/{{ … }}`",
        )


async def _query(node: HttpNode, scope: Scope) -> AsyncIterator[tuple[str, str]]:
    """Yield name and value of what `params` says; null is left out."""
    for name, given in node.params.items():
        for source in given if isinstance(given, list) else [given]:
            value = await render_apart(source, scope.values) if isinstance(source, str) else source
            items = value if isinstance(value, list | tuple) else [value]
            for text in [as_text(item) for item in items if item is not None]:
                yield name, text


async def credentials(node: HttpNode, scope: Scope) -> str | None:
    """Return the `Authorization` of a node's `auth`; None where it has none, or its token is yet to be fetched.

    Raises:
        ExpressionError: A template in it cannot be worked out.
    """
    match node.auth:
        case BearerAuth(token=source):
            return f"Bearer {str(await render_apart(source, scope.values, Target.HTTP)).strip()}"
        case BasicAuth(username=name, password=password):
            pair = [str(await render_apart(source, scope.values)) for source in (name, password)]
            return f"Basic {b64encode(':'.join(pair).encode()).decode()}"
        case _:
            return None
