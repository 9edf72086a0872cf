"""Requests against a real server: what is sent, and what becomes of the answer."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from flownb.errors import ExpressionError, HttpStatusError, NodeConnectionError, NodeError, NodeTimeoutError
from flownb.model.http_node import HttpNode
from flownb.model.policy import Policy, Retry
from flownb.runtimes.base import Scope
from flownb.runtimes.http.client import timeout_of
from flownb.runtimes.http.runtime import HttpRuntime
from tests.nodes import node_of, scope_of
from tests.web import Asked, Reply, Web, serving


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def ask(body: str, scope: Scope | None = None, **fields: object) -> object:
    """Run one node, and let go of its connections."""
    used = scope or scope_of()

    async def main() -> object:
        try:
            return await HttpRuntime().run(node_of(HttpNode, body, **fields), used)
        finally:
            await used.resources.close()

    return asyncio.run(main())


def last(web: Web) -> Asked:
    return web.asked[-1]


# What is sent.


def test_method_url_headers_and_body_are_sent(web: Web) -> None:
    value = ask(f"PATCH {web.url}/a?b=c\nX-One: 1\nX-Two:  two words \n\nthe\n\nbody")
    assert value == {"path": "/a?b=c"}
    asked = last(web)
    assert (asked.method, asked.header("X-One"), asked.header("X-Two")) == ("PATCH", "1", "two words")
    assert asked.body == b"the\n\nbody"
    assert asked.header("Content-Type") == "text/plain; charset=utf-8"
    assert asked.header("User-Agent") == "flownb"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "DELETE", "QUERY"])
def test_methods_without_a_body(web: Web, method: str) -> None:
    ask(f"{method} {web.url}/")
    assert (last(web).method, last(web).body) == (method, b"")


def test_a_json_body_is_known_by_its_beginning_and_values_in_it_are_json(web: Web) -> None:
    values = {"title": 'He said "no"\n', "tags": ["a", "b"], "missing": None}
    ask(
        f'POST {web.url}/\n\n{{"title": {{{{ title }}}}, "tags": {{{{ tags }}}}, "x": {{{{ missing }}}}}}',
        scope_of(values),
    )
    assert last(web).json() == {"title": 'He said "no"\n', "tags": ["a", "b"], "x": None}
    assert last(web).header("Content-Type") == "application/json"


def test_a_json_type_of_ones_own_stands(web: Web) -> None:
    ask(f"POST {web.url}/\nContent-Type: application/vnd.api+json\n\n{{{{ data }}}}", scope_of({"data": {"a": [1]}}))
    assert last(web).json() == {"a": [1]}
    assert last(web).header("Content-Type") == "application/vnd.api+json"


@pytest.mark.parametrize(
    "value, body, kind",
    [
        ({"a": 1}, b'{"a": 1}', "application/json"),
        ([1, "ä"], '[1, "ä"]'.encode(), "application/json"),
        ("plain ä", "plain ä".encode(), "text/plain; charset=utf-8"),
        (b"\x00\xff", b"\x00\xff", "application/octet-stream"),
    ],
)
def test_a_lone_value_is_a_body_of_its_kind(web: Web, value: object, body: bytes, kind: str) -> None:
    ask(f"PUT {web.url}/\n\n{{{{ value }}}}", scope_of({"value": value}))
    assert last(web).body == body
    assert last(web).header("Content-Type") == kind


def test_what_becomes_no_json_is_not_sent(web: Web) -> None:
    with pytest.raises(NodeError, match="the request's body is no JSON"):
        ask(f'POST {web.url}/\n\n{{"a": {{{{ a | raw }}}}}}', scope_of({"a": "1, }"}))
    assert web.asked == []


FORM = "Content-Type: application/x-www-form-urlencoded\n\n"


def test_a_form_encodes_values(web: Web) -> None:
    text = f"POST {web.url}/\n{FORM}name={{{{ name }}}}&x=1\nnote=two words\nok={{{{ ok }}}}"
    ask(text, scope_of({"name": "Ana & Bo=\n", "ok": True}))
    assert last(web).body == b"name=Ana+%26+Bo%3D%0A&x=1&note=two+words&ok=true"


def test_a_form_of_a_lone_object(web: Web) -> None:
    ask(f"POST {web.url}/\n{FORM}{{{{ data }}}}", scope_of({"data": {"a": [1, 2], "b": "x y", "c": None}}))
    assert last(web).body == b"a=1&a=2&b=x+y"


def test_a_list_in_a_form_is_refused(web: Web) -> None:
    with pytest.raises(ExpressionError, match="no single value of a form"):
        ask(f"POST {web.url}/\n{FORM}a={{{{ a }}}}", scope_of({"a": [1, 2]}))


MULTIPART = "Content-Type: multipart/form-data\n\n"


def parts_of(asked: Asked) -> list[tuple[str, bytes]]:
    """Return head and content of each part."""
    boundary = str(asked.header("Content-Type")).partition("boundary=")[2].encode()
    pieces = asked.body.split(b"--" + boundary)[1:-1]
    found = []
    for piece in pieces:
        head, _, content = piece.strip(b"\r\n").partition(b"\r\n\r\n")
        found.append((head.decode(), content))
    return found


def test_parts_of_text_bytes_and_files(web: Web, tmp_path: Path) -> None:
    (tmp_path / "report.pdf").write_bytes(b"%PDF" + bytes(range(256)) * 2000)
    text = (
        f"POST {web.url}/\n{MULTIPART}title={{{{ title }}}}\ndata={{{{ data }}}};type=application/json\n"
        "raw={{ raw }};filename={{ 'a\"b' }}.bin\nreport=@{{ name }}.pdf"
    )
    values = {"title": "two\nlines; @x", "data": {"a": 1}, "raw": b"\x00\x01", "name": "report"}
    ask(text, scope_of(values, folder=tmp_path))
    title, data, raw, report = parts_of(last(web))
    assert title == ('Content-Disposition: form-data; name="title"', b"two\nlines; @x")
    assert (data[0].splitlines()[1], data[1]) == ("Content-Type: application/json", b'{"a": 1}')
    assert 'filename="a%22b.bin"' in raw[0]
    assert raw[1] == b"\x00\x01"
    assert 'filename="report.pdf"' in report[0]
    assert "application/pdf" in report[0]
    assert report[1] == (tmp_path / "report.pdf").read_bytes().strip(b"\r\n")
    assert last(web).header("Content-Length") is not None


def test_a_value_is_never_taken_for_a_file(web: Web, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("private")
    ask(f"POST {web.url}/\n{MULTIPART}a={{{{ a }}}}", scope_of({"a": "@private;type=x/y"}, folder=tmp_path))
    assert parts_of(last(web)) == [('Content-Disposition: form-data; name="a"', b"@private;type=x/y")]
    ask(f"POST {web.url}/\n\n{{{{ a }}}}", scope_of({"a": "< private"}, folder=tmp_path))
    assert last(web).body == b"< private"


def test_a_body_from_a_file_is_streamed_with_its_length(web: Web, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    (tmp_path / "big.bin").write_bytes(content)
    ask(f"PUT {web.url}/\nContent-Type: image/png\n\n< big.bin", scope_of(folder=tmp_path))
    assert last(web).body == content
    assert (last(web).header("Content-Length"), last(web).header("Content-Type")) == (str(len(content)), "image/png")


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "link", "missing"])
def test_files_outside_the_folder_are_refused(web: Web, tmp_path: Path, path: str) -> None:
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "outside").write_text("x")
    (folder / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(NodeError, match=r"outside the document's folder|cannot be read"):
        ask(f"PUT {web.url}/\n\n< {path}", scope_of(folder=folder))
    assert web.asked == []


def test_params_are_added_to_the_query(web: Web) -> None:
    params = {
        "q": "{{ q }}",
        "n": 3,
        "on": True,
        "tags": ["a", "{{ q }}"],
        "all": "{{ many }}",
        "none": None,
        "gone": "{{ none }}",
    }
    ask(f"GET {web.url}/?x=1", scope_of({"q": "a&b=c ä", "many": [1, 2], "none": None}), params=params)
    assert last(web).path == "/?x=1&q=a%26b%3Dc+%C3%A4&n=3&on=true&tags=a&tags=a%26b%3Dc+%C3%A4&all=1&all=2"


@pytest.mark.parametrize("bad", ["a\nX-Evil: 1", "a\r\nX-Evil: 1", "a\rb", "a\0b", "a\u2028b", "a\x85b", "\x0b"])
@pytest.mark.parametrize(
    "head", ["GET {url}/{{{{ v }}}}", "GET {url}/\nX-A: {{{{ v }}}}", "GET {url}/\nX-A: a{{{{ v }}}}b"]
)
def test_a_value_that_would_add_a_line_or_a_header_is_refused_before_anything_is_sent(
    web: Web, bad: str, head: str
) -> None:
    with pytest.raises(ExpressionError, match="would add a line or a header"):
        ask(head.format(url=web.url), scope_of({"v": bad}))
    assert web.asked == []
    assert web.connections == 0


def test_a_bearer_token_with_a_line_break_is_refused(web: Web) -> None:
    with pytest.raises(ExpressionError, match="would add a line or a header"):
        ask(f"GET {web.url}/", scope_of({"t": "a\nX: 1"}), auth={"type": "bearer", "token": "{{ t }}"})


@pytest.mark.parametrize(
    "url, value",
    [
        ("http://127.0.0.1{{ v }}", "@evil.example/"),
        ("http://127.0.0.1{{ v }}", ".evil.example"),
        ("http://{{ v }}.example.com/", "evil.example/?"),
        ("http://{{ v }}.example.com/", "evil.example#"),
        ("http://{{ v }}.example.com/", "user@evil.example\\"),
    ],
)
def test_a_value_cannot_make_another_host_of_one_that_the_text_names(url: str, value: str) -> None:
    with pytest.raises(NodeError, match="would make another host"):
        ask(f"GET {url}", scope_of({"v": value}))


def test_a_path_and_a_port_may_follow_a_host(web: Web) -> None:
    ask("GET http://127.0.0.1{{ v }}/a", scope_of({"v": f":{web.server_port}"}))
    ask("GET {{ base }}{{ path }}", scope_of({"base": web.url, "path": "/b c?d=é"}))
    assert web.paths == ["/a", "/b%20c?d=%C3%A9"]


@pytest.mark.parametrize("url", ["ftp://a/", "file:///etc/passwd", "//a/b", "http://", "a b", "http://[::1"])
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(NodeError, match="URL"):
        ask("GET {{ url }}", scope_of({"url": url}))


@pytest.mark.parametrize(
    "text", ["GET {url}/{{{{ v }}}}", "GET {url}/\nX-A: {{{{ v }}}}", "POST {url}/\n\na{{{{ v }}}}"]
)
def test_half_a_character_is_refused(web: Web, text: str) -> None:
    with pytest.raises(NodeError, match="half a character"):
        ask(text.format(url=web.url), scope_of({"v": "\ud800"}))


# Who sends it.


def test_bearer_and_basic(web: Web) -> None:
    ask(f"GET {web.url}/", scope_of({"t": "abc"}), auth={"type": "bearer", "token": "{{ t }}"})
    ask(f"GET {web.url}/", scope_of({"p": "p:ä"}), auth={"type": "basic", "username": "ana", "password": "{{ p }}"})
    ask(f"GET {web.url.replace('//', '//bo:x@')}/")
    wanted = ["Bearer abc", f"Basic {b64encode('ana:p:ä'.encode()).decode()}", f"Basic {b64encode(b'bo:x').decode()}"]
    assert [asked.header("Authorization") for asked in web.asked] == wanted


def test_auth_and_a_header_of_ones_own_are_too_much(web: Web) -> None:
    with pytest.raises(NodeError, match="both `auth` and a header"):
        ask(f"GET {web.url}/\nAuthorization: x", auth={"type": "bearer", "token": "t"})


OAUTH = {"type": "oauth2", "client_id": "me", "client_secret": "{{ secrets.S }}", "scope": "read"}


class Tokens:
    """Gives tokens, and takes only the last one."""

    def __init__(self, *, in_body: bool = False, lasts: float | None = 3600) -> None:
        self.count, self.in_body, self.lasts = 0, in_body, lasts
        self.revoked = False

    def __call__(self, asked: Asked) -> Reply:
        if asked.path == "/token":
            return self._token(asked)
        if self.revoked or asked.header("Authorization") != f"Bearer token-{self.count}":
            self.revoked = False
            return Reply(401, {"error": "expired"})
        return Reply(body={"n": self.count})

    def _token(self, asked: Asked) -> Reply:
        is_basic = asked.header("Authorization") == f"Basic {b64encode(b'me:geheim').decode()}"
        is_form = b"client_id=me&client_secret=geheim" in asked.body
        if not (is_form if self.in_body else is_basic):
            return Reply(401, {"error": "invalid_client"})
        assert asked.body.startswith(b"grant_type=client_credentials&scope=read")
        self.count += 1
        lasts = {} if self.lasts is None else {"expires_in": self.lasts}
        return Reply(body={"access_token": f"token-{self.count}", "token_type": "bearer", **lasts})


def oauth(web: Web, scope: Scope, times: int = 1) -> list[object]:
    node = node_of(HttpNode, f"GET {web.url}/a", auth={**OAUTH, "token_url": f"{web.url}/token"})

    async def main() -> list[object]:
        return list(await asyncio.gather(*(HttpRuntime().run(node, scope) for _ in range(times))))

    async def closed() -> list[object]:
        made = await main()
        tokens = web.answer
        assert isinstance(tokens, Tokens)
        tokens.revoked = True
        made += await main()
        await scope.resources.close()
        return made

    return asyncio.run(closed())


@pytest.mark.parametrize("in_body", [False, True])
def test_an_oauth2_token_is_fetched_once_and_anew_at_401(web: Web, in_body: bool) -> None:  # noqa: FBT001
    web.answer = Tokens(in_body=in_body)
    made = oauth(web, scope_of({"secrets": {"S": "geheim"}}, secrets=("geheim",)), times=1)
    assert made == [{"n": 1}, {"n": 2}]
    assert [path for path in web.paths if path == "/a"] == ["/a"] * 3


def test_all_that_need_a_token_at_once_fetch_one(web: Web) -> None:
    web.answer = Tokens()
    made = oauth(web, scope_of({"secrets": {"S": "geheim"}}, secrets=("geheim",)), times=8)
    assert made[:8] == [{"n": 1}] * 8
    assert web.paths[:9].count("/token") == 1


def test_a_token_that_is_about_to_end_is_not_used(web: Web) -> None:
    web.answer = Tokens(lasts=5)
    oauth(web, scope_of({"secrets": {"S": "geheim"}}, secrets=("geheim",)))
    assert web.paths == ["/token", "/a", "/token", "/a", "/token", "/a"], "one of them because the token was revoked"


def test_a_token_that_is_never_taken_fails_after_one_more(web: Web) -> None:
    web.answer = lambda asked: (
        Reply(body={"access_token": "abcdef"}) if asked.path == "/token" else Reply(401, asked.header("Authorization"))
    )
    with pytest.raises(HttpStatusError, match="401 Unauthorized") as caught:
        ask(f"GET {web.url}/a", scope_of({"secrets": {"S": "s"}}), auth={**OAUTH, "token_url": f"{web.url}/token"})
    assert web.paths == ["/token", "/a", "/token", "/a"]
    assert "abcdef" not in caught.value.message, "the token is a secret too"


def test_a_token_in_the_answer_is_taken_out(web: Web) -> None:
    web.answer = lambda asked: (
        Reply(body={"access_token": "abcdef"})
        if asked.path == "/token"
        else Reply(body={"h": asked.header("Authorization")})
    )
    value = ask(f"GET {web.url}/a", scope_of({"secrets": {"S": "s"}}), auth={**OAUTH, "token_url": f"{web.url}/token"})
    assert value == {"h": "Bearer •••"}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body={"token": 1}),
        Reply(body="text"),
        Reply(500, {"said": "geheim"}),
        Reply(body={"access_token": "a\nb"}),
    ],
)
def test_a_server_that_gives_no_token_says_so_without_the_secret(web: Web, reply: Reply) -> None:
    web.answer = lambda _: reply
    with pytest.raises(NodeError, match=r"access_token|500 Internal Server Error") as caught:
        ask(f"GET {web.url}/a", scope_of({"secrets": {"S": "geheim"}}), auth={**OAUTH, "token_url": f"{web.url}/token"})
    assert "geheim" not in caught.value.message


# What comes back.


@pytest.mark.parametrize(
    "kind, body, value",
    [
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("application/json", '{"a": "ä"}'.encode("utf-16"), {"a": "ä"}),
        ("text/plain; charset=latin-1", "ä".encode("latin-1"), "ä"),
        ("text/html", "ä".encode(), "ä"),
        ("text/plain; charset=nonsense", b"a\xff", "a�"),
        ("application/xml", b"<a/>", "<a/>"),
        ("image/png", b"\x89PNG", b"\x89PNG"),
        ("application/json", b"", None),
        ("image/png", b"", None),
    ],
)
def test_the_value_is_what_the_answer_says_that_it_is(web: Web, kind: str, body: bytes, value: object) -> None:
    web.answer = lambda _: Reply(body=body, headers={"Content-Type": kind})
    assert ask(f"GET {web.url}/") == value


@pytest.mark.parametrize("output, value", [("json", [1]), ("text", "[1]"), ("bytes", b"[1]")])
def test_output_says_what_the_value_is(web: Web, output: str, value: object) -> None:
    web.answer = lambda _: Reply(body=b"[1]", headers={"Content-Type": "x/y"})
    assert ask(f"GET {web.url}/", output=output) == value


def test_a_whole_response(web: Web) -> None:
    links = '<https://other.example/3>; rel="last", </2>; rel="next"'
    web.answer = lambda _: Reply(201, {"a": 1}, {"X-Thing": "t", "Link": links})
    made = cast("dict[str, object]", ask(f"GET {web.url.replace('//', '//me:x@')}/1?q=1#part", output="response"))
    headers = cast("dict[str, str]", made.pop("headers"))
    assert (headers["x-thing"], headers["content-type"]) == ("t", "application/json")
    assert made == {
        "status": 201,
        "url": f"{web.url}/1?q=1",
        "links": {"last": "https://other.example/3", "next": f"{web.url}/2"},
        "body": {"a": 1},
    }


@pytest.mark.parametrize("body", [b"{", b"nul", b'{"a": 1, "a": 2}', b"NaN", b"\xff\xfe\xff", b""])
def test_what_is_no_json_is_an_error_that_says_so(web: Web, body: bytes) -> None:
    web.answer = lambda _: Reply(body=body, headers={"Content-Type": "text/html"})
    with pytest.raises(NodeError, match=r"the answer is no JSON: .*text/html") as caught:
        ask(f"GET {web.url}/", output="json")
    assert caught.value.hint == "take it as it is: `output: text`"


def test_extract_takes_a_part_of_the_body(web: Web) -> None:
    web.answer = lambda _: Reply(body={"items": [{"id": 1, "x": 2}, {"id": 3}]})
    assert ask(f"GET {web.url}/", extract="items[*].{n: id}") == [{"n": 1}, {"n": 3}]
    made = cast("dict[str, object]", ask(f"GET {web.url}/", extract="items[0].id", output="response"))
    assert (made["status"], made["body"]) == (200, 1)
    web.answer = lambda _: Reply(body="text")
    with pytest.raises(NodeError, match="`extract`: the answer is text, and no JSON"):
        ask(f"GET {web.url}/", extract="a")


def test_what_is_packed_is_unpacked(web: Web) -> None:
    web.answer = lambda _: Reply(
        body=gzip.compress(b"[1]" * 1), headers={"Content-Encoding": "gzip", "Content-Type": "text/json"}
    )
    assert ask(f"GET {web.url}/") == [1]
    web.answer = lambda _: Reply(body=b"no gzip", headers={"Content-Encoding": "gzip"})
    with pytest.raises(NodeError, match="cannot be unpacked"):
        ask(f"GET {web.url}/")


# Failing.


def test_a_status_of_400_or_more_fails_with_the_first_500_characters(web: Web) -> None:
    web.answer = lambda _: Reply(404, "not\n  here " + "x" * 600, {"Retry-After": "7"})
    with pytest.raises(HttpStatusError) as caught:
        ask(f"DELETE {web.url.replace('//', '//me:geheim@')}/a?b=1")
    error = caught.value
    assert error.message == f"404 Not Found from DELETE {web.url}/a?b=1: not here {'x' * 491}…"
    assert (error.status, error.retry_after_s) == (404, 7.0)
    assert error.hint == "look at the URL"


def test_a_failure_shows_no_secret_not_even_a_piece_of_one(web: Web) -> None:
    secret = "sesame-open-now"
    web.answer = lambda asked: Reply(500, "y" * 495 + asked.path)
    scope = scope_of({"secrets": {"K": secret}}, secrets=(secret,))
    with pytest.raises(HttpStatusError) as caught:
        ask(f"GET {web.url}/?key={{{{ secrets.K }}}}", scope)
    assert "sesame" not in caught.value.message
    assert "•••" in caught.value.message


def test_an_unknown_status_and_an_empty_body(web: Web) -> None:
    web.answer = lambda _: Reply(599)
    with pytest.raises(HttpStatusError) as caught:
        ask(f"GET {web.url}/")
    assert caught.value.message == f"599 from GET {web.url}/"
    assert caught.value.hint == "the fault is the server's; `retry: 3` tries again"


def test_no_connection(web: Web) -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(NodeConnectionError, match=f"GET {url}/a: no connection"):
        ask(f"GET {url}/a")


def test_a_body_that_is_cut_is_a_connection_that_broke_off(web: Web) -> None:
    web.answer = lambda _: Reply(body=b"x" * 1000, cut=10)
    with pytest.raises(NodeConnectionError, match="the connection broke off"):
        ask(f"GET {web.url}/")


def test_a_silent_server_is_given_up_within_the_nodes_timeout(web: Web) -> None:
    end = threading.Event()
    web.answer = lambda _: Reply(before=lambda: end.wait(10))
    with pytest.raises(NodeTimeoutError, match="silent for too long"):
        ask(f"GET {web.url}/", policy=Policy(timeout=0.2))
    end.set()


@pytest.mark.parametrize("limit, connect, read", [(None, 10, 60), (2.0, 2, 2), (300.0, 10, 300)])
def test_connecting_and_silence_have_limits_within_the_nodes_timeout(
    limit: float | None, connect: float, read: float
) -> None:
    found = timeout_of(cast("HttpNode", node_of(HttpNode, "GET http://a/", policy=Policy(timeout=limit))))
    assert (found.connect, found.read, found.write) == (connect, read, read)


def test_cancelling_closes_the_connection(web: Web) -> None:
    end, came = threading.Event(), threading.Event()

    def wait() -> None:
        came.set()
        end.wait(10)

    web.answer = lambda _: Reply(before=wait)
    scope = scope_of()

    async def main() -> None:
        task = asyncio.create_task(HttpRuntime().run(node_of(HttpNode, f"GET {web.url}/"), scope))
        await asyncio.to_thread(came.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 2)
        await scope.resources.close()

    asyncio.run(main())
    end.set()


def test_a_post_that_may_be_sent_again_has_an_idempotency_key(web: Web) -> None:
    retry = Policy(retry=Retry(max=2))
    scope = Scope(**{**{name: getattr(scope_of(), name) for name in Scope.__slots__}, "idempotency_key": "k1"})
    ask(f"POST {web.url}/", scope, policy=retry)
    ask(f"POST {web.url}/\nidempotency-key: mine", scope, policy=retry)
    ask(f"POST {web.url}/", scope)
    ask(f"PUT {web.url}/", scope, policy=retry)
    ask(f"POST {web.url}/", scope, policy=Policy(retry=Retry(max=0)))
    assert [asked.header("Idempotency-Key") for asked in web.asked] == ["k1", "mine", None, None, None]


# Redirects.


def redirecting(status: int, location: str) -> object:
    return lambda asked: (
        Reply(status, headers={"Location": location}) if asked.path == "/from" else Reply(body=asked.path)
    )


@pytest.mark.parametrize(
    "status, method, then",
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (307, "POST", "POST"),
        (308, "PUT", "PUT"),
        (301, "PUT", "PUT"),
    ],
)
def test_redirects_keep_or_change_the_method(web: Web, status: int, method: str, then: str) -> None:
    web.answer = redirecting(status, "/to")  # type: ignore[assignment]
    ask(f"{method} {web.url}/from\nX-A: 1\n\n[1]")
    asked = last(web)
    assert (asked.method, asked.path, asked.header("X-A")) == (then, "/to", "1")
    assert asked.body == (b"" if then == "GET" else b"[1]")
    assert (asked.header("Content-Type") is None) == (then == "GET")


def test_a_redirect_is_not_followed_where_the_node_says_so(web: Web) -> None:
    web.answer = redirecting(302, "/to")  # type: ignore[assignment]
    made = cast("dict[str, object]", ask(f"GET {web.url}/from", follow=False, output="response"))
    assert made["status"] == 302
    assert web.paths == ["/from"]


def test_redirects_without_end_are_an_error(web: Web) -> None:
    web.answer = lambda _: Reply(302, headers={"Location": "/again"})
    with pytest.raises(NodeError, match="redirects more often than 20 times"):
        ask(f"GET {web.url}/")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://a/", "http://"])
def test_a_redirect_to_no_server_is_refused(web: Web, location: str) -> None:
    web.answer = redirecting(302, location)  # type: ignore[assignment]
    with pytest.raises(NodeError):
        ask(f"GET {web.url}/from")
    assert web.paths == ["/from"]


CREDENTIALS = "Authorization: Bearer s3cret\nCookie: s=s3cret\nX-Api-Key: s3cret\nAccept: a/b\n"


def test_credentials_never_follow_to_another_host(web: Web) -> None:
    with serving() as other:
        web.answer = redirecting(307, f"{other.url}/to")  # type: ignore[assignment]
        ask(f"POST {web.url}/from\n{CREDENTIALS}\n[1]")
        auth = {"type": "basic", "username": "a", "password": "s3cret"}
        ask(f"GET {web.url}/from", auth=auth)
        ask(f"GET {web.url.replace('//', '//me:s3cret@')}/from")
        assert last(web).header("Authorization") is not None
    assert other.paths == ["/to"] * 3
    assert other.asked[0].body == b"[1]"
    for asked in other.asked:
        said = " ".join(f"{name}: {value}" for name, value in asked.headers)
        assert "s3cret" not in said
        assert "authorization" not in said.lower()
    assert other.asked[0].header("Accept") == "a/b"


def test_a_body_with_a_secret_does_not_follow_to_another_host(web: Web) -> None:
    with serving() as other:
        web.answer = redirecting(307, f"{other.url}/to")  # type: ignore[assignment]
        with pytest.raises(NodeError, match="redirects a body that holds a secret to another host"):
            ask(
                f"POST {web.url}/from\n\n{{{{ secrets.K }}}}",
                scope_of({"secrets": {"K": "sesame"}}, secrets=("sesame",)),
            )
    assert other.asked == []


def test_cookies_live_as_long_as_the_node_and_no_longer(web: Web) -> None:
    web.answer = lambda asked: (
        Reply(302, headers={"Location": "/to", "Set-Cookie": "c=1"}) if asked.path == "/from" else Reply()
    )
    scope = scope_of()

    async def main() -> None:
        for path in ("from", "other"):
            await HttpRuntime().run(node_of(HttpNode, f"GET {web.url}/{path}"), scope)
        await scope.resources.close()

    asyncio.run(main())
    assert [asked.header("Cookie") for asked in web.asked] == [None, "c=1", None]
    assert web.connections == 1, "one client a run, whose connection is kept"


def test_a_redirect_back_gets_the_credentials_again(web: Web) -> None:
    with serving() as other:
        other.answer = lambda _: Reply(302, headers={"Location": f"{web.url}/back"})
        web.answer = redirecting(302, f"{other.url}/to")  # type: ignore[assignment]
        ask(f"GET {web.url}/from", auth={"type": "bearer", "token": "t"})
    assert [(asked.path, asked.header("Authorization")) for asked in web.asked] == [
        ("/from", "Bearer t"),
        ("/back", "Bearer t"),
    ]
    assert other.asked[0].header("Authorization") is None


def test_json_that_is_large_is_read(web: Web) -> None:
    body = [{"n": number, "text": "x" * 20} for number in range(20_000)]
    web.answer = lambda _: Reply(body=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    assert ask(f"GET {web.url}/", extract="length(@)") == 20_000
