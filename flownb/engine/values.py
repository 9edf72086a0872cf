"""Values on their way: what of one can be stored, and a copy that nobody else has."""

from __future__ import annotations

import json
import marshal
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from flownb.model.record import Record
from flownb.render.rows import size_of
from flownb.secrets import Redactor
from flownb.store.storable import readable, readable_text, reads_back
from flownb.templates.terms import REDACTED

_PREVIEW_LENGTH: Final = 200
_LARGE: Final = 2**63
_DATA: Final = frozenset({list, dict})
"""Types of data that a body could change in place."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as the journal holds it."""

    output: JsonValue
    """JSON: the value, or what can be shown of it."""
    reusable: bool
    """Whether `output` is the whole value."""
    is_tainted: bool = False
    """Whether the value holds something of a secret."""


def to_stored(value: object, redactor: Redactor, *, is_tainted: bool = False) -> Stored:
    """Return a value as the journal holds it: the one place that decides what of a value is kept.

    Tuples become lists; keys that are no text are no JSON. What a line of the journal would not give back, as half a
    character, is shown as far as it can be.

    Args:
        value: What a node made.
        redactor: Knows the secrets.
        is_tainted: Whether it holds something of one, whatever it looks like: then nothing of it is kept.
    """
    if is_tainted:
        return Stored(REDACTED, reusable=False, is_tainted=True)
    if not redactor and _is_plain(value):
        return Stored(cast("JsonValue", value), reusable=True)
    try:
        text = json.dumps(value, allow_nan=False)
        output = json.loads(text)
        if output != value and _listed(value) != output:
            return _preview(value, redactor)
        # Here is the place for what is too large for a line: with `text` its size is known.
        if redactor.holds(output):
            return Stored(readable(redactor.json(output)), reusable=False, is_tainted=True)
        return Stored(output, reusable=True) if reads_back(text) else Stored(readable(output), reusable=False)
    except (TypeError, ValueError, RecursionError):
        return _preview(value, redactor)


def _is_plain(value: object) -> bool:
    """Return whether a value is JSON of one word, which nothing need be asked about."""
    match value:
        case None | bool():
            return True
        case int():
            return type(value) is int and abs(value) < _LARGE
        case str():
            return type(value) is str and value.isascii()
        case _:
            return False


def own_copy(value: object) -> object:
    """Return a copy of data, down to its leaves; anything that is no plain data is returned as it is."""
    if isinstance(value, Record):
        return Record.of({name: own_copy(item) for name, item in dict.items(value)})
    if not isinstance(value, list | dict) or type(value) not in _DATA:
        return value
    try:
        return marshal.loads(marshal.dumps(value))  # noqa: S302 it was made in this very line; nothing is as fast
    except ValueError:
        holds_records = type(value) is list and any(isinstance(item, Record) for item in value)
        return [own_copy(item) for item in value] if holds_records else value


def _listed(value: object) -> object:
    """Return JSON-like data with its tuples as lists."""
    match value:
        case list() | tuple():
            return [_listed(item) for item in value]
        case dict():
            return {key: _listed(item) for key, item in value.items()}
        case _:
            return value


def _preview(value: object, redactor: Redactor) -> Stored:
    kind = type(value)
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 a stranger's repr
        text = f"(no preview: {type(error).__name__})"
    size = size_of(value)
    clean = redactor.text(f"{size}\n{text}" if size else text)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    shown: JsonValue = {"type": readable_text(redactor.text(name)), "preview": readable_text(clean[:_PREVIEW_LENGTH])}
    return Stored(shown, reusable=False, is_tainted=redactor.text(text) != text)
