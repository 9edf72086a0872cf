"""A run's one live display: lines and a bar while it runs, what its nodes show, and at last its log."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import copy_context
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from flownb.model.events import Event
from flownb.model.node_state import NodeStatus
from flownb.model.state import RunState
from flownb.notebook.board import draw_board
from flownb.notebook.shown import Picture, Shown
from flownb.render.diagram import mermaid
from flownb.render.inert import inert, one_line
from flownb.render.log import render_log
from flownb.render.progress import Progress
from flownb.runtimes.base import Printed

PAUSE_S: Final = 0.1
"""Least seconds between two drawings: more often, and Jupyter complains of the data rate."""
_TICK_S: Final = 1.0
_MOST_UNDRAWN: Final = 5

Bundle = Mapping[str, Any]
"""MIME type → data, as Jupyter has it."""


class Slot:
    """One output of a cell that can be changed, also when the cell has ended."""

    def __init__(self, publisher: Any) -> None:  # Any: each kernel has its own
        """Prepare an output; nothing stands there yet.

        Args:
            publisher: The shell's `display_pub`.
        """
        self._publisher = publisher
        self.name = ""
        """Its display id; empty: it stands nowhere."""

    def show(self, data: Bundle, metadata: Bundle | None = None) -> None:
        """Put this there, in place of what was."""
        is_new = not self.name
        self.name = self.name or uuid.uuid4().hex
        self._publisher.publish(
            dict(data), dict(metadata or {}), transient={"display_id": self.name}, update=not is_new
        )

    def forget(self) -> None:
        """Let the next `show` stand anew, where the cell is that runs then."""
        self.name = ""


def markdown(text: str) -> Bundle:
    """Return Markdown as an output."""
    return {"text/markdown": text, "text/plain": text}


class View:
    """Draws a run in its cell's output, on a thread of its own: a busy notebook does not hold it up.

    `watch` and `printed` are what a Session's Hooks take; they do not block. All methods are thread-safe.
    """

    def __init__(
        self,
        publisher: Any,  # Any: each kernel has its own
        state: RunState,
        redact: Callable[[Any], Any],
    ) -> None:
        """Prepare to draw; `start` begins.

        Args:
            publisher: The shell's `display_pub`.
            state: The run, which does not change yet.
            redact: Takes the secrets out of JSON-like data.
        """
        self._publisher, self._state, self._redact = publisher, state, redact
        self._lock = threading.Lock()
        self._paint_lock = threading.RLock()
        self._bell, self._over = threading.Event(), threading.Event()
        self._jobs: deque[Callable[[], None]] = deque()
        self._progress = Progress(state)
        self._shown = Shown(redact)
        self._main, self._late = Slot(publisher), Slot(publisher)
        self._drawn = self._problem = ""
        self._undrawn: dict[str, None] = {}
        self.is_late = False
        """Whether the cell has ended: outputs that stand there can change, no new one comes."""
        self._is_final = False
        # In the cell's context: what a thread publishes stands below the cell, whatever other messages come.
        self._thread = threading.Thread(target=copy_context().run, args=(self._work,), name="flownb-view", daemon=True)

    def start(self) -> None:
        """Draw for the first time, and go on by itself. To be called in the cell's thread."""
        self._paint()
        self._thread.start()

    def watch(self, event: Event, state: RunState) -> None:
        """Take an event in."""
        with self._lock:
            self._progress.watch(event, state)
        self._bell.set()

    def printed(self, key: str, printed: Printed) -> None:
        """Take what a node shows."""
        with self._lock:
            self._shown.take(key, printed)
        self._bell.set()

    def do(self, job: Callable[[], None]) -> None:
        """Have something published soon, on the drawing thread, after all that was asked for before."""
        self._jobs.append(job)
        self._bell.set()

    def do_here(self, job: Callable[[], None]) -> None:
        """Have something published now, by the thread that asks and below its cell."""
        with self._paint_lock:
            self._try(job)

    def leave_cell(self) -> None:
        """Draw now, and prepare for the time after the cell."""
        with self._paint_lock:
            self._paint()
            self.is_late = True
            self._try(lambda: self._late.show(markdown("")))

    def finish(self, problem: str = "") -> None:
        """Draw the finished log, and end. Returns at once.

        Args:
            problem: What broke the run itself off; empty: nothing did.
        """
        self._problem = problem
        self._over.set()
        self._bell.set()

    def join(self) -> None:
        """Wait until the finished log is drawn."""
        if self._thread.is_alive():
            self._thread.join()

    def move_here(self) -> None:
        """Stand below the cell that runs now, and no longer where it was; displays stay there."""
        with self._paint_lock:
            self._main.forget()
            self._late.forget()
            self._drawn = ""
            self._paint()
            if self.is_late:
                self._try(lambda: self._late.show(_late_bundle(self._shown)))

    # Drawing.

    def _work(self) -> None:
        while not self._is_final:
            self._bell.wait(_TICK_S if self._progress.is_busy else None)
            self._bell.clear()
            self._is_final = self._over.is_set()
            self._paint()
            if not self._is_final:
                self._over.wait(PAUSE_S)

    def _paint(self) -> None:
        with self._paint_lock:
            while self._jobs:
                self._try(self._jobs.popleft())
            self._try(self._paint_text)
            self._try(self._paint_pictures)
            if self._undrawn and self._is_final:
                self._try(self._paint_undrawn)

    def _try(self, job: Callable[[], None]) -> None:
        """Draw something; where that fails the run goes on, and its output says so at the end."""
        try:
            job()
        except Exception as error:  # noqa: BLE001 a stranger's widgets, values and publisher; the run depends on none
            self._undrawn[self._redact(one_line(f"{type(error).__name__}: {error}"))] = None

    def _paint_text(self) -> None:
        text = self._text()
        if text != self._drawn:
            self._main.show(markdown(text))
            self._drawn = text

    def _paint_undrawn(self) -> None:
        told = "\n".join(f"- {inert(problem)}" for problem in list(self._undrawn)[:_MOST_UNDRAWN])
        text = self._drawn or f"**{inert(self._state.workflow)}** · {self._state.status}"
        self._main.show(markdown(f"{text}\n\nNot everything could be shown:\n\n{told}\n"))

    def _text(self) -> str:
        with self._lock:
            if self._is_final:
                broken = f"**The run broke off:** {inert(self._problem)}\n\n" if self._problem else ""
                return broken + final_text(self._state, self._shown.folded())
            table = draw_board(self._progress, datetime.now(UTC))
            under_way = self._progress.under_way.values()
            running = {line.key for line in under_way if line.status is NodeStatus.RUNNING}
            return f"{table}\n\n{self._shown.tail(running)}"

    def _paint_pictures(self) -> None:
        with self._lock:
            changed = [picture for picture in self._shown.pictures if picture.changed]
            for picture in changed:
                picture.changed = False
        if any(not picture.slot for picture in changed) and self.is_late:
            self._late.show(_late_bundle(self._shown))
        for picture in changed:
            if picture.slot or not self.is_late:
                self._try(partial(self._paint_picture, picture))

    def _paint_picture(self, picture: Picture) -> None:
        slot = Slot(self._publisher)
        if picture.slot:
            slot.name = picture.slot
        else:
            Slot(self._publisher).show(markdown(f"**{inert(picture.key)}**"))
        slot.show(picture.data, picture.metadata)
        picture.slot = slot.name


def final_text(state: RunState, printed: str) -> str:
    """Return what stays in the notebook: the log, with what the nodes printed.

    Args:
        state: A run that nobody changes any more.
        printed: Markdown for its part `Printed`; may be empty.
    """
    return render_log(state, mermaid(state.plan, state) if state.plan else None, printed)


def _late_bundle(shown: Shown) -> Bundle:
    made = shown.late_html()
    return {"text/html": made, "text/plain": "(displays of nodes)"} if made else markdown("")
