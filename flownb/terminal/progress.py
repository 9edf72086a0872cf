"""Shows how far a run is, on standard error."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from flownb.model import events as e
from flownb.model.events import Event
from flownb.model.key import is_whole
from flownb.model.node_state import NodeStatus
from flownb.model.state import RunState
from flownb.render.inert import one_line, visible
from flownb.render.log import describe_decision, seconds
from flownb.render.progress import Line, Progress, reason
from flownb.runtimes.base import Printed

REDRAWS_PER_S: Final = 10
"""How often the lines are drawn anew, at most."""
_READABLE: Final = frozenset({"stdout", "stderr", "text/plain", "text/markdown"})
_STYLES: Final[Mapping[NodeStatus, str]] = {
    NodeStatus.COMPLETED: "green",
    NodeStatus.FAILED: "red",
    NodeStatus.SKIPPED: "dim",
    NodeStatus.CANCELLED: "magenta",
}


def error_console() -> Console:
    """Return the console for all that is no result: standard error, as it is now, whoever stands in for it later."""
    return Console(file=sys.stderr, highlight=False, markup=False, emoji=False, force_jupyter=False)


class ProgressDisplay:
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
        self._progress = Progress(RunState())
        self._partial: dict[str, str] = {}
        self._held: list[Text] | None = None
        self._live: Live | None = None

    def watch(self, event: Event, state: RunState) -> None:
        """Take an event in."""
        with self._lock:
            self._progress.watch(event, state)
            self._tell(event)
            if self._console.is_terminal and self._progress.under_way and self._live is None and self._held is None:
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
                if self._console.is_terminal and self._progress.under_way:
                    self._start()

    def close(self) -> None:
        """Show what is left, and take the redrawn lines away."""
        with self._lock:
            for key in list(self._partial):
                self._end_line(key)
            self._progress = Progress(RunState())
            self._stop()

    def _tell(self, event: Event) -> None:
        match event:
            case e.NodeStarted(key=key, attempt=1) if is_whole(key) and not self._console.is_terminal:
                self._say(f"{key}: running")
            case e.AttemptFailed(key=key, failure=failure, wait_s=wait_s):
                self._say(
                    f"{key}: attempt {failure.attempts} failed, again in {wait_s:.1f} s: {reason(failure)}", "yellow"
                )
            case e.NodeCompleted(key=key) | e.NodeFailed(key=key) | e.NodeSkipped(key=key) | e.NodeCancelled(key=key):
                self._end_line(key)
                if is_whole(key):
                    line = self._progress.lines[key]
                    self._say(_end_of(line, event.at), _STYLES[line.status])
            case e.Asked(question=question):
                self._say(f"{question.key}: waits for an answer", "yellow")
            case e.Decided(key=key, decision=decision):
                self._say(f"{key}: {describe_decision(decision)}", "yellow")
            case _:
                return

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
        lines, now = list(self._progress.under_way.values()), self._now()
        return Group(*(Text(_progress_line(line, now), no_wrap=True, overflow="ellipsis") for line in lines))


def _end_of(line: Line, now: datetime) -> str:
    notes = [f"{line.attempt} attempts"] if line.attempt > 1 else []
    notes += [f"{line.parts:,} parts"] if line.parts else []
    notes += [line.note] if line.note else []
    told = f" ({', '.join(notes)})" if notes else ""
    took_s = line.took_s(now)
    return f"{line.key}: {line.status}{told}{'' if took_s is None else f' {seconds(took_s)}'}"


def _progress_line(line: Line, now: datetime) -> str:
    attempt = f", attempt {line.attempt}" if line.attempt > 1 else ""
    of = f" of {line.total:,}" if line.total else ""
    parts = f", {line.parts:,}{of} parts done" if line.parts else ""
    return one_line(f"{line.key}: {line.note or line.status}{attempt}{parts} {line.took_s(now) or 0.0:.0f}s")
