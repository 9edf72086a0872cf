"""What it costs to store 100 MB of numbers, against the library's own write of the same bytes and a sync.

Run it with `python -m tests.benchmarks.artifacts [FOLDER]`. Goals (issue 8): at most 1.2 times as long; hashing at most a
tenth of writing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import BinaryIO, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from flownb.artifacts.encode import encode
from flownb.artifacts.parquet import PACKING
from flownb.store.artifacts import ArtifactStore

SIZE_BYTES: Final = 100_000_000
ROUNDS: Final = 15
MOST_TIMES: Final = 1.2


def _synced(path: Path, write: Callable[[Path], None]) -> None:
    write(path)
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def _seconds(work: Callable[[Path], None], folder: Path, number: int) -> float:
    made = folder / f"{number}"
    made.mkdir()
    os.sync()  # What was written before is not part of what is measured.
    began = perf_counter()
    work(made)
    took = perf_counter() - began
    for path in made.rglob("*"):
        if path.is_file():
            path.unlink()
    return took


def measure(name: str, value: object, write: Callable[[Path], None], folder: Path) -> float:
    """Print what storing a value costs, and return how many times the library's own write that is.

    Args:
        name: What it is.
        value: The value.
        write: The library's own write of it to a path.
        folder: An empty folder on the disk that is measured.
    """

    def ours(made: Path) -> None:
        encode(value, ArtifactStore(made / "artifacts").put, None)

    def theirs(made: Path) -> None:
        _synced(made / "file", write)

    pairs = [(_seconds(ours, folder, 2 * number), _seconds(theirs, folder, 2 * number + 1)) for number in range(ROUNDS)]
    # The fastest: what else the machine does only adds.
    stored, written = (min(one[place] for one in pairs) for place in (0, 1))
    times = stored / written
    print(f"{name:28} {stored * 1000:7.0f} ms, by the library {written * 1000:7.0f} ms: {times:.2f} times")
    return times


def hashing(folder: Path) -> None:
    """Print what hashing costs by itself, and what of that is seen when it is done beside the writing."""
    data = np.random.default_rng(0).random(SIZE_BYTES // 8).tobytes()

    def writing(made: Path) -> None:
        _synced(made / "file", lambda path: _save_bytes(path, data))

    def storing(made: Path) -> None:
        ArtifactStore(made).put("bin", lambda file: _feed(file, data))

    began = perf_counter()
    hashlib.sha256(data).hexdigest()
    alone = perf_counter() - began
    pairs = [(_seconds(writing, folder, 2 * n), _seconds(storing, folder, 2 * n + 1)) for n in range(ROUNDS)]
    written, stored = (min(one[place] for one in pairs) for place in (0, 1))
    more = (stored - written) / written
    print(
        f"hashing 100 MB alone {alone * 1000:.0f} ms; writing {written * 1000:.0f} ms, with hashing {stored * 1000:.0f} ms: {more:+.0%}"
    )


def main() -> int:
    """Measure both, and return 0 where the goal is met."""
    values = np.random.default_rng(0).random(SIZE_BYTES // 8)
    frame = pd.DataFrame(values.reshape(-1, 10), columns=[f"c{number}" for number in range(10)])

    def parquet(path: Path) -> None:
        table = pa.Table.from_pandas(frame)
        pq.write_table(table, path, compression=PACKING, use_dictionary=False, write_statistics=False)

    with TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        for name in ("array", "frame", "plain", "bytes"):
            (Path(folder) / name).mkdir()
        times = [
            measure("array of float64", values, lambda path: _save(path, values), Path(folder) / "array"),
            measure("frame of float64", frame, parquet, Path(folder) / "frame"),
        ]
        measure("frame, to_parquet() as it is", frame, frame.to_parquet, Path(folder) / "plain")
        hashing(Path(folder) / "bytes")
    return 0 if max(times) <= MOST_TIMES else 1


def _save_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _feed(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _save(path: Path, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> None:
    with path.open("wb") as file:
        np.save(file, values)


if __name__ == "__main__":
    sys.exit(main())
