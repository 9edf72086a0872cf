"""What pydantic finds wrong with values, in words and places of the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from flownb.parse.found import Found, problem
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean
from flownb.text.yaml import Value

WANTED: Final[Mapping[str, str]] = {
    "needs": "an id or a list of ids",
    "retry": "a count, as `retry: 3`, or {max, backoff, base, cap, jitter, on}",
    "retry.max": "a whole number from 0 up",
    "retry.on": "a list of error class names, HTTP statuses and `timeout`",
    "fallback": "the id of a node",
    "on_error": "the id of a node",
    "continue_on_error": "true or false",
    "once": "true or false",
    "files": "a path or a glob, as `data/*.csv`, or a list of them",
    "cache": "true, false or a duration, as `1h`",
    "concurrency": "a whole number of at least 1",
    "max": "a whole number of at least 1",
    "wait": "`all`, `any` or a whole number of at least 1",
    "as": "a name",
    "cwd": "text",
    "model": "`provider:name`, as `openai:gpt-5-mini`, of openai, anthropic, openrouter or ollama, or of another with `base_url`",
    "base_url": "a URL, as `http://localhost:11434/v1`",
    "temperature": "a number from 0 to 2",
    "max_tokens": "a whole number of at least 1",
    "images": "an expression or a list of expressions",
    "env": "name → text",
    "path": "a path, as text",
    "dtypes": "column → type, as `{age: int}`",
    "append": "true or false",
    "inputs": "name → value",
    "show": "an expression or a list of expressions",
    "params": "name → text, number, true, false, null or a list of them",
    "auth": "{type: bearer, token}, {type: basic, username, password} or {type: oauth2, token_url, client_id, client_secret, scope}",
    "extract": "JMESPath, as `articles[*].title`",
    "verify": "true, false or the path of a file of certificates",
    "follow": "true or false",
    "version": "text",
    "description": "text",
    "allow_paths": "a list of folders",
    "secrets": "a list of names",
    "connection": "a URL, as `sqlite:///shop.db`, or an expression that gives one or an engine",
    "values": "an expression that gives the rows",
}
"""Property → what it takes, where pydantic's own words would not do."""
_DURATIONS: Final = frozenset({"timeout", "delay", "every", "cache", "base", "cap"})
_QUOTED: Final = re.compile(r"'([^']*)'")


def explain(
    error: ValidationError,
    values: Mapping[str, Value],
    known: Mapping[str, Iterable[str]] | None = None,
) -> Found[set[str]]:
    """Report what pydantic found, once for each value; return the properties concerned.

    Args:
        error: What pydantic found.
        values: The values that it looked at.
        known: Property → the keys that its mapping may have, for the nearest match.
    """
    seen: set[tuple[str, ...]] = set()
    bad: set[str] = set()
    for detail in error.errors(include_url=False):
        names = {"as_name": "as", "items": "foreach"}
        key = names.get(str(detail["loc"][0]), str(detail["loc"][0])) if detail["loc"] else ""
        bad.add(str(detail["loc"][0]) if detail["loc"] else "")
        value = values.get(key)
        if value is None:
            continue
        path = _path(value, detail["loc"][1:])
        place = (key, *map(str, path))
        if place in seen or any(place[:length] in seen for length in range(1, len(place))):
            continue
        seen.add(place)
        owner = str(path[-2]) if len(path) > 1 else key
        yield from _report(key, value, path, detail, (known or {}).get(owner, ()))
    return bad


def _path(value: Value, loc: Sequence[int | str]) -> list[int | str]:
    """Return that part of pydantic's path which leads through the text; the rest names branches of a union."""
    path: list[int | str] = []
    for step in loc:
        if step in value.parts:
            path.append(step)
            value = value.parts[step]
    return path


def _report(
    key: str, whole: Value, path: Sequence[int | str], detail: ErrorDetails, known: Iterable[str]
) -> Found[None]:
    """Report one value that does not fit."""
    value = whole.at(path)
    label = ".".join([key, *(str(step) for step in path if isinstance(step, str))])
    if detail["type"] == "extra_forbidden" and path:
        name = str(path[-1])
        span = whole.at(path[:-1]).keys.get(name, value.span)
        hint = did_you_mean(name, known, f"known are {', '.join(known)}")
        owner = ".".join([key, *map(str, path[:-1])])
        yield problem(Code.UNKNOWN_KEY, f"'{owner}' has no '{shortened(name, 30)}'", span, hint)
        return
    last = label.rsplit(".", 1)[-1]
    message = detail["msg"].removeprefix("Value error, ")
    if (
        last in _DURATIONS
        and (label != "cache" or isinstance(value.data, str))
        and not isinstance(value.data, dict | list)
    ):
        _, _, hint = message.partition(": ")
        if detail["type"] == "greater_than":
            yield problem(
                Code.BAD_DURATION,
                f"'{label}' must be longer than 0, not {shown(value)}",
                value.span,
                "write a time, as `30s`",
            )
            return
        hint = (
            hint
            if hint.startswith("write a duration")
            else "write a duration as `500ms`, `90s`, `5m`, `1h30m`, `2d` or `PT5M`"
        )
        if isinstance(value.data, int | float) and not isinstance(value.data, bool):
            hint = f"say which unit: `{last}: {value.data}s` or `{last}: {value.data}m`"
        yield problem(Code.BAD_DURATION, f"'{label}' must be a duration, not {shown(value)}", value.span, hint)
        return
    choices = _QUOTED.findall(str(detail.get("ctx", {}).get("expected", "")))
    if choices and label not in WANTED:
        wanted = f"one of {', '.join(choices)}"
        yield problem(
            Code.BAD_VALUE,
            f"'{label}' must be {wanted}, not {shown(value)}",
            value.span,
            did_you_mean(str(value.data), choices),
        )
        return
    wanted = WANTED.get(label) or WANTED.get(key) or ""
    hint = did_you_mean(str(value.data), choices) if choices else ""
    if not wanted and detail["type"] == "string_type":
        wanted, hint = "text", "put it in quotes"
    said = f"'{label}' must be {wanted}, not {shown(value)}" if wanted else f"'{label}' does not fit: {message}"
    yield problem(Code.BAD_VALUE, said, value.span, hint)


def shown(value: Value) -> str:
    """Return a value as a message shows it."""
    match value.data:
        case None:
            return "nothing"
        case bool():
            return str(value.data).lower()
        case str():
            return f"'{shortened(value.data, 40)}'"
        case list():
            return f"the list {shortened(value.raw, 40)}" if value.raw else "a list"
        case dict():
            return f"the mapping {shortened(value.raw, 40)}" if value.raw else "a mapping"
        case _:
            return shortened(value.raw or str(value.data), 40)
