"""Answers typed in `jupyter console`: lines that a kernel asks its front end for."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from flownb.executors.interrupt import MainInterrupts
from flownb.terminal.prompt import POLL_S

_READING: Final = "reading"


class ConsoleLines:
    """Lines that the front end of a kernel gives, as `input()` gets them."""

    def __init__(self, kernel: Any) -> None:  # Any: every kernel differs
        """Take the kernel that the cell runs on."""
        self._kernel = kernel

    def read(self, prompt: str, look: Callable[[], None]) -> str:
        """Return one line; see `flownb.terminal.prompt.Lines`."""
        raised: list[Exception] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(POLL_S):
                try:
                    look()
                except Exception as error:  # noqa: BLE001 whatever ends the question is raised by `read`
                    raised[:] = [error]
                    break
            while not over.wait(POLL_S):  # Python may swallow one that strikes inside a `__del__`.
                interrupts.stop(_Over(), _READING)

        with MainInterrupts(lambda: None) as interrupts:
            watcher = threading.Thread(target=watch, name="flownb-console", daemon=True)
            watcher.start()
            try:
                with interrupts.body(_READING):
                    return str(self._kernel.raw_input(prompt))
            except _Over:
                raise raised[0] from None
            finally:
                over.set()
                watcher.join()

    def forget(self) -> None:
        """Do nothing: the kernel drops what came before it asks."""


class _Over(BaseException):
    """The question has ended otherwise; no Exception, for the kernel swallows these while it reads."""
