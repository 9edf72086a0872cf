"""A real server on loopback, and a folder for each pattern."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import pytest

import flownb
from tests.schemas import check_files

HERE = Path(__file__).parent
MEET_S = 5.0
"""How long a request waits for the others that it must meet."""


LINGER_S = 0.05
"""How long a request stays for one too many to show itself."""


class Site(ThreadingHTTPServer):
    """Articles, a job that is not ready at first, and requests that wait for each other.

    `/meet/N/ID` is answered once N requests were in at the same time: only what really overlaps gets through.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []
        """Every path, in order."""
        self.inside = 0
        self.most_at_once = 0
        """The most requests that were being answered at the same time."""
        self.polls_needed = 4
        self.sent: list[tuple[str, str, dict[str, str], str]] = []
        """Method, path, headers (names in small letters) and body of every request, in order."""
        self.pages = 4
        self.before_page: Callable[[int], None] = lambda number: None
        """Called before a page is given."""
        self.changed = threading.Condition()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        site = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with site.changed:
            site.sent.append((self.command, self.path, headers, body))
            site.asked.append(self.path)
            site.inside += 1
            site.most_at_once = max(site.most_at_once, site.inside)
            site.changed.notify_all()
        try:
            parts = self.path.partition("?")[0].strip("/").split("/")
            status, content = self._answer(parts) if self.command == "GET" else self._take(parts, headers, body)
        finally:
            with site.changed:
                site.inside -= 1
        answer = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _take(self, parts: list[str], headers: dict[str, str], body: str) -> tuple[int, object]:
        """Take what is sent, and give it back with an id."""
        is_form = headers.get("content-type") == "application/x-www-form-urlencoded"
        content = dict(parse_qsl(body)) if is_form else json.loads(body)
        return (201, {"id": 7, **content}) if self.command == "POST" else (200, {"id": int(parts[-1]), **content})

    def _answer(self, parts: list[str]) -> tuple[int, object]:
        site = self.server
        match parts:
            case ["articles", number]:
                self._linger(1)
                return 200, _article(int(number))
            case ["meet", wanted, number]:
                return self._meet(int(wanted)), _article(int(number))
            case ["job"]:
                ready = site.asked.count("/job") > site.polls_needed
                return 200, {"status": "ready", "result": 42} if ready else {"status": "busy"}
            case ["pages", number]:
                site.before_page(int(number))
                following = f"/pages/{int(number) + 1}" if int(number) + 1 < site.pages else None
                return 200, {"items": [int(number)], "next": following}
            case ["private", "profile"]:
                is_known = self.headers["Authorization"] == "Bearer open-sesame"
                return (200, {"name": "Ana"}) if is_known else (401, {"error": "who are you?"})
            case ["authors"]:
                return 200, [{"id": 1, "name": "Ana"}, {"id": 3, "name": "Carl"}]
            case ["flaky"]:
                is_down = site.asked.count("/flaky") < 3
                return (503, {}) if is_down else (200, [_article(number) for number in (1, 2, 3)])
            case _:
                return 500, {"error": "broken"}

    def _meet(self, wanted: int) -> int:
        site = self.server
        with site.changed:
            arrived = len(site.asked)
            # The group that this request belongs to: all of one group must have asked.
            group_end = -(-arrived // wanted) * wanted
            met = site.changed.wait_for(lambda: len(site.asked) >= group_end, MEET_S)
        self._linger(wanted)
        return 200 if met else 504

    def _linger(self, wanted: int) -> None:
        """Give requests that should not be there a moment to come."""
        with self.server.changed:
            self.server.changed.wait_for(lambda: self.server.inside > wanted, LINGER_S)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 named so by the base class
        pass


def _article(number: int) -> dict[str, object]:
    return {"id": number, "title": "Article " + "very " * (number * 3) + str(number)}


@pytest.fixture
def site() -> Iterator[Site]:
    """Return a running server."""
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _fitting_files(tmp_path: Path) -> Iterator[None]:
    """See that all files of all runs fit their schemas."""
    yield
    check_files(tmp_path / ".flownb")


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return a function that copies a pattern to a folder of its own, the working directory, and returns where it is."""
    monkeypatch.chdir(tmp_path)

    def copy(name: str) -> Path:
        path = tmp_path / f"{name}.flow.md"
        shutil.copy(HERE / path.name, path)
        return path

    return copy


@pytest.fixture
def completed(document: Callable[[str], Path]) -> Callable[..., flownb.Run]:
    """Return a function that runs a pattern with some inputs and sees it complete."""

    def run(name: str, **inputs: object) -> flownb.Run:
        made = flownb.run(document(name), inputs)
        assert made.status == "completed", made.errors
        return made

    return run
