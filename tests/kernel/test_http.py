"""An `http` node as a `%%flow` cell in a real kernel: its value, its failure in one line, and the stop button."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel, kernel
from tests.web import Reply, Web, serving

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]


@pytest.fixture
def k(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(cwd=tmp_path) as made:
        assert made.run("%load_ext flownb").ok
        yield made


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def test_a_variable_of_the_notebook_goes_into_a_request_and_the_answer_comes_back(k: Kernel, web: Web) -> None:
    web.answer = lambda asked: Reply(body={"got": asked.json()})
    k.run(f"base, titles = {web.url!r}, ['a', 'b']")
    text = '# Send\n\n## Sent\n\n```http\nPOST {{ base }}/x\n\n{"titles": {{ titles }}}\n```\n'
    assert k.run(f"%%flow -o run\n{text}").ok
    assert k.run("print(run['sent'])").stdout == "{'got': {'titles': ['a', 'b']}}\n"


def test_a_failure_is_one_line_with_its_place_and_what_the_server_said(k: Kernel, web: Web) -> None:
    web.answer = lambda _: Reply(404, "no such page")
    cell = k.run(f"%%flow\n# Get\n\n## Got\n\n```http\nGET {web.url}/x\n```\n")
    assert cell.error is not None
    assert f"404 Not Found from GET {web.url}/x: no such page" in cell.error["evalue"]
    assert "httpx2" not in cell.text


def test_the_stop_button_stops_a_request_that_a_server_leaves_open(k: Kernel, web: Web) -> None:
    came, end = threading.Event(), threading.Event()

    def wait() -> None:
        came.set()
        end.wait(60)

    web.answer = lambda _: Reply(before=wait)
    cell = k.start(f"%%flow\n# Get\n\n## Got\n\n```http\nGET {web.url}/x\n```\n")
    k.wait_until(came.is_set, "the request", 30)
    k.interrupt()
    cell.finish(15)
    assert not cell.ok
    assert "cancelled" in cell.text
    end.set()
