"""Types as the format writes them: `list[str]`, `Literal["a"] | None`, name → type (format.md, 6)."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Final

from pydantic import JsonValue
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import ErrorDetails, SchemaValidator, ValidationError, core_schema

from flownb.text.python import python_tree

_PLAIN: Final = {
    "str": core_schema.str_schema(),
    "int": core_schema.int_schema(),
    "float": core_schema.float_schema(),
    "bool": core_schema.bool_schema(),
    "date": core_schema.date_schema(),
    "datetime": core_schema.datetime_schema(),
    "any": core_schema.any_schema(),
    "list": core_schema.list_schema(),
    "dict": core_schema.dict_schema(core_schema.str_schema()),
}
_KNOWN: Final = (*_PLAIN, "Literal", "None")
_MEANT: Final = {
    "string": "str",
    "text": "str",
    "integer": "int",
    "number": "float",
    "double": "float",
    "boolean": "bool",
    "array": "list",
    "List": "list",
    "tuple": "list",
    "set": "list",
    "Dict": "dict",
    "object": "any",
    "Any": "any",
    "null": "None",
    "none": "None",
    "literal": "Literal",
    "enum": "Literal",
    "timestamp": "datetime",
}
_EXAMPLES: Final = {"date": "date, as 2026-11-23", "datetime": "datetime, as 2026-11-23T10:15:00Z"}
_LONGEST: Final = 60
_CACHED: Final = 512


class TypeNotationError(ValueError):
    """A type is written in a way that the format does not know; the message says what to write."""


def check_type(notation: JsonValue) -> None:
    """Raise TypeNotationError if this is no type.

    Args:
        notation: A text as `list[str]`, or name → type or `{type, default, description}`.
    """
    _validator(_frozen(notation))


def convert(notation: JsonValue, value: object, name: str) -> object:
    """Return a value as its type has it, coerced as pydantic does (`"3"` is an `int`).

    An object is a dict; a field of type `… | None` may be missing and is None then. Dates are `date` and `datetime`.

    Args:
        notation: The type.
        value: What was given.
        name: What messages call it, as `topic`.

    Raises:
        ValueError: It does not fit; one line for each field: which, what was given, what was wanted.
        TypeNotationError: The type itself is wrong.
    """
    validator = _validator(_frozen(notation))
    try:
        converted: object = validator.validate_python(value)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False)
        lines = dict.fromkeys(_line(notation, name, detail) for detail in details)
        raise ValueError("\n".join(lines)) from error
    except RecursionError as error:
        raise ValueError(f"`{name}` is nested too deeply") from error
    return converted


def json_schema(notation: JsonValue) -> dict[str, JsonValue]:
    """Return the type as JSON Schema (draft 2020-12), for forms.

    Raises:
        TypeNotationError: It is no type.
    """
    return GenerateJsonSchema().generate(_schema(notation))


def describe(notation: JsonValue) -> str:
    """Return the type as messages show it: `list[str]`, `{name: str, age: int | None}`.

    Raises:
        TypeNotationError: It is no type.
    """
    fields = object_fields(notation)
    if fields is not None:
        return "{" + ", ".join(f"{name}: {describe(field.type)}" for name, field in fields.items()) + "}"
    return ast.unparse(_tree(notation)).replace("'", '"')


@dataclass(frozen=True, slots=True)
class ObjectField:
    """One field of an object's type."""

    type: JsonValue
    """Its type: a text, or name → type."""
    is_required: bool = True
    """Whether it must be given."""
    default: JsonValue = None
    """The value where none is given."""
    description: str = ""
    """What it is for, as a form shows it."""


_DESCRIBED: Final = frozenset({"type", "default", "description"})
"""The keys of a field that says more than its type."""


def is_described(notation: JsonValue) -> bool:
    """Return whether a field is written as `{type, default, description}`; another mapping is an object's type."""
    return isinstance(notation, dict) and "type" in notation and notation.keys() <= _DESCRIBED


def object_fields(notation: JsonValue) -> dict[str, ObjectField] | None:
    """Return the fields of an object's type in the order written; None for any other type."""
    if not isinstance(notation, dict):
        return None
    return {name: _field(inner) for name, inner in notation.items()}


def _field(notation: JsonValue) -> ObjectField:
    if isinstance(notation, dict) and is_described(notation):
        kind, default = notation["type"], notation.get("default")
        is_required = "default" not in notation and not _allows_none(kind)
        return ObjectField(kind, is_required, default, str(notation.get("description") or ""))
    return ObjectField(notation, not _allows_none(notation))


def type_fields(notation: JsonValue) -> dict[str, JsonValue] | None:
    """Return the fields of an object's type, name → type, in the order written; None for any other type."""
    fields = object_fields(notation)
    return None if fields is None else {name: field.type for name, field in fields.items()}


def type_defaults(notation: JsonValue) -> dict[str, JsonValue] | None:
    """Return the value that an object's type gives by its defaults alone; None where a field has none (format.md 7.1)."""
    fields = object_fields(notation)
    if not fields or any(field.is_required for field in fields.values()):
        return None
    return {name: field.default for name, field in fields.items()}


def _frozen(notation: JsonValue) -> str:
    try:
        return json.dumps(notation)
    except (TypeError, ValueError, RecursionError):
        raise TypeNotationError(f"{_cut(repr(notation))} is no type: write a text as `str`, or name → type") from None


@lru_cache(maxsize=_CACHED)
def _validator(frozen: str) -> SchemaValidator:
    try:
        return SchemaValidator(_schema(json.loads(frozen)))
    except RecursionError:
        raise TypeNotationError("the type is nested too deeply") from None


def _schema(notation: JsonValue) -> core_schema.CoreSchema:
    """Return pydantic's schema for a type."""
    if not isinstance(notation, dict):
        return _from_tree(_tree(notation))
    if not notation:
        raise TypeNotationError("an object without fields is no type: write name → type, or `dict`")
    fields = {}
    for name, inner in notation.items():
        try:
            field = _field(inner)
            schema = _schema(field.type)
        except TypeNotationError as error:
            raise TypeNotationError(f"field `{name}`: {error}") from None
        if not field.is_required:
            schema = core_schema.with_default_schema(schema, default=field.default, validate_default=True)
        told = {"pydantic_js_updates": {"description": field.description}} if field.description else None
        fields[name] = core_schema.typed_dict_field(schema, required=field.is_required, metadata=told)
    return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


def _tree(notation: JsonValue) -> ast.expr:
    """Return the syntax tree of a type's text."""
    if isinstance(notation, list):
        inner = describe(notation[0]) if len(notation) == 1 and isinstance(notation[0], str) else "str"
        raise TypeNotationError(f"a list of types is no type: write `list[{inner}]` as text")
    if not isinstance(notation, str) or not notation.strip():
        shown = "nothing" if notation in (None, "") else repr(notation)
        raise TypeNotationError(f"{shown} is no type: write a text as `str` or `list[int]`, or name → type")
    try:
        tree: ast.Expression = python_tree(notation.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise TypeNotationError(f"`{_cut(notation)}` is no type: write it as `list[str]` or `int | None`") from None
    return tree.body


def _from_tree(node: ast.expr) -> core_schema.CoreSchema:
    match node:
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Constant(value=None):
            return core_schema.none_schema()
        case ast.BinOp(op=ast.BitOr()):
            return _union(node)
        case ast.Subscript(value=ast.Name(id=name)):
            return _generic(name, node)
        case ast.Name(id="Literal"):
            raise TypeNotationError('`Literal` needs its values: write `Literal["a", "b"]`')
        case ast.Name(id=name):
            raise TypeNotationError(_unknown(name))
        case ast.Constant(value=value):
            raise TypeNotationError(f"{value!r} is a value, no type: write `Literal[{ast.unparse(node)}]`")
        case _:
            raise TypeNotationError(f"`{_cut(ast.unparse(node))}` is no type; known are {', '.join(_KNOWN)}")


def _unknown(name: str) -> str:
    close = _MEANT.get(name) or next(iter(get_close_matches(name, _KNOWN, 1, 0.6)), "")
    return f"there is no type `{name}`" + (
        f"; did you mean `{close}`?" if close else f"; known are {', '.join(_KNOWN)}"
    )


def _members(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the types of a union, from left to right."""
    if isinstance(node, ast.BinOp):
        yield from _members(node.left)
        yield from _members(node.right)
    else:
        yield node


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _union(node: ast.expr) -> core_schema.CoreSchema:
    members = list(_members(node))
    schemas = [_from_tree(member) for member in members if not _is_none(member)]
    if not schemas:
        return core_schema.none_schema()
    # One message for the whole union, not one for each of its types.
    union = core_schema.union_schema(
        list(schemas), custom_error_type="union", custom_error_message="no type of it fits"
    )
    schema = schemas[0] if len(schemas) == 1 else union
    return core_schema.nullable_schema(schema) if any(map(_is_none, members)) else schema


def _generic(name: str, node: ast.Subscript) -> core_schema.CoreSchema:
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    match name:
        case "list" if len(inner) == 1:
            return core_schema.list_schema(_from_tree(inner[0]))
        case "dict" if len(inner) == 2:  # noqa: PLR2004 the keys' type and the values'
            if not (isinstance(inner[0], ast.Name) and inner[0].id == "str"):
                raise TypeNotationError(f"the keys of a dict are `str`, not `{ast.unparse(inner[0])}`")
            return core_schema.dict_schema(core_schema.str_schema(), _from_tree(inner[1]))
        case "Literal" if inner:
            return core_schema.literal_schema([_literal(value) for value in inner])
        case "list":
            raise TypeNotationError(f"`{ast.unparse(node)}` names more than one type: write `list[X]`, as `list[str]`")
        case "dict":
            raise TypeNotationError(
                f"`{ast.unparse(node)}` needs two types: write `dict[str, X]`, as `dict[str, float]`"
            )
        case "Optional":
            raise TypeNotationError(f"there is no `Optional`: write `{ast.unparse(node.slice)} | None`")
        case "Union":
            raise TypeNotationError(f"there is no `Union`: write `{' | '.join(map(ast.unparse, inner))}`")
        case _ if name in _PLAIN or name == "Literal":
            raise TypeNotationError(
                f"`{ast.unparse(node)}` is no type: `{name}` stands there without what is in brackets"
            )
        case _:
            raise TypeNotationError(_unknown(name))


def _literal(node: ast.expr) -> object:
    try:
        value: object = ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        value = ...
    if not isinstance(value, str | int | None):
        raise TypeNotationError(
            f"`{ast.unparse(node)}` cannot stand in `Literal`: write texts in quotes and whole numbers"
        )
    return value


def _allows_none(notation: JsonValue) -> bool:
    """Return whether a type has None among its values, so that its field may be missing."""
    if not isinstance(notation, str):
        return False
    return any(_is_none(member) for member in _members(_tree(notation)))


def _line(notation: JsonValue, name: str, detail: ErrorDetails) -> str:
    """Return the line about one thing that does not fit."""
    path, wanted = name, _Wanted(notation)
    for part in detail["loc"]:
        if part == "[key]":
            return f"`{name}` has the key {_cut(repr(detail['input']))}: wanted str"
        parent, wanted = wanted, wanted.below(part)
        separator = "." if path and isinstance(part, str) else ""
        path += f"[{part}]" if isinstance(part, int) else f"{separator}{part}"
        if detail["type"] == "extra_forbidden" and part == detail["loc"][-1]:
            fields = type_fields(parent.notation) or {}
            close = next(iter(get_close_matches(str(part), fields, 1, 0.6)), "")
            return f"`{path}` is no field" + (
                f"; did you mean `{close}`?" if close else f"; known are {', '.join(fields)}"
            )
    if detail["type"] == "missing":
        return f"`{path}` is missing: wanted {wanted}"
    return f"`{path}` was given {_cut(repr(detail['input']))}: wanted {wanted}"


class _Wanted:
    """The type at one place inside a type."""

    def __init__(self, notation: JsonValue, node: ast.expr | None = None) -> None:
        self.notation = notation
        self.node = _tree(notation) if node is None and not isinstance(notation, dict) else node

    def below(self, part: int | str) -> _Wanted:
        """Return the type of a field, an item or a value."""
        if isinstance(self.notation, dict):
            return _Wanted((type_fields(self.notation) or {}).get(str(part), "any"))
        types: Sequence[ast.expr] = (
            [] if self.node is None else [one for one in _members(self.node) if not _is_none(one)]
        )
        match types:
            case [ast.Subscript(slice=ast.Tuple(elts=[*_, inner]))] | [ast.Subscript(slice=inner)]:
                return _Wanted("any", inner)
            case _:
                return _Wanted("any")

    def __str__(self) -> str:
        if self.node is None:
            return _cut(describe(self.notation))
        text = ast.unparse(self.node).replace("'", '"')
        return _EXAMPLES.get(text, text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
