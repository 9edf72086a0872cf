"""What an attempt gave, ready to be written down: a value that can be stored, or a failure."""

from __future__ import annotations

import json
import marshal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from flownb.errors import ExpressionError, Failure, FlowError, FlowInputError
from flownb.model.events import Gather
from flownb.model.nodes import Leaf, NodeBase
from flownb.model.record import Record
from flownb.render.rows import size_of
from flownb.runtimes.frames import person_frames, person_place
from flownb.secrets import Redactor
from flownb.templates.sandbox import MissingError
from flownb.templates.veil import REDACTED

_PREVIEW_LENGTH: Final = 200
HIDDEN: Final = f"{REDACTED} (what it says is not kept: it may show something of a secret)"
"""What stands for the message of an error that may show a value. One about a missing name shows none."""
_DATA: Final = frozenset({list, dict})
"""Types of data that a body could change in place."""
_PLAIN: Final = frozenset({bool, int, str})
"""Types whose values are JSON as they are."""


class Halted(Exception):  # noqa: N818 it is no error
    """Work that was left because the run starts nothing new; it is kept for a resume."""


class PartsFailedError(Exception):
    """A container's attempt failed, because nodes in it did."""

    def __init__(self, failures: list[Failure]) -> None:
        """Gather what failed, the first first."""
        super().__init__(failures)
        self.failures = failures
        """What failed."""


@dataclass(frozen=True, slots=True)
class Made:
    """What an attempt gave: a value, or how it is made of values that are known already."""

    value: object = None
    """The value, where `gather` is None."""
    gather: Gather | None = None
    """How it is made of others."""
    count: int = 0
    """How many items or rounds."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Name → key."""
    is_tainted: bool = False
    """Whether the value holds something of a secret, whatever it looks like."""


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
    """Return a value as the journal holds it. Tuples become lists; keys that are no text are no JSON.

    Args:
        value: What a node made.
        redactor: Knows the secrets.
        is_tainted: Whether it holds something of one, whatever it looks like: then nothing of it is kept.
    """
    if is_tainted:
        return Stored(REDACTED, reusable=False, is_tainted=True)
    if value is None or (isinstance(value, bool | int | str) and type(value) in _PLAIN):
        if redactor.holds(value):
            return Stored(redactor.json(value), reusable=False, is_tainted=True)
        return Stored(value, reusable=True)
    try:
        text = json.dumps(value, allow_nan=False)
        output = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return _preview(value, redactor)
    if output != value and _listed(value) != output:
        return _preview(value, redactor)
    if redactor.holds(output):
        return Stored(redactor.json(output), reusable=False, is_tainted=True)
    return Stored(output, reusable=True)


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
    shown: JsonValue = {"type": redactor.text(name), "preview": clean[:_PREVIEW_LENGTH]}
    return Stored(shown, reusable=False, is_tainted=redactor.text(text) != text)


def to_failure(
    error: BaseException, node: NodeBase, key: str, attempts: int, redactor: Redactor, *, is_tainted: bool = False
) -> Failure:
    """Return what went wrong as data, without secrets and without flownb's own frames.

    With `is_tainted` the node reads something of a secret: where its error may show a value, the message is not kept.
    """
    hint = error.hint if isinstance(error, FlowError) else ""
    message = error.message if isinstance(error, FlowError) else str(error)
    tells = isinstance(error, ExpressionError | FlowInputError) or (isinstance(node, Leaf) and node.TELLS)
    if is_tainted and tells and not isinstance(error.__cause__, MissingError):
        message, hint = HIDDEN, ""
    place = person_place(error)
    if not place:
        place = str(node.spans.get("body", node.span)) if isinstance(node, Leaf) else str(node.span)
    return Failure(
        node=key,
        type=redactor.text(type(error).__name__),
        message=redactor.text(message),
        attempts=attempts,
        traceback=redactor.text(person_frames(error)),
        place=place,
        hint=redactor.text(hint),
    )
