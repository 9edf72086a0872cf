"""Shows how far a run is, on standard error."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.events import Event
from flownb.render.inert import cut, one_line, visible
from flownb.render.log import describe_decision, seconds
from flownb.runtimes.base import Printed

REDRAWS_PER_S: Final = 10
"""How often the lines are drawn anew, at most."""
_SHOWN_CHARACTERS: Final = 120
_READABLE: Final = frozenset({"stdout", "stderr", "text/plain", "text/markdown"})
_PART: Final = re.compile(r"(.*)[\[{]\d+[\]}]")


def error_console() -> Console:
    """Return the console for all that is no result: standard error, as it is now, whoever stands in for it later."""
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False, force_jupyter=False)


class Progress:
    """Shows how far a run is, on standard error: redrawn lines on a terminal, otherwise a line for each start and end.

    Thread-safe: events and outputs may come from any thread.
    """

    def __init__(self, console: Console, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Prepare to show.

        Args:
            console: Where: standard error.
            now: The clock, for the time that nodes have been running.
        """
        self._console, self._now = console, now
        self._lock = threading.RLock()
        self._lines: dict[str, _Line] = {}
        self._partial: dict[str, str] = {}
        self._held: list[Text] | None = None
        self._live: Live | None = None

    def listen(self, event: Event) -> None:
        """Take an event in."""
        with self._lock:
            self._take(event)
            if self._console.is_terminal and self._lines and self._live is None and self._held is None:
                self._start()

    def printed(self, key: str, printed: Printed) -> None:
        """Show what a node printed, each line with its key before it."""
        with self._lock:
            if not isinstance(printed.data, str) or printed.mime not in _READABLE:
                self._say(f"[{key}] ({printed.mime})", "dim")
                return
            ending = "" if printed.mime in ("stdout", "stderr") else "\n"
            *lines, rest = (self._partial.pop(key, "") + printed.data + ending).split("\n")
            for line in lines:
                self._say(f"[{key}] {line}", "dim")
            if rest:
                self._partial[key] = rest

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep still, so that a question can stand; what there was to say is said afterwards."""
        with self._lock:
            self._stop()
            self._held = []
        try:
            yield
        finally:
            with self._lock:
                held, self._held = self._held or [], None
                for text in held:
                    self._console.print(text)
                if self._console.is_terminal and self._lines:
                    self._start()

    def close(self) -> None:
        """Show what is left, and take the redrawn lines away."""
        with self._lock:
            for key in list(self._partial):
                self._end_line(key)
            self._lines.clear()
            self._stop()

    def _take(self, event: Event) -> None:
        match event:
            case e.NodeStarted(key=key, attempt=attempt):
                self._started(key, attempt, event.at)
            case e.AttemptFailed(key=key, failure=failure, wait_s=wait_s):
                self._say(
                    f"{key}: attempt {failure.attempts} failed, again in {wait_s:.1f} s: {_reason(failure)}", "yellow"
                )
            case e.NodeCompleted(key=key):
                self._ended(
                    key, "completed", event.at, "green", f"fallback: {event.fallback}" if event.fallback else ""
                )
            case e.NodeFailed(key=key, failure=failure):
                self._ended(key, "failed", event.at, "red", _reason(failure))
            case e.NodeSkipped(key=key, reason=reason):
                self._ended(key, "skipped", event.at, "dim", reason)
            case e.NodeCancelled(key=key):
                self._ended(key, "cancelled", event.at, "magenta")
            case e.Asked(question=question):
                self._said(question.key, "waits for an answer", "yellow")
            case e.Decided(key=key, decision=decision):
                self._said(key, describe_decision(decision), "yellow")
            case _:
                return

    def _started(self, key: str, attempt: int, at: datetime) -> None:
        if not _is_plain(key):
            return
        line = self._lines.setdefault(key, _Line(at))
        line.attempt = attempt
        if attempt == 1 and not self._console.is_terminal:
            self._say(f"{key}: running")

    def _said(self, key: str, what: str, style: str) -> None:
        if key in self._lines:
            self._lines[key].doing = what
        self._say(f"{key}: {what}", style)

    def _ended(self, key: str, status: str, at: datetime, style: str, note: str = "") -> None:
        self._end_line(key)
        if not _is_plain(key):
            holder = _PART.fullmatch(key)
            if holder and holder[1] in self._lines:
                self._lines[holder[1]].parts += 1
            return
        line = self._lines.pop(key, None)
        notes = [f"{line.attempt} attempts"] if line and line.attempt > 1 else []
        notes += [f"{line.parts:,} parts"] if line and line.parts else []
        notes += [note] if note else []
        told = f" ({', '.join(notes)})" if notes else ""
        took = f" {seconds((at - line.since).total_seconds())}" if line else ""
        self._say(f"{key}: {status}{told}{took}", style)

    def _end_line(self, key: str) -> None:
        rest = self._partial.pop(key, "")
        if rest:
            self._say(f"[{key}] {rest}", "dim")

    def _say(self, text: str, style: str = "") -> None:
        line = Text(visible(text.rstrip("\r")), style=style)
        if self._held is not None:
            self._held.append(line)
        else:
            self._console.print(line, soft_wrap=True)

    def _start(self) -> None:
        self._live = Live(
            get_renderable=self._draw,
            console=self._console,
            refresh_per_second=REDRAWS_PER_S,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def _draw(self) -> Group:
        lines = list(self._lines.items())
        now = self._now()
        return Group(*(Text(_progress_line(key, line, now), no_wrap=True, overflow="ellipsis") for key, line in lines))


@dataclass(slots=True)
class _Line:
    """One node that is under way."""

    since: datetime
    """When it began."""
    attempt: int = 1
    """Which attempt, from 1."""
    doing: str = "running"
    """What it does."""
    parts: int = 0
    """How many items or rounds have ended."""


def _reason(failure: Failure) -> str:
    return cut(one_line(f"{failure.type}: {failure.message}"), _SHOWN_CHARACTERS)


def _is_plain(key: str) -> bool:
    return "[" not in key and "{" not in key


def _progress_line(key: str, line: _Line, now: datetime) -> str:
    took = max(0.0, (now - line.since).total_seconds())
    attempt = f", attempt {line.attempt}" if line.attempt > 1 else ""
    parts = f", {line.parts:,} parts done" if line.parts else ""
    return one_line(f"{key}: {line.doing}{attempt}{parts} {took:.0f}s")
