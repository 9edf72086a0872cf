"""A checkpoint's card: the question, what is shown with it, and buttons that store the answer."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import ipywidgets as w
from pydantic import JsonValue

from flownb.errors import FlowError
from flownb.model.decision import Action, Decision, Question, Request, Via, user_name
from flownb.notebook.board import elapsed
from flownb.notebook.fields import Form
from flownb.notebook.publishing import Display
from flownb.notebook.safe_html import safe_html
from flownb.render.inert import code_span, inert
from flownb.render.log import preview

Decide = Callable[[str, Decision], Decision]
"""Stores an answer to the question of a key, and returns the one that stands: `Session.decide`."""
Format = Callable[[object], list[Display]]
"""A value → how the notebook shows it, in one or several outputs."""

_BUTTONS: Final[Mapping[str, tuple[str, str]]] = {
    Action.APPROVE: ("Approve", "primary"),
    Action.REJECT: ("Reject", "danger"),
    Action.INPUT: ("Submit", "primary"),
    Action.HAPPENED: ("It happened", "primary"),
    Action.AGAIN: ("Run it again", ""),
    Action.FAIL: ("Fail", "danger"),
}
"""Action → what its button says, and its style."""
_SAID: Final[Mapping[str, str]] = {
    Action.APPROVE: "✔\ufe0e approved",
    Action.REJECT: "✖\ufe0e rejected",
    Action.INPUT: "✔\ufe0e answered",
    Action.HAPPENED: "✔\ufe0e it happened, said",
    Action.AGAIN: "↻ to be run again, said",
    Action.FAIL: "✖\ufe0e failed",
}
_STYLE: Final = """<style>
.flownb-card {border: 1px solid var(--jp-border-color2, #ccc); border-left: 4px solid var(--jp-brand-color1, #2196f3);
  border-radius: 6px; padding: 14px 18px 12px; margin: 8px 2px; max-width: 760px;
  background: var(--jp-layout-color1, transparent); overflow: hidden}
.flownb-card .flownb-title {font-size: 1.15em; font-weight: 600; line-height: 1.5}
.flownb-card .flownb-note, .flownb-card .flownb-note .widget-html-content
  {font-size: 12px; line-height: 1.5; min-height: 0; height: auto; color: var(--jp-ui-font-color2, #666)}
.flownb-card .flownb-label .widget-html-content {line-height: 1.4; font-size: 13px}
.flownb-card .flownb-error {color: var(--jp-error-color1, #d32f2f)}
.flownb-card .widget-output, .flownb-card .jupyter-widgets-output-area {margin: 2px}
.flownb-card .jp-OutputArea-output {padding: 0}
.flownb-card .jp-OutputPrompt {display: none}
.flownb-card .flownb-buttons {margin: 8px 0 4px; gap: 8px}
</style>"""
"""Fixed text: nothing from a workflow or from data stands in it."""


class Card:
    """One question in the notebook. `widget` is what is shown; `line` says how it ended.

    Clicks come on any thread: they only store the answer. Everything else belongs to the drawing thread.
    """

    def __init__(self, run_id: str, request: Request, decide: Decide, show: Format) -> None:
        """Build the card.

        Args:
            run_id: The run's id.
            request: The question.
            decide: Stores the answer.
            show: How the notebook shows a value.
        """
        self.question: Question = request.question
        """What is asked."""
        self._decide = decide
        self._message = _note()
        self._left = _note()
        self.form = _form(self.question)
        """Where something can be filled in; None: nowhere."""
        title = w.HTML(html.escape(self.question.heading))
        title.add_class("flownb-title")
        shown = [part for name, value in request.values.items() for part in _value(name, value, show)]
        parts = [w.HTML(_STYLE, layout=w.Layout(display="none")), title, output({"text/html": safe_html(request.text)})]
        parts += [*shown, *([self.form.box] if self.form else []), self._buttons(), self._message, self._left]
        self.widget = w.VBox([*parts, _hint(run_id, self.question)])
        """The card."""
        self.widget.add_class("flownb-card")
        self.tick(datetime.now(UTC))

    def tick(self, now: datetime) -> None:
        """Say how much time is left to answer."""
        deadline = self.question.deadline
        if deadline is not None:
            left = max(0.0, (deadline - now).total_seconds())
            self._left.value = f"{_clock(left)} left, then: {html.escape(self.question.default)}"

    def disable(self) -> None:
        """Let nothing be clicked any more."""
        for button in self._row.children:
            button.disabled = True

    def _buttons(self) -> Any:
        buttons = []
        # Submit comes first: it belongs to the field above it.
        offered = sorted(self.question.actions, key=lambda action: action != Action.INPUT)
        for action in offered:
            text, style = _BUTTONS[action]
            if action == Action.APPROVE and Action.INPUT in offered:
                style = ""
            button = w.Button(description=text, button_style=style, layout=w.Layout(width="auto", min_width="96px"))
            button.on_click(lambda _button, action=action: self._clicked(action))
            buttons.append(button)
        self._row = w.HBox(buttons)
        self._row.add_class("flownb-buttons")
        return self._row

    def _clicked(self, action: str) -> None:
        self._message.value = ""
        value: JsonValue = None
        if self.form is not None and action in (Action.INPUT, Action.HAPPENED):
            try:
                value = self.form.read()
            except ValueError:
                return  # The form says what is wrong.
        mine = Decision(action=action, input=value, by=user_name(), at=datetime.now(UTC), via=Via.NOTEBOOK)
        try:
            standing = self._decide(self.question.key, mine)
        except Exception as error:  # noqa: BLE001 ipywidgets would print our frames, and the person see nothing
            told = error.message if isinstance(error, FlowError) else f"{type(error).__name__}: {error}"
            self._message.value = f'<span class="flownb-error">{html.escape(told)}</span>'
            return
        if (standing.action, standing.by, standing.at) != (mine.action, mine.by, mine.at):
            self._message.value = f"Too late: {html.escape(said(standing))}."
        self.disable()


def question_text(run_id: str, question: Question) -> str:
    """Return what is shown where there is no card: the question, and how to answer it; not yet inert."""
    choices = "|".join(question.actions)
    return f"{question.heading}\n{question.text}\nto answer: %flow_decide {run_id} {question.key} {choices}"


def decision_line(question: Question, decision: Decision | None) -> str:
    """Return the one line of Markdown that takes a card's place; nothing in it is active.

    Args:
        question: What was asked.
        decision: The answer; None: the run ended without one.
    """
    heading = f"**{inert(question.heading)}**"
    if decision is None:
        return f"{heading} · not answered: the run ended"
    answer = ""
    if decision.input is not None:
        answer = f": {code_span(preview(decision.input))}"
    return f"{heading} · {inert(said(decision))}{answer}"


def said(decision: Decision) -> str:
    """Return who decided what, when and how: `✔ approved by ana at 10:15 (notebook)`, not yet inert."""
    what = _SAID.get(decision.action, decision.action)
    if decision.timed_out:
        return f"{what}: the time was over"
    if decision.via == Via.DEFAULT:
        return f"{what}: nobody could answer"
    when = f" at {decision.at.astimezone():%H:%M}" if decision.at else ""
    return f"{what} by {decision.by or 'somebody'}{when} ({decision.via})"


def output(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> Any:
    """Return a widget that shows this as an output of a cell would."""
    return w.Output(outputs=bundle_outputs(data, metadata))


def bundle_outputs(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], ...]:
    """Return what an Output widget holds to show this."""
    plain = {kind: b64encode(part).decode() if isinstance(part, bytes) else part for kind, part in data.items()}
    return ({"output_type": "display_data", "data": plain, "metadata": dict(metadata or {})},)


def _form(question: Question) -> Form | None:
    if Action.HAPPENED in question.actions:
        return Form("any", optional=True)
    return Form(question.input) if question.input is not None else None


def _value(name: str, value: object, show: Format) -> list[Any]:
    label = w.HTML(f"<code>{html.escape(name)}</code>")
    label.add_class("flownb-note")
    return [label, *(output(display.data or {}, display.metadata) for display in show(value))]


def _note() -> Any:
    note = w.HTML()
    note.add_class("flownb-note")
    return note


def _hint(run_id: str, question: Question) -> Any:
    answer = f"{html.escape(run_id)} {html.escape(question.key)} {html.escape(question.actions[0])}"
    note = _note()
    note.value = f"or <code>%flow_decide {answer}</code> in a cell, <code>flownb decide {answer}</code> in a terminal"
    return note


def _clock(left_s: float) -> str:
    minute_s = 60
    return f"{int(left_s)} s" if left_s < minute_s else elapsed(left_s)
