"""Events in the form in which they can be stored: readable, and without secrets."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.secrets import Redactor
from flownb.store.storable import UNSTORABLE, readable, storable
from tests.runs import AT, completed

SECRET = "hunter2hunter2"
HIDDEN = Redactor([SECRET])
FAILURE = Failure(node="a", type="ValueError", message=SECRET, traceback=f"line\n{SECRET}", hint=SECRET)


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


def output_of(event: e.Event) -> tuple[JsonValue, bool]:
    assert isinstance(event, e.NodeCompleted)
    return event.output, event.reusable


@pytest.mark.parametrize(
    "event",
    [
        e.RunStarted(at=AT, run_id="r", workflow="w", definition="d", inputs={"x": SECRET}),
        e.RunResumed(at=AT, definition="d", inputs={"x": [SECRET]}),
        e.AttemptFailed(at=AT, key="a", failure=FAILURE, wait_s=1),
        e.NodeCompleted(at=AT, key="a", output={SECRET: SECRET}),
        e.NodeFailed(at=AT, key="a", failure=FAILURE),
        e.NodeSkipped(at=AT, key="a", reason=SECRET),
        e.Asked(at=AT, question=Question(key="a", heading=SECRET, text=SECRET, asked_at=AT)),
        e.Decided(at=AT, key="a", decision=Decision(action="input", input=SECRET, by=SECRET)),
        e.RunFinished(at=AT, status=e.RunStatus.FAILED, outputs={"x": SECRET}, failures=(FAILURE,)),
    ],
    ids=lambda event: event.kind,
)
def test_no_event_takes_a_secret_to_the_disk(event: e.Event) -> None:
    stored, line = storable(event, HIDDEN)
    assert SECRET not in line.decode()
    assert "•••" in line.decode()
    assert e.EVENTS.validate_json(line) == stored


def test_a_secret_that_is_part_of_a_line_s_frame_breaks_nothing() -> None:
    event = e.NodeCompleted(at=AT, key="node", output="the node")
    stored, line = storable(event, Redactor(["node", "kind", "2026", "output", "{", '"']))
    assert e.EVENTS.validate_json(line) == stored
    assert (stored.kind, output_of(stored)) == ("node_completed", ("the •••", False))


def test_an_event_without_secrets_is_stored_as_it_is() -> None:
    for event in (completed("a", ["clean"]), e.NodeStarted(at=AT, key="a")):
        assert storable(event, HIDDEN)[0] is event


@pytest.mark.parametrize("depth", [150, 190])
def test_a_deep_value_is_stored_as_it_is(depth: int) -> None:
    event = completed("a", nested(depth))
    assert storable(event, Redactor())[0] is event


@pytest.mark.parametrize(
    "output, shown",
    [
        ("x\udce9", "x\\udce9"),
        ({"\udce9": [1]}, {"\\udce9": [1]}),
        ([1, 10**5000], [1, UNSTORABLE]),
    ],
)
def test_what_does_not_read_back_is_shown_and_not_reused(output: JsonValue, shown: JsonValue) -> None:
    stored, line = storable(completed("a", output), Redactor())
    assert output_of(stored) == (shown, False)
    assert e.EVENTS.validate_json(line) == stored


def test_a_value_too_deep_to_be_read_is_cut_and_not_reused() -> None:
    stored, line = storable(completed("a", nested(220)), Redactor())
    output, reusable = output_of(stored)
    assert UNSTORABLE in str(output)
    assert not reusable
    assert e.EVENTS.validate_json(line) == stored


def test_a_failure_with_half_a_character_is_stored() -> None:
    failure = Failure(node="a", type="OSError", message="").model_copy(update={"message": "no file x\udce9"})
    event = e.NodeFailed(at=AT, key="a", failure=FAILURE).model_copy(update={"failure": failure})
    stored, line = storable(event, Redactor())
    assert isinstance(stored, e.NodeFailed)
    assert stored.failure.message == "no file x\\udce9"
    assert e.EVENTS.validate_json(line) == stored


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_infinity_reads_back(number: float) -> None:
    event = completed("a", [number])
    assert e.EVENTS.validate_json(storable(event, Redactor())[1]) == event


def test_nan_reads_back_as_nan() -> None:
    read = e.EVENTS.validate_json(storable(completed("a", float("nan")), Redactor())[1])
    assert str(output_of(read)[0]) == "nan"


def test_what_reads_back_is_the_same_object() -> None:
    value: JsonValue = {"a": [1, "b", None, True, 1.5]}
    assert readable(value) is value
