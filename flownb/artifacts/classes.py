"""Instances of the person's own classes: their fields, and the class again where the document has it."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from functools import cached_property
from typing import Any, Final

from pydantic import BaseModel, JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, name_of
from flownb.artifacts.scalars import list_in, text_in

_HEAP: Final = 1 << 9
"""`Py_TPFLAGS_HEAPTYPE`: a class that was made by a `class` statement."""


def _fields(value: dict[str, object], keeper: Keeper) -> dict[str, JsonValue]:
    # As pairs: a field may be named as a tag is.
    return {"fields": [[name, keeper.item(item, f".{name}")] for name, item in value.items()]}


def _read_fields(data: Fields, restorer: Restorer, name: str = "fields") -> dict[str, object]:
    made: dict[str, object] = {}
    for pair in list_in(data, name):
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):  # noqa: PLR2004 name and value
            raise restorer.refused(data, "one of its fields is no pair of name and value")
        made[pair[0]] = restorer.item(pair[1])
    return made


def _found(data: Fields, restorer: Restorer, what: str, is_one: Callable[[type], bool]) -> type[Any] | None:
    """Return the class that the data names, if there is one and it really is of that sort; else say so."""
    name = text_in(data, "class")
    found = restorer.find_class(name)
    if isinstance(found, type) and name_of(found) == name and is_one(found):
        return found
    restorer.note(f"`{name}` came back as its data: the document neither defines nor imports {what} of that name")
    return None


def _changed(data: Fields, restorer: Restorer) -> None:
    restorer.note(f"`{text_in(data, 'class')}` came back as its data: the class has other fields now")


def _more_than(value: object, names: set[str]) -> bool:
    """Return whether an instance holds more than its fields; what it only remembers (`cached_property`) is no more."""
    kinds = type(value).__mro__
    if any(not kind.__flags__ & _HEAP and kind is not object and kind.__module__ != "typing" for kind in kinds):
        return True  # It is a list or the like besides.
    extra = set(getattr(value, "__dict__", {})) - names
    return any(not isinstance(getattr(type(value), name, None), cached_property) for name in extra)


class _Enums:
    """A member of an enum."""

    def keep(self, value: enum.Enum, keeper: Keeper) -> dict[str, JsonValue]:
        """Return its name and its value."""
        return {"class": name_of(type(value)), "name": value.name, "value": keeper.item(value.value, ".value")}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the member; its value, where there is none such any more."""
        found = _found(data, restorer, "an enum", lambda kind: issubclass(kind, enum.Enum))
        value = restorer.item(data.get("value"))
        if found is None:
            return value
        if (member := found.__members__.get(str(data.get("name")))) is not None:
            return member
        if issubclass(found, enum.Flag) and type(value) is int:
            return found(value)
        _changed(data, restorer)
        return value


class _NamedTuples:
    """A named tuple."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # Has `_fields`.
        """Return its fields."""
        names = type(value)._fields
        if len(names) != len(value) or getattr(value, "__dict__", {}) or not type(value).__flags__ & _HEAP:
            raise keeper.unkept(value, "it holds more than its fields")
        return {"class": name_of(type(value)), **_fields(dict(zip(names, value, strict=True)), keeper)}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the tuple; a plain one, where its class is not at hand."""
        fields = _read_fields(data, restorer)
        found = _found(
            data, restorer, "a named tuple", lambda kind: issubclass(kind, tuple) and hasattr(kind, "_fields")
        )
        if found is not None and tuple(found._fields) != tuple(fields):
            _changed(data, restorer)
            found = None
        return tuple(fields.values()) if found is None else tuple.__new__(found, fields.values())


class _Dataclasses:
    """An instance of a dataclass. Neither its `__init__` nor its `__post_init__` is called when it comes back."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A dataclass.
        """Return its fields."""
        names = [field.name for field in dataclasses.fields(value)]
        if _more_than(value, set(names)):
            raise keeper.unkept(value, "it holds more than its fields; return dataclasses.asdict(…)")
        missing = [name for name in names if not hasattr(value, name)]
        if missing:
            raise keeper.unkept(value, f"its field `{missing[0]}` was never set")
        return {"class": name_of(type(value)), **_fields({name: getattr(value, name) for name in names}, keeper)}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the instance; a dict of its fields, where its class is not at hand or has others."""
        fields = _read_fields(data, restorer)
        found = _found(data, restorer, "a dataclass", dataclasses.is_dataclass)
        if found is None:
            return fields
        if {field.name for field in dataclasses.fields(found)} != set(fields):
            _changed(data, restorer)
            return fields
        made = object.__new__(found)
        for name, value in fields.items():
            object.__setattr__(made, name, value)
        return made


class _Models:
    """A pydantic model. It is not validated again when it comes back: it stands as it was."""

    def keep(self, value: BaseModel, keeper: Keeper) -> dict[str, JsonValue]:
        """Return its fields, which of them were given, what it has besides, and what is private."""
        names = set(type(value).model_fields)
        inner = vars(value)
        extra = {
            name
            for name in inner
            if name not in names and isinstance(getattr(type(value), name, None), cached_property)
        }
        if set(inner) - extra != names:
            raise keeper.unkept(value, "its fields are not those of its class; return its model_dump()")
        made = {
            "class": name_of(type(value)),
            **_fields({name: inner[name] for name in inner if name in names}, keeper),
        }
        made["given"] = [name for name in inner if name in value.model_fields_set]
        for name, more in (("extra", value.__pydantic_extra__), ("private", value.__pydantic_private__)):
            if more is not None:
                made[name] = _fields(more, keeper)["fields"]
        return made

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the model; a dict of its fields, where its class is not at hand or has others."""
        fields = _read_fields(data, restorer)
        more = {name: _read_fields(data, restorer, name) if name in data else None for name in ("extra", "private")}
        found = _found(data, restorer, "a pydantic model", lambda kind: issubclass(kind, BaseModel))
        if found is None:
            return fields | (more["extra"] or {})
        if set(found.model_fields) != set(fields):
            _changed(data, restorer)
            return fields | (more["extra"] or {})
        made: BaseModel = object.__new__(found)
        state = {
            "__dict__": fields,
            "__pydantic_fields_set__": {str(name) for name in list_in(data, "given")},
            "__pydantic_extra__": more["extra"],
            "__pydantic_private__": more["private"],
        }
        BaseModel.__setstate__(made, state)
        return made


ENUM: Final[Kind] = _Enums()
NAMEDTUPLE: Final[Kind] = _NamedTuples()
DATACLASS: Final[Kind] = _Dataclasses()
MODEL: Final[Kind] = _Models()
