"""Measure `read` and `write` against the library's own call: `python -m tests.benchmarks.files [--megabytes N] [--repeat N] [--only NAME]`.

The library and the node take turns, each call in a process of its own; the ratio is the median of those of the turns. What the library
writes is synced too: a node's file is on the disk when the node is done. Peak memory is what a call took beyond what was there before.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from flownb.model.file_nodes import ReadNode, WriteNode
from flownb.runtimes.files.read import ReadRuntime
from flownb.runtimes.files.write import WriteRuntime
from tests.nodes import node_of, run_node, scope_of

_ROW_BYTES: Final = 50
"""Of a row of the frame as CSV, about."""
_PARQUET_BYTES: Final = 22
_APART: Final = """
import gc, pickle, sys
from pathlib import Path
from time import perf_counter, process_time
import pandas, pyarrow.dataset, pyarrow.parquet
from tests.benchmarks.files import CASES, values_of
def peak_mib():  # Not getrusage: that begins with the peak of the process that started this one.
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024
folder, name, which, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
value = values_of(CASES[name][2], size)
gc.collect()
before, began, worked = peak_mib(), perf_counter(), process_time()
made = CASES[name][which](folder, value)
print(perf_counter() - began, process_time() - worked, peak_mib() - before)
"""


def frame_of(rows: int) -> pd.DataFrame:
    """Return numbers, fractions and texts."""
    numbers = pd.Series(range(rows))
    return pd.DataFrame(
        {
            "id": numbers,
            "x": (numbers * 0.1).round(6),
            "y": numbers * 7 % 1001,
            "name": "customer " + (numbers % 50_021).astype("str"),
        }
    )


def lines_of(size: int) -> list[str]:
    """Return lines of text, in all of about that size in bytes."""
    return [f"{number} the quick brown fox jumps over the lazy dog" for number in range(size // 52)]


def _read(name: str, **fields: Any) -> Callable[[Path, Any], object]:
    return lambda folder, _: run_node(ReadRuntime(), node_of(ReadNode, path=name, **fields), scope_of(folder=folder))


def _write(name: str, **fields: Any) -> Callable[[Path, Any], object]:
    node = node_of(WriteNode, path=f"new-{name}", value="x", **fields)
    return lambda folder, value: run_node(WriteRuntime(), node, scope_of({"x": value}, folder=folder))


def _own_lines(folder: Path, _: Any) -> object:
    with (folder / "a.txt").open() as file:
        return file.read().splitlines()


def _own_rows(folder: Path, _: Any) -> object:
    with (folder / "a.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _synced(path: Path, write: Callable[[Any], object], mode: str = "w") -> None:
    with path.open(mode) as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())


def _own_write_rows(folder: Path, rows: Any) -> None:
    def write(file: Any) -> None:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)

    _synced(folder / "own.csv", write)


def _own_write_lines(folder: Path, lines: Any) -> None:
    _synced(folder / "own.txt", lambda file: file.write("\n".join(lines) + "\n"))


CASES: Final[Mapping[str, tuple[Callable[[Path, Any], object], Callable[[Path, Any], object], str]]] = {
    "read csv as rows": (_own_rows, _read("a.csv"), ""),
    "read csv as dataframe": (lambda folder, _: pd.read_csv(folder / "a.csv"), _read("a.csv", output="dataframe"), ""),
    "read parquet": (lambda folder, _: pd.read_parquet(folder / "a.parquet"), _read("a.parquet"), ""),
    "read lines": (_own_lines, _read("a.txt", format="lines"), ""),
    "write csv of rows": (_own_write_rows, _write("a.csv"), "rows"),
    "write csv of dataframe": (
        lambda folder, frame: _synced(folder / "own.csv", lambda file: frame.to_csv(file, index=False)),
        _write("a.csv"),
        "frame",
    ),
    "write parquet": (
        lambda folder, frame: _synced(folder / "own.parquet", frame.to_parquet, "wb"),
        _write("a.parquet"),
        "large frame",
    ),
    "write lines": (_own_write_lines, _write("a.txt", format="lines"), "lines"),
}
"""What is measured → the library's own call, the node, and which value is written."""


def values_of(name: str, size: int) -> Any:  # What is written: of any type.
    """Return a value that makes a file of about so many bytes."""
    match name:
        case "frame":
            return frame_of(size // _ROW_BYTES)
        case "large frame":
            return frame_of(size // _PARQUET_BYTES)
        case "rows":
            return frame_of(size // _ROW_BYTES).to_dict("records")
        case "lines":
            return lines_of(size)
        case _:
            return None


def measure(folder: Path, megabytes: int, repeat: int, names: Iterable[str]) -> None:
    """Print a line for each case: seconds, seconds of the processors and peak memory of library and node, and ratios."""
    size = megabytes * 1_000_000
    values_of("frame", size).to_csv(folder / "a.csv", index=False)
    values_of("large frame", size).to_parquet(folder / "a.parquet")
    (folder / "a.txt").write_text("\n".join(lines_of(size)) + "\n")
    print(", ".join(f"{path.name} {path.stat().st_size / 1e6:.0f} MB" for path in sorted(folder.iterdir())))
    for name in names:
        turns = [(_apart(folder, name, 0, size), _apart(folder, name, 1, size)) for _ in range(repeat)]
        ratios = [statistics.median(node[part] / own[part] for own, node in turns) for part in (0, 1)]
        own, node = ([statistics.median(each) for each in zip(*side, strict=True)] for side in zip(*turns, strict=True))
        shown = "   ".join(
            f"{who} {s:6.2f} s {cpu:6.2f} s CPU {mib:5.0f} MiB" for who, (s, cpu, mib) in (("own", own), ("node", node))
        )
        print(f"{name:24} {shown}   ratio {ratios[0]:.2f}, of CPU {ratios[1]:.2f}", flush=True)


def _apart(folder: Path, name: str, which: int, size: int) -> tuple[float, float, float]:
    """Return seconds, seconds of the processors and MiB of one call, in a process of its own."""
    command = [sys.executable, "-c", _APART, str(folder), name, str(which), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, cpu, peak = map(float, done.stdout.split())
    return seconds, cpu, peak


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), arguments.megabytes, arguments.repeat, [case for case in CASES if arguments.only in case])


if __name__ == "__main__":
    main()
