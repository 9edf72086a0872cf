"""Whatever is put into a request stays what it is: it adds no line, no header and no field, and makes no other host."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import cast
from urllib.parse import parse_qsl

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flownb.errors import NodeError
from flownb.model.http_node import HttpNode
from flownb.runtimes.base import Scope
from flownb.runtimes.http.ask import Ask, make_ask
from flownb.runtimes.http.runtime import HttpRuntime
from flownb.templates.request import split_request
from tests.nodes import node_of, scope_of
from tests.web import Web, serving

pytestmark = [pytest.mark.property, pytest.mark.timeout(300)]
NASTY = st.sampled_from(
    [*"\r\n\0\x0b\x85\u2028\u2029:;/?#@\\&=%{}<>'\" ", "\r\n\r\n", "\nX-Evil: 1", "{{ 1 }}", "@x", "--"]
)
TEXTS = st.lists(st.one_of(NASTY, st.text(max_size=6)), max_size=6).map("".join)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
SLOW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def made(body: str, **values: object) -> Ask:
    return asyncio.run(make_ask(cast("HttpNode", node_of(HttpNode, body)), scope_of(values)))


def sent(web: Web, body: str, scope: Scope, **fields: object) -> None:
    async def main() -> None:
        try:
            await HttpRuntime().run(node_of(HttpNode, body, **fields), scope)
        finally:
            await scope.resources.close()

    asyncio.run(main())


@SLOW
@given(TEXTS, TEXTS)
def test_the_server_sees_the_headers_of_the_text_and_no_others(web: Web, path: str, value: str) -> None:
    count = len(web.asked)
    text = f"GET {web.url}/a/{{{{ path }}}}\nX-Value: a{{{{ value }}}}b\nX-Last: 1"
    try:
        sent(web, text, scope_of({"path": path, "value": value}))
    except NodeError:
        assert len(web.asked) == count, "what is refused was not sent"
        return
    assert len(web.asked) == count + 1
    asked = web.asked[-1]
    assert asked.path.startswith("/a/")
    assert [name for name, _ in asked.headers if name.startswith("X-")] == ["X-Value", "X-Last"]
    assert {name.lower() for name, _ in asked.headers} == {
        *("host", "accept", "accept-encoding", "connection", "user-agent", "x-value", "x-last")
    }
    assert str(asked.header("X-Value")).encode("latin-1") == f"a{value}b".encode().strip()


@SLOW
@given(DATA, TEXTS)
def test_a_json_body_holds_the_values_that_were_put_in(data: object, text: str) -> None:
    ask = made('POST http://a.example/\n\n{"data": {{ data }}, "text": {{ text }}}', data=data, text=text)
    assert json.loads(ask.body.data) == {"data": data, "text": text}


@SLOW
@given(TEXTS, TEXTS)
def test_a_form_has_the_fields_of_the_text_and_no_others(first: str, second: str) -> None:
    head = "POST http://a.example/\nContent-Type: application/x-www-form-urlencoded\n\n"
    ask = made(f"{head}a={{{{ first }}}}\nb=x{{{{ second }}}}&c=1", first=first, second=second)
    fields = parse_qsl(ask.body.data.decode(), keep_blank_values=True, strict_parsing=True)
    assert fields == [("a", first), ("b", f"x{second}"), ("c", "1")]


@SLOW
@given(TEXTS)
def test_parts_hold_the_value_and_no_other_part(value: str) -> None:
    ask = made("POST http://a.example/\nContent-Type: multipart/form-data\n\na={{ value }}\nb=1", value=value)
    boundary = b"--" + ask.body.type.partition("boundary=")[2].encode()
    first, second = ask.body.data.split(boundary)[1:-1]
    assert first.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n") == value.encode()
    assert first.count(b"\r\nContent-") == 1 + value.encode().count(b"\r\nContent-")
    assert second.endswith(b"\r\n\r\n1\r\n")


@SLOW
@given(
    TEXTS, st.sampled_from(["http://a.example{{ v }}", "http://{{ v }}.a.example/x", "http://a.example:80{{ v }}/y"])
)
def test_a_value_makes_no_other_host(value: str, url: str) -> None:
    try:
        ask = made(f"GET {url}", v=value)
    except NodeError:
        return
    assert ask.url.host == "a.example" or ask.url.host.endswith(".a.example")
    assert not ask.url.userinfo


@SLOW
@given(st.dictionaries(TEXTS.filter(bool), st.lists(TEXTS, max_size=3), max_size=3))
def test_the_query_holds_what_params_say(params: dict[str, list[str]]) -> None:
    values = {f"v{number}": value for number, value in enumerate(params.values())}
    given_params = {name: f"{{{{ v{number} }}}}" for number, name in enumerate(params)}
    node = node_of(HttpNode, "GET http://a.example/?x=1", params=given_params)
    ask = asyncio.run(make_ask(cast("HttpNode", node), scope_of(values)))
    wanted = [(name, value) for name, items in params.items() for value in items]
    assert parse_qsl(ask.url.query.decode(), keep_blank_values=True) == [("x", "1"), *wanted]


@SLOW
@given(TEXTS)
def test_any_text_is_split_without_an_error_and_no_line_moves(text: str) -> None:
    for template, _ in split_request(text).templates():
        assert all(line in text for line in template.split("\n"))
        if template.strip():
            line = next(number for number, line in enumerate(template.split("\n")) if line.strip())
            assert template.split("\n")[line] == text.split("\n")[line]
