"""The form in which a person gives what a checkpoint asks for: one widget for each field of its type."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import ipywidgets as w
from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from flownb.errors import FlowError
from flownb.model.types import convert, describe, json_schema, type_fields
from flownb.terminal.prompt import read_yaml

_WIDE: Final = "360px"
_TEXT_ROWS: Final = 3
_DAY: Final = "date"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form."""

    name: str
    """Its name; empty: the form has this one only."""
    wanted: JsonValue
    """Its type."""
    widget: Any
    """What the person fills in (Any: ipywidgets has no types)."""
    error: Any
    """Where it says what is wrong."""
    read: Callable[[], JsonValue]
    """Returns what was filled in; raises FlowError where it is no YAML."""


class Form:
    """A form for a type: `box` is the widget, `read` returns what was filled in."""

    def __init__(self, wanted: JsonValue, *, optional: bool = False) -> None:
        """Build the form.

        Args:
            wanted: `text`, a type, or name → type.
            optional: Whether it may stay empty: the value is None then.
        """
        inner = type_fields(wanted)
        self._is_object, self._optional, self._wanted = inner is not None, optional, wanted
        self.fields = [_field(name, kind) for name, kind in inner.items()] if inner else [_field("", wanted)]
        """Its fields, from top to bottom."""
        self.box = w.VBox([_row(field) for field in self.fields])
        """The form as a widget."""

    def read(self) -> JsonValue:
        """Return what was filled in.

        Raises:
            ValueError: Something does not fit; the form says what.
        """
        values: dict[str, JsonValue] = {}
        wrong = 0
        for field in self.fields:
            field.error.value = ""
            try:
                values[field.name] = self._checked(field)
            except (FlowError, ValueError) as error:
                message = error.message if isinstance(error, FlowError) else str(error)
                field.error.value = f'<span class="flownb-error">{_with_code(message)}</span>'
                wrong += 1
        if wrong:
            raise ValueError(f"{wrong} of {len(self.fields)} fields are wrong")
        return values if self._is_object else values[""]

    def _checked(self, field: Field) -> JsonValue:
        value = field.read()
        if value is None and not self._optional and _DAY in str(field.wanted) and "None" not in str(field.wanted):
            raise ValueError("choose a day")
        if field.wanted in ("text", "any") or (self._optional and value is None):
            return value
        converted: JsonValue = to_jsonable_python(convert(field.wanted, value, field.name or "input"))
        return converted


def _field(name: str, wanted: JsonValue) -> Field:
    widget, read = _widget(wanted, name or "input")
    error = w.HTML()
    error.add_class("flownb-note")
    return Field(name, wanted, widget, error, read)


def _row(field: Field) -> Any:
    if not field.name:
        return w.VBox([field.widget, field.error])
    label = w.HTML(f"<b>{html.escape(field.name)}</b> <small>{html.escape(describe(field.wanted))}</small>")
    label.add_class("flownb-label")
    return w.VBox([label, field.widget, field.error])


def _widget(wanted: JsonValue, name: str) -> tuple[Any, Callable[[], JsonValue]]:
    """Return the widget for a type, and what reads it."""
    wide = w.Layout(width=_WIDE)
    if wanted == "text":
        area = w.Textarea(placeholder="your answer", rows=_TEXT_ROWS, layout=_full())
        return area, lambda: str(area.value)
    schema = json_schema(wanted) if wanted != "any" else {}
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if isinstance(choices, list):
        chosen = w.Dropdown(options=[(str(choice), choice) for choice in choices], layout=wide)
        return chosen, lambda: chosen.value
    match schema.get("type"), schema.get("format"):
        case "boolean", _:
            box = w.Checkbox(indent=False, description="yes", layout=wide)
            return box, lambda: bool(box.value)
        case "integer", _:
            number = w.IntText(layout=wide)
            return number, lambda: int(number.value)
        case "number", _:
            real = w.FloatText(layout=wide)
            return real, lambda: float(real.value)
        case "string", "date":
            picker = w.DatePicker(layout=wide)
            return picker, lambda: _day(picker.value)
        case "string", _:
            line = w.Text(placeholder=name, layout=wide)
            return line, lambda: str(line.value)
        case _:
            yaml = w.Textarea(placeholder="YAML", rows=_TEXT_ROWS, layout=_full())
            return yaml, lambda: read_yaml(str(yaml.value), name) if str(yaml.value).strip() else None


def _day(value: date | datetime | None) -> JsonValue:
    return value.isoformat() if value is not None else None


def _with_code(message: str) -> str:
    """Return a message as HTML, with what stands between backticks as code."""
    parts = html.escape(message).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))


def _full() -> Any:
    """Return the layout of a field as wide as the card, with the margin that every widget has."""
    return w.Layout(width="calc(100% - 4px)")
