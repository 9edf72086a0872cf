"""Property lists and property fences to keys and values."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from flownb.parse.found import Found, problem
from flownb.parse.keys import EXPRESSION_KEYS
from flownb.parse.sections import BulletList, Fence, Item
from flownb.parse.source import Source
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import nearest
from flownb.text.spans import Span
from flownb.text.yaml import MAX_CHARACTERS, Value, load_yaml
from flownb.text.yaml_words import YamlError, braces_error

_KEY: Final = re.compile(
    r"(?P<open>[*_`\"']{0,3})(?P<key>[^\W\d][\w-]*?)(?P<close>[*_`\"']{0,3})[ \t]*:(?=(?P<gap>[ \t]|$)?)"
)
_NO_COLON: Final = re.compile(
    r"""(?P<key>[^\W\d][\w-]*)(?:[ \t]*=[ \t]*\S.*|[ \t]+(?:[0-9]\S*|\[.*\]|\{.*\}|"[^"]*"|'[^']*'|true|false)[ \t]*)"""
)
"""`retry 3` and `retry = 3`: a key and what is sure to be a value, without a colon; `needs work` is prose."""
_DATA_FENCES: Final = frozenset({"yaml", "json"})


@dataclass(frozen=True, slots=True)
class Property:
    """One `key: value`."""

    key: str
    """The key as the format writes it, with `_`."""
    key_span: Span
    """Where the key stands."""
    value: Value | None
    """The value; None where it cannot be read, which has been reported."""
    is_fenced: bool = False
    """Whether a fence gives it."""


def canonical(key: str) -> str:
    """Return a key with `_` for `-`."""
    return key.replace("-", "_")


def is_property_list(block: BulletList, source: Source, known: Collection[str], *, in_node: bool) -> bool:
    """Return whether one of a list's items reads `known-key: …` or nearly so (format.md 1.7).

    Args:
        block: The list.
        source: The document.
        known: Every property of any kind.
        in_node: Whether the section has a body: only there is `Retry:` a mistyped key, elsewhere it is prose.
    """
    return any(_is_property(item, source, known, in_node=in_node) for item in block.items)


def _is_property(item: Item, source: Source, known: Collection[str], *, in_node: bool) -> bool:
    line = source.lines[item.line]
    match = _KEY.match(line, item.column)
    if match is None:
        bare = _NO_COLON.fullmatch(line, item.column)
        return bare is not None and canonical(bare["key"]) in known
    key = canonical(match["key"])
    if key in known:
        return True
    if match["gap"] is None or (key != key.lower() and not in_node):
        return False
    return nearest(key, known) is not None


def read_list(block: BulletList, source: Source, known: Collection[str]) -> Found[list[Property]]:
    """Return the properties that a list gives; every item must be one `key: value`.

    Args:
        block: The list.
        source: The document.
        known: Every property of any kind.
    """
    found: list[Property] = []
    for item in block.items:
        try:
            found.append(_read_item(item, source, known))
        except YamlError as error:
            yield problem(error.code, error.message, error.span, error.hint)
            key = _KEY.match(source.lines[item.line], item.column)
            if key:
                found.append(Property(canonical(key["key"]), _key_span(key, item, source), None))
    return found


def read_fence(fence: Fence, source: Source) -> Found[Property]:
    """Return the property that a fence with a second word gives."""
    first, second = fence.words[:2]
    column = source.lines[fence.line].find(second, fence.info_column + len(first))
    key_span = source.span(fence.line, column, len(second))
    if len(fence.body) > MAX_CHARACTERS:
        what = f"this property has {len(fence.body):,} characters; at most {MAX_CHARACTERS:,} are read"
        yield problem(Code.TOO_LARGE, what, key_span, "keep data in a file of its own and read it in a node")
        return Property(canonical(second), key_span, None, is_fenced=True)
    if first not in _DATA_FENCES:
        return Property(canonical(second), key_span, fence_value(fence, source), is_fenced=True)
    try:
        value = load_yaml(
            fence.body, lambda line, at, length: source.span(fence.line + 1 + line, fence.indent + at, length)
        )
    except YamlError as error:
        yield problem(error.code, error.message, error.span, error.hint)
        return Property(canonical(second), key_span, None, is_fenced=True)
    return Property(canonical(second), key_span, value, is_fenced=True)


def fence_value(fence: Fence, source: Source) -> Value:
    """Return a fence's text as a value."""
    start = source.span(fence.line + 1, fence.indent, len(fence.content.split("\n", 1)[0]))
    return Value(fence.body, start, "", start, fence.indent)


def _key_span(match: re.Match[str], item: Item, source: Source) -> Span:
    return source.span(item.line, match.start("key"), len(match["key"]))


def _read_item(item: Item, source: Source, known: Collection[str]) -> Property:
    """Return the property of one item.

    Raises:
        YamlError: The item is not one `key: value`.
    """
    line = source.lines[item.line]
    match = _KEY.match(line, item.column)
    where = source.span(item.line, item.column, len(line) - item.column)
    if match is None or match["gap"] is None or match["open"]:
        raise _item_error(match, line[item.column :], known, where)
    end = item.end
    while end > item.line + 1 and not source.lines[end - 1].strip():
        end -= 1
    key_span = _key_span(match, item, source)
    rest = line[match.end() :]
    text = rest.strip()
    column = match.end() + len(rest) - len(rest.lstrip())
    if text.startswith("{{"):
        raise _braces(match["key"], text, source.span(item.line, column, len(text)))
    if end == item.line + 1 and not text:
        return Property(canonical(match["key"]), key_span, Value(None, key_span))
    return Property(canonical(match["key"]), key_span, _item_value(item, end, match["key"], source))


def _braces(key: str, text: str, where: Span) -> YamlError:
    if canonical(key) in EXPRESSION_KEYS:
        inner = text.removeprefix("{{").removesuffix("}}").strip()
        return braces_error(where, f"it is an expression, so it stands without braces: `{key}: {shortened(inner, 60)}`")
    quote = "'" if '"' in text else '"'
    return braces_error(where, f"quote it: `{key}: {quote}{shortened(text, 60)}{quote}`")


def _item_error(match: re.Match[str] | None, text: str, known: Collection[str], where: Span) -> YamlError:
    shown = shortened(text, 40)
    key, _, rest = text.strip().partition(" ")
    if match is None and canonical(key) in known and rest:
        hint = f"put a colon behind the key: `{key}: {shortened(rest.lstrip(' ='), 30)}`"
    elif match is None:
        hint = "write `key: value`; a list that is prose has a line of text above it"
    elif match["open"]:
        hint = f"write the key plainly: `{match['key']}: …`"
    else:
        hint = f"put a space behind the colon: `{match['key']}: {shortened(text[text.find(':') + 1 :], 30)}`"
    return YamlError(
        Code.PROPERTY_ITEM, f"'{shown}' is no property: every item of this list must be `key: value`", where, hint
    )


def _item_value(item: Item, end: int, key: str, source: Source) -> Value:
    """Return the value of an item; its further lines may be indented by tabs, as Markdown takes them."""
    lines = [" " * item.column + source.lines[item.line][item.column :]]
    shifts = [0]
    for line in source.lines[item.line + 1 : end]:
        body = line.lstrip(" \t")
        indent = line[: len(line) - len(body)].expandtabs(4)
        lines.append(indent + body)
        shifts.append(len(indent) + len(body) - len(line))

    def locate(line: int, column: int, length: int) -> Span:
        shift = shifts[line] if line < len(shifts) else 0
        return source.span(item.line + line, max(0, column - shift), length)

    for number, text in enumerate(lines[1:], 1):
        if text.lstrip().startswith(("```", "~~~")):
            raise YamlError(
                Code.PROPERTY_ITEM,
                f"a fence stands inside the property '{key}'",
                locate(number, len(text) - len(text.lstrip()), 3),
                "begin the fence at the start of a line, below the list",
            )
    whole = load_yaml("\n".join(lines), locate)
    if len(whole.keys) > 1:
        second = list(whole.keys.items())[1]
        message = f"'{shortened(second[0])}' stands in the item of '{key}'"
        raise YamlError(Code.PROPERTY_ITEM, message, second[1], "begin each property with `- `, in one column")
    if not whole.keys:
        raise YamlError(Code.PROPERTY_ITEM, f"'{key}' is no `key: value`", whole.span, "write `key: value`")
    return next(iter(whole.parts.values()))
