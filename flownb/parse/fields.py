"""The values of properties to what the models hold, with a message for each that does not fit."""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from pydantic import JsonValue, ValidationError

from flownb.model.nodes import Foreach, Leaf, Loop, Parallel, Rate
from flownb.model.policy import Policy, Retry, parse_duration
from flownb.model.types import TypeNotationError, check_type, convert, is_described
from flownb.parse.drafts import Draft, known_values
from flownb.parse.found import Found, problem
from flownb.parse.keys import FOREACH_KEYS, LOOP_KEYS, POLICY_KEYS, REPEATS, has_body
from flownb.parse.mismatch import WANTED, explain, shown
from flownb.templates.expressions import RESERVED_NAMES
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.yaml import Value

Repeat = TypeVar("Repeat", Foreach, Loop)
_ADVICE: Final = re.compile(r"(?:: |; )((?:write|did you mean|known are) .*)$")
"""The part of a type's error that says what to write."""
_PLAIN: Final = Policy()
_TYPED: Final[Mapping[str, str]] = {"checkpoint": "input", "prompt": "output"}
"""Kind → the property of its own that is a type."""
_RATE: Final = re.compile(r"\s*([1-9][0-9]{0,8})\s*/\s*(\S.*)")


@dataclass(frozen=True, slots=True)
class Fields:
    """What a draft's properties say."""

    policy: Policy
    """How it is run."""
    repeat: Foreach | Loop | None
    """Whether it repeats."""
    own: Mapping[str, object]
    """The values of the properties that only its kind has."""


def read_fields(draft: Draft, defaults: Policy) -> Found[Fields]:
    """Return what a draft's properties say, as far as they fit.

    Args:
        draft: The draft.
        defaults: The document's `defaults`, for leaves that say nothing themselves.
    """
    values = yield from _not_null(known_values(draft))
    texts: dict[str, str | None] = {}
    for key, value in values.items():
        if key in {"when", "collect", *REPEATS}:
            texts[key] = yield from expression(key, value)
    policy: dict[str, object] = {
        key: value.data for key, value in values.items() if key in POLICY_KEYS and key != "when"
    }
    if texts.get("when"):
        policy["when"] = texts["when"]
    own_policy = yield from _policy(policy, values)
    yield from _check_repeat(draft)
    repeat = yield from _repeat(draft, values, texts)
    own = yield from _own(draft, values)
    return Fields(_with_defaults(draft, own_policy, defaults), repeat, own)


def _not_null(values: Mapping[str, Value]) -> Found[dict[str, Value]]:
    kept = {}
    for key, value in values.items():
        if value.data is None:
            wanted = (
                f"write {WANTED[key]}" if key in WANTED else "write a value behind the colon, or take the line away"
            )
            yield problem(Code.BAD_VALUE, f"'{key}' has no value", value.span, wanted)
        else:
            kept[key] = value
    return kept


def expression(key: str, value: Value) -> Found[str | None]:
    """Return the bare expression that a value is; None where it is none, which is reported.

    YAML reads `true`, `3` and `[a, b]` as data; as an expression they are what is written there.
    """
    text = expression_text(value)
    if not text.strip():
        what = f"'{key}' must be an expression, not {shown(value)}"
        yield problem(Code.BAD_VALUE, what, value.span, "write one, as `a.ready` or `[a, b]`")
        return None
    stripped = text.strip()
    if stripped.startswith("{{") and stripped.endswith("}}"):
        what = f"'{key}' is an expression: it stands without braces"
        yield problem(Code.EXPRESSION_BRACES, what, value.span, f"write `{key}: {shortened(stripped[2:-2])}`")
        return None
    return text


def expression_text(value: Value) -> str:
    """Return the expression that a value stands for: what is written, with the keys of mappings as texts."""
    if isinstance(value.data, str):
        return value.data
    if value.raw and "{" not in value.raw:
        return value.raw
    return _written(value)


def _written(value: Value) -> str:
    match value.data:
        case dict():
            return (
                "{" + ", ".join(f"{json.dumps(str(key))}: {_written(part)}" for key, part in value.parts.items()) + "}"
            )
        case list():
            return f"[{', '.join(map(_written, value.parts.values()))}]"
        case str() if value.raw.startswith(("'", '"')) or not value.raw:
            return json.dumps(value.data)
        case None:
            return "none"
        case _:
            return value.raw


def _policy(data: Mapping[str, object], values: Mapping[str, Value]) -> Found[Policy]:
    """Return the policy that is left when what does not fit is taken out."""
    try:
        return Policy.model_validate(data) if data else _PLAIN
    except ValidationError as error:
        bad = yield from explain(error, values, {"retry": Retry.model_fields})
        return (yield from _policy({key: value for key, value in data.items() if key not in bad}, values))


def _with_defaults(draft: Draft, policy: Policy, defaults: Policy) -> Policy:
    """Return a leaf's policy with the document's defaults; a checkpoint's timeout is a person's time, so it takes none."""
    if not draft.is_leaf or draft.title == "checkpoint":
        return policy
    missing = {
        key: value
        for key in ("retry", "timeout", "executor")
        if key not in draft.properties and (value := getattr(defaults, key)) is not None
    }
    return policy.model_copy(update=missing) if missing else policy


def _check_repeat(draft: Draft) -> Found[None]:
    """Report what repeats twice, and properties of a repetition that is not there."""
    if not draft.properties:
        return
    repeats = [key for key in REPEATS if key in draft.properties]
    if len(repeats) > 1:
        what = f"'{repeats[0]}' and '{repeats[1]}' stand on one node"
        hint = "put the one on a group, and the other on a node or group in it"
        yield problem(Code.TWO_REPEATS, what, draft.properties[repeats[1]].key_span, hint)
        return
    for keys, wanted, code, hint in (
        (FOREACH_KEYS, ("foreach",), Code.NEEDS_FOREACH, "add `foreach: …`, or take it away"),
        (LOOP_KEYS, ("until", "while"), Code.NEEDS_LOOP, "add `until: …` or `while: …`, or take it away"),
    ):
        if not set(wanted).isdisjoint(repeats):
            continue
        for key in sorted(keys & draft.properties.keys()):
            what = f"'{key}' belongs to {' or '.join(f'`{word}`' for word in wanted)}, which this node does not have"
            yield problem(code, what, draft.properties[key].key_span, hint)


def _repeat(draft: Draft, values: Mapping[str, Value], texts: Mapping[str, str | None]) -> Found[Foreach | Loop | None]:
    repeat = draft.repeats
    text = texts.get(repeat) if repeat else None
    if repeat is None or not text:
        return None
    if repeat == "foreach":
        name = yield from _item_name(values.get("as"))
        rate = yield from _rate(values.get("rate"))
        return (
            yield from _valid(
                Foreach,
                {
                    "items": text,
                    "as_name": name,
                    "collect": texts.get("collect"),
                    "concurrency": _data(values, "concurrency"),
                    "rate": rate,
                },
                values,
            )
        )
    data = {"condition": text, "until": repeat == "until", "max": _data(values, "max"), "every": _data(values, "every")}
    return (yield from _valid(Loop, data, values))


def _valid(model: type[Repeat], data: Mapping[str, object], values: Mapping[str, Value]) -> Found[Repeat | None]:
    given = {key: value for key, value in data.items() if value is not None}
    try:
        return model.model_validate(given)
    except ValidationError as error:
        yield from explain(error, values)
        return None


def _data(values: Mapping[str, Value], key: str) -> JsonValue:
    return values[key].data if key in values else None


def _item_name(value: Value | None) -> Found[str | None]:
    if value is None:
        return None
    name = value.data
    if (
        isinstance(name, str)
        and name.isidentifier()
        and not keyword.iskeyword(name)
        and (name not in RESERVED_NAMES or name == "item")
    ):
        return name
    is_word = isinstance(name, str) and name.isidentifier()
    owner = "flownb" if is_word and name in RESERVED_NAMES else "Python"
    why = f"{owner} means something else by it" if is_word else "it is no identifier"
    what = f"{shown(value)} cannot be an item's name: {why}"
    yield problem(Code.AS_NAME, what, value.span, "write a name of letters, digits and `_`, as `as: article`")
    return None


def _rate(value: Value | None) -> Found[Rate | None]:
    if value is None:
        return None
    match = _RATE.fullmatch(value.data) if isinstance(value.data, str) else None
    hint = "write `N/duration`, as `10/1m`"
    if match is None:
        yield problem(Code.BAD_VALUE, f"'rate' must be a count and a duration, not {shown(value)}", value.span, hint)
        return None
    try:
        return Rate(count=int(match[1]), period=parse_duration(match[2]))
    except ValueError:
        yield problem(Code.BAD_DURATION, f"'rate' has no duration in {shortened(match[2])!r}", value.span, hint)
        return None


@cache
def _required(model: type[Leaf | Parallel]) -> tuple[str, ...]:
    """Return the properties that a kind cannot do without."""
    return tuple(key for key, info in model.model_fields.items() if info.is_required() and key not in _TAKEN)


def _own(draft: Draft, values: Mapping[str, Value]) -> Found[dict[str, object]]:
    """Understand the properties that only the draft's kind has."""
    model: type[Leaf | Parallel] | None = Parallel if draft.title == "parallel" else draft.kind
    if model is None:
        return {}
    fields = model.model_fields
    given: dict[str, object] = {key: value.data for key, value in values.items() if key in fields and key not in _TAKEN}
    expressions = draft.kind.EXPRESSIONS if draft.kind else frozenset()
    for key in expressions & given.keys():
        given[key] = yield from _expressions(key, values[key])
    typed = _TYPED.get(draft.title, "")
    if typed in given and given[typed] != "text":
        yield from check_notation(values[typed])
    missing = [key for key in _required(model) if key not in draft.properties]
    for key in missing if draft.body is None or has_body(draft.kind or Leaf) else ():
        what = f"node '{draft.id}' is of type {draft.title} and has no '{key}'"
        yield problem(Code.MISSING_PROPERTY, what, draft.name.span, f"add `- {key}: …` ({WANTED.get(key, 'a value')})")
    return (yield from _checked(model, given, values)) if given else {}


_TAKEN: Final = frozenset({"id", "heading", "span", "policy", "repeat", "spans", "uses", "body", "children"})


def _checked(
    model: type[Leaf | Parallel], given: dict[str, object], values: Mapping[str, Value]
) -> Found[dict[str, object]]:
    """Return those of the given values that fit, as the model holds them."""
    required = {"id": "x", "heading": "", "span": next(iter(values.values())).span}
    try:
        made = model.model_validate(required | given)
    except ValidationError as error:
        bad = yield from explain(error, values, model.KNOWN_KEYS if issubclass(model, Leaf) else None)
        left = {key: value for key, value in given.items() if key not in bad}
        return (yield from _checked(model, left, values)) if left and len(left) < len(given) else {}
    return {key: getattr(made, key) for key in given}


def _expressions(key: str, value: Value) -> Found[object]:
    """Return one expression or a list of them, as texts."""
    if isinstance(value.data, list):
        texts: list[str] = []
        for part in value.parts.values():
            texts += [(yield from expression(key, part)) or ""]
        return texts
    return (yield from expression(key, value)) or ""


def check_notation(value: Value) -> Found[None]:
    """Report a type that is not written as format.md 6 says."""
    if isinstance(value.data, dict) and value.parts:
        for name, part in value.parts.items():
            kind = part.parts["type"] if is_described(part.data) else part
            yield from check_notation(kind)
            if kind is not part and "default" in part.parts:
                yield from check_default(str(name), kind.data, part.parts["default"])
        return
    try:
        check_type(value.data)
    except TypeNotationError as error:
        message, hint = str(error), ""
        advice = _ADVICE.search(message)
        if advice:
            message, hint = message[: advice.start()], advice[1]
        yield problem(Code.BAD_TYPE, message, value.span, hint)


def check_default(name: str, kind: JsonValue, value: Value) -> Found[None]:
    """Report a default that is not of its input's type."""
    try:
        convert(kind, value.data, name)
    except TypeNotationError:
        return  # Reported where the type stands.
    except ValueError as error:
        message = str(error).split("\n", maxsplit=1)[0]
        hint = "a default must be of the input's type"
        yield problem(Code.BAD_VALUE, f"the default does not fit: {message}", value.span, hint)
