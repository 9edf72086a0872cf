"""An event loop that makes ready callbacks in an order that a seed chooses, on a clock that only says what it is waited for.

Nothing in it is left to the machine: what is put on a thread is done at once, tasks sort by when they were made, and where nothing
is ready the clock goes on to the next timer. Real threads, as the executors', do not belong on it: `Here` carries bodies out in it.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, TypeVar

from flownb.runtimes.base import Printed

T = TypeVar("T")


class NumberedTask(asyncio.Task[Any]):  # Any: tasks of all types
    """A task whose place in a set does not depend on where it lies in memory."""

    number = 0

    def __hash__(self) -> int:
        return self.number

    def __eq__(self, other: object) -> bool:
        return self is other


class ShuffledLoop(asyncio.SelectorEventLoop):
    """The loop of one seed."""

    _ready: deque[asyncio.Handle]
    _scheduled: list[asyncio.TimerHandle]
    _stopping: bool

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._dice = random.Random(seed)  # noqa: S311 chance, no secret
        self._now = 0.0
        self._numbers = count(1)
        self.set_task_factory(self._make_task)  # type: ignore[arg-type] # typeshed wants the generic one

    def time(self) -> float:
        return self._now

    def run_in_executor(self, _executor: Any, function: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:  # type: ignore[override]
        made: asyncio.Future[T] = self.create_future()
        try:
            made.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001 as a thread would hand it over
            made.set_exception(error)
        return made

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, inner: Coroutine[Any, Any, T], **options: Any
    ) -> NumberedTask:
        task = NumberedTask(inner, loop=loop, **options)
        task.number = next(self._numbers)
        return task

    def _run_once(self) -> None:
        due = [timer.when() for timer in self._scheduled if not timer.cancelled()]
        if not self._ready:
            assert due or self._stopping, "everything waits for what never comes"
            self._now = max(self._now, min(due, default=0.0))
        ready = list(self._ready)
        self._dice.shuffle(ready)
        self._ready.clear()
        self._ready.extend(ready)
        super()._run_once()  # type: ignore[misc] # asyncio's own turn, the same from 3.11 to 3.13


if sys.version_info >= (3, 14):
    raise RuntimeError("look whether `_run_once` still takes `_ready` and `_scheduled`")


class Here:
    """Carries bodies out on the engine's own loop, those that await between its other work."""

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        await asyncio.sleep(0)
        return function()

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        return await function()

    def close(self) -> None:
        """Hold nothing to let go of."""
