"""Events in the form in which they can be stored: readable, and without secrets."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.secrets import Redactor
from flownb.store.storable import readable, storable
from tests.runs import AT, completed, unsealed

SECRET = "hunter2hunter2"
HIDDEN = Redactor([SECRET])
FAILURE = Failure(node="a", type="ValueError", message=SECRET, traceback=f"line\n{SECRET}", hint=SECRET)


def stored_of(event: e.Event, redactor: Redactor) -> tuple[e.Event, bytes]:
    """Return an event as it is stored, and its line without the checksum."""
    entry = storable(event, redactor)
    return entry.event, unsealed(entry.line)


@pytest.mark.parametrize(
    "event",
    [
        e.RunStarted(at=AT, run_id="r", workflow="w", definition="d", inputs={"x": SECRET}),
        e.RunResumed(at=AT, definition="d", inputs={"x": [SECRET]}),
        e.AttemptFailed(at=AT, key="a", failure=FAILURE, wait_s=1),
        e.NodeFailed(at=AT, key="a", failure=FAILURE),
        e.NodeSkipped(at=AT, key="a", reason=SECRET),
        e.Asked(at=AT, question=Question(key="a", heading=SECRET, text=SECRET, asked_at=AT)),
        e.Decided(at=AT, key="a", decision=Decision(action="input", input=SECRET, by=SECRET)),
        e.RunFinished(at=AT, status=e.RunStatus.FAILED, outputs={"x": SECRET}, failures=(FAILURE,)),
    ],
    ids=lambda event: event.kind,
)
def test_no_event_takes_a_secret_to_the_disk(event: e.Event) -> None:
    stored, line = stored_of(event, HIDDEN)
    assert SECRET not in line.decode()
    assert "•••" in line.decode()
    assert e.EVENTS.validate_json(line) == stored


def test_a_secret_that_is_part_of_a_line_s_frame_breaks_nothing() -> None:
    event = e.NodeSkipped(at=AT, key="node", reason="the node")
    stored, line = stored_of(event, Redactor(["node", "kind", "2026", "output", "{", '"']))
    assert e.EVENTS.validate_json(line) == stored
    assert stored == event.model_copy(update={"reason": "the •••"})


@pytest.mark.parametrize("value", ["x\udce9", {"\udce9": [1]}, [1, 10**5000]], ids=["half", "key", "number"])
def test_an_input_that_does_not_read_back_is_shown_as_far_as_it_can_be(value: JsonValue) -> None:
    event = e.RunResumed(at=AT, definition="d").model_copy(update={"inputs": {"x": value}})
    stored, line = stored_of(event, Redactor())
    assert isinstance(stored, e.RunResumed)
    assert stored.inputs == {"x": readable(value)} != event.inputs
    assert e.EVENTS.validate_json(line) == stored


def test_an_event_without_secrets_is_stored_as_it_is() -> None:
    for event in (completed("a", ["clean"]), e.NodeStarted(at=AT, key="a")):
        assert storable(event, HIDDEN).event is event


def test_a_failure_with_half_a_character_is_stored() -> None:
    failure = Failure(node="a", type="OSError", message="").model_copy(update={"message": "no file x\udce9"})
    event = e.NodeFailed(at=AT, key="a", failure=FAILURE).model_copy(update={"failure": failure})
    stored, line = stored_of(event, Redactor())
    assert isinstance(stored, e.NodeFailed)
    assert stored.failure.message == "no file x\\udce9"
    assert e.EVENTS.validate_json(line) == stored


@pytest.mark.parametrize("number", [float("inf"), float("-inf")])
def test_infinity_reads_back(number: float) -> None:
    event = completed("a", [number])
    assert e.EVENTS.validate_json(stored_of(event, Redactor())[1]) == event


def test_nan_reads_back_as_nan() -> None:
    read = e.EVENTS.validate_json(stored_of(completed("a", float("nan")), Redactor())[1])
    assert isinstance(read, e.NodeCompleted)
    assert str(read.output) == "nan"


def test_what_reads_back_is_the_same_object() -> None:
    value: JsonValue = {"a": [1, "b", None, True, 1.5]}
    assert readable(value) is value
