"""Values on their way: what of one can be stored, and a copy that nobody else has."""

from __future__ import annotations

import json
import marshal
from dataclasses import dataclass
from typing import Final, cast

from pydantic import JsonValue

from flownb.artifacts.encode import HoldsSecret, Put, Unkept, encode
from flownb.artifacts.shown import shown
from flownb.model.node_state import StoredValue
from flownb.model.record import Record
from flownb.render.rows import size_of
from flownb.secrets import Redactor
from flownb.store.storable import readable, readable_text
from flownb.templates.terms import REDACTED

_PREVIEW_LENGTH: Final = 200
_LARGE: Final = 2**63
_DATA: Final = frozenset({list, dict})
"""Types of data that a body could change in place."""
_FEW: Final = 200
"""Parts of a value that are stored without a thread."""
_SHORT: Final = 12_000
"""Characters of all texts in it: they stand in a line of the journal."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as the journal holds it."""

    output: JsonValue
    """JSON: the value, what stands for it, or what can be shown of it."""
    reusable: bool
    """Whether `output` gives the whole value."""
    is_tainted: bool = False
    """Whether the value holds something of a secret."""
    tagged: bool = False
    """Whether `output` stands for the value, as `flownb.artifacts` writes it."""

    @staticmethod
    def of(value: StoredValue) -> Stored:
        """Return a value that was stored before."""
        return Stored(value.output, reusable=True, tagged=value.tagged)


def to_stored(value: object, redactor: Redactor, put: Put, *, is_tainted: bool = False) -> Stored:
    """Return a value as the journal holds it: the one place that decides what of a value is kept.

    Blocks while files are written. What fits no kind is shown as far as it can be.

    Args:
        value: What a node made.
        redactor: Knows the secrets.
        put: Puts a file into the run's store.
        is_tainted: Whether it holds something of one, whatever it looks like: then nothing of it is kept.

    Raises:
        OSError: A file cannot be written.
    """
    if is_tainted:
        return Stored(REDACTED, reusable=False, is_tainted=True)
    if not redactor and _is_plain(value):
        return Stored(cast("JsonValue", value), reusable=True)
    try:
        encoded = encode(value, put, redactor.holds if redactor else None)
    except HoldsSecret:
        return _hidden(value, redactor)
    except Unkept as error:
        return _preview(value, redactor, str(error))
    if redactor.holds(shown(encoded.output) if encoded.is_tagged else encoded.output):  # A number may be one, too.
        return _hidden(value, redactor)
    return Stored(encoded.output, reusable=True, tagged=encoded.is_tagged)


def holds_secret(value: object, redactor: Redactor) -> bool:
    """Return whether a value of any kind shows a secret, as a table does in a cell; nothing is stored."""
    return bool(redactor) and to_stored(value, redactor, lambda _extension, _writer: "").is_tainted


def is_small(value: object) -> bool:
    """Return whether a value is data of a few parts, which takes no time and no file to store."""
    left, letters, parts = _FEW, _SHORT, [value]
    while parts:
        part = parts.pop()
        left -= 1
        match part:
            case None | bool() | float() | int():
                pass
            case str():
                letters -= len(part)
            case list() | tuple() if len(part) <= left:
                parts.extend(part)
            case dict() if len(part) <= left:
                parts.extend(dict.values(part))
                parts.extend(part)
            case _:
                return False
        if left < 0 or letters < 0:
            return False
    return True


def _hidden(value: object, redactor: Redactor) -> Stored:
    """Return what can be shown of a value that holds a secret."""
    try:
        output = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return _preview(value, redactor, "")
    return Stored(readable(redactor.json(output)), reusable=False, is_tainted=True)


def _is_plain(value: object) -> bool:
    """Return whether a value is JSON of one word, which nothing need be asked about."""
    match value:
        case None | bool():
            return True
        case int():
            return type(value) is int and abs(value) < _LARGE
        case str():
            return type(value) is str and len(value) <= _SHORT and value.isascii()
        case _:
            return False


def own_copy(value: object) -> object:
    """Return a copy of data, down to its leaves; anything that is no plain data is returned as it is."""
    if isinstance(value, Record):
        return Record.of({name: own_copy(item) for name, item in dict.items(value)})
    if not isinstance(value, list | dict) or type(value) not in _DATA:
        return value
    if type(value) is list and len(value) > _FEW and set(map(type, value)) == {str}:
        return value.copy()  # Lines of a large file: nobody can change a text.
    try:
        return marshal.loads(marshal.dumps(value))  # noqa: S302 it was made in this very line; nothing is as fast
    except ValueError:
        holds_records = type(value) is list and any(isinstance(item, Record) for item in value)
        return [own_copy(item) for item in value] if holds_records else value


def _preview(value: object, redactor: Redactor, why: str) -> Stored:
    kind = type(value)
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 a stranger's repr
        text = f"(no preview: {type(error).__name__})"
    size = size_of(value)
    clean = redactor.text(f"{size}\n{text}" if size else text)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    told: dict[str, JsonValue] = {
        "type": readable_text(redactor.text(name)),
        "preview": readable_text(clean[:_PREVIEW_LENGTH]),
    }
    if why:
        told["why"] = readable_text(redactor.text(why))
    return Stored(told, reusable=False, is_tainted=not why or redactor.text(text) != text)
