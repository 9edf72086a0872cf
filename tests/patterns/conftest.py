"""A real server on loopback, and a folder for each pattern."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

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
        self.changed = threading.Condition()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        site = self.server
        with site.changed:
            site.asked.append(self.path)
            site.inside += 1
            site.most_at_once = max(site.most_at_once, site.inside)
            site.changed.notify_all()
        try:
            status, content = self._answer(self.path.strip("/").split("/"))
        finally:
            with site.changed:
                site.inside -= 1
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

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
            case ["flaky"]:
                if site.asked.count("/flaky") < 3:
                    return 503, {}
                return 200, [_article(number) for number in (1, 2, 3)]
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
