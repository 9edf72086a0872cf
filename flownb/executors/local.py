"""Bodies in this process: on the notebook's own thread, or on threads of their own."""

from __future__ import annotations

import queue
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Final, TypeVar

from flownb.executors.base import GRACE, Interrupts, Job, Returns, returns_here
from flownb.executors.coroutine import LoopThread
from flownb.executors.interrupt import ThreadInterrupt
from flownb.executors.pool import Pool, Task
from flownb.runtimes.base import Printed

T = TypeVar("T")

IDLE: Final = 10.0
"""Seconds after which a thread that nobody needs ends."""


class MainQueue:
    """Lets a thread serve calls that others post to it: what a plain Python program's main thread does while a run goes on."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made by the thread that serves, after those posted before; thread-safe."""
        self._calls.put(call)

    def wake(self) -> None:
        """Make `serve` look at its condition; thread-safe."""
        self._calls.put(None)

    def serve(self, until: Callable[[], bool]) -> None:
        """Make calls on this thread until `until()` is true; blocks.

        The condition is looked at first, after each call, and when `wake` says so. What a call raises is raised;
        calls that are left over wait for the next `serve`.
        """
        while not until():
            call = self._calls.get()
            if call is not None:
                call()


class MainExecutor:
    """Runs bodies one at a time, in order, on the thread that serves `post`: the notebook's own."""

    def __init__(
        self, post: Callable[[Callable[[], None]], None], interrupts: Interrupts, grace: float = GRACE
    ) -> None:
        """Say how a call gets to the thread.

        Args:
            post: Thread-safe; makes the call on the thread, in order. Another may take its place at any time.
            interrupts: Stops bodies on that thread; entered there while it serves.
            grace: Seconds that a stopped body is waited for.
        """
        self.post = post
        """How a call gets to the thread; may be replaced at any time."""
        self.interrupts = interrupts
        """What stops bodies there; may be replaced while none runs."""
        self._grace = grace
        self._returns: Returns | None = None
        self._loop_thread = LoopThread(copy_context(), grace)

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        """Return what the function returns on the thread; cancelling drops or stops it, as `Job.result` says."""
        self._returns = returns_here(self._returns)
        job = Job(function, printed, self._returns)

        def make() -> None:
            job.perform(self.interrupts)
            job.hand_back()

        self.post(make)
        return await job.result(self._grace)

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        """Do the same for a coroutine function, on a loop in a thread of its own."""
        return await self._loop_thread.run(function, printed)

    def close(self) -> None:
        """End the loop for coroutines, if there is one."""
        self._loop_thread.close()


class ThreadExecutor:
    """Runs each body on a thread of its own; threads are kept a while for the next ones."""

    def __init__(self, grace: float = GRACE, idle: float = IDLE) -> None:
        """Begin without threads. Bodies see the context variables that are set here and now.

        Args:
            grace: Seconds that a stopped body is waited for.
            idle: Seconds after which a thread that nobody needs ends.
        """
        self._context = copy_context()
        self._grace = grace
        self._pool = Pool(lambda _name: _InContext(self._context), "flownb-body", idle)
        self._returns: Returns | None = None
        self._loop_thread = LoopThread(self._context, grace)

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        """Return what the function returns on a thread; cancelling stops it, as `Job.result` says.

        A thread in C code, as in `time.sleep`, stops when that ends; after the grace it is left to itself.
        """
        self._returns = returns_here(self._returns)
        job = Job(function, printed, self._returns)
        self._pool.take().jobs.put(job)
        return await job.result(self._grace)

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        """Do the same for a coroutine function, on a loop in a thread of its own."""
        return await self._loop_thread.run(function, printed)

    def close(self) -> None:
        """End the threads that are idle; the others end with their bodies."""
        for thread in self._pool.close():
            thread.jobs.put(None)
        self._loop_thread.close()


class _InContext:
    """Carries out jobs on its thread, each in a copy of one context."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._interrupt = ThreadInterrupt()

    def perform(self, job: Task) -> bool:
        self._context.copy().run(job.perform, self._interrupt)
        return True

    def end(self) -> None:
        """Hold nothing to let go of."""
