"""JSON Schemas of everything that flownb writes and that people write for it, made from the models.

They are kept in the package as `flownb/schema/<name>.json`, so that nothing need be made to read them; `pytest --regen`
writes them anew (`tests/unit/test_care_schema.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel, JsonValue, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.model.events import EVENTS, FORMAT
from flownb.model.state_file import SCHEMA
from flownb.model.state_layout import ErrorRecord, NodeRecord, StateRecord, TextRecord
from flownb.model.usage import Usage
from flownb.parse.schema import DIALECT, ID, described, front_matter_schema, properties_schema

_SEAL: Final[Mapping[str, JsonValue]] = {
    "type": "string",
    "pattern": "^[0-9a-f]{8}$",
    "description": "zlib.crc32 of the line before this field; lines of format 1 have none.",
}


class _Untitled(GenerateJsonSchema):
    """Gives no field a title: its name is one."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 # Any: one of pydantic's many kinds
        return False


def state_schema() -> dict[str, JsonValue]:
    """Return the schema of a run's state file, and of what `flownb show --json` prints."""
    models = (StateRecord, NodeRecord, ErrorRecord, TextRecord, Decision, Usage)
    return _schema(TypeAdapter(StateRecord), models, f"state:{SCHEMA}", "State of a run")


def journal_schema() -> dict[str, JsonValue]:
    """Return the schema of one line of a journal; a space before it, which says that it goes on with a batch, is no part."""
    kinds: tuple[type[BaseModel], ...] = get_args(e.Event)
    models: tuple[type[BaseModel], ...] = (*kinds, Decision, Question, Failure, e.PlannedNode, e.Begun, Usage)
    schema = _schema(EVENTS, models, f"journal:{FORMAT}", "A line of a run's journal")
    schema.pop("discriminator")  # OpenAPI's; in JSON Schema it means nothing.
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    for kind in kinds:
        of_kind: Any = definitions[kind.__name__]  # Any: pydantic's own JSON
        of_kind["properties"]["crc"] = dict(_SEAL)
        of_kind["required"] = ["kind", *of_kind["required"]]
        if "format" in of_kind["properties"]:
            of_kind["properties"]["format"] |= {"minimum": 1, "maximum": FORMAT}
    return schema


def decision_schema() -> dict[str, JsonValue]:
    """Return the schema of an answer, as `decisions/<node>.json` holds it."""
    return _schema(TypeAdapter(Decision), (Decision,), f"decision:{SCHEMA}", "The answer to a checkpoint")


def _schema(
    adapter: TypeAdapter[Any],  # Any: of whatever it is
    models: Sequence[type[BaseModel]],
    name: str,
    title: str,
) -> dict[str, JsonValue]:
    """Return a schema with its id, and with the texts that stand below the models' fields."""
    made = adapter.json_schema(schema_generator=_Untitled)
    by_title = {model.__name__: model for model in models}
    for part in (made, *made["$defs"].values()):
        model = by_title.get(part.get("title", ""))
        if model is not None:
            part["properties"] = described(part["properties"], model)
    return {"$schema": DIALECT, "$id": f"{ID}:{name}", **made, "title": title}


SCHEMAS: Final[Mapping[str, Callable[[], dict[str, JsonValue]]]] = {
    "state": state_schema,
    "journal": journal_schema,
    "decision": decision_schema,
    "front-matter": front_matter_schema,
    "properties": properties_schema,
}
"""Name of a schema → what makes it."""
