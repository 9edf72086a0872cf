from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from pydantic import JsonValue

from flownb.model.types import (
    ObjectField,
    TypeNotationError,
    check_type,
    convert,
    describe,
    json_schema,
    object_fields,
    type_defaults,
    type_fields,
)


@pytest.mark.parametrize(
    "notation, given, expected",
    [
        ("str", "a", "a"),
        ("int", "3", 3),
        ("float", "1.5", 1.5),
        ("bool", "yes", True),
        ("date", "2026-11-23", date(2026, 11, 23)),
        ("datetime", "2026-11-23T10:15:00Z", datetime(2026, 11, 23, 10, 15, tzinfo=UTC)),
        ("list[int]", ["1", 2], [1, 2]),
        ("dict[str, float]", {"a": "1"}, {"a": 1.0}),
        ('Literal["a", 1]', 1, 1),
        ("int | None", None, None),
        ("int | str", "a", "a"),
        ("any", {"x": [1]}, {"x": [1]}),
        ("list", [1, "a"], [1, "a"]),
        ("list[dict[str, list[int]]]", [{"a": ["1"]}], [{"a": [1]}]),
        (
            {"name": "str", "address": {"zip": "int"}},
            {"name": "a", "address": {"zip": "1"}},
            {"name": "a", "address": {"zip": 1}},
        ),
        ({"a": "int", "b": "str | None"}, {"a": 1}, {"a": 1, "b": None}),
        ({"a": {"type": "int", "default": 3, "description": "how many"}}, {}, {"a": 3}),
        ({"a": {"type": "int", "default": 3}}, {"a": "4"}, {"a": 4}),
        ({"a": {"type": "date", "default": "2026-11-23"}}, {}, {"a": date(2026, 11, 23)}),
        ({"a": {"type": {"b": {"type": "int", "default": 1}}}}, {"a": {}}, {"a": {"b": 1}}),
        (
            {"type": "str", "kind": {"type": "str", "name": "int"}},
            {"type": "a", "kind": {"type": "b", "name": 1}},
            {"type": "a", "kind": {"type": "b", "name": 1}},
        ),
    ],
)
def test_a_value_is_coerced_to_its_type(notation: JsonValue, given: object, expected: object) -> None:
    converted = convert(notation, given, "x")
    assert converted == expected
    assert type(converted) is type(expected)


@pytest.mark.parametrize(
    "notation, given, message",
    [
        ("int", "a", "`x` was given 'a': wanted int"),
        ("int", 1.5, "`x` was given 1.5: wanted int"),
        ("str", 5, "`x` was given 5: wanted str"),
        ("int", None, "`x` was given None: wanted int"),
        ("list[int]", [1, "b"], "`x[1]` was given 'b': wanted int"),
        ("list[int] | None", ["b"], "`x[0]` was given 'b': wanted int"),
        ("dict[str, int]", {"a": "b"}, "`x.a` was given 'b': wanted int"),
        ("dict[str, int]", {1: 2}, "`x` has the key 1: wanted str"),
        ("int | str", [1], "`x` was given [1]: wanted int | str"),
        ('Literal["a", "b"]', "c", '`x` was given \'c\': wanted Literal["a", "b"]'),
        ("date", "soon", "`x` was given 'soon': wanted date, as 2026-11-23"),
        ({"a": {"zip": "int"}}, {"a": {"zip": "x"}}, "`x.a.zip` was given 'x': wanted int"),
        ({"a": "int"}, {}, "`x.a` is missing: wanted int"),
        ({"a": {"type": "int", "description": "how many"}}, {}, "`x.a` is missing: wanted int"),
        ({"a": {"type": "int", "default": 1}}, {"a": "b"}, "`x.a` was given 'b': wanted int"),
        ({"a": {"type": "list[int]", "default": []}}, {"a": ["b"]}, "`x.a[0]` was given 'b': wanted int"),
        ({"a": "int"}, 5, "`x` was given 5: wanted {a: int}"),
        ({"zip": "int"}, {"zip": 1, "zpi": 2}, "`x.zpi` is no field; did you mean `zip`?"),
        (
            {"a": "int", "b": "int"},
            {"a": "x", "b": "y"},
            "`x.a` was given 'x': wanted int\n`x.b` was given 'y': wanted int",
        ),
    ],
)
def test_a_misfit_names_the_field_the_value_and_the_type(notation: JsonValue, given: object, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        convert(notation, given, "x")
    assert str(raised.value) == message


@pytest.mark.parametrize(
    "notation, part",
    [
        ("strr", "did you mean `str`?"),
        ("string", "did you mean `str`?"),
        ("Optional[str]", "write `str | None`"),
        ("Union[str, int]", "write `str | int`"),
        ("dict[int, str]", "the keys of a dict are `str`"),
        ("dict[str]", "needs two types"),
        ("list[int, str]", "more than one type"),
        ("Literal", '`Literal["a", "b"]`'),
        ("Literal[1.5]", "cannot stand in `Literal`"),
        ("str[int]", "stands there without"),
        ('"a"', "is a value, no type"),
        ("str[", "is no type"),
        ("int()", "is no type"),
        ("__import__('os')", "is no type"),
        ("(" * 5000, "is no type"),
        ("list[" * 5000 + "]" * 5000, "is no type"),
        ("", "nothing is no type"),
        (None, "nothing is no type"),
        (5, "5 is no type"),
        (["str"], "write `list[str]` as text"),
        ({}, "an object without fields"),
        ({"a": {"b": "itn"}}, "field `a`: field `b`: there is no type `itn`; did you mean `int`?"),
    ],
)
def test_a_wrong_notation_says_what_to_write(notation: JsonValue, part: str) -> None:
    with pytest.raises(TypeNotationError) as raised:
        check_type(notation)
    assert part in str(raised.value)


@pytest.mark.parametrize(
    "notation, shown",
    [
        ("list[ str ]", "list[str]"),
        ("Literal['a',1]", 'Literal["a", 1]'),
        ({"a": "int|None", "b": {"c": "str"}}, "{a: int | None, b: {c: str}}"),
    ],
)
def test_a_type_is_described_in_the_notation(notation: JsonValue, shown: str) -> None:
    assert describe(notation) == shown


def test_a_form_gets_a_json_schema_with_the_optional_field_not_required() -> None:
    schema = json_schema({"name": "str", "age": "int | None"})
    assert schema["required"] == ["name"]
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["name", "age"]  # type: ignore[arg-type]  # A JSON object, as the next line shows.
    assert json_schema('Literal["a", "b"]') == {"enum": ["a", "b"], "type": "string"}


def test_only_an_object_has_fields() -> None:
    assert type_fields({"a": "int"}) == {"a": "int"}
    assert type_fields("dict[str, int]") is None


def test_a_described_field_has_its_type_default_and_description() -> None:
    notation: JsonValue = {"a": {"type": "int", "default": 3, "description": "how many"}, "b": "str"}
    assert object_fields(notation) == {"a": ObjectField("int", False, 3, "how many"), "b": ObjectField("str")}
    assert object_fields("int") is None
    assert type_fields(notation) == {"a": "int", "b": "str"}
    assert describe(notation) == "{a: int, b: str}"
    schema = json_schema(notation)
    assert schema["properties"] == {
        "a": {"type": "integer", "title": "A", "default": 3, "description": "how many"},
        "b": {"type": "string", "title": "B"},
    }
    assert schema["required"] == ["b"]


def test_a_types_defaults_are_a_value_where_every_field_has_one() -> None:
    assert type_defaults({"a": {"type": "int", "default": 3}, "b": "str | None"}) == {"a": 3, "b": None}
    assert type_defaults({"a": {"type": "int", "default": 3}, "b": "str"}) is None
    assert type_defaults("int") is None
