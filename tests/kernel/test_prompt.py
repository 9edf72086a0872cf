"""A prompt in a real kernel: its text is seen as it comes, figures go along, and an interrupt closes the request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.harness import Kernel, kernel
from tests.models import ModelServer, Reply, serving

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]
CELL = """%%flow -o run
# Asks

## Answer

- model: openai:gpt-4.1-mini
- images: chart

```prompt
What does this show? {{ title }}
```
"""
DRAW = """
from matplotlib.figure import Figure
chart, title = Figure(figsize=(1, 1)), "wind"
chart.subplots().plot([1, 2])
"""


@contextmanager
def asking(reply: Reply, folder: Path) -> Iterator[tuple[ModelServer, Kernel]]:
    """Give a server and a kernel whose prompts go there."""
    with (
        serving(reply) as server,
        kernel(cwd=folder, OPENAI_API_KEY="sk-of-no-one", OPENAI_BASE_URL=f"{server.base}/v1") as k,
    ):
        k.run("%load_ext flownb")
        k.run(DRAW)
        yield server, k


def test_text_comes_live_with_a_figure_of_the_notebook(tmp_path: Path) -> None:
    with asking(Reply("It goes up, and up, and ever up again.", pieces=10, wait_s=0.2), tmp_path) as (server, k):
        cell = k.start(CELL)
        k.wait_until(lambda: "It goes up" in k.heard_text(), "text while it comes")
        assert not cell.done
        out = cell.finish()
        assert out.ok
        assert "| answer | completed (15 tokens) |" in out.text
        assert k.value("run['answer']") == "'It goes up, and up, and ever up again.'"
    content: list[dict[str, Any]] = server.asked[0]["messages"][-1]["content"]
    assert content[0]["text"] == "What does this show? wind"
    assert content[1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")


def test_an_interrupt_closes_the_request(tmp_path: Path) -> None:
    with asking(Reply("slow " * 200, pieces=200, wait_s=0.1), tmp_path) as (server, k):
        cell = k.start(CELL)
        k.wait_until(lambda: "slow" in k.heard_text(), "text while it comes")
        began = time.monotonic()
        k.interrupt()
        cell.finish()
        assert time.monotonic() - began < 5
        assert server.waits_for(lambda: server.closed == 1, 5)
        assert "cancelled" in cell.text
