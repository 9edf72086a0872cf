from __future__ import annotations

import io
import os
import pty
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import NamedTuple

import pytest
from pydantic import JsonValue
from rich.console import Console

from flownb.errors import FlowError
from flownb.model.decision import Action, Decision, Question, Request, Via, user_name
from flownb.model.nodes import DefaultAction
from flownb.terminal.prompt import TerminalAsker, read_yaml

ASKED = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)


class Terminal(NamedTuple):
    """A real terminal with a person at it who answers each prompt with the next answer."""

    person: int
    asker: TerminalAsker
    screen: Screen


class Screen(io.StringIO):
    """What is shown. As soon as a prompt stands there, the next answer is given."""

    answers: list[Callable[[], object]]

    def write(self, text: str) -> int:
        written = super().write(text)
        if text.endswith(": ") and self.answers:
            self.answers.pop(0)()
        return written


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    person, program = pty.openpty()
    screen = Screen()
    screen.answers = []
    yield Terminal(person, TerminalAsker(Console(file=screen, width=80), stdin=program), screen)
    os.close(person)
    os.close(program)


def question(wanted: JsonValue = None, **more: object) -> Question:
    actions = (Action.APPROVE, Action.REJECT, *((Action.INPUT,) if wanted is not None else ()))
    fields = {"key": "review", "heading": "Review", "text": "Publish **3** articles?", "asked_at": ASKED}
    return Question.model_validate(fields | {"input": wanted, "actions": actions} | more)


ONCE = question("any", actions=(Action.HAPPENED, Action.AGAIN, Action.FAIL))


def ask(terminal: Terminal, asked: Question, *answers: str) -> Decision | None:
    """Ask, and answer line by line; when nothing is left to say the question counts as answered elsewhere."""
    terminal.screen.answers.extend(partial(os.write, terminal.person, f"{line}\n".encode()) for line in answers)
    looks = iter(range(3))
    return terminal.asker.ask(asked, lambda: not terminal.screen.answers and next(looks, None) is None)


@pytest.mark.parametrize("answer", ["a", "A", "approve", "APPROVE", " Approve "])
def test_approve_is_understood_in_any_case(terminal: Terminal, answer: str) -> None:
    decision = ask(terminal, question(), answer)
    assert decision is not None
    assert decision.action == Action.APPROVE
    assert (decision.by, decision.via, decision.timed_out) == (user_name(), Via.TERMINAL, False)
    assert decision.at is not None


@pytest.mark.parametrize("answer", ["r", "R", "reject", "Reject"])
def test_reject_is_understood_in_any_case(terminal: Terminal, answer: str) -> None:
    decision = ask(terminal, question(), answer)
    assert decision is not None
    assert decision.action == Action.REJECT


def test_what_a_question_holds_does_not_move_the_terminal(terminal: Terminal) -> None:
    text = "a\x1b[2J &#x202e; &#27; &#x9b; \u2066 `\x9b31m`"
    ask(terminal, question(heading="H\x1b]0;x\x07", text=text, key="k\x1b[1m"), "what\x1b[2J", "a")
    shown = terminal.screen.getvalue()
    assert [letter for letter in shown if letter in "\x1b\x07\x9b\u202e\u2066"] == []
    assert "\\u202e" in shown


def test_the_prompt_offers_what_can_be_said(terminal: Terminal) -> None:
    ask(terminal, question(), "a")
    assert terminal.screen.getvalue().endswith("\n[A]pprove / [R]eject: ")


def test_the_prompt_offers_an_input_where_one_is_wanted(terminal: Terminal) -> None:
    ask(terminal, question("text"), "a")
    assert "\n[A]pprove / [R]eject / [I]nput: " in terminal.screen.getvalue()


def test_the_question_is_shown_rendered_with_values_and_deadline(terminal: Terminal) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    asked = question(deadline=later, show=("n",))
    terminal.screen.answers.append(lambda: os.write(terminal.person, b"a\n"))
    terminal.asker.decide(Request(asked, {"n": [1, 2]}, lambda: False))
    shown = terminal.screen.getvalue()
    assert "Publish 3 articles?" in shown
    assert "n:\n  [1, 2]\n" in shown
    assert f"until {later.astimezone():%Y-%m-%d %H:%M:%S}, then: reject" in shown


def test_nothing_in_a_question_reaches_the_terminal_as_a_code(terminal: Terminal) -> None:
    ask(terminal, question(text="\x1b[2J [x](http://a.example)", heading="\x1b]0;t\x07"), "a")
    assert "\x1b" not in terminal.screen.getvalue()


def test_an_unknown_answer_asks_again(terminal: Terminal) -> None:
    decision = ask(terminal, question(), "maybe", "i", "a")
    assert decision is not None
    assert decision.action == Action.APPROVE
    assert terminal.screen.getvalue().count("[A]pprove") == 3


def test_the_third_unknown_answer_is_reject(terminal: Terminal) -> None:
    decision = ask(terminal, question(), "maybe", "", "who knows", "a")
    assert decision is not None
    assert decision.action == Action.REJECT
    assert len(terminal.screen.answers) == 1


def test_text_is_taken_as_it_is(terminal: Terminal) -> None:
    decision = ask(terminal, question("text"), "i", "shorter: {{ titles }}")
    assert decision is not None
    assert (decision.action, decision.input) == (Action.INPUT, "shorter: {{ titles }}")


def test_an_input_of_a_type_is_yaml_and_asked_again_until_it_fits(terminal: Terminal) -> None:
    decision = ask(terminal, question({"n": "int"}), "input", "{n: many}", "{n: [", "{n: 3}")
    assert decision is not None
    assert decision.input == {"n": 3}
    assert terminal.screen.getvalue().count("Input (YAML, {n: int}): ") == 3


@pytest.fixture
def hosts_handler() -> Iterator[Callable[..., None]]:
    """Return what the host does on Ctrl-C outside of questions."""

    def handler(*_: object) -> None:
        raise AssertionError("the host was interrupted")

    before = signal.signal(signal.SIGINT, handler)
    yield handler
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_reject_and_leaves_the_hosts_handler(terminal: Terminal, hosts_handler: Callable[..., None]) -> None:
    terminal.screen.answers.append(lambda: os.kill(os.getpid(), signal.SIGINT))
    decision = ask(terminal, question())
    assert decision is not None
    assert decision.action == Action.REJECT
    assert signal.getsignal(signal.SIGINT) is hosts_handler


def test_ctrl_d_is_reject(terminal: Terminal) -> None:
    terminal.screen.answers.append(lambda: os.write(terminal.person, b"\x04"))
    decision = ask(terminal, question())
    assert decision is not None
    assert decision.action == Action.REJECT


def test_ctrl_d_at_the_input_is_reject(terminal: Terminal) -> None:
    terminal.screen.answers.append(lambda: os.write(terminal.person, b"i\n"))
    terminal.screen.answers.append(lambda: os.write(terminal.person, b"\x04"))
    decision = ask(terminal, question("text"))
    assert decision is not None
    assert (decision.action, decision.input) == (Action.REJECT, None)


def test_what_was_typed_ahead_answers_nothing(terminal: Terminal) -> None:
    os.write(terminal.person, b"a\na\n")
    decision = ask(terminal, question(), "r")
    assert decision is not None
    assert decision.action == Action.REJECT


def test_one_answer_does_not_answer_the_next_question(terminal: Terminal) -> None:
    terminal.screen.answers.append(lambda: os.write(terminal.person, b"a\na\n"))
    assert ask(terminal, question()) is not None
    assert ask(terminal, question()) is None


def test_half_an_answer_does_not_begin_the_next_one(terminal: Terminal) -> None:
    terminal.screen.answers.append(lambda: os.write(terminal.person, b"a\x04"))  # Sent without the line's end.
    assert ask(terminal, question()) is None
    decision = ask(terminal, question(), "r")
    assert decision is not None
    assert terminal.screen.getvalue().count("please answer") == 0


def test_a_link_in_a_question_cannot_be_clicked(terminal: Terminal) -> None:
    console = Console(file=terminal.screen, width=80, force_terminal=True)
    asker = TerminalAsker(console, stdin=terminal.asker._stdin)
    asker.ask(question(text="[x](http://a.example)"), lambda: True)
    assert "\x1b]8;" not in terminal.screen.getvalue()
    assert "http://a.example" in terminal.screen.getvalue()


def test_an_answer_from_elsewhere_ends_the_prompt(terminal: Terminal) -> None:
    assert ask(terminal, question()) is None
    assert "answered elsewhere" in terminal.screen.getvalue()


@pytest.mark.parametrize("default", list(DefaultAction))
def test_the_default_is_taken_when_the_time_is_over(terminal: Terminal, default: DefaultAction) -> None:
    decision = ask(terminal, question(deadline=datetime.now(UTC) + timedelta(seconds=0.05), default=default))
    assert decision is not None
    assert (decision.action, decision.timed_out, decision.by, decision.via) == (default, True, "", Via.DEFAULT)


def test_a_node_that_may_have_happened_is_asked_about_in_its_own_words(terminal: Terminal) -> None:
    decision = ask(terminal, ONCE, "H", "{paid: 7}")
    assert decision is not None
    assert (decision.action, decision.input) == (Action.HAPPENED, {"paid": 7})
    assert "\n[H]appened / [R]un again / [F]ail: " in terminal.screen.getvalue()


@pytest.mark.parametrize(
    "answer, action", [("r", Action.AGAIN), ("run again", Action.AGAIN), ("again", Action.AGAIN), ("F", Action.FAIL)]
)
def test_a_node_that_may_have_happened_can_run_again_or_fail(terminal: Terminal, answer: str, action: str) -> None:
    decision = ask(terminal, ONCE, answer)
    assert decision is not None
    assert decision.action == action


def test_without_an_answer_such_a_node_stays_open(terminal: Terminal) -> None:
    assert ask(terminal, ONCE, "a", "b", "c", "f") is None
    assert len(terminal.screen.answers) == 1


def test_yaml_that_is_none_is_refused_with_its_source() -> None:
    with pytest.raises(FlowError, match="-i topic: "):
        read_yaml("[1, ", "-i topic")


def test_what_is_shown_goes_through_what_hides_secrets(terminal: Terminal) -> None:
    class Table:
        def __str__(self) -> str:
            return "a  hunter2"

    terminal.screen.answers.append(partial(os.write, terminal.person, b"a\n"))
    values = {"note": "it is hunter2", "table": Table(), "n": 5}
    request = Request(question(), values, lambda: False, lambda text: text.replace("hunter2", "•••"))
    decision = terminal.asker.decide(request)
    assert decision is not None
    shown = terminal.screen.getvalue()
    assert "hunter2" not in shown
    assert ("it is •••" in shown, "a  •••" in shown, "5" in shown) == (True, True, True)


def test_inputs_may_be_as_large_as_a_body_and_a_float_may_be_no_number() -> None:
    assert read_yaml("x" * 70_000, "-i topic") == "x" * 70_000
    assert read_yaml("[.inf, on, 007]", "-i topic") == [float("inf"), "on", 7]
