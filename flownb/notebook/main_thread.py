"""The thread that a kernel's cells run on, as runs use it: a waiting cell lends it, between cells the kernel's loop does."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

from flownb.errors import FlowError
from flownb.executors.base import Interrupts
from flownb.executors.interrupt import MainInterrupts
from flownb.executors.local import MainQueue
from flownb.notebook.waiting import Pump
from flownb.runs.session import Session


class _Server(Interrupts, Protocol):
    """Serves the thread while a cell waits: a Pump or a _Queue."""

    def call(self, function: Callable[[], None]) -> None: ...
    def wake(self) -> None: ...
    def serve(self, until: Callable[[], bool], on_interrupt: Callable[[], None]) -> None: ...


class MainThread:
    """The main thread of one kernel, shared by all its runs: `post` gets a call there, whoever serves it just then.

    One cell waits at a time. What was posted is never lost: when the cell ends, the kernel's loop makes it.
    """

    def __init__(self, kernel: object) -> None:
        """Take a kernel's thread.

        Args:
            kernel: The shell's `kernel`; None: there is none, and only `serve` makes calls.
        """
        self._kernel = kernel
        self._loop = _loop_of(kernel)
        self._queue: deque[Callable[[], None]] = deque()
        self._server: _Server | None = None
        self._interrupts: Interrupts | None = None
        self._waiting: Session | None = None
        self._current: Session | None = None

    @property
    def is_taken(self) -> bool:
        """Whether a cell waits here or a body runs here: then another run must not."""
        return self._server is not None or self._current is not None

    @property
    def has_buttons(self) -> bool:
        """Whether a cell of this thread can wait with its buttons alive."""
        return Pump.available(self._kernel)

    def for_run(self) -> RunThread:
        """Return the thread as one run uses it."""
        return RunThread(self)

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made on the thread, after those posted before; thread-safe, does not wait for it."""
        self._queue.append(call)
        server = self._server  # After appending: whoever ends a wait looks at the queue after that.
        if server is not None:
            server.call(self._make_one)
        else:
            self._schedule()

    def wake(self) -> None:
        """Make `serve` look at its condition; thread-safe."""
        server = self._server
        if server is not None:
            server.wake()

    def serve(self, session: Session, until: Callable[[], bool]) -> None:
        """Block the thread until `until` is true, and serve it meanwhile; an interrupt stops the run.

        Args:
            session: The run that the cell waits for.
            until: Looked at after every call and message, and after `wake`.

        Raises:
            FlowError: A cell waits here already.
        """
        if self.is_taken:
            raise FlowError("a run already waits in this kernel", "start a run after the other one, not inside it")
        server: _Server = Pump(self._kernel) if self.has_buttons else _Queue()
        self._server, self._interrupts, self._waiting = server, server, session
        for _ in range(len(self._queue)):
            server.call(self._make_one)
        try:
            server.serve(until, self._interrupted)
        finally:
            self._server = self._interrupts = self._waiting = None
            for _ in range(len(self._queue)):
                self._schedule()

    def body(self, session: Session | None, key: object) -> AbstractContextManager[None]:
        """Return the context that a run's body stands in; see `Interrupts.body`."""
        self._current = session
        assert self._interrupts is not None, "bodies run while the thread is served"
        return self._interrupts.body(key)

    def stop(self, error: BaseException, key: object) -> None:
        """Raise `error` inside the body named `key`; see `Interrupts.stop`."""
        interrupts = self._interrupts
        if interrupts is not None:
            interrupts.stop(error, key)

    def _make_one(self) -> None:
        with suppress(IndexError):  # Another call made it.
            call = self._queue.popleft()
            try:
                call()
            finally:
                self._current = None

    def _schedule(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # It is closed: the kernel ends.
                self._loop.call_soon_threadsafe(self._make_one_between_cells)

    def _make_one_between_cells(self) -> None:
        if self._server is not None or not self._queue or threading.current_thread() is not threading.main_thread():
            return
        with MainInterrupts(self._interrupted, even_ignored=True) as interrupts:
            self._interrupts = interrupts
            try:
                self._make_one()
            finally:
                self._interrupts = None

    def _interrupted(self) -> None:
        """Stop the run that the cell waits for, and the one whose body runs; called in the signal handler."""
        for session in (self._waiting, self._current):
            if session is not None:
                session.interrupt()


class RunThread:
    """The shared thread as one run uses it; `session` is set once there is one."""

    def __init__(self, main: MainThread) -> None:
        """Belong to this thread."""
        self._main = main
        self.session: Session | None = None
        """The run."""

    def post(self, call: Callable[[], None]) -> None:
        """Have `call` made on the thread; where it fails, for a reason of our own, the run ends instead of waiting for it."""

        def made() -> None:
            try:
                call()
            except Exception as error:  # noqa: BLE001 whatever it is, the run must end and say so
                if self.session is not None:
                    self.session.error = error
                    self.session.cancel()

        self._main.post(made)

    def body(self, key: object = None) -> AbstractContextManager[None]:
        """Return a context in which an interrupt and `stop` raise."""
        return self._main.body(self.session, key)

    def stop(self, error: BaseException, key: object = None) -> None:
        """Raise `error` inside the body named `key`; thread-safe; does nothing if it does not run."""
        self._main.stop(error, key)


class _Queue:
    """Serves the thread of a kernel that the pump does not know: bodies run, buttons do not."""

    def __init__(self) -> None:
        self._queue = MainQueue()
        self._on_interrupt: Callable[[], None] = self._queue.wake
        self._interrupts = MainInterrupts(self._interrupted, even_ignored=True)
        self.call, self.wake = self._queue.post, self._queue.wake
        self.body, self.stop = self._interrupts.body, self._interrupts.stop

    def serve(self, until: Callable[[], bool], on_interrupt: Callable[[], None]) -> None:
        self._on_interrupt = on_interrupt
        with self._interrupts:
            self._queue.serve(until)

    def _interrupted(self) -> None:
        self._on_interrupt()


def _loop_of(kernel: Any) -> asyncio.AbstractEventLoop | None:  # Any: every kernel differs
    """Return the loop of a kernel's main thread; None where there is none."""
    if kernel is None:
        return None
    loop = getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)
    if isinstance(loop, asyncio.AbstractEventLoop):
        return loop
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
