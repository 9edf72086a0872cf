"""What runs leave behind in a real kernel: nothing, once they have ended and nobody holds them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.harness import Kernel, kernel

PRELUDE = """
import gc, sys
from comm import get_comm_manager
from ipywidgets import Widget

def count():
    "How many widgets are open, and how many MB of big texts and bytes Python holds."
    import resource
    big = [o for o in gc.get_objects() if type(o).__name__ == "Big"]
    return len(get_comm_manager().comms), len(big)

class Big:
    "5 MB that are no JSON."
    def __init__(self): self.data = bytearray(b"x") * 5_000_000

def rss_mb():
    "Memory in use, without what is free and was not given back yet: how much that is depends on how threads took turns."
    import ctypes
    ctypes.CDLL(None).malloc_trim(0)
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
"""
MADE = "## Made\n```python\n'x' * 5_000_000\n```\n## Object\n```python\nBig()\n```\n"
ASK = '## Ask\n- show: ["made[:10]"]\n- input: {note: str, day: date}\n```checkpoint\nGo on?\n```\n'


@pytest.fixture
def k(tmp_path: Path) -> Iterator[Kernel]:
    with kernel(cwd=tmp_path) as started:
        assert started.run("%load_ext flownb").ok
        assert started.run(PRELUDE).ok
        yield started


@pytest.mark.parametrize("way", ["value", "variable", "failing"])
def test_fifty_runs_leave_no_more_in_memory_than_one(k: Kernel, way: str) -> None:
    cell = f"%%flow {'-o run' if way == 'variable' else ''}\n{MADE}" + (
        "## No\n```python\n1 / 0\n```\n" * (way == "failing")
    )
    k.run("gc.disable()")  # What only the collector would free is not free.
    for _ in range(3):
        k.run(cell)
    before = float(k.value("rss_mb()"))
    for _ in range(50):
        assert k.run(cell).ok is (way != "failing")
    # The thread of the last run lets go of it a moment after the cell has ended.
    k.wait_until(lambda: k.value("count()[1]") in ("1", "2"), "all but the last runs to be gone")
    # Of 500 MB that 50 runs have, most are given back where no run is kept; that may take a moment.
    k.wait_until(
        lambda: float(k.value("rss_mb()")) - before < 150, "the memory of all but the last runs to be given back"
    )
    kept = "len(get_ipython().find_line_magic('flow_runs').__self__.commands.begun._runs)"
    k.wait_until(lambda: k.value(kept) == "1", "all but the last runs to be forgotten")


def test_a_run_that_somebody_holds_keeps_its_values_and_the_others_read_their_state(k: Kernel) -> None:
    k.run(f"%%flow\n{MADE}")
    first = k.value("max(Out)")
    k.run(f"%%flow\n{MADE}")
    k.run("mine = _")
    for _ in range(3):
        k.run(f"%%flow\n{MADE}")
    assert k.value("(type(mine['object']).__name__, len(mine['made']))") == "('Big', 5000000)"
    assert k.value(f"(len(Out[{first}]['made']), Out[{first}].status, Out[{first}] is _{first})") == (
        "(5000000, <RunStatus.COMPLETED: 'completed'>, True)"
    )
    gone = k.run(f"Out[{first}]['object']")
    assert gone.error is not None
    assert "is not kept" in gone.text
    assert k.value("type(_['object']).__name__") == "'Big'", "the last one is whole"


@pytest.mark.parametrize("way", ["--wait", "--until-asked", "--no-wait"])
def test_a_cards_widgets_are_closed_with_their_layouts_and_styles(k: Kernel, way: str) -> None:
    def once() -> tuple[int, int]:
        cell = k.start(f"%%flow {way}\n{MADE}{ASK}## Twice\n```checkpoint\nReally?\n```\n")
        k.type("note", "x")
        k.click("Approve")
        k.wait_until(lambda: any("Really?" in str(w.state.get("outputs")) for w in k.shown()), "the second card")
        k.click("Approve")
        k.wait_until(lambda: any("## Execution Log" in text for text in cell.markdown), "the log")
        cell.finish()
        opened, big = json.loads(k.value("count()").replace("(", "[").replace(")", "]"))
        return opened, big

    for _ in range(5):  # Where both answers came before the cell returned there is no box.
        assert once()[0] <= 6, "at most the box of the last run is open, with the text in it"
    assert k.run("%unload_ext flownb").ok
    assert k.value("count()[0]") == "0"


def test_unloading_leaves_nothing_of_flownb_in_the_shell(k: Kernel) -> None:
    k.run(f"%%flow\n{MADE}")
    k.run("Out.clear(); _ = __ = ___ = None")
    assert k.run("%unload_ext flownb").ok
    k.run("gc.collect()")
    left = "[type(o).__name__ for o in gc.get_objects() if type(o).__name__ in ('FlowMagics', 'Commands', 'Flow', 'Begun')]"
    assert k.value(left) == "[]"
    assert k.value("[c for c in get_ipython().configurables if 'Flow' in type(c).__name__]") == "[]"
