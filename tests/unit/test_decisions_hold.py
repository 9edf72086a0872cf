"""A decision holds while its question, as rendered, and what it showed are the same (format.md, section 4.6)."""

from __future__ import annotations

from pathlib import Path

import pytest

import flownb
from flownb.model.decision import Decision, Request
from flownb.plan.fingerprint import value_digest
from tests.runs import node
from tests.unit.test_engine_failing import marking

FAILS = node("end", "assert 0", "needs: []")


class Asking:
    """A document in a folder of its own, edited and resumed, and what a person was asked."""

    def __init__(self, folder: Path) -> None:
        self.path, self.folder = folder / "main.flow.md", folder
        self.asked: list[tuple[str, str]] = []
        self.run_id = ""

    def answer(self, request: Request) -> Decision:
        self.asked.append((request.node, request.question.again))
        return Decision(action="approve", by="ana")

    def go(self, text: str) -> flownb.Run:
        """Run the text, or resume with it; the end of what was asked before is forgotten."""
        self.path.write_text(text, encoding="utf-8")
        self.asked.clear()
        if not self.run_id:
            made = flownb.run(self.path, decide=self.answer)
            self.run_id = made.id
            return made
        return flownb.resume(self.run_id, state_dir=self.folder / ".flownb", decide=self.answer)


@pytest.fixture
def asking(tmp_path: Path) -> Asking:
    return Asking(tmp_path)


def test_an_edit_above_that_leaves_the_question_as_it_is_does_not_ask_again(asking: Asking) -> None:
    ask = node("ask", "Publish {{ a }}?", "show: a", runtime="checkpoint")
    asking.go(node("a", "1 + 1") + ask + FAILS)
    assert asking.asked == [("ask", "")]
    made = asking.go(node("a", "2") + ask + node("end", "ask.by"))
    assert (made.status, made["end"], asking.asked) == ("completed", "ana", [])


@pytest.mark.parametrize(
    "before, after, why",
    [
        (("1", "Publish {{ a }}?"), ("2", "Publish {{ a }}?"), "the question changed"),
        (("1", "Publish?"), ("1", "Publish now?"), "the question changed"),
        (("1", "Publish?", "show: a"), ("2", "Publish?", "show: a"), "what `a` shows changed"),
        (("1", "Publish?"), ("1", "Publish?", "show: a"), "what `a` shows changed"),
        (("1", "Publish?", "input: text"), ("1", "Publish?", "input: int"), "what can be answered changed"),
    ],
)
def test_a_question_that_came_out_different_is_asked_again_and_the_log_says_why(
    asking: Asking, before: tuple[str, ...], after: tuple[str, ...], why: str
) -> None:
    asking.go(node("a", before[0]) + node("ask", *before[1:], runtime="checkpoint") + FAILS)
    made = asking.go(node("a", after[0]) + node("ask", *after[1:], runtime="checkpoint") + node("end", "ask.by"))
    assert (made.status, asking.asked) == ("completed", [("ask", why)])
    assert f"asked again: {why}" in made.log.partition("### Decisions")[2]


def test_prose_and_default_and_place_ask_nothing_again(asking: Asking) -> None:
    asking.go(node("ask", "Publish?", "default: approve", runtime="checkpoint") + FAILS)
    made = asking.go(
        "# Title\n\nProse.\n\n" + node("ask", "Publish?", "timeout: 1h", runtime="checkpoint") + node("end")
    )
    assert (made.status, asking.asked) == ("completed", [])


def test_a_value_that_is_made_again_and_came_out_different_is_asked_about_again(asking: Asking) -> None:
    count = asking.folder / "count"
    made_anew = node(
        "a", marking(count, "__import__('array').array('i', [n, 0])")
    )  # It is of no kind that is kept: a resume makes it again.
    ask = node("ask", "Publish {{ a | length }}?", "show: a", runtime="checkpoint")
    below = node("b", marking(asking.folder / "b", "ask.by"))
    asking.go(made_anew + ask + below + FAILS)
    made = asking.go(made_anew + ask + below + node("end"))
    assert (made.status, asking.asked) == ("completed", [("ask", "what `a` shows changed")])
    assert (asking.folder / "b").read_text() == "xx"  # It relied on the answer.
    assert flownb.show(made.id, state_dir=asking.folder / ".flownb").state == made.state


def test_only_the_items_that_came_out_different_are_asked_again(asking: Asking) -> None:
    count = asking.folder / "count"
    made_anew = node("a", marking(count, "__import__('array').array('i', [n])"))
    ask = node("ask", "Item {{ item }} of {{ a | list if item == 2 else 0 }}?", "foreach: [1, 2]", runtime="checkpoint")
    asking.go(made_anew + ask + FAILS)
    made = asking.go(made_anew + ask + node("end", "[one.by for one in ask]"))
    assert (made["end"], asking.asked) == (["ana", "ana"], [("ask[1]", "the question changed")])


def test_an_answer_that_was_stored_for_another_question_does_not_count(asking: Asking) -> None:
    text = node("a", "1") + node("ask", "Publish {{ a }}?", "timeout: 1h", runtime="checkpoint")
    asking.path.write_text(text, encoding="utf-8")
    made = flownb.run(asking.path, decide=lambda _request: None)
    flownb.show(made.id, state_dir=asking.folder / ".flownb").decide("ask", "reject")
    asking.run_id = made.id
    again = asking.go(text.replace("\n1\n", "\n2\n"))
    assert (again.status, asking.asked) == ("completed", [("ask", "the question changed")])
    assert again.decisions["ask"].by == "ana"


def test_an_answer_that_was_stored_for_the_same_question_counts(asking: Asking) -> None:
    text = node("a", "1") + node("ask", "Publish {{ a }}?", runtime="checkpoint")
    asking.path.write_text(text, encoding="utf-8")
    made = flownb.run(asking.path, decide=lambda _request: None)
    flownb.show(made.id, state_dir=asking.folder / ".flownb").decide("ask", "approve", by="eve")
    asking.run_id = made.id
    again = asking.go(text)
    assert (again.status, asking.asked, again.decisions["ask"].by) == ("completed", [], "eve")


def test_from_asks_again_though_nothing_changed(asking: Asking) -> None:
    made = asking.go(node("ask", "Publish?", runtime="checkpoint") + node("b", "1"))
    asking.asked.clear()
    flownb.resume(made.id, state_dir=asking.folder / ".flownb", from_node="ask", decide=asking.answer)
    assert asking.asked == [("ask", "")]


# What tells one value from another.


class Table:
    """Says of itself less than it holds, as a DataFrame does."""

    def __init__(self, cell: int) -> None:
        self.cell = cell

    def to_csv(self) -> str:
        return f"a\n{self.cell}\n"

    def __repr__(self) -> str:
        return "a table"


class Thing:
    pass


def digest(value: object) -> str:
    return value_digest(value, str)


@pytest.mark.parametrize(
    "one, other", [({"a": 1}, {"a": 2}), ([1], [1, 1]), (Table(1), Table(2)), (b"a", b"b"), ({1}, {2}), ("", None)]
)
def test_values_that_differ_have_other_digests(one: object, other: object) -> None:
    assert digest(one) != digest(other)


@pytest.mark.parametrize("one, other", [({"a": 1, "b": 2}, {"b": 2, "a": 1}), (Table(1), Table(1)), (Thing(), Thing())])
def test_values_that_are_the_same_have_the_same_digest(one: object, other: object) -> None:
    assert digest(one) == digest(other)


def test_a_secret_is_no_part_of_a_digest() -> None:
    assert value_digest({"a": "s3cr3t"}, lambda text: text.replace("s3cr3t", "•••")) == digest({"a": "•••"})
