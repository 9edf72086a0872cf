"""Page after page: each is kept before the next one is asked for, so that a crawl goes on where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Final, cast

import httpx2

from flownb.errors import NodeError
from flownb.model.http_node import HttpNode
from flownb.runtimes.base import Printed, Scope
from flownb.runtimes.http.ask import Ask
from flownb.secrets import with_values, without_values
from flownb.templates.expressions import evaluate_apart

MOST: Final = 10_000
"""Pages of one node."""
Page = tuple[object, str | None]
"""The value of a page, and the URL of the next one; None: it was the last."""


async def crawl(scope: Scope, first: Ask, fetch: Callable[[Ask, int], Awaitable[Page]]) -> list[object]:
    """Return the values of all pages.

    Args:
        scope: What the node sees; its `saved` holds the pages of earlier attempts.
        first: What asks for the first page.
        fetch: Gets a page, given what asks for it and its number from 0.

    Raises:
        NodeError: The pages form a circle, or are too many.
    """
    saved = cast("MutableMapping[str, object]", scope.values["saved"])
    known = scope.values.get("secrets")
    secrets = {name: str(value) for name, value in known.items()} if isinstance(known, Mapping) else {}
    pages, following = _kept(saved, secrets)
    seen = {following} if pages else set()
    keeps = True
    while not pages or following is not None:
        if len(pages) >= MOST:
            raise NodeError(f"`next` gave more than {MOST:,} pages", "let it give null where there is enough")
        ask = first if following is None else first.at(httpx2.URL(following).copy_with(fragment=None))
        value, following = await fetch(ask, len(pages))
        if following is not None:
            if following in seen or following == str(first.url):
                raise NodeError("`next` gives the URL of a page that was there already", "let it give null at the end")
            seen.add(following)
        if keeps:
            kept = {"page": value, "next": following and without_values(following, secrets)}
            keeps = await _keep(saved, len(pages), kept, scope)
        pages.append(value)
    return pages


async def next_url(node: HttpNode, scope: Scope, response: Mapping[str, object], url: httpx2.URL) -> str | None:
    """Return the URL of the page behind one; None: it is the last.

    Args:
        node: The node.
        scope: What it sees.
        response: The page, as the expression sees it.
        url: Its URL.

    Raises:
        ExpressionError: `next` cannot be worked out.
        NodeError: It gives no URL.
    """
    assert node.next is not None
    given = await evaluate_apart(node.next, {**scope.values, "response": response})
    if given is None or given in ("", False):
        return None
    try:
        made = url.join(str(given)) if isinstance(given, str) else None
    except httpx2.InvalidURL:
        made = None
    if made is None or made.scheme not in ("http", "https"):
        raise NodeError(
            f"`next` gives {scope.redactor.text(repr(given)[:80])}, which is no URL", "let it give a URL, or null"
        )
    return str(made.copy_with(userinfo=b"", fragment=None))


def _kept(saved: Mapping[str, object], secrets: Mapping[str, str]) -> tuple[list[object], str | None]:
    """Return the pages that are there already, and the URL of the one behind them; None: there is none.

    Raises:
        FlowInputError: The URL holds a secret that is another one now.
    """
    pages: list[object] = []
    following: str | None = None
    while isinstance(entry := saved.get(str(len(pages))), dict) and entry.keys() == {"page", "next"}:
        following = entry["next"]
        pages.append(entry["page"])
    return pages, following and with_values(following, secrets, secrets)


async def _keep(saved: MutableMapping[str, object], number: int, page: Mapping[str, object], scope: Scope) -> bool:
    """Keep a page; return whether that could be."""
    try:
        await asyncio.to_thread(saved.__setitem__, str(number), page)
    except NodeError as error:
        what = f"page {number} is not kept, nor are those behind it: {error.message}\n"
        scope.printed(Printed("stderr", f"flownb: {scope.redactor.text(what)}"))
        return False
    return True
