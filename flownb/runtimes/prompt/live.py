"""Text that comes in small pieces, shown a few times a second."""

from __future__ import annotations

import asyncio
from typing import Final

from flownb.runtimes.base import Printed
from flownb.runtimes.output import Redacted

EVERY_S: Final = 0.25
"""Seconds between two pieces that are shown."""


class Live:
    """Shows a text while it comes. It belongs to the run's loop."""

    def __init__(self, show: Redacted, every_s: float = EVERY_S) -> None:
        """Begin with nothing.

        Args:
            show: Takes what is shown, and takes secrets out.
            every_s: Seconds between two pieces that are shown.
        """
        self._show, self._every_s = show, every_s
        self._pieces: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._last = ""

    def take(self, text: str) -> None:
        """Take the next piece."""
        if not text:
            return
        self._pieces.append(text)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every_s, self._flush)

    def end(self) -> None:
        """Show what is left, with a line break at the end: nothing more comes."""
        if self._timer is not None:
            self._timer.cancel()
        if (self._pieces or self._last) and not "".join([self._last, *self._pieces]).endswith("\n"):
            self._pieces.append("\n")
        self._flush()
        self._show.end()

    def _flush(self) -> None:
        self._timer = None
        text, self._pieces = "".join(self._pieces), []
        if text:
            self._last = text[-1]
            self._show(Printed("stdout", text))
