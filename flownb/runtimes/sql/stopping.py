"""A query on a thread that really stops when its node is cancelled: its driver is told so, again and again until it has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock, Thread
from typing import Final, TypeVar

T = TypeVar("T")

AGAIN: Final = 0.1
"""Seconds until a query that goes on is stopped again: one that had not begun yet was not stopped."""
GRACE: Final = 10.0
"""Seconds that a query that was stopped is waited for."""


class QueryStoppedError(Exception):
    """The node was cancelled: nothing of its query may be kept."""


class Stopper:
    """What stops a query under way. Thread-safe."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._lock = Lock()
        self._stop: Callable[[], object] | None = None
        self._is_stopped = False

    @property
    def is_armed(self) -> bool:
        """Whether something is under way that can be stopped."""
        return self._stop is not None

    @contextmanager
    def armed(self, stop: Callable[[], object] | None) -> Iterator[None]:
        """Let a query be stopped while the context lasts; it does not end while it is being stopped.

        Args:
            stop: Stops it, from any thread; None: nothing can.

        Raises:
            QueryStoppedError: It was stopped before it began.
        """
        with self._lock:
            self._check()
            self._stop = stop
        try:
            yield
        finally:
            with self._lock:
                self._stop = None

    def check(self) -> None:
        """Raise QueryStoppedError where it was stopped: what was done is not to be committed."""
        with self._lock:
            self._check()

    def stop(self) -> None:
        """Stop what is under way and what is still to come; blocks while the driver is told."""
        with self._lock:
            self._is_stopped = True
            if self._stop is not None:
                with suppress(
                    Exception
                ):  # The query may end by itself in this very moment, and drivers differ in what they say.
                    self._stop()

    def _check(self) -> None:
        if self._is_stopped:
            raise QueryStoppedError


def in_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Return the outcome of a function that is called on a thread of its own, which keeps no process alive."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(value)  # type: ignore[arg-type]  # It is the function's.
        else:
            future.set_exception(error)

    def work() -> None:
        value, failed = None, None
        try:
            value = function()
        except BaseException as error:  # noqa: BLE001 Whatever it is, it is the node's failure.
            failed = error
        with suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            loop.call_soon_threadsafe(settle, value, failed)

    Thread(target=work, daemon=True, name="flownb-sql").start()
    return future


async def stoppable(working: Awaitable[T], stopper: Stopper) -> T:
    """Return what a query comes to. Cancelled, it stops the query and waits until it has ended; once more, it waits no longer.

    Args:
        working: The query under way.
        stopper: Stops it. What it cannot stop, as a connection that is being made, is not waited for: what that comes to is dropped.
    """
    task = asyncio.ensure_future(working)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.add_done_callback(_looked_at)
        deadline = asyncio.get_running_loop().time() + GRACE
        await asyncio.to_thread(stopper.stop)
        while not task.done() and stopper.is_armed and asyncio.get_running_loop().time() < deadline:
            await asyncio.wait([task], timeout=AGAIN)
            await asyncio.to_thread(stopper.stop)
        await asyncio.wait([task], timeout=AGAIN)
        task.cancel()
        raise


def _looked_at(task: asyncio.Future[T]) -> None:
    """Take note of an error that nobody waits for any more, or asyncio would print it."""
    if not task.cancelled():
        task.exception()
