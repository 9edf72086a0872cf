"""Front matter to what it says of the whole workflow, and the place of every key."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from flownb.model.policy import Duration, ExecutorName, Policy, Retry
from flownb.model.workflow import Input, Order
from flownb.parse.fields import check_default, check_notation, expression
from flownb.parse.ids import identifier
from flownb.parse.mismatch import explain
from flownb.parse.source import Problems, Source, both_lines, front_matter_end, shortened
from flownb.parse.yaml_values import Value, YamlError, load_yaml
from flownb.text.codes import Code
from flownb.text.nearest import did_you_mean
from flownb.text.spans import Span

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


@dataclass(slots=True)
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
    inputs: dict[str, Input] = field(default_factory=dict)
    """Input → what it must be."""
    input_names: set[str] = field(default_factory=set)
    """Every input that is named, also those with a mistake."""
    secrets: dict[str, Span] = field(default_factory=dict)
    """Secret → where it stands."""
    outputs: dict[str, Value] | None = None
    """Output → expression."""
    on_error_span: Span | None = None
    """Where `on_error` names its node."""

    @property
    def defaults(self) -> Policy:
        """The document's defaults as a policy."""
        given = self.settings.defaults
        return Policy(retry=given.retry, timeout=given.timeout, executor=given.executor)


def read_front_matter(source: Source, problems: Problems) -> Head:
    """Return what a document's front matter says; every mistake in it is reported."""
    head = Head(end=front_matter_end(source.lines))
    if head.end == 0:
        _report_misplaced(source, problems)
        return head
    try:
        whole = load_yaml(
            source.lines[1 : head.end - 1], lambda line, column, length: source.span(line + 1, column, length), problems
        )
    except YamlError as error:
        problems.error(error.code, error.message, error.span, error.hint)
        head.is_readable = False
        return head
    if whole.data is None:
        return head
    if not isinstance(whole.data, dict):
        head.is_readable = False
        what = "the front matter must be `key: value` lines"
        problems.error(Code.YAML_SYNTAX, what, whole.span, "write `key: value`, with a space behind the colon")
        return head
    _read(whole, head, problems)
    return head


def _report_misplaced(source: Source, problems: Problems) -> None:
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
        problems.error(Code.FRONT_MATTER_PLACE, what, source.span(first, 0, 3), "take the empty lines above it away")
    elif first == 0:
        what = "the front matter is never closed"
        problems.error(Code.FRONT_MATTER_OPEN, what, source.span(0, 0, 3), "put a line with `---` below its last key")


def _read(whole: Value, head: Head, problems: Problems) -> None:
    known: dict[str, Value] = {}
    seen: dict[str, Span] = {}
    for key, span in whole.keys.items():
        name = key.replace("-", "_")
        value = whole.parts[key]
        if name not in KEYS:
            hint = did_you_mean(name, KEYS, f"known are {', '.join(sorted(KEYS))}")
            problems.error(Code.UNKNOWN_KEY, f"the front matter has no key '{shortened(key, 30)}'", span, hint)
        elif name in seen:
            what = f"the key '{name}' stands twice: {both_lines(seen[name], span)}"
            problems.error(Code.DUPLICATE_KEY, what, span, "keep one of them")
        else:
            seen[name] = span
            if value.data is not None:
                known[name] = value
    for name, read in _READERS.items():
        if name in known:
            read(known[name], head, problems)
    settings = {key: value for key, value in known.items() if key in FrontMatter.model_fields}
    if isinstance(known["version"].data if "version" in known else None, int | float):
        settings["version"] = _as_text(known["version"])
    head.settings = _settings({key: value.data for key, value in settings.items()}, settings, problems)
    head.on_error_span = known["on_error"].span if "on_error" in known else None


def _as_text(value: Value) -> Value:
    """Return a number as it is written: `version: 1.10` is no 1.1."""
    return Value(value.raw or str(value.data), value.span, value.raw, value.span)


def _settings(data: dict[str, JsonValue], values: Mapping[str, Value], problems: Problems) -> FrontMatter:
    try:
        return FrontMatter.model_validate(data)
    except ValidationError as error:
        nested = {"defaults": _DEFAULT_KEYS, "retry": tuple(Retry.model_fields)}
        bad = explain(error, values, problems, nested)
        left = {key: value for key, value in data.items() if key not in bad}
        return _settings(left, values, problems) if len(left) < len(data) else FrontMatter()


def _read_name(value: Value, head: Head, problems: Problems) -> None:
    text = value.data if isinstance(value.data, str) else value.raw
    if _SLUG.fullmatch(text):
        head.name = text
        return
    what = f"'{shortened(text, 40)}' is no name for a workflow: it names a folder"
    better = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "weekly-report"
    problems.error(Code.BAD_NAME, what, value.span, f"use a-z, 0-9 and `-`: `name: {shortened(better, 40)}`")


def _read_inputs(value: Value, head: Head, problems: Problems) -> None:
    if not isinstance(value.data, dict):
        what = f"'inputs' must be name → type, not {shortened(value.raw, 40) or 'a list'}"
        problems.error(
            Code.BAD_VALUE, what, value.span, "write `inputs: {topic: str}`, or a line `topic: str` for each"
        )
        return
    for name, span in value.keys.items():
        part = value.parts[name]
        head.input_names.add(name)
        if not name.isidentifier() or keyword.iskeyword(name):
            why = "Python means something else by it" if keyword.iskeyword(name) else "it is no identifier"
            what = f"'{shortened(name, 40)}' cannot be the name of an input: {why}"
            better = identifier(name) or "topic"
            hint = (
                f"write `{better}_`"
                if keyword.iskeyword(better)
                else f"write `{better if better.isidentifier() else f'n_{better}'}`"
            )
            problems.error(Code.BAD_NAME, what, span, hint)
        elif (isinstance(part.data, dict) and "type" in part.data) or (
            isinstance(part.data, dict) and {"default", "description"} & part.data.keys()
        ):
            head.inputs[name] = _input(name, part, span, problems)
        else:
            if part.data is None:
                hint = f"write a type, as `{name}: str`, or `{name}: any`"
                problems.error(Code.BAD_TYPE, f"the input '{name}' has no type", span, hint)
                continue
            check_notation(part, problems)
            head.inputs[name] = Input(type=part.data, span=span)


def _input(name: str, value: Value, span: Span, problems: Problems) -> Input:
    """Return an input that is written as `{type, default, description}`."""
    for key, where in value.keys.items():
        if key not in {"type", "default", "description"}:
            hint = did_you_mean(key, ("type", "default", "description"), "known are type, default, description")
            problems.error(Code.UNKNOWN_KEY, f"the input '{name}' has no '{shortened(key, 30)}'", where, hint)
    kind = value.parts.get("type")
    if kind is not None and kind.data is not None:
        check_notation(kind, problems)
    described = value.parts.get("description")
    if "default" in value.parts and kind is not None:
        check_default(name, kind.data, value.parts["default"], problems)
    return Input(
        type=kind.data if kind is not None and kind.data is not None else "any",
        required="default" not in value.parts,
        default=value.parts["default"].data if "default" in value.parts else None,
        description=str(described.data) if described is not None and described.data is not None else "",
        span=span,
    )


def _read_secrets(value: Value, head: Head, problems: Problems) -> None:
    parts = list(value.parts.values()) if isinstance(value.data, list) else [value]
    if isinstance(value.data, dict):
        what = "'secrets' must be a list of names: values are never written into a document"
        problems.error(Code.BAD_VALUE, what, value.span, f"write `secrets: [{', '.join(list(value.keys)[:3])}]`")
        return
    for part in parts:
        name = part.data
        if not isinstance(name, str) or not _SECRET.fullmatch(name):
            what = f"{shortened(part.raw, 30) or 'this'} cannot be the name of a secret"
            hint = "write a name as an environment variable has it, as `NEWS_TOKEN`"
            problems.error(Code.BAD_NAME, what, part.span, hint)
        elif name in head.secrets:
            what = f"the secret '{name}' stands twice: {both_lines(head.secrets[name], part.span)}"
            problems.error(Code.DUPLICATE_KEY, what, part.span, "keep one of them")
        else:
            head.secrets[name] = part.span


def _read_outputs(value: Value, head: Head, problems: Problems) -> None:
    if not isinstance(value.data, dict):
        what = f"'outputs' must be name → expression, not {shortened(value.raw, 40) or 'a list'}"
        problems.error(Code.BAD_VALUE, what, value.span, "write `outputs: {report: publish}`")
        return
    head.outputs = {}
    for name, part in value.parts.items():
        if not str(name).strip():
            problems.error(Code.BAD_NAME, "an output has an empty name", value.keys[str(name)], "give it a name")
        text = expression(f"outputs.{shortened(str(name), 30)}", part, problems)
        if text is not None:
            exact = part if isinstance(part.data, str) else Value(text, part.span, part.raw, part.span)
            head.outputs[str(name)] = exact


_READERS: Final[Mapping[str, Callable[[Value, Head, Problems], None]]] = {
    "name": _read_name,
    "inputs": _read_inputs,
    "secrets": _read_secrets,
    "outputs": _read_outputs,
}
