"""The form in which an event can be stored: as JSON that reads back, with no secret in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue
from pydantic_core import PydanticSerializationError, from_json, to_json

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.events import Event
from flownb.secrets import Redactor
from flownb.store.lines import seal

UNSTORABLE: Final = "(nested too deeply, or a number too long, to be stored)"
"""What stands where a value cannot be read back."""

_SUSPECT: Final = 400
"""Bytes of the shortest line that may not read back: 200 levels are too many, and 4,300 digits."""

_WHOLE: Final = (e.RunStarted, e.RunResumed)
_OPEN: Final = b"[" * 8
_CLOSE: Final = b"]" * 8
"""Around a value: some levels are for what it will stand in."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An event as it is stored: once made, nothing of it changes on its way to the disk, to the state and to who watches."""

    event: Event
    """What a reader of the line gets."""
    line: bytes
    """The finished line, sealed, without its line break."""


def storable(event: Event, redactor: Redactor) -> Entry:
    """Return an event as it can be stored.

    Mostly it is the event itself. Where a text or an input holds a secret, or cannot be written and read back, it is
    another one: with `•••` for the secret, with what can be shown of the value. The output of a `NodeCompleted` or a `Saved` is
    taken as it is: `engine.values.to_stored` made it so.

    Args:
        event: What happened.
        redactor: Knows the secrets.
    """
    if isinstance(event, e.NodeCompleted | e.Saved):
        return Entry(event, seal(_line(event)))
    if redactor:
        event = _changed(event, redactor.json, redactor.text)
    try:
        line = _line(event)
        if len(line) >= _SUSPECT:
            from_json(line)
    except (PydanticSerializationError, ValueError):
        event = _changed(event, readable, readable_text)
        line = _line(event)
    return Entry(event, seal(line))


def reads_back(text: str) -> bool:
    """Return whether JSON that `json.dumps` wrote reads back from a line of the journal."""
    if len(text) < _SUSPECT // 2 and "\\u" not in text:
        return True
    try:
        from_json(_OPEN + text.encode() + _CLOSE)
    except ValueError:
        return False
    return True


def _line(event: Event) -> bytes:
    # `kind` first, so that a person sees it; what is as by default is left out, but never the format.
    # Straight from the serializer: half the time of `model_dump_json`, which is most of an append besides the sync.
    serializer = event.__pydantic_serializer__
    if isinstance(event, _WHOLE):
        body = serializer.to_json(event, exclude={"kind"})
    else:
        body = serializer.to_json(event, exclude_defaults=True)
    return b'{"kind":"%b",%b' % (event.kind.encode(), body[1:])


def readable(value: JsonValue) -> JsonValue:
    """Return a value that can be written as JSON and read back, as much as can be of the one given; itself where it can.

    Args:
        value: Any JSON value, also one with halves of characters in it, or too deep.
    """
    match value:
        case dict():
            clean: JsonValue = {readable_text(key): readable(item) for key, item in value.items()}
        case list():
            clean = [readable(item) for item in value]
        case str():
            clean = readable_text(value)
        case _:
            clean = value
    try:
        from_json(_OPEN + to_json(clean, inf_nan_mode="constants") + _CLOSE)
    except (PydanticSerializationError, ValueError):
        return UNSTORABLE
    return value if clean == value else clean


def readable_text(text: str) -> str:
    r"""Return a text in UTF-8: halves of characters, as in the names of strange files, become `\udc80`.

    Args:
        text: Any text.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _changed(event: Event, change: Callable[[JsonValue], JsonValue], text: Callable[[str], str]) -> Event:
    """Return an event with everything changed that comes from outside; keys of nodes, statuses and the like stay."""
    fields: dict[str, object]
    match event:
        case e.RunStarted() | e.RunResumed():
            fields = {"inputs": _each(event.inputs, change)}
        case e.Planned():
            fields = {"nodes": tuple(_planned(node, text) for node in event.nodes)}
        case e.AttemptFailed() | e.NodeFailed():
            fields = {"failure": _failure(event.failure, text)}
        case e.NodeSkipped():
            fields = {"reason": text(event.reason)}
        case e.Asked(question=question):
            shown = {source: text(rows) for source, rows in question.shown.items()}
            asked = {"heading": text(question.heading), "text": text(question.text), "shown": shown}
            fields = {"question": question.model_copy(update=asked)}
        case e.Decided(decision=decision):
            said = {"input": change(decision.input), "by": text(decision.by)}
            fields = {"decision": decision.model_copy(update=said)}
        case e.RunFinished():
            fields = {"failures": tuple(_failure(failure, text) for failure in event.failures)}
            if not event.tagged:  # Of what is tagged the names of files are no text of anybody's.
                fields["outputs"] = _each(event.outputs, change)
        case _:
            return event
    return event.model_copy(update=fields)


def _each(values: dict[str, JsonValue], change: Callable[[JsonValue], JsonValue]) -> dict[str, JsonValue]:
    """Change values, not their names: those are the document's."""
    return {name: change(value) for name, value in values.items()}


def _planned(node: e.PlannedNode, text: Callable[[str], str]) -> e.PlannedNode:
    return node.model_copy(update={"asks": text(node.asks), "repeat": text(node.repeat)})


def _failure(failure: Failure, text: Callable[[str], str]) -> Failure:
    said = {name: text(getattr(failure, name)) for name in ("type", "message", "traceback", "hint")}
    return failure.model_copy(update=said)
