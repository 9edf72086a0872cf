from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from flownb.errors import FlowInputError
from flownb.model.decision import Action, Decision, Question, Request, Via, user_name
from flownb.notebook.card import Card, decision_line
from flownb.notebook.fields import Form
from flownb.notebook.publishing import Display

NOW = datetime.now(UTC)


def ask(**more: Any) -> Question:
    return Question(**{"key": "review", "heading": "Review <b>", "text": "Go *on*?", "asked_at": NOW, **more})


class Answers:
    """Stores the first answer, as `Session.decide` does."""

    def __init__(self, standing: Decision | None = None, error: Exception | None = None) -> None:
        self.given: list[Decision] = []
        self.standing, self.error = standing, error

    def __call__(self, key: str, decision: Decision) -> Decision:
        if self.error:
            raise self.error
        self.given.append(decision)
        return self.standing or decision


def card(question: Question, answers: Answers, **values: object) -> Card:
    request = Request(question, values, lambda: False)
    return Card("run-1", request, answers, lambda value: [Display({"text/plain": repr(value)})])


def texts(widget: Any) -> str:
    parts = [str(getattr(widget, "value", "")), str(getattr(widget, "outputs", ""))]
    return "\n".join([*parts, *(texts(child) for child in getattr(widget, "children", ()))])


def press(made: Card, label: str) -> None:
    next(button for button in made._row.children if button.description == label).click()


def labels(made: Card) -> list[str]:
    return [button.description for button in made._row.children]


def test_a_card_shows_the_question_what_belongs_to_it_and_another_way_to_answer() -> None:
    made = card(ask(), Answers(), best=[1, 2])
    assert [button.button_style for button in made._row.children] == ["primary", "danger"]
    shown = texts(made.widget)
    assert "Review &lt;b&gt;" in shown
    assert "<p>Go <em>on</em>?</p>" in shown
    assert "[1, 2]" in shown
    assert "%flow_decide run-1 review approve" in shown
    assert labels(made) == ["Approve", "Reject"]


@pytest.mark.parametrize("label, action", [("Approve", "approve"), ("Reject", "reject")])
def test_a_button_stores_who_decided_what_and_how(label: str, action: str) -> None:
    answers = Answers()
    made = card(ask(), answers)
    press(made, label)
    (given,) = answers.given
    assert (given.action, given.by, given.via, given.input) == (action, user_name(), Via.NOTEBOOK, None)
    assert given.at is not None
    assert all(button.disabled for button in made._row.children)


def test_a_late_click_is_told_who_decided() -> None:
    first = Decision(action="reject", by="ana", at=NOW, via=Via.COMMAND)
    made = card(ask(), Answers(first))
    press(made, "Approve")
    assert "Too late: ✖\ufe0e rejected by ana at " in made._message.value


def test_what_cannot_be_stored_is_said_in_the_card_and_the_buttons_stay() -> None:
    made = card(ask(), Answers(error=FlowInputError("<no>")))
    press(made, "Approve")
    assert "&lt;no&gt;" in made._message.value
    assert not made._row.children[0].disabled


def test_whatever_storing_raises_is_said_in_the_card_and_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    made = card(ask(), Answers(error=OSError(28, "No space left on device")))
    press(made, "Approve")
    assert "OSError: [Errno 28] No space left on device" in made._message.value
    assert not made._row.children[0].disabled
    assert capsys.readouterr() == ("", "")


def test_a_text_is_submitted_as_it_is() -> None:
    answers = Answers()
    made = card(ask(input="text", actions=("approve", "reject", "input")), answers)
    assert labels(made) == ["Submit", "Approve", "Reject"]
    assert [button.button_style for button in made._row.children] == ["primary", "", "danger"], (
        "one way is the main one"
    )
    assert made.form is not None
    made.form.fields[0].widget.value = "yes: {{ 1 }}"
    press(made, "Submit")
    assert answers.given[0].input == "yes: {{ 1 }}"


def test_a_form_with_mistakes_is_not_submitted() -> None:
    answers = Answers()
    made = card(ask(input={"day": "date", "n": "int"}, actions=("approve", "reject", "input")), answers)
    press(made, "Submit")
    assert answers.given == []
    assert made.form is not None
    assert "choose a day" in made.form.fields[0].error.value
    assert made.form.fields[1].error.value == ""
    made.form.fields[0].widget.value = date(2026, 11, 23)
    press(made, "Submit")
    assert answers.given[0].input == {"day": "2026-11-23", "n": 0}
    assert made.form.fields[0].error.value == ""


def test_an_approval_needs_no_form() -> None:
    answers = Answers()
    press(card(ask(input={"day": "date"}, actions=("approve", "reject", "input")), answers), "Approve")
    assert answers.given[0].input is None


def test_a_day_that_may_stay_empty_may() -> None:
    form = Form("date", optional=True)
    assert form.read() is None
    with pytest.raises(ValueError, match="1 of 1 fields are wrong"):
        Form("date").read()


def test_a_node_with_once_offers_what_may_have_become_of_it() -> None:
    answers = Answers()
    made = card(ask(input="any", actions=("happened", "again", "fail")), answers)
    assert labels(made) == ["It happened", "Run it again", "Fail"]
    press(made, "It happened")
    assert answers.given[0].input is None
    assert made.form is not None
    made.form.fields[0].widget.value = "{id: 7}"
    press(made, "It happened")
    assert answers.given[1].input == {"id": 7}


def test_the_time_left_goes_down_to_nothing() -> None:
    made = card(ask(deadline=NOW + timedelta(minutes=5)), Answers())
    made.tick(NOW)
    assert made._left.value == "5:00 left, then: reject"
    made.tick(NOW + timedelta(seconds=259.5))
    assert made._left.value == "40 s left, then: reject"
    made.tick(NOW + timedelta(hours=1))
    assert made._left.value == "0 s left, then: reject"


@pytest.mark.parametrize(
    "wanted, model, filled, read",
    [
        ("bool", "Checkbox", True, True),
        ("int", "IntText", 7, 7),
        ("float", "FloatText", 1.5, 1.5),
        ("str", "Text", "a", "a"),
        ("date", "DatePicker", date(2026, 11, 23), "2026-11-23"),
        ('Literal["a", "b"]', "Dropdown", "b", "b"),
        ('Literal["a"]', "Dropdown", "a", "a"),
        ("list[int]", "Textarea", "[1, 2]", [1, 2]),
        ("int | None", "Textarea", "", None),
        ("datetime", "Text", "2026-11-23T10:15:00Z", "2026-11-23T10:15:00Z"),
        ("any", "Textarea", "on", "on"),
        ("text", "Textarea", " a ", " a "),
    ],
)
def test_each_type_has_its_widget(wanted: str, model: str, filled: Any, read: Any) -> None:
    form = Form(wanted)
    assert type(form.fields[0].widget).__name__ == model
    form.fields[0].widget.value = filled
    assert form.read() == read


def test_all_wrong_fields_are_marked_at_once() -> None:
    form = Form({"a": "list[int]", "b": "date", "c": "str"})
    form.fields[0].widget.value = "[<x>]"
    with pytest.raises(ValueError, match="2 of 3 fields are wrong"):
        form.read()
    assert "&lt;x&gt;" in form.fields[0].error.value
    assert [bool(field.error.value) for field in form.fields] == [True, True, False]


@pytest.mark.parametrize(
    "decision, said",
    [
        (
            Decision(action="approve", by="ana", at=NOW, via=Via.NOTEBOOK),
            f"approved by ana at {NOW.astimezone():%H:%M} \\(notebook",
        ),
        (Decision(action="reject", via=Via.DEFAULT), "rejected: nobody could answer"),
        (Decision(action="reject", via=Via.DEFAULT, timed_out=True), "rejected: the time was over"),
        (Decision(action="input", by="<b>", via=Via.API, input="`x`"), "answered by &lt;b&gt; (api): `` `x` ``"),
        (None, "not answered: the run ended"),
    ],
)
def test_a_line_says_who_decided_what(decision: Decision | None, said: str) -> None:
    line = decision_line(ask(), decision)
    assert line.startswith("**Review &lt;b&gt;** · ")
    assert said.replace("\\(", "(") in line
    assert "\n" not in line


def test_every_action_has_a_button() -> None:
    made = card(ask(input="any", actions=tuple(Action)), Answers())
    assert len(set(labels(made))) == len(Action)
