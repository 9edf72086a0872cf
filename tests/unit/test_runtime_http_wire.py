"""What lies between a request and its server: TLS, HTTP/2, proxies, connections that are kept."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived, StreamEnded

from flownb.errors import NodeConnectionError, NodeError
from flownb.model.http_node import HttpNode
from flownb.runtimes.base import Scope
from flownb.runtimes.http.runtime import HttpRuntime
from tests.nodes import node_of, scope_of
from tests.web import Reply, Web, serving

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*PROXIES, *BUNDLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def context_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",))).configure_cert(context)
    return context


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[Web]:
    with serving(context_of(authority)) as server:
        yield server


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


async def asked(body: str, scope: Scope, **fields: object) -> object:
    try:
        return await HttpRuntime().run(node_of(HttpNode, body, **fields), scope)
    finally:
        await scope.resources.close()


def ask(body: str, scope: Scope | None = None, **fields: object) -> object:
    return asyncio.run(asked(body, scope or scope_of(), **fields))


def test_a_certificate_that_nobody_vouches_for_is_refused_and_not_tried_again(secure: Web) -> None:
    with pytest.raises(NodeError, match="certificate is not trusted") as caught:
        ask(f"GET {secure.url}/")
    assert not isinstance(caught.value, NodeConnectionError), "another attempt would only meet it again"
    assert "verify: ca.pem" in caught.value.hint
    assert secure.asked == []


def test_verify_names_the_certificates_to_trust(secure: Web, bundle: Path) -> None:
    scope = scope_of({"name": "ca"}, folder=bundle.parent)
    assert ask(f"GET {secure.url}/a", scope, verify="{{ name }}.pem") == {"path": "/a"}


def test_verify_false_trusts_anybody(secure: Web) -> None:
    assert ask(f"GET {secure.url}/a", verify=False) == {"path": "/a"}


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_names_the_certificates_to_trust(
    secure: Web, bundle: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, str(bundle))
    assert ask(f"GET {secure.url}/a") == {"path": "/a"}


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA, bundle: Path) -> None:
    with serving(context_of(authority, "other.example")) as server, pytest.raises(NodeError, match="not trusted"):
        ask(f"GET {server.url}/", verify=str(bundle))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_an_error_that_names_the_file(
    secure: Web, tmp_path: Path, content: str | None
) -> None:
    if content:
        (tmp_path / "missing.pem").write_text(content)
    with pytest.raises(NodeError, match=r"`verify`: the certificates in .*missing.pem cannot be read"):
        ask(f"GET {secure.url}/", scope_of(folder=tmp_path), verify="missing.pem")


def test_a_redirect_to_the_same_host_without_tls_gets_no_credentials(secure: Web, bundle: Path) -> None:
    with serving() as plain:
        secure.answer = lambda _: Reply(302, headers={"Location": f"{plain.url}/"})
        ask(f"GET {secure.url}/", verify=str(bundle), auth={"type": "bearer", "token": "t"})
    assert secure.asked[0].header("Authorization") == "Bearer t"
    assert plain.asked[0].header("Authorization") is None


# HTTP/2.


class Http2(asyncio.Protocol):
    """Answers every request with the version that it came by."""

    connections = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        Http2.connections += 1
        self.transport = transport
        self.connection = H2Connection(H2Configuration(client_side=False))
        self.connection.initiate_connection()
        self.transport.write(self.connection.data_to_send())
        self.paths: dict[int, str] = {}

    def data_received(self, data: bytes) -> None:
        for event in self.connection.receive_data(data):
            if isinstance(event, RequestReceived):
                headers = {bytes(name): bytes(value) for name, value in event.headers or ()}
                self.paths[event.stream_id or 0] = headers[b":path"].decode()
            elif isinstance(event, StreamEnded):
                stream = event.stream_id or 0
                body = f"h2 {self.paths.pop(stream)}".encode()
                self.connection.send_headers(stream, [(":status", "200"), ("content-type", "text/plain")])
                self.connection.send_data(stream, body, end_stream=True)
        self.transport.write(self.connection.data_to_send())


@asynccontextmanager
async def http2(authority: trustme.CA) -> AsyncIterator[str]:
    context = context_of(authority)
    context.set_alpn_protocols(["h2"])
    Http2.connections = 0
    server = await asyncio.get_running_loop().create_server(Http2, "127.0.0.1", 0, ssl=context)
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def test_http_2_is_spoken_where_the_server_speaks_it_over_one_connection(authority: trustme.CA, bundle: Path) -> None:
    async def main() -> None:
        scope = scope_of()
        async with http2(authority) as url:
            nodes = [node_of(HttpNode, f"GET {url}/{number}", verify=str(bundle)) for number in range(8)]
            first = await HttpRuntime().run(nodes[0], scope)
            rest = await asyncio.gather(*(HttpRuntime().run(node, scope) for node in nodes[1:]))
            assert [first, *rest] == [f"h2 /{number}" for number in range(8)]
            assert Http2.connections == 1
            await scope.resources.close()

    asyncio.run(main())


# Proxies.


def test_the_environment_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy, serving() as site:
        proxy.answer = lambda asked: Reply(body=f"for {asked.path}")
        monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("//", "//me:sesame@"))
        assert ask("GET http://site.example/a") == "for http://site.example/a"
        assert proxy.asked[0].header("Proxy-Authorization") is not None
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert ask(f"GET {site.url}/a") == {"path": "/a"}
        assert len(proxy.asked) == 1


def test_a_proxy_that_refuses_is_a_connection_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as proxy:
        proxy.answer = lambda _: Reply(403)
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with pytest.raises(NodeConnectionError, match="the proxy refused: 403"):
            ask("GET https://site.example/a")
    assert [asked.method for asked in proxy.asked] == ["CONNECT"]


# Connections.


def test_the_nodes_of_a_run_share_connections_and_twenty_at_once_have_theirs() -> None:
    meeting = threading.Barrier(20, timeout=10)

    async def main(web: Web) -> None:
        scope = scope_of()
        nodes = [node_of(HttpNode, f"GET {web.url}/{number}") for number in range(20)]
        for _ in range(3):
            await asyncio.gather(*(HttpRuntime().run(node, scope) for node in nodes))
        await scope.resources.close()

    with serving() as web:
        web.answer = lambda _: Reply(before=meeting.wait)
        asyncio.run(main(web))
        assert len(web.asked) == 60
        assert web.connections == 20


def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again() -> None:
    async def main(web: Web) -> None:
        scope = scope_of()
        node = node_of(HttpNode, f"GET {web.url}/")
        for _ in range(3):
            await HttpRuntime().run(node, scope)
            await asyncio.sleep(0.05)
        await scope.resources.close()

    with serving() as web:
        web.answer = lambda _: Reply(headers={"Connection": "close"})
        asyncio.run(main(web))
        assert web.connections == 3
