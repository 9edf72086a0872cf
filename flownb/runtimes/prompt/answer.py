"""What a language model is to answer, and whether its answer is that."""

from __future__ import annotations

import json
import re
from typing import Final

from pydantic import JsonValue

from flownb.errors import AnswerError
from flownb.model.types import convert, json_schema, object_fields
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.text.lines import shortened

NAME: Final = "answer"
"""What an answer is called that is no object, in the object that it is asked for in; every provider takes objects."""
_FENCED: Final = re.compile(r"\s*```[a-zA-Z]*\n(.*)\n\s*```\s*", re.DOTALL)
_SHOWN: Final = 80


def is_typed(output: JsonValue) -> bool:
    """Return whether a node's `output` asks for more than the text as it is."""
    return output not in (None, "text")


def schema_of(output: JsonValue) -> dict[str, JsonValue]:
    """Return the JSON Schema of the answer that a type asks for; always that of an object."""
    schema = json_schema(output)
    if object_fields(output) is not None:
        return schema
    return {"type": "object", "properties": {NAME: schema}, "required": [NAME], "additionalProperties": False}


def told(schema: dict[str, JsonValue]) -> str:
    """Return what tells a model of a schema: many servers take one and do not keep to it."""
    return f"Answer with JSON alone, without any text around it. It must fit this JSON Schema:\n{json.dumps(schema)}"


def asked_again(why: str) -> str:
    """Return what tells a model that its last answer was refused."""
    return f"Your last answer to this was refused: {why}\nAnswer again, and keep to what was asked for."


def read_answer(text: str, output: JsonValue) -> object:
    """Return what an answer stands for.

    Args:
        text: The model's text.
        output: The node's `output`; None and `text`: the text itself.

    Raises:
        AnswerError: It is empty, no JSON, or not of the type; the message names each field.
    """
    text = text.strip()
    if not text:
        raise AnswerError("the answer is empty")
    if not is_typed(output):
        return text
    fenced = _FENCED.fullmatch(text)
    try:
        data = load_json(fenced[1] if fenced else text)
    except JsonTextError as error:
        where = f" in line {error.line}" if error.line else ""
        raise AnswerError(f"the answer is no JSON: {error}{where}; it is: {shortened(text, _SHOWN)}") from None
    if object_fields(output) is None and isinstance(data, dict) and data.keys() == {NAME}:
        data = data[NAME]
    try:
        return convert(output, data, NAME)
    except ValueError as error:
        raise AnswerError(f"the answer does not fit `output`: {'; '.join(str(error).splitlines())}") from None
