"""Coroutine bodies: one event loop in a thread of its own, shared by all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from contextvars import Context, ContextVar
from typing import Any, Final, Generic, TypeVar

from flownb.executors.base import GRACE, STOP_AGAIN, Answer, Returns, Stopped, returns_here
from flownb.executors.capture import capture_into
from flownb.executors.interrupt import ThreadInterrupt
from flownb.runtimes.base import Printed

T = TypeVar("T")

_job: Final[ContextVar[_Job[Any] | None]] = ContextVar("flownb_job", default=None)  # Any: jobs of all types of value.


class LoopThread:
    """An event loop in a daemon thread, started when the first coroutine comes."""

    def __init__(self, context: Context, grace: float = GRACE) -> None:
        """Prepare it; nothing is started yet.

        Args:
            context: The context variables that bodies see.
            grace: Seconds that a cancelled body is waited for; after one second its thread is interrupted.
        """
        self._context = context
        self._grace = grace
        self._lock = threading.Lock()
        self._served: _Served | None = None
        self._returns: Returns | None = None

    async def run(self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]) -> T:
        """Return what the coroutine returns; its errors are raised as `Job.result` says. Cancelling cancels it there."""
        with self._lock:
            if self._served is None or self._served.stuck:
                self._served = _Served()
            served = self._served
            self._returns = returns_here(self._returns)
            job = _Job(function, printed, self._returns, served)
        served.loop.call_soon_threadsafe(job.start, self._context.copy())
        return await job.result(self._grace)

    def close(self) -> None:
        """End the loop; tasks on it are cancelled. Does not wait for long; harmless when called twice."""
        with self._lock:
            served, self._served = self._served, None
        if served is not None:
            served.close()


class _Served:
    """A running loop and its thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_task_factory(_make_task)
        self.interrupt = ThreadInterrupt()
        self.stuck = False
        """Whether a body there did not let itself be stopped: no other is to wait for it."""
        self._ending = False
        self._thread = threading.Thread(target=self._serve, name="flownb-async", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ending = True
        with suppress(RuntimeError):  # It is closed already.
            self.loop.call_soon_threadsafe(self._cancel_all)
        if not self.stuck:
            self._thread.join(STOP_AGAIN)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self._ending:
            try:
                self.loop.run_forever()
            except BaseException:  # noqa: BLE001, S112 A task's `exit()`: it has ended that task, and must not end the others.
                continue
        try:
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def _cancel_all(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.call_soon(self.loop.call_soon, self.loop.stop)  # Two rounds: they hear of it and end.


class _Job(Generic[T]):
    """One coroutine body: made and awaited on the engine's loop, carried out on the other."""

    def __init__(
        self,
        function: Callable[[], Coroutine[object, object, T]],
        printed: Callable[[Printed], None],
        returns: Returns,
        served: _Served,
    ) -> None:
        self.served = served
        self.tasks: set[asyncio.Task[Any]] = set()  # Any: tasks that the body starts, of all types.
        self._function = function
        self._printed = printed
        self._answer: Answer[T] = Answer(returns)
        self._task: asyncio.Task[None] | None = None
        self._cancelled = False

    def start(self, context: Context) -> None:
        """Begin, on the loop's own thread."""
        if self._cancelled:
            self._answer.hand_back()
            return
        context.run(_job.set, self)
        self._task = self.served.loop.create_task(self._carry_out(), context=context)
        self._task.add_done_callback(self._finish)

    async def result(self, grace: float) -> T:
        return await self._answer.result(self._stop, self._give_up, grace)

    async def _carry_out(self) -> None:
        try:
            with capture_into(self._printed):
                self._answer.value = await self._function()
        except BaseException as error:  # noqa: BLE001 Whatever it is, it is the node's failure and not the loop's end.
            self._answer.error = error

    def _finish(self, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # Before its first step.
            self._answer.error = asyncio.CancelledError()
        for left in self.tasks:  # Nothing that a node started goes on after it.
            left.cancel()
        self._answer.hand_back()

    def _stop(self, again: bool) -> bool:  # noqa: FBT001 Handed to Answer.result.
        with suppress(RuntimeError):  # It is closed: nothing runs there any more.
            self.served.loop.call_soon_threadsafe(self._cancel)
        if again:  # It blocks the loop, or caught the cancelling.
            self.served.interrupt.stop(Stopped(), self)
        return True

    def _cancel(self) -> None:
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _give_up(self, printed: Printed) -> None:
        self.served.stuck = True
        self._printed(printed)


class _Steps(Coroutine[Any, Any, T]):  # Any: what the loop and a coroutine say to each other.
    """A coroutine of a job whose every step can be interrupted, and nothing between them."""

    def __init__(self, inner: Coroutine[Any, Any, T], job: _Job[Any]) -> None:
        self._inner = inner
        self._job = job
        self.__name__ = getattr(inner, "__name__", "coroutine")
        self.__qualname__ = getattr(inner, "__qualname__", "coroutine")

    def send(self, value: Any, /) -> Any:
        with self._job.served.interrupt.body(self._job):
            return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        with self._job.served.interrupt.body(self._job):
            return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, T]:
        return self._inner.__await__()


def _make_task(
    loop: asyncio.AbstractEventLoop, inner: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
) -> asyncio.Task[T]:
    """Make a task that belongs to the job that starts it."""
    job = _job.get() if options.get("context") is None else options["context"].get(_job)
    if job is None or not isinstance(inner, Coroutine):
        return asyncio.Task(inner, loop=loop, **options)
    task = asyncio.Task(_Steps(inner, job), loop=loop, **options)
    job.tasks.add(task)
    task.add_done_callback(job.tasks.discard)
    return task
