"""What no durable engine can be faster than: plain asyncio and one appended, synced line of 300 bytes a node."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import perf_counter
from typing import Final

LINE: Final = b"x" * 299 + b"\n"
"""What is written for each node."""


async def _one_more(value: int) -> int:
    await asyncio.sleep(0)
    return value + 1


async def _chain(file: int, count: int) -> None:
    value = 0
    for _ in range(count):
        value = await asyncio.create_task(_one_more(value))
        os.write(file, LINE)
        os.fsync(file)
    assert value == count, "every node has run"


async def _fan_out(file: int, count: int) -> None:
    values = await asyncio.gather(*(_one_more(number) for number in range(count)))
    os.write(file, LINE * len(values))
    os.fsync(file)


def chain_s(folder: Path, count: int) -> float:
    """Return the seconds that a chain takes: each node's line is synced before the next begins."""
    return _timed(folder, count, together=False)


def fan_out_s(folder: Path, count: int) -> float:
    """Return the seconds that nodes take which end together: one sync for all their lines."""
    return _timed(folder, count, together=True)


def _timed(folder: Path, count: int, *, together: bool) -> float:
    file = os.open(folder / "limit", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    began = perf_counter()
    asyncio.run(_fan_out(file, count) if together else _chain(file, count))
    took = perf_counter() - began
    os.close(file)
    (folder / "limit").unlink()
    return took
