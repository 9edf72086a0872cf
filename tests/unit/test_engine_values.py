"""What of a value is kept: one decision, and what a line of the journal then gives back."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue

from flownb.engine.values import Stored, to_stored
from flownb.model import events as e
from flownb.secrets import Redactor
from flownb.store.lines import join, scan
from flownb.store.storable import UNSTORABLE, storable
from flownb.templates.terms import REDACTED
from tests.runs import AT, started

SECRET = "hunter2hunter2"
NOTHING = Redactor()


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


def kept(value: object, redactor: Redactor = NOTHING) -> Stored:
    """Return a value as it is stored, after its line was read back and said the same."""
    stored = to_stored(value, redactor)
    done = e.NodeCompleted(at=AT, key="a", output=stored.output, reusable=stored.reusable)
    entries = [storable(event, redactor) for event in (started(), done)]
    assert scan(join([entry.line for entry in entries]), Path("journal"))[0] == [entry.event for entry in entries]
    assert entries[1].event is done
    return stored


@pytest.mark.parametrize("value", [None, True, 3, 1.5, "x", "é" * 300, [1, {"a": None}], nested(150), nested(190)])
def test_data_is_kept_as_it_is(value: JsonValue) -> None:
    assert kept(value) == Stored(value, reusable=True)


def test_tuples_are_kept_as_lists() -> None:
    assert kept({"a": (1, (2,))}) == Stored({"a": [1, [2]]}, reusable=True)


@pytest.mark.parametrize("value", ["x" + SECRET, [SECRET], {SECRET: 1}])
def test_a_secret_is_not_kept(value: JsonValue) -> None:
    stored = kept(value, Redactor([SECRET]))
    assert SECRET not in str(stored.output)
    assert REDACTED in str(stored.output)
    assert (stored.reusable, stored.is_tainted) == (False, True)


@pytest.mark.parametrize("output, shown", [("x\udce9", "x\\udce9"), ({"\udce9": [1]}, {"\\udce9": [1]})])
def test_half_a_character_is_shown_and_not_reused(output: JsonValue, shown: JsonValue) -> None:
    assert kept(output) == Stored(shown, reusable=False)


def test_half_a_character_beside_a_secret_is_shown_without_the_secret() -> None:
    assert kept(f"x\udce9{SECRET}", Redactor([SECRET])).output == f"x\\udce9{REDACTED}"


def test_a_value_too_deep_to_be_read_is_cut_and_not_reused() -> None:
    stored = kept(nested(220))
    assert UNSTORABLE in str(stored.output)
    assert not stored.reusable


@pytest.mark.parametrize(
    "value",
    [float("nan"), [float("inf")], {1: "a"}, {(1, 2): "b"}, {1, 2}, 10**5000, nested(500), nested(9_999)],
    ids=["nan", "infinity", "a number as key", "a tuple as key", "a set", "a long number", "too deep", "much too deep"],
)
def test_what_is_no_json_is_shown_and_not_reused(value: object) -> None:
    stored = kept(value)
    assert isinstance(stored.output, dict)
    assert stored.output.keys() == {"type", "preview"}
    assert not stored.reusable


def test_what_an_object_says_of_itself_may_hold_half_a_character() -> None:
    class Strange:
        def __repr__(self) -> str:
            return "file \udce9"

    stored = kept(Strange())
    assert isinstance(stored.output, dict)
    assert stored.output["preview"] == "file \\udce9"
