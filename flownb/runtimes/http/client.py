"""The client of a run: its connections, which all nodes share, and the tokens that they were given."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from time import monotonic
from typing import Final

import httpx2

from flownb.errors import NodeError
from flownb.model.http_node import HttpNode

CONNECT_S: Final = 10.0
"""The longest time to connect, in seconds, where the node's `timeout` is not shorter."""
READ_S: Final = 60.0
"""The longest silence of a server, in seconds, where the node has no `timeout`."""
_AGENT: Final = "flownb"
_KEPT: Final = 100
"""Connections that stay open though nobody uses them."""
_EARLY_S: Final = 10.0
"""Seconds before its end that a token is no longer used."""
_BUNDLES: Final = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name a file of certificates, the first first."""


@dataclass(frozen=True, slots=True)
class Token:
    """A token that a server gave."""

    value: str
    """The token."""
    ends: float | None
    """When it ends, by `time.monotonic`; None: it was not said."""

    def is_fresh(self) -> bool:
        """Return whether it can still be used."""
        return self.ends is None or monotonic() < self.ends - _EARLY_S


class Connections:
    """What the http nodes of one run share; on the run's own loop. Cookies are not kept from one node to the next."""

    def __init__(self) -> None:
        """Begin without a connection."""
        self._clients: dict[bool | str, asyncio.Task[httpx2.AsyncClient]] = {}
        self._tokens: dict[tuple[str, ...], Token] = {}
        self._locks: dict[tuple[str, ...], asyncio.Lock] = {}

    async def client(self, verify: bool | str) -> httpx2.AsyncClient:  # noqa: FBT001 as httpx2 takes it
        """Return the run's client for a way of checking certificates; made once, on a thread.

        Args:
            verify: Whether they are checked; a text: the file or folder of certificates to check them with.

        Raises:
            NodeError: There is no such file, or it holds no certificate.
        """
        task = self._clients.get(verify)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = self._clients[verify] = asyncio.create_task(asyncio.to_thread(_make_client, verify))
        return task.result() if task.done() else await asyncio.shield(task)

    async def token(self, key: tuple[str, ...], fetch: Callable[[], Awaitable[Token]], stale: str = "") -> str:
        """Return a token; of all that ask for one at the same time only the first fetches it.

        Args:
            key: Where it comes from, and for whom.
            fetch: Fetches a new one.
            stale: One that did not do: it is not returned again.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            token = self._tokens.get(key)
            if token is None or token.value == stale or not token.is_fresh():
                token = self._tokens[key] = await fetch()
            return token.value

    async def close(self) -> None:
        """Close all connections, and forget the tokens."""
        self._tokens.clear()
        clients, self._clients = self._clients, {}
        for task in clients.values():
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is None:
                await task.result().aclose()


def timeout_of(node: HttpNode) -> httpx2.Timeout:
    """Return how long a node's request waits for what: within the node's `timeout`, which holds for all of it together."""
    limit = node.policy.timeout
    silence = READ_S if limit is None else limit
    return httpx2.Timeout(silence, connect=min(CONNECT_S, silence), pool=None)


def _make_client(verify: bool | str) -> httpx2.AsyncClient:  # noqa: FBT001 as httpx2 takes it
    """Return a client. Blocks: certificates are read, which takes some 20 ms."""
    client = httpx2.AsyncClient(
        verify=_context(verify),
        http2=True,
        headers={"User-Agent": _AGENT},
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=_KEPT),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))
    return client


def _context(verify: bool | str) -> ssl.SSLContext | bool:  # noqa: FBT001 as httpx2 takes it
    if isinstance(verify, str):
        return _from_file(verify, "verify")
    if verify:
        name = next((name for name in _BUNDLES if os.environ.get(name)), None)
        return _from_file(os.environ[name], name) if name else True
    return False


def _from_file(path: str, name: str) -> ssl.SSLContext:
    """Return a context that trusts the certificates in a file or folder and no others."""
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror or str(error)
        raise NodeError(
            f"`{name}`: the certificates in {path} cannot be read: {why}", "name a file in PEM form"
        ) from None
