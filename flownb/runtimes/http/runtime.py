"""Carries out `http` nodes."""

from __future__ import annotations

from typing import cast

import httpx2

from flownb.model.http_node import HttpNode, HttpOutput
from flownb.model.nodes import Leaf
from flownb.runtimes.base import PutValue, Scope
from flownb.runtimes.http.answer import Answer, extracted, read_answer
from flownb.runtimes.http.ask import Ask, make_ask
from flownb.runtimes.http.client import Connections
from flownb.runtimes.http.exchange import Exchange
from flownb.runtimes.http.pages import Page, crawl, next_url
from flownb.templates.expressions import render_apart


class HttpRuntime:
    """Runs `http` nodes: all of a run share one client with its connections."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return what the server answered, as the node wants it; with `next` the list of pages.

        Cancelling closes the connection.

        Raises:
            HttpStatusError: The status is 400 or more.
            NodeConnectionError: There is no connection, or it broke off.
            NodeTimeoutError: The server was silent for too long.
            NodeError: Something else is wrong with the request or the answer.
        """
        http = cast("HttpNode", node)  # The registry hands over no other kind.
        ask = await make_ask(http, scope)
        try:
            connections = scope.resources.get(Connections, Connections)
            client = await connections.client(await _verify(http, scope))
            exchange = Exchange(http, scope, client, connections, ask.url, httpx2.Cookies())
            if http.next is None:
                return await _value(exchange, _with_key(http, scope, ask))

            async def fetch(asked: Ask, number: int) -> Page:
                return await _page(exchange, _with_key(http, scope, asked, number))

            return await crawl(scope, ask, fetch)
        finally:
            ask.body.files.close()


async def _verify(node: HttpNode, scope: Scope) -> bool | str:
    if isinstance(node.verify, bool):
        return node.verify
    return str(scope.folder / str(await render_apart(node.verify, scope.values)))


def _with_key(node: HttpNode, scope: Scope, ask: Ask, page: int | None = None) -> Ask:
    """Return a POST that may be sent again with what lets the server know it for the same one."""
    retry = node.policy.retry
    if ask.method != "POST" or retry is None or retry.max == 0 or ask.has("idempotency-key"):
        return ask
    key = scope.idempotency_key if page is None else f"{scope.idempotency_key}-{page}"
    return ask.plus("Idempotency-Key", key)


async def _value(exchange: Exchange, ask: Ask) -> object:
    node = exchange.node
    async with exchange.answered(ask) as response:
        put = exchange.scope.put if node.extract is None and not exchange.token else None
        answer = await read_answer(response, node.output, exchange.scope.redactor, put)
    return answer if isinstance(answer, PutValue) else await _as_wanted(exchange, answer)


async def _page(exchange: Exchange, ask: Ask) -> Page:
    node, scope = exchange.node, exchange.scope
    async with exchange.answered(ask) as response:
        answer = await read_answer(response, node.output, scope.redactor, None)
    assert isinstance(answer, Answer), "nothing is put without a store"
    data = answer.as_data(exchange.shown(response.url), answer.body)
    return await _as_wanted(exchange, answer), await next_url(node, scope, data, response.url)


async def _as_wanted(exchange: Exchange, answer: Answer) -> object:
    """Return what of an answer is the value."""
    body = await extracted(answer.body, exchange.node)
    if exchange.node.output is HttpOutput.RESPONSE:
        body = answer.as_data(exchange.shown(answer.response.url), body)
    return exchange.without_token(body)
