"""What a body prints goes to its node, whatever else prints at the same time."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from typing import Any, Final, Self, TextIO

from flownb.runtimes.base import Printed

_printed: Final[ContextVar[Callable[[Printed], None] | None]] = ContextVar("flownb_printed", default=None)


def current_printed() -> Callable[[Printed], None] | None:
    """Return what takes the output of the body that runs here; None outside of bodies.

    The notebook sends displays there. A thread that a body starts does not inherit it (before Python 3.14): what it
    prints goes to the process's own streams.
    """
    return _printed.get()


class _Capture(AbstractContextManager[None]):
    """A class and not a generator: it stands around every body."""

    __slots__ = ("_printed", "_token")

    def __init__(self, printed: Callable[[Printed], None]) -> None:
        self._printed = printed

    def __enter__(self) -> None:
        self._token: Token[Callable[[Printed], None] | None] = _printed.set(self._printed)

    def __exit__(self, *_: object) -> None:
        _printed.reset(self._token)


def capture_into(printed: Callable[[Printed], None]) -> AbstractContextManager[None]:
    """Return a context in which this thread's (or task's) output goes to `printed`, while `capturing` is on."""
    return _Capture(printed)


class _Stream:
    """Stands for sys.stdout or sys.stderr: takes what bodies write, hands on all else to the stream before."""

    def __init__(self, original: TextIO, mime: str) -> None:
        self._original = original
        self._mime = mime

    def write(self, text: str, /) -> int:
        printed = _printed.get()
        if printed is None:
            return self._original.write(text)
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            printed(Printed(self._mime, text))
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if _printed.get() is None:
            self._original.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.flush()

    def __iter__(self) -> Iterator[str]:
        return iter(self._original)

    def __getattr__(self, name: str) -> Any:  # Any: whatever the stream before has, `fileno` and `encoding` too.
        return getattr(self._original, name)


class _Installed:
    """The one pair of streams that stands in for the process's, for as long as anyone needs it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._pairs: list[tuple[str, TextIO, _Stream]] = []

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            for name in ("stdout", "stderr"):
                original = getattr(sys, name)
                if original is not None:  # pythonw and some services have none.
                    stream = _Stream(original, name)
                    self._pairs.append((name, original, stream))
                    setattr(sys, name, stream)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            pairs, self._pairs = self._pairs, []
            for name, original, stream in pairs:
                if getattr(sys, name) is stream:  # Else someone redirected it meanwhile: it is theirs to put back.
                    setattr(sys, name, original)


_installed: Final = _Installed()


@contextmanager
def capturing() -> Iterator[None]:
    """Have what bodies write to sys.stdout and sys.stderr taken, until the block ends; thread-safe, nests."""
    _installed.enter()
    try:
        yield
    finally:
        _installed.leave()
