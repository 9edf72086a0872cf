"""Measure `read` and `write` against the library's own call: `python -m tests.benchmarks.files [--megabytes N] [--repeat N] [--peak]`.

The library and the runtime take turns in one process; a ratio is the median of those of each turn. What is written by the library
is synced too: a node's file is on the disk when the node is done. `--peak` measures peak memory, each in a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import gc
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import pandas as pd

from flownb.model.file_nodes import ReadNode, WriteNode
from flownb.runtimes.files.read import ReadRuntime
from flownb.runtimes.files.write import WriteRuntime
from tests.nodes import node_of, run_node, scope_of

_ROW_BYTES: Final = 50
"""Of a row of the frame as CSV, about."""
_PARQUET_BYTES: Final = 22
_PEAK: Final = """
import sys
from pathlib import Path
import pandas, pyarrow.parquet
from tests.benchmarks.files import CASES
def peak_kib():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak_kib()
value = CASES[sys.argv[2]][int(sys.argv[3])](Path(sys.argv[1]), None)
print((peak_kib() - before) // 1024)
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


def measure(folder: Path, megabytes: int, repeat: int, names: Iterable[str]) -> None:
    """Print a line for each case: seconds of the library and of the node, and their ratio."""
    size = megabytes * 1_000_000
    values: dict[str, Any] = {
        "": None,
        "frame": frame_of(size // _ROW_BYTES),
        "large frame": frame_of(size // _PARQUET_BYTES),
        "lines": lines_of(size),
    }
    values["rows"] = values["frame"].to_dict("records")
    values["frame"].to_csv(folder / "a.csv", index=False)
    values["large frame"].to_parquet(folder / "a.parquet")
    (folder / "a.txt").write_text("\n".join(values["lines"]) + "\n")
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:.0f} MB" for path in sorted(folder.iterdir()))
    print(sizes)
    for name in names:
        own, node, wanted = CASES[name]
        times: list[tuple[float, float]] = []
        for turn in range(repeat):
            pair = {}
            for which in (own, node) if turn % 2 else (node, own):
                gc.collect()
                began = perf_counter()
                made = which(folder, values[wanted])
                pair[which] = perf_counter() - began
                del made
            times.append((pair[own], pair[node]))
        ratio = statistics.median(node / own for own, node in times)
        middle = [statistics.median(each) for each in zip(*times, strict=True)]
        print(f"{name:24} own {middle[0]:6.2f} s   node {middle[1]:6.2f} s   ratio {ratio:.2f}", flush=True)


def peaks(folder: Path, megabytes: int) -> None:
    """Print peak memory beyond what the imports took, of the library's own call and of the node."""
    lines, frame = lines_of(megabytes * 1_000_000), frame_of(megabytes * 1_000_000 // _PARQUET_BYTES)
    (folder / "a.txt").write_text("\n".join(lines) + "\n")
    frame.to_parquet(folder / "a.parquet")
    del lines, frame
    for name in ("read lines", "read parquet"):
        taken = [
            int(
                subprocess.run(
                    [sys.executable, "-c", _PEAK, folder, name, str(which)], capture_output=True, text=True, check=True
                ).stdout
            )
            for which in (0, 1)
        ]
        file = folder / ("a.txt" if "lines" in name else "a.parquet")
        print(
            f"{name:24} file {file.stat().st_size / 2**20:.0f} MiB   own peak {taken[0]} MiB   node peak {taken[1]} MiB"
        )


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--peak", action="store_true")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if arguments.peak:
            peaks(Path(name), arguments.megabytes)
        else:
            measure(
                Path(name), arguments.megabytes, arguments.repeat, [case for case in CASES if arguments.only in case]
            )


if __name__ == "__main__":
    main()
