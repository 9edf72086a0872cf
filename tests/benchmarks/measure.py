"""Times one thing in this process: a run, a parse."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import flownb
from flownb.api import plan


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run cost."""

    seconds: float
    """From the call of `flownb.run` to its return; parsing is not in it."""
    size_bytes: int
    """All that is in the run's folders afterwards."""


def run_once(text: str, folder: Path, check: Callable[[flownb.Run], bool]) -> Cost:
    """Run a document in an empty state folder and return what it cost.

    Args:
        text: The document.
        folder: Where the state folder is made; it is removed afterwards.
        check: Whether the run did what it should: a fast wrong run is not measured.
    """
    workflow = flownb.parse(text)
    state = folder / "state"
    gc.collect()
    began = perf_counter()
    run = flownb.run(workflow, state_dir=state)
    took = perf_counter() - began
    if run.status != "completed" or not check(run):
        raise AssertionError(f"the benchmark itself went wrong: {run.status} {run.errors[:1]}")
    size = sum(path.stat().st_size for path in state.rglob("*") if path.is_file())
    shutil.rmtree(state)
    return Cost(took, size)


def parse_s(text: str) -> float:
    """Return the seconds from a text to the plan of its nodes."""
    gc.collect()
    began = perf_counter()
    plan(flownb.parse(text))
    return perf_counter() - began
