"""Front matter to what it says of the whole workflow, and the place of every key."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from flownb.model.policy import Duration, ExecutorName, Policy, Retry
from flownb.model.workflow import Input, Order
from flownb.parse.fields import check_default, check_notation, expression
from flownb.parse.found import Found, problem
from flownb.parse.ids import identifier
from flownb.parse.mismatch import explain
from flownb.parse.source import Source, front_matter_end
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean
from flownb.text.spans import Span, both_lines
from flownb.text.yaml import Value, load_yaml
from flownb.text.yaml_words import YamlError

_SLUG: Final = re.compile(r"[a-z0-9][a-z0-9-]*")
_SECRET: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY_LINE: Final = re.compile(r"[A-Za-z_][\w-]*[ \t]*:(?:[ \t]|$)")
_DEFAULT_KEYS: Final = ("retry", "timeout", "executor")


class Defaults(BaseModel):
    """What holds for every node that does not set its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    retry: Retry | None = None
    """Further attempts."""
    timeout: Duration | None = Field(default=None, gt=0)
    """The limit for each attempt."""
    executor: ExecutorName | None = None
    """Where python bodies run."""


class FrontMatter(BaseModel):
    """The keys of the front matter (format.md, section 2) that say one thing each."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    version: str = ""
    """The author's version of the workflow."""
    description: str = ""
    """What the workflow is for."""
    defaults: Defaults = Field(default_factory=Defaults)
    """What holds for every node that does not set its own."""
    timeout: Duration | None = Field(default=None, gt=0)
    """Limit for the whole run."""
    concurrency: int = Field(default=10, ge=1)
    """Most nodes at once."""
    order: Order = Order.GRAPH
    """What a node waits for by itself."""
    on_error: str | None = None
    """The id of the node that handles a failed run."""
    allow_paths: tuple[str, ...] = ()
    """Folders outside the document's own that file nodes may use."""


KEYS: Final = frozenset({*FrontMatter.model_fields, "name", "inputs", "secrets", "outputs"})
"""Every key that front matter may have."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the front matter says, as far as it could be read."""

    end: int = 0
    """The line in which the body begins, counted from 0."""
    is_readable: bool = True
    """Whether it is YAML: if not, nothing can be said of inputs and secrets."""
    name: str | None = None
    """The workflow's name."""
    settings: FrontMatter = field(default_factory=FrontMatter)
    """The keys that say one thing each."""
    inputs: Mapping[str, Input] = field(default_factory=dict)
    """Input → what it must be."""
    input_names: Collection[str] = ()
    """Every input that is named, also those with a mistake."""
    secrets: Mapping[str, Span] = field(default_factory=dict)
    """Secret → where it stands."""
    outputs: Mapping[str, Value] | None = None
    """Output → expression."""
    on_error_span: Span | None = None
    """Where `on_error` names its node."""

    @property
    def defaults(self) -> Policy:
        """The document's defaults as a policy."""
        given = self.settings.defaults
        return Policy(retry=given.retry, timeout=given.timeout, executor=given.executor)


def read_front_matter(source: Source) -> Found[Head]:
    """Return what a document's front matter says; every mistake in it is reported."""
    end = front_matter_end(source.lines)
    if end == 0:
        yield from _misplaced(source)
        return Head()
    try:
        whole = load_yaml(
            "\n".join(source.lines[1 : end - 1]),
            lambda line, column, length: source.span(line + 1, column, length),
        )
    except YamlError as error:
        yield problem(error.code, error.message, error.span, error.hint)
        return Head(end, is_readable=False)
    if whole.data is None:
        return Head(end)
    if not isinstance(whole.data, dict):
        what = "the front matter must be `key: value` lines"
        yield problem(Code.YAML_SYNTAX, what, whole.span, "write `key: value`, with a space behind the colon")
        return Head(end, is_readable=False)
    return (yield from _read(whole, end))


def _misplaced(source: Source) -> Found[None]:
    """Report front matter that is never closed, or does not begin in the first line."""
    lines = source.lines
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if (
        first is None
        or lines[first].rstrip() != "---"
        or not any(_KEY_LINE.match(line) for line in lines[first + 1 : first + 2])
    ):
        return
    if first > 0 and any(line.rstrip() == "---" for line in lines[first + 1 :]):
        what = "front matter begins in the first line, and this is below it"
        yield problem(Code.FRONT_MATTER_PLACE, what, source.span(first, 0, 3), "take the empty lines above it away")
    elif first == 0:
        what = "the front matter is never closed"
        yield problem(Code.FRONT_MATTER_OPEN, what, source.span(0, 0, 3), "put a line with `---` below its last key")


def _read(whole: Value, end: int) -> Found[Head]:
    known: dict[str, Value] = {}
    seen: dict[str, Span] = {}
    for written, span in whole.keys.items():
        key = written.replace("-", "_")
        value = whole.parts[written]
        if key not in KEYS:
            hint = did_you_mean(key, KEYS, f"known are {', '.join(sorted(KEYS))}")
            yield problem(Code.UNKNOWN_KEY, f"the front matter has no key '{shortened(written, 30)}'", span, hint)
        elif key in seen:
            what = f"the key '{key}' stands twice: {both_lines(seen[key], span)}"
            yield problem(Code.DUPLICATE_KEY, what, span, "keep one of them")
        else:
            seen[key] = span
            if value.data is not None:
                known[key] = value
    name = (yield from _name(known["name"])) if "name" in known else None
    inputs = (yield from _inputs(known["inputs"])) if "inputs" in known else {}
    secrets = (yield from _secrets(known["secrets"])) if "secrets" in known else {}
    outputs = (yield from _outputs(known["outputs"])) if "outputs" in known else None
    settings = {key: value for key, value in known.items() if key in FrontMatter.model_fields}
    if isinstance(known["version"].data if "version" in known else None, int | float):
        settings["version"] = _as_text(known["version"])
    return Head(
        end,
        name=name,
        settings=(yield from _settings({key: value.data for key, value in settings.items()}, settings)),
        inputs={key: item for key, item in inputs.items() if item is not None},
        input_names=frozenset(inputs),
        secrets=secrets,
        outputs=outputs,
        on_error_span=known["on_error"].span if "on_error" in known else None,
    )


def _as_text(value: Value) -> Value:
    """Return a number as it is written: `version: 1.10` is no 1.1."""
    return Value(value.raw or str(value.data), value.span, value.raw, value.span)


def _settings(data: dict[str, JsonValue], values: Mapping[str, Value]) -> Found[FrontMatter]:
    try:
        return FrontMatter.model_validate(data)
    except ValidationError as error:
        nested = {"defaults": _DEFAULT_KEYS, "retry": tuple(Retry.model_fields)}
        bad = yield from explain(error, values, nested)
        left = {key: value for key, value in data.items() if key not in bad}
        return (yield from _settings(left, values)) if len(left) < len(data) else FrontMatter()


def _name(value: Value) -> Found[str | None]:
    text = value.data if isinstance(value.data, str) else value.raw
    if _SLUG.fullmatch(text):
        return text
    what = f"'{shortened(text, 40)}' is no name for a workflow: it names a folder"
    better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "weekly-report"
    yield problem(Code.BAD_NAME, what, value.span, f"use a-z, 0-9 and `-`: `name: {shortened(better, 40)}`")
    return None


def _inputs(value: Value) -> Found[dict[str, Input | None]]:
    """Return what each input must be; None where that cannot be told."""
    inputs: dict[str, Input | None] = {}
    if not isinstance(value.data, dict):
        what = f"'inputs' must be name → type, not {shortened(value.raw, 40) or 'a list'}"
        yield problem(Code.BAD_VALUE, what, value.span, "write `inputs: {topic: str}`, or a line `topic: str` for each")
        return inputs
    for name, span in value.keys.items():
        part = value.parts[name]
        inputs[name] = None
        if not name.isidentifier() or keyword.iskeyword(name):
            why = "Python means something else by it" if keyword.iskeyword(name) else "it is no identifier"
            what = f"'{shortened(name, 40)}' cannot be the name of an input: {why}"
            better = identifier(name) or "topic"
            hint = (
                f"write `{better}_`"
                if keyword.iskeyword(better)
                else f"write `{better if better.isidentifier() else f'n_{better}'}`"
            )
            yield problem(Code.BAD_NAME, what, span, hint)
        elif (isinstance(part.data, dict) and "type" in part.data) or (
            isinstance(part.data, dict) and {"default", "description"} & part.data.keys()
        ):
            inputs[name] = yield from _input(name, part, span)
        else:
            if part.data is None:
                hint = f"write a type, as `{name}: str`, or `{name}: any`"
                yield problem(Code.BAD_TYPE, f"the input '{name}' has no type", span, hint)
                continue
            yield from check_notation(part)
            inputs[name] = Input(type=part.data, span=span)
    return inputs


def _input(name: str, value: Value, span: Span) -> Found[Input]:
    """Return an input that is written as `{type, default, description}`."""
    for key, where in value.keys.items():
        if key not in {"type", "default", "description"}:
            hint = did_you_mean(key, ("type", "default", "description"), "known are type, default, description")
            yield problem(Code.UNKNOWN_KEY, f"the input '{name}' has no '{shortened(key, 30)}'", where, hint)
    kind = value.parts.get("type")
    if kind is not None and kind.data is not None:
        yield from check_notation(kind)
    described = value.parts.get("description")
    if "default" in value.parts and kind is not None:
        yield from check_default(name, kind.data, value.parts["default"])
    return Input(
        type=kind.data if kind is not None and kind.data is not None else "any",
        required="default" not in value.parts,
        default=value.parts["default"].data if "default" in value.parts else None,
        description=str(described.data) if described is not None and described.data is not None else "",
        span=span,
    )


def _secrets(value: Value) -> Found[dict[str, Span]]:
    secrets: dict[str, Span] = {}
    parts = list(value.parts.values()) if isinstance(value.data, list) else [value]
    if isinstance(value.data, dict):
        what = "'secrets' must be a list of names: values are never written into a document"
        yield problem(Code.BAD_VALUE, what, value.span, f"write `secrets: [{', '.join(list(value.keys)[:3])}]`")
        return secrets
    for part in parts:
        name = part.data
        if not isinstance(name, str) or not _SECRET.fullmatch(name):
            what = f"{shortened(part.raw, 30) or 'this'} cannot be the name of a secret"
            hint = "write a name as an environment variable has it, as `NEWS_TOKEN`"
            yield problem(Code.BAD_NAME, what, part.span, hint)
        elif name in secrets:
            what = f"the secret '{name}' stands twice: {both_lines(secrets[name], part.span)}"
            yield problem(Code.DUPLICATE_KEY, what, part.span, "keep one of them")
        else:
            secrets[name] = part.span
    return secrets


def _outputs(value: Value) -> Found[dict[str, Value] | None]:
    if not isinstance(value.data, dict):
        what = f"'outputs' must be name → expression, not {shortened(value.raw, 40) or 'a list'}"
        yield problem(Code.BAD_VALUE, what, value.span, "write `outputs: {report: publish}`")
        return None
    outputs: dict[str, Value] = {}
    for name, part in value.parts.items():
        if not str(name).strip():
            yield problem(Code.BAD_NAME, "an output has an empty name", value.keys[str(name)], "give it a name")
        text = yield from expression(f"outputs.{shortened(str(name), 30)}", part)
        if text is not None:
            exact = part if isinstance(part.data, str) else Value(text, part.span, part.raw, part.span)
            outputs[str(name)] = exact
    return outputs
