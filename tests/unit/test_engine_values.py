"""What of a value is kept: one decision, and what a line of the journal then gives back."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from pydantic import JsonValue

from flownb.engine.values import Stored, to_stored
from flownb.model import events as e
from flownb.secrets import Redactor
from flownb.store.lines import join, scan
from flownb.store.storable import storable
from flownb.templates.terms import REDACTED
from tests.runs import AT, started

SECRET = "hunter2hunter2"
NOTHING = Redactor()


def nested(depth: int) -> JsonValue:
    value: JsonValue = 1
    for _ in range(depth):
        value = [value]
    return value


def no_file(extension: str, _writer: Callable[[BinaryIO], None]) -> str:
    raise AssertionError(f"nothing here is large, and yet .{extension} is written")


def kept(value: object, redactor: Redactor = NOTHING) -> Stored:
    """Return a value as it is stored, after its line was read back and said the same."""
    stored = to_stored(value, redactor, no_file)
    done = e.NodeCompleted(at=AT, key="a", output=stored.output, reusable=stored.reusable, tagged=stored.tagged)
    entries = [storable(event, redactor) for event in (started(), done)]
    assert scan(join([entry.line for entry in entries]), Path("journal"))[0] == [entry.event for entry in entries]
    assert entries[1].event is done
    return stored


@pytest.mark.parametrize("value", [None, True, 3, 1.5, "x", "é" * 300, [1, {"a": None}], nested(150), nested(180)])
def test_data_is_kept_as_it_is(value: JsonValue) -> None:
    assert kept(value) == Stored(value, reusable=True)


@pytest.mark.parametrize("value", [(1, (2,)), {1: "a"}, {1, 2}, float("nan"), {"$type": "x"}])
def test_what_is_no_plain_json_is_kept_with_tags(value: object) -> None:
    stored = kept(value)
    assert (stored.reusable, stored.tagged) == (True, True)


@pytest.mark.parametrize("value", ["x" + SECRET, [SECRET], {SECRET: 1}])
def test_a_secret_is_not_kept(value: JsonValue) -> None:
    stored = kept(value, Redactor([SECRET]))
    assert SECRET not in str(stored.output)
    assert REDACTED in str(stored.output)
    assert (stored.reusable, stored.is_tainted) == (False, True)


@pytest.mark.parametrize("output, shown", [("x\udce9", "x\\udce9"), ({"\udce9": [1]}, "\\udce9")])
def test_half_a_character_is_kept_or_shown(output: JsonValue, shown: str) -> None:
    stored = kept(output)
    assert stored.reusable or shown in str(stored.output)


def test_half_a_character_beside_a_secret_is_shown_without_the_secret() -> None:
    assert kept(f"x\udce9{SECRET}", Redactor([SECRET])).output == f"x\\udce9{REDACTED}"


@pytest.mark.parametrize(
    "value",
    [array("i", [1]), nested(500), nested(9_999), [object()]],
    ids=["no kind", "too deep", "much too deep", "no kind inside"],
)
def test_what_cannot_be_kept_is_shown_with_why_and_not_reused(value: object) -> None:
    stored = kept(value)
    assert isinstance(stored.output, dict)
    assert stored.output.keys() == {"type", "preview", "why"}
    assert not stored.reusable


def test_what_an_object_says_of_itself_may_hold_half_a_character() -> None:
    class Strange:
        def __repr__(self) -> str:
            return "file \udce9"

    stored = kept(Strange())
    assert isinstance(stored.output, dict)
    assert stored.output["preview"] == "file \\udce9"
