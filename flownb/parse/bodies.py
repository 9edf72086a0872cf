"""Whether a body is the data or the request that it should be, with something simple in the place of its templates."""

from __future__ import annotations

import json
from typing import Final

from flownb.parse.found import Found, problem
from flownb.templates.expressions import blanked
from flownb.templates.request import check_request
from flownb.text.codes import Code
from flownb.text.yaml import DATA, Value, load_yaml
from flownb.text.yaml_words import YamlError

_STAND_IN: Final = '""'
"""What stands for a value: a text may be a key as well."""


def check_json(text: str, body: Value) -> Found[None]:
    """Report the first place that is no JSON."""
    plain = blanked(text, _STAND_IN)
    if plain is None:
        return
    try:
        json.loads(plain)
    except json.JSONDecodeError as error:
        message = error.msg[:1].lower() + error.msg[1:]
        where = body.place(error.lineno, error.colno)
        yield problem(Code.BAD_DATA, f"this is not JSON: {message}", where, _hint(plain, error))
    except (RecursionError, ValueError) as error:
        what = "it is nested too deeply" if isinstance(error, RecursionError) else "a number in it is too long"
        yield problem(Code.BAD_DATA, f"this is not JSON that can be read: {what}", body.span)


def check_head(text: str, body: Value) -> Found[None]:
    """Report what is wrong in the first line and the headers of a request."""
    for error in check_request(text):
        yield problem(Code.BAD_REQUEST, error.message, body.place(error.line, error.column), error.hint)


def check_yaml(text: str, body: Value) -> Found[None]:
    """Report the first place that is no YAML."""
    plain = blanked(text, _STAND_IN)
    if plain is None:
        return
    try:
        load_yaml(plain, lambda line, column, length: body.place(line + 1, column + 1, length), DATA)
    except YamlError as error:
        if error.code is Code.YAML_SYNTAX and _is_json(plain):  # That is read first when it runs.
            return
        code = error.code if error.code in {Code.DUPLICATE_KEY, Code.YAML_TAG} else Code.BAD_DATA
        yield problem(code, error.message, error.span, error.hint)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (RecursionError, ValueError):
        return False
    return True


def _hint(text: str, error: json.JSONDecodeError) -> str:
    """Return what to write instead, for the mistakes that are made most."""
    rest = text[error.pos : error.pos + 1]
    if rest == "'":
        return 'JSON takes double quotes: "…"'
    before = text[: error.pos].rstrip()
    if before.endswith(",") and rest in {"}", "]"}:
        return "take the comma before it away"
    if "delimiter" in error.msg:
        return "put a comma between the entries" if "','" in error.msg else 'write `"key": value`'
    if rest.isalpha():
        return "put text in double quotes; JSON knows `true`, `false` and `null`"
    return "write the data in it" if not text.strip() else ""
