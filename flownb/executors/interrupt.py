"""Stops a person's code that runs in a thread of this process, and never anything else in that thread."""

from __future__ import annotations

import ctypes
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType, TracebackType
from typing import Final, Self, TypeVar

T = TypeVar("T")

_SIGNALLED: Final = 128
"""What a shell adds to the number of the signal that ended a command."""
# Own prototypes: the attribute of `ctypes.pythonapi` is shared with everyone, so its argument types are not ours to set.
_SET_ERROR: Final = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_ulong, ctypes.py_object)(
    ("PyThreadState_SetAsyncExc", ctypes.pythonapi)
)


class MainInterrupts:
    """Takes Ctrl-C and the stop button while a run is served on the main thread, and stops bodies that run there.

    Within the `with` block SIGINT raises nothing, except inside `body()`; where it is ignored, as under `nohup`, it stays so.
    `stop` uses SIGURG, which no one else does
    and which is ignored by default: so the two are never mixed up, and one that comes late does nothing.

    Off the main thread no signal handler can be set: there `stop` falls back to `ThreadInterrupt`, and Ctrl-C stays
    with the main thread. One object serves one thread and is not entered twice at a time.
    """

    def __init__(
        self,
        on_interrupt: Callable[[], None],
        on_end: Callable[[int], None] | None = None,
        *,
        even_ignored: bool = False,
    ) -> None:
        """Say who hears of an interrupt.

        Args:
            on_interrupt: Called on the main thread for every SIGINT, between any two bytecodes, before a body is
                interrupted: it must not take a lock, block or raise. `loop.call_soon_threadsafe` and a
                non-blocking `socket.send` are fine.
            on_end: The same for SIGTERM and SIGHUP, with their number, where nobody has set what they do; None: they are
                left alone. Inside `body()` they raise SystemExit.
            even_ignored: Take SIGINT where it is ignored, too: a kernel ignores it between its cells.
        """
        self._on_interrupt, self._on_end, self._even_ignored = on_interrupt, on_end, even_ignored
        self._telling = False
        self._body: _MainBody | None = None
        self._wanted: tuple[_MainBody, BaseException] | None = None
        self._worker: ThreadInterrupt | None = None
        self._before: list[tuple[int, signal._HANDLER]] = []
        self._thread = 0

    def __enter__(self) -> Self:
        """Set the handlers; they are this object's until the block ends."""
        self._thread = threading.get_ident()
        if threading.current_thread() is not threading.main_thread():
            self._worker = ThreadInterrupt()
            return self
        for number, handler in self._taken():
            before = signal.signal(number, handler)
            # None: whoever set it did so in C, and Python cannot put it back.
            self._before.append((number, signal.SIG_DFL if before is None else before))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Put the handlers from before back."""
        before, self._before, self._worker = self._before, [], None
        for number, handler in before:
            signal.signal(number, handler)

    def body(self, key: object = None) -> AbstractContextManager[None]:
        """Return a context in which an interrupt raises: KeyboardInterrupt for the person's, its error for `stop`.

        Args:
            key: What `stop` names it by.

        Raises:
            RuntimeError: On another thread than the one that entered this object.
        """
        if threading.get_ident() != self._thread:
            raise RuntimeError("MainInterrupts.body() belongs to the thread that entered MainInterrupts")
        return _MainBody(self, key) if self._worker is None else self._worker.body(key)

    def stop(self, error: BaseException, key: object = None) -> None:
        """Raise `error` inside the body named `key`, at once, also in `time.sleep`; does nothing once that body ended.

        Thread-safe; does not wait. Code in C is stopped when it returns. The body may catch the error, and Python
        swallows what strikes inside a `__del__`: who wants the body to end calls again after a while.

        Args:
            error: Raised as it is; a BaseException that is no Exception passes `except Exception`.
            key: As given to `body`.
        """
        if self._worker is not None:
            self._worker.stop(error, key)
            return
        body, main = self._body, threading.main_thread().ident
        if body is None or body.key != key or main is None:
            return
        self._wanted = (body, error)
        signal.pthread_kill(main, signal.SIGURG)

    def _taken(self) -> Iterator[tuple[int, Callable[[int, FrameType | None], None]]]:
        yield signal.SIGURG, self._take_stop
        if self._even_ignored or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            yield signal.SIGINT, self._take_interrupt
        for number in (signal.SIGTERM, signal.SIGHUP):
            if self._on_end is not None and signal.getsignal(number) is signal.SIG_DFL:
                yield number, self._take_interrupt

    def _take_interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._telling:
            return  # A second one, while the first is still being told: the first does all there is to do.
        self._telling = True
        try:
            if number == signal.SIGINT:
                self._on_interrupt()
            elif self._on_end is not None:
                self._on_end(number)
        finally:
            self._telling = False
        if self._body is not None and not _is_edge(frame):
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(_SIGNALLED + number)

    def _take_stop(self, _number: int, frame: FrameType | None) -> None:
        if self._wanted is None or self._telling:
            return
        body, error = self._wanted
        if body is self._body and not _is_edge(frame):
            self._wanted = None
            raise error


class _MainBody:
    """The stretch of the main thread's time in which signals raise."""

    def __init__(self, owner: MainInterrupts, key: object) -> None:
        self.key = key
        self._owner = owner
        self._outer = owner._body  # noqa: SLF001  one class in two parts

    def __enter__(self) -> None:
        # The last step: Python runs handlers at calls and jumps only, so none runs between this and the body.
        self._owner._body = self  # noqa: SLF001

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._owner._body = self._outer  # noqa: SLF001


def _is_edge(frame: FrameType | None) -> bool:
    """Tell whether a signal came while a body was opened or closed, or on top of another: raising leaves it open."""
    return frame is not None and frame.f_code in _EDGES


_EDGES: Final = tuple(
    function.__code__
    for function in (
        _MainBody.__enter__,
        _MainBody.__exit__,
        MainInterrupts._take_interrupt,  # noqa: SLF001
        MainInterrupts._take_stop,  # noqa: SLF001
        _is_edge,
    )
)


class _Stopped(BaseException):
    """Raised in a worker thread, where only a class can be sent; the real error takes its place."""


class ThreadInterrupt:
    """Stops a body that runs on a worker thread; one object for one body at a time.

    It takes effect between two bytecodes: a call of C code, `time.sleep` too, ends first.
    """

    def __init__(self, pause_s: float = 0.05) -> None:
        """Begin with no body running.

        Args:
            pause_s: Seconds after a stop in which further ones count as the same: it is being dealt with.
        """
        self._pause_s = pause_s
        self._sent_at = -math.inf
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._key: object = None
        self._error: BaseException = _Stopped()

    def run(self, function: Callable[[], T], key: object = None) -> T:
        """Run `function` on this thread and return what it returns; `stop` raises inside it, and never after it.

        To be preferred to `body`, which may let a stop that comes in the very last step out under a private name.

        Args:
            function: The person's code.
            key: What `stop` names it by.
        """
        try:
            with self.body(key):
                return function()
        except _Stopped:
            self._close()
            raise self._error from None

    def body(self, key: object = None) -> AbstractContextManager[None]:
        """Return a context in which `stop` raises.

        Args:
            key: What `stop` names it by.
        """
        return _ThreadBody(self, key)

    def stop(self, error: BaseException, key: object = None) -> None:
        """Raise `error` inside the body named `key`; does nothing once that body ended.

        Thread-safe; does not wait. It may be caught or swallowed: who wants the body to end calls again after a while.
        Not more often than `pause_s`, for a second one could strike while the first is on its way out.

        Args:
            error: Raised as it is, from the body's point of view as some BaseException.
            key: As given to `run` or `body`.
        """
        with self._lock:
            now = time.monotonic()
            if self._thread is None or self._key != key or now < self._sent_at + self._pause_s:
                return
            self._error, self._sent_at = error, now
            _SET_ERROR(self._thread, _Stopped)

    def _close(self) -> bool:
        """Let `stop` reach this thread no more, take in one that is on its way; tell whether one struck meanwhile."""
        struck = False
        while True:
            try:
                with self._lock:
                    self._thread = None
                if self._sent_at > -math.inf:
                    _take_in()
            except _Stopped:
                struck = True
            else:
                return struck


def _take_in() -> None:
    """Have an error strike here, in place of one that may be on its way to this thread.

    To take it back, by sending none, leaves CPython 3.11 looking for it for ever, which hangs whatever traces or profiles.
    """
    while True:
        try:
            _SET_ERROR(threading.get_ident(), _Stopped)
            for _ in range(1000):  # It strikes at a jump at the latest; once more where a `__del__` swallowed it.
                pass
        except _Stopped:
            return


class _ThreadBody:
    """The stretch of a worker thread's time in which a stop raises."""

    def __init__(self, owner: ThreadInterrupt, key: object) -> None:
        self._owner = owner
        self._key = key

    def __enter__(self) -> None:
        self._owner._key, self._owner._sent_at = self._key, -math.inf  # noqa: SLF001  one class in two parts
        # The last step, as in `_MainBody`: were this done in a method, a stop could strike before this one returns.
        self._owner._thread = threading.get_ident()  # noqa: SLF001

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        owner = self._owner
        if owner._close() or (kind is not None and issubclass(kind, _Stopped)):  # noqa: SLF001
            raise owner._error from None  # noqa: SLF001
