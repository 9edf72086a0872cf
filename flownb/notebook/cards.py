"""All open questions of a run in one output of its cell: cards while they wait, a line of text afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import ipywidgets as w

from flownb.model import events as e
from flownb.model.decision import Decision, Question, Request
from flownb.model.events import Event
from flownb.model.state import RunState
from flownb.notebook.card import Card, Decide, Format, bundle_outputs, decision_line, output, question_text
from flownb.notebook.view import Slot, View, markdown
from flownb.render.inert import fenced

_VIEW: Final = "application/vnd.jupyter.widget-view+json"
_TICK_S: Final = 1.0


class Cards:
    """Shows a run's questions. Asked and told from any thread, it draws on the view's.

    One box holds them for the whole run: where an output cannot be changed once its cell has ended, what is in a widget
    still can. Where it can, a text takes the box's place while no question is open, for that is what a notebook keeps.
    """

    def __init__(self, view: View, publisher: Any, run_id: str, show: Format) -> None:  # Any: each kernel has its own
        """Begin without questions.

        Args:
            view: The run's display, on whose thread all is drawn.
            publisher: The shell's `display_pub`.
            run_id: The run's id.
            show: How the notebook shows a value.
        """
        self._view, self._run_id, self._show = view, run_id, show
        self.decide: Decide = _nobody
        """Stores an answer; set once there is a session."""
        self._slot = Slot(publisher)
        self._box: Any = None
        self._told: Any = None
        self._stands = False
        self._open: dict[str, Card] = {}
        self._bare: dict[str, Question] = {}
        self._lines: dict[str, str] = {}
        self._clock: threading.Thread | None = None
        self._over = threading.Event()

    def ask(self, request: Request) -> None:
        """Show a question."""
        self._view.do(lambda: self._add(request))

    def watch(self, event: Event, _state: RunState) -> None:
        """Take an event in."""
        if isinstance(event, e.Decided):
            key, decision = event.key, event.decision
            self._view.do(lambda: self._settle(key, decision))

    def reserve(self) -> None:
        """Hold the place for questions that come when the cell has ended."""
        self._view.do(self._draw_box)

    def finish(self, told: str) -> None:
        """Take all cards away: the run has ended.

        Args:
            told: What stays in the box where an output cannot be changed any more: how the run ended, as Markdown.
        """
        self._over.set()
        self._view.do(lambda: self._end(told))

    def close(self) -> None:
        """Let go of what is left: the run has ended, and all is drawn."""
        if self._box is not None:
            self._view.do_here(self._close)

    def move_here(self) -> None:
        """Stand below the cell that runs now, and no longer where it was."""

        def draw() -> None:
            self._slot.forget()
            self._stands = False
            self._draw()

        self._view.do_here(draw)

    # On the drawing thread.

    def _add(self, request: Request) -> None:
        if request.is_settled():
            return
        try:
            card = Card(self._run_id, request, self.decide, self._show)
        except Exception:  # A stranger's value or widget: the question itself must be seen, and how to answer it.
            self._bare[request.node] = request.question
            self._lines[request.node] = fenced(question_text(self._run_id, request.question))
            self._draw()
            raise
        self._lines.pop(request.node, None)
        self._open[request.node] = card
        self._draw()
        if request.question.deadline is not None and self._clock is None:
            self._clock = threading.Thread(target=self._tick, name="flownb-cards", daemon=True)
            self._clock.start()

    def _settle(self, key: str, decision: Decision | None) -> None:
        card, bare = self._open.pop(key, None), self._bare.pop(key, None)
        question = card.question if card is not None else bare
        if question is not None:
            self._lines[key] = decision_line(question, decision)
            self._draw()
        if card is not None:
            _close(card.widget)

    def _end(self, told: str) -> None:
        for key in [*self._open, *self._bare]:
            self._settle(key, None)
        self._draw()
        if not self._view.is_late:
            self._close()
        elif self._box is not None:
            self._told.outputs = bundle_outputs(markdown("\n\n".join([*self._lines.values(), told])))

    def _close(self) -> None:
        box, self._box, self._told = self._box, None, None
        if box is not None:
            _close(box)

    def _draw(self) -> None:
        if self._open:
            self._draw_box()
            return
        if self._box is not None:
            self._fill()
        if self._lines or self._slot.name:
            self._slot.show(markdown(self._text()))
            self._stands = False

    def _draw_box(self) -> None:
        if self._box is None:
            self._told = output(markdown(""))
            self._box = w.VBox()
        self._fill()
        if not self._stands:
            self._slot.show(self._bundle())
            self._stands = True

    def _fill(self) -> None:
        self._told.outputs = bundle_outputs(markdown(self._text())) if self._lines else ()
        self._box.children = [self._told, *(card.widget for card in self._open.values())]

    def _text(self) -> str:
        return "\n\n".join(self._lines.values())

    def _bundle(self) -> Mapping[str, Any]:
        model = {"version_major": 2, "version_minor": 0, "model_id": self._box.model_id}
        texts = (question_text(self._run_id, card.question) for card in self._open.values())
        return {_VIEW: model, "text/plain": "\n\n".join(texts)}

    def _tick(self) -> None:
        """Let the cards' clocks go on until the run has ended."""
        while not self._over.wait(_TICK_S):
            now = datetime.now(UTC)
            for card in list(self._open.values()):
                self._view.do(_later(card, now))


def _later(card: Card, now: datetime) -> Callable[[], None]:
    return lambda: card.tick(now)


def _close(widget: Any) -> None:  # Any: ipywidgets has no types
    """Let go of a widget and all that is in it or belongs to it: each has a layout of its own, some a style."""
    belonging = (getattr(widget, name, None) for name in ("layout", "style"))
    for part in (*getattr(widget, "children", ()), *belonging):
        if isinstance(part, w.Widget):
            _close(part)
    widget.close()


def _nobody(_key: str, decision: Decision) -> Decision:
    return decision
