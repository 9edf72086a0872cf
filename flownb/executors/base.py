"""Where a person's Python runs: the jobs that go there and come back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Final, Generic, Protocol, TypeVar

from flownb.errors import NodeError
from flownb.executors.capture import capture_into
from flownb.runtimes.base import Caller, Printed

T = TypeVar("T")

GRACE: Final = 5.0
"""Seconds that a body which was told to stop is waited for."""
STOP_AGAIN: Final = 1.0
"""Seconds after which one that goes on all the same is told again."""


class Executor(Caller, Protocol):
    """Runs bodies in one kind of place: a Caller that can be closed."""

    def close(self) -> None:
        """Let go of threads and processes; bodies still running are not waited for. Harmless when called twice."""
        ...


class Interrupts(Protocol):
    """Stops what runs on one thread: MainInterrupts or ThreadInterrupt."""

    def body(self, key: object = None) -> AbstractContextManager[None]:
        """Return a context in which `stop` raises."""
        ...

    def stop(self, error: BaseException, key: object = None) -> None:
        """Raise `error` inside the body named `key`; thread-safe; does nothing if it does not run."""
        ...


class Stopped(BaseException):
    """Raised inside a body that must end: its node was cancelled or took too long. Passes `except Exception`."""


class Returns:
    """The way back from the bodies' threads to one event loop: however many bodies end, it is woken once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Return to this loop."""
        self.loop = loop
        self._ended: deque[Callable[[], None]] = deque()
        self._scheduled = False

    def put(self, settle: Callable[[], None]) -> None:
        """Have `settle` called on the loop's thread; thread-safe. Does nothing where the loop is closed."""
        self._ended.append(settle)
        if self._scheduled:
            return
        self._scheduled = True
        try:
            self.loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # The loop is closed: nobody waits for this any more.
            self._ended.clear()

    def _drain(self) -> None:
        self._scheduled = False  # First: what is put from now on is either seen below or schedules again.
        while self._ended:
            self._ended.popleft()()


def returns_here(known: Returns | None) -> Returns:
    """Return the way back to the loop that runs here: the known one, if it is that loop's."""
    loop = asyncio.get_running_loop()
    return known if known is not None and known.loop is loop else Returns(loop)


class Answer(Generic[T]):
    """What a body on another thread returned or raised, for the task that waits for it."""

    def __init__(self, returns: Returns) -> None:
        """Begin without one; on the loop's own thread."""
        self.value: T | None = None
        """What it returned; set before `hand_back`."""
        self.error: BaseException | None = None
        """What it raised; None: nothing."""
        self._returns = returns
        self._arrived = False
        self._waiter: asyncio.Future[None] = returns.loop.create_future()

    def hand_back(self) -> None:
        """Let the loop know that the body has ended; thread-safe."""
        self._returns.put(self._arrive)

    async def result(self, stop: Callable[[bool], bool], printed: Callable[[Printed], None], grace: float) -> T:
        """Wait for the answer and return its value.

        When this is cancelled, the body is stopped and waited for, at most `grace` seconds; more cancelling changes nothing.

        Args:
            stop: Makes the body end and returns True, or returns False where it never began. Called with False first,
                and with True every second that it goes on all the same.
            printed: Hears of it when the body did not end.
            grace: Seconds.

        Raises:
            Exception: What the body raised; NodeError for what is no Exception, as SystemExit.
        """
        try:
            await self._waiter
        except asyncio.CancelledError:
            if not await self._end(stop, grace):
                text = f"flownb: the body did not stop within {grace:g} s; it goes on, and what it returns is dropped\n"
                printed(Printed("stderr", text))
            raise
        if self.error is not None:
            try:
                raise as_failure(self.error)
            finally:
                self.error = None  # A traceback that holds this frame, which holds the error, is a circle.
        return self.value  # type: ignore[return-value]  # It was set, for nothing was raised.

    def _arrive(self) -> None:
        self._arrived = True
        if not self._waiter.done():
            self._waiter.set_result(None)

    async def _end(self, stop: Callable[[bool], bool], grace: float) -> bool:
        time = self._returns.loop.time
        deadline = time() + grace
        again = False
        while time() < deadline:
            if not stop(again) or await self._arrives_by(min(deadline, time() + STOP_AGAIN)):
                return True
            again = True
        return False

    async def _arrives_by(self, moment: float) -> bool:
        loop = self._returns.loop
        self._waiter = loop.create_future()
        while not self._arrived and (left := moment - loop.time()) > 0:
            with suppress(asyncio.CancelledError):
                await asyncio.wait({self._waiter}, timeout=left)
        return self._arrived


class Job(Generic[T]):
    """One body on its way to a thread and back: made and awaited on the loop, performed on the thread."""

    def __init__(self, function: Callable[[], T], printed: Callable[[Printed], None], returns: Returns) -> None:
        """Prepare the job of calling `function`, whose output goes to `printed`."""
        self._function = function
        self._printed = printed
        self._answer: Answer[T] = Answer(returns)
        self._tickets = [True]
        """Whoever takes the one ticket out decides what becomes of the job: performed or dropped."""
        self._interrupts: Interrupts | None = None
        self._stopping = False

    def perform(self, interrupts: Interrupts) -> None:
        """Run the function on this thread unless it was dropped; raises nothing. `hand_back` must follow."""
        if not self._take():
            return
        self._interrupts = interrupts
        try:
            with capture_into(self._printed), interrupts.body(self):
                if self._stopping:  # It came before the body could be reached.
                    raise Stopped  # noqa: TRY301 As if `stop` had raised it.
                self._answer.value = self._function()
        except BaseException as error:  # noqa: BLE001 Whatever it is, it is the node's failure and not the thread's end.
            self._answer.error = error

    def hand_back(self) -> None:
        """Let the loop know that `perform` is done."""
        self._answer.hand_back()

    async def result(self, grace: float = GRACE) -> T:
        """Wait for the job and return what the function returned; raises as `Answer.result` does.

        Cancelling drops a job that was not begun, and stops one that runs and waits for its end.
        """
        return await self._answer.result(self._stop, self._printed, grace)

    def _take(self) -> bool:
        try:
            return self._tickets.pop()
        except IndexError:
            return False

    def _stop(self, again: bool) -> bool:  # noqa: FBT001 Handed to Answer.result.
        if not again and self._take():
            return False
        self._stopping = True
        if self._interrupts is not None:
            self._interrupts.stop(Stopped(), self)
        return True


def as_failure(error: BaseException) -> Exception:
    """Return an error that a task may raise: the body's own, or a NodeError in place of what would end more than the node."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration | StopAsyncIteration):
        return error
    text = str(error)
    failure = NodeError(f"the body raised {type(error).__name__}{': ' if text else ''}{text}")
    failure.__cause__ = error
    return failure
