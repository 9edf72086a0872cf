"""Measures in processes of their own: peak memory, and what an import costs."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_ITEMS: Final = """
import json, sys, tempfile
from pathlib import Path
from tests.benchmarks.documents import items
from tests.benchmarks.measure import run_once
import flownb
flownb.run
count = int(sys.argv[1])
def peak_kib():  # Not getrusage: that begins with the peak of the process that started this one.
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
with tempfile.TemporaryDirectory(dir=sys.argv[2]) as folder:
    run_once(items(10), Path(folder), lambda run: True)
    before = peak_kib()
    cost = run_once(items(count), Path(folder), lambda run: run["each"] == list(range(1, count + 1)))
    after = peak_kib()
print(json.dumps([cost.seconds, cost.size_bytes, before, after]))
"""
_IMPORT: Final = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


@dataclass(frozen=True, slots=True)
class ItemsCost:
    """What one `foreach` cost in a process of its own."""

    seconds: float
    """The whole run."""
    size_bytes: int
    """All that is in the run's folders afterwards."""
    memory_before_mib: float
    """Peak memory of the process after a small run."""
    memory_mib: float
    """Its peak memory after this one."""


def items_cost(count: int, folder: Path) -> ItemsCost:
    """Run a `foreach` of so many items in a new process."""
    seconds, size, before, after = json.loads(_python(_ITEMS, str(count), str(folder)))
    return ItemsCost(seconds, size, before / 1024, after / 1024)


def import_s(statement: str, repetitions: int) -> float:
    """Return the median seconds that a statement takes in a new process."""
    return statistics.median(float(_python(_IMPORT.format(statement))) for _ in range(repetitions))


def _python(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout
