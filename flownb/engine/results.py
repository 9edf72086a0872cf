"""What an attempt gave, ready to be written down: a value that can be stored, or a failure."""

from __future__ import annotations

import json
import marshal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue

from flownb.errors import Failure, FlowError
from flownb.model.events import Gather
from flownb.model.nodes import Leaf, NodeBase
from flownb.model.record import Record
from flownb.render.rows import size_of
from flownb.runtimes.frames import person_frames, person_place
from flownb.secrets import Redactor

_PREVIEW_LENGTH: Final = 200
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


@dataclass(frozen=True, slots=True)
class Stored:
    """A value as the journal holds it."""

    output: JsonValue
    """JSON: the value, or what can be shown of it."""
    reusable: bool
    """Whether `output` is the whole value."""


def to_stored(value: object, redactor: Redactor) -> Stored:
    """Return a value as the journal holds it. Tuples become lists; keys that are no text are no JSON."""
    if value is None or (isinstance(value, bool | int | str) and type(value) in _PLAIN):
        if redactor.holds(value):
            return Stored(redactor.json(value), reusable=False)
        return Stored(value, reusable=True)
    try:
        text = json.dumps(value, allow_nan=False)
        output = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return Stored(_preview(value, redactor), reusable=False)
    if output != value and _listed(value) != output:
        return Stored(_preview(value, redactor), reusable=False)
    if redactor.holds(output):
        return Stored(redactor.json(output), reusable=False)
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


def _preview(value: object, redactor: Redactor) -> JsonValue:
    kind = type(value)
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 a stranger's repr
        text = f"(no preview: {type(error).__name__})"
    size = size_of(value)
    short = redactor.text(f"{size}\n{text}" if size else text)[:_PREVIEW_LENGTH]
    return {"type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), "preview": short}


def to_failure(error: BaseException, node: NodeBase, key: str, attempts: int, redactor: Redactor) -> Failure:
    """Return what went wrong as data, without secrets and without flownb's own frames."""
    hint = error.hint if isinstance(error, FlowError) else ""
    message = error.message if isinstance(error, FlowError) else str(error)
    place = person_place(error)
    if not place:
        place = str(node.spans.get("body", node.span)) if isinstance(node, Leaf) else str(node.span)
    return Failure(
        node=key,
        type=type(error).__name__,
        message=redactor.text(message),
        attempts=attempts,
        traceback=redactor.text(person_frames(error)),
        place=place,
        hint=redactor.text(hint),
    )
