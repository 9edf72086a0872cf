"""Work that blocks, on a thread that a cancelled node leaves at its next step."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class Halted(Exception):  # noqa: N818 no error: the node was cancelled, and nobody sees it
    """The work was given up, since its node was cancelled."""


class Halt:
    """Tells blocking work that it is to end. Thread-safe."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Have the work end at its next step."""
        self._event.set()

    def check(self) -> None:
        """Go on, unless the work is to end.

        Raises:
            Halted: It is.
        """
        if self._event.is_set():
            raise Halted


async def halting(work: Callable[[Halt], T]) -> T:
    """Return what some work returns, done on a thread; what it raises is raised.

    Where this is cancelled, the work is told, and has ended before CancelledError goes on: nothing is written afterwards.

    Args:
        work: Blocks, and calls `check` of what it is given at least once for each megabyte.
    """
    halt = Halt()
    task = asyncio.ensure_future(asyncio.to_thread(work, halt))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        halt.set()
        while not task.done():
            with suppress(asyncio.CancelledError):  # A second one does not make the thread end any sooner.
                await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # Looked at, so that nobody reports it.
        raise
