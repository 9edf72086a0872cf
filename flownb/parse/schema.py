"""JSON Schemas of front matter and property lists, made from the models, for editors."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from typing import Final

from pydantic import BaseModel, JsonValue
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.nodes import Leaf, NodeBase, Parallel
from flownb.model.policy import Policy, Retry
from flownb.parse.frontmatter import FrontMatter
from flownb.parse.keys import own_keys

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
"""The JSON Schema version."""
ID: Final = "urn:flownb"
"""How the ids of flownb's schemas begin: `urn:flownb:state:1`."""
VERSION: Final = 1
"""The number of the document's format (format.md)."""
_TEXT: Final[Mapping[str, JsonValue]] = {"type": "string"}
_DURATION: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "description": "A duration: 500ms, 90s, 5m, 1h30m, 2d, PT5M.",
    "pattern": r"^\s*(([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+|P.+)\s*$",
}
_EXPRESSION: Final[Mapping[str, JsonValue]] = {"description": "An expression, without braces."}
_READ_BY: Final[Mapping[str, Mapping[str, JsonValue]]] = {
    "_seconds": _DURATION,
    "_ids": {"anyOf": [dict(_TEXT), {"type": "array", "items": dict(_TEXT)}]},
    "_texts": {"anyOf": [dict(_TEXT), {"type": "array", "items": dict(_TEXT)}]},
    "_words": {
        "anyOf": [{"type": ["string", "integer"]}, {"type": "array", "items": {"type": ["string", "integer"]}}],
    },
    "_expressions": {"anyOf": [dict(_EXPRESSION), {"type": "array", "items": dict(_EXPRESSION)}]},
    "_environment": {"type": "object", "additionalProperties": {"type": ["string", "number"]}},
}
"""Name of the function that reads a text before pydantic does → what it takes."""
_TYPE: Final[Mapping[str, JsonValue]] = {"description": "A type: str, list[int], int | None, or name → type."}
_BY_HAND: Final[Mapping[str, Mapping[str, JsonValue]]] = {
    "type": {"type": "string", "description": "Which runtime, where there is no runtime fence."},
    "foreach": {**_EXPRESSION, "description": "An expression for a list: run once per item."},
    "as": {"type": "string", "default": "item", "description": "The item's name."},
    "collect": {**_EXPRESSION, "description": "An expression for each item's value."},
    "until": {**_EXPRESSION, "description": "An expression: repeat, checking after each round."},
    "while": {**_EXPRESSION, "description": "An expression: repeat, checking before each round."},
    "max": {"type": "integer", "minimum": 1, "default": 100, "description": "Most rounds."},
    "every": {**_DURATION, "description": "Pause between rounds."},
    "concurrency": {"type": "integer", "minimum": 1, "description": "Most items at once."},
    "rate": {
        "type": "string",
        "pattern": r"^\s*[1-9][0-9]*\s*/\s*\S",
        "description": "Most starts of items per period, as 10/1m.",
    },
}
"""Properties that several fields of the models make up."""


_VERSION: Final[Mapping[str, JsonValue]] = {
    "version": {"type": ["string", "number"], "description": "The author's version."}
}
_MAPS: Final = frozenset({"properties", "$defs"})
"""Keys of a schema that hold names and not keywords."""


class _Generator(GenerateJsonSchema):
    """Writes what a document may hold, not what the models keep of it."""

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        """Return what the function in front of a field reads."""
        name = getattr(schema["function"]["function"], "__name__", "")
        if name == "_count":
            inner = super().function_before_schema(schema)
            return {"anyOf": [{"type": "integer", "minimum": 0, "description": "Further attempts."}, inner]}
        return dict(_READ_BY[name]) if name in _READ_BY else super().function_before_schema(schema)


def front_matter_schema() -> dict[str, JsonValue]:
    """Return the schema of front matter (format.md, section 2)."""
    schema = _schema_of(FrontMatter)
    own: dict[str, JsonValue] = {
        "name": {**_TEXT, "pattern": "^[a-z0-9][a-z0-9-]*$", "description": "Names the state folder."},
        "inputs": {
            "type": "object",
            "description": "Input → type, or {type, default, description}.",
            "additionalProperties": {"type": ["string", "object"], **_TYPE},
        },
        "secrets": {
            "description": "Names of secrets.",
            "anyOf": [dict(_TEXT), {"type": "array", "items": {**_TEXT, "pattern": "^[A-Za-z_][A-Za-z0-9_]*$"}}],
        },
        "outputs": {"type": "object", "additionalProperties": dict(_EXPRESSION), "description": "Output → expression."},
    }
    properties = {**own, **_record(schema["properties"]), **_VERSION}
    return {
        "$schema": DIALECT,
        "$id": f"{ID}:front-matter:{VERSION}",
        "title": "Front matter of a flow document",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "$defs": schema["$defs"],
    }


def properties_schema(kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS) -> dict[str, JsonValue]:
    """Return the schema of property lists: of every node, and under `$defs` what each kind has besides, by its name."""
    policy = _schema_of(Policy)
    definitions = _record(policy["$defs"])
    every: dict[str, JsonValue] = {}
    models: dict[str, type[NodeBase]] = {**kinds, "parallel": Parallel}
    for name, kind in models.items():
        schema = _schema_of(kind)
        own = {key: value for key, value in _record(schema["properties"]).items() if key in own_keys(kind)}
        text = json.dumps(own)
        used = {key: value for key, value in _record(schema.get("$defs")).items() if f'/{key}"' in text}
        definitions |= used
        every |= {key: _either(every.get(key), value) for key, value in own.items()}
        required = [key for key, field in kind.model_fields.items() if key in own and field.is_required()]
        definitions[name] = {"properties": dict(own), **({"required": list(required)} if required else {})}
    return {
        "$schema": DIALECT,
        "$id": f"{ID}:properties:{VERSION}",
        "title": "Properties of a node in a flow document",
        "type": "object",
        "properties": {
            **every,
            **_record(policy["properties"]),
            **{key: dict(value) for key, value in _BY_HAND.items()},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _either(one: JsonValue, other: JsonValue) -> JsonValue:
    """Return the schema of a property that several kinds have: what any of them takes."""
    if one is None or one == other:
        return other
    known = _record(one).get("anyOf")
    options = known if isinstance(known, list) and "description" not in _record(one) else [one]
    return one if other in options else {"anyOf": [*options, other]}


def _schema_of(model: type[BaseModel]) -> dict[str, JsonValue]:
    """Return a model's schema, its own fields under `properties` and all that it refers to under `$defs`."""
    schema = model.model_json_schema(schema_generator=_Generator)
    definitions = schema.pop("$defs", {})
    whole: dict[str, JsonValue] = schema
    if "properties" not in schema:
        whole = definitions.pop(schema["$ref"].rsplit("/", 1)[-1])
    properties = described(_record(whole["properties"]), model)
    for option in definitions.get("Retry", {}).get("anyOf", ()):
        if "properties" in option:
            option["properties"] = described(option["properties"], Retry)
    return _record(_plain({"properties": properties, "$defs": definitions}))


def described(properties: Mapping[str, JsonValue], model: type[BaseModel]) -> dict[str, JsonValue]:
    """Return properties with the texts that stand below the model's fields.

    Args:
        properties: Field → its schema.
        model: The model whose source says what the fields are.
    """
    found: dict[str, JsonValue] = {}
    for key, value in properties.items():
        texts = map(_field_texts, model.__mro__)
        told = next((text for known in texts if (text := known.get(key) or known.get(f"{key}_"))), "")
        found[key] = {**_record(value), "description": told} if told else value
    return found


@cache
def _field_texts(model: type) -> Mapping[str, str]:
    """Return field → the text below it."""
    if not model.__module__.startswith("flownb."):
        return {}
    body = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    statements = body.body if isinstance(body, ast.ClassDef) else []
    return {
        field.target.id: text.value.value
        for field, text in pairwise(statements)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _record(value: object) -> dict[str, JsonValue]:
    """Return a mapping of a schema, empty where there is none."""
    return dict(value) if isinstance(value, dict) else {}


def _plain(value: JsonValue) -> JsonValue:
    """Return a schema without what only the models need: `null`, titles, and defaults in seconds."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, JsonValue] = {
        key: {name: _plain(part) for name, part in _record(inner).items()} if key in _MAPS else _plain(inner)
        for key, inner in value.items()
        if not (key == "title" and isinstance(inner, str)) and key not in {"gt", "default"}
    }
    options = found.get("anyOf")
    if isinstance(options, list):
        kept = [option for option in options if option != {"type": "null"}]
        closed = found.pop("additionalProperties", None)
        kept = [
            {**option, "additionalProperties": closed}
            if isinstance(option, dict) and closed is not None and "properties" in option
            else option
            for option in kept
        ]
        found["anyOf"] = kept
        if len(kept) == 1 and isinstance(kept[0], dict):
            found.pop("anyOf")
            found = {**kept[0], **found}
    return found
