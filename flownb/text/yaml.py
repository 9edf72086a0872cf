"""YAML 1.2 to plain data in which every key and value knows its place in the text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Final

import yaml
from pydantic import JsonValue
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from flownb.text.codes import Code
from flownb.text.lines import shortened, split_lines
from flownb.text.spans import Locate, Span, both_lines
from flownb.text.yaml_words import YamlError, braces_at, letter_error, syntax_error

try:
    from yaml import CBaseLoader as Parser
except ImportError:  # A PyYAML that was built without libyaml: the same events, many times slower.
    from yaml import BaseLoader as Parser  # type: ignore[assignment]

MAX_CHARACTERS: Final = 64 * 1024
"""The most characters of front matter and in one property (format.md 1.1)."""
_TAG: Final = "tag:yaml.org,2002:"
_WORDS: Final[Mapping[str, bool | None]] = {
    "": None,
    "~": None,
    **{word: value for name, value in (("null", None), ("true", True), ("false", False))
       for word in (name, name.title(), name.upper())},
}  # fmt: skip
"""The words that the core schema (YAML 1.2.2, section 10.3.2) does not read as text."""
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TYPES: Final[Mapping[str, type]] = {"int": int, "float": float, "bool": bool, "null": NoneType}
_NEVER: Final = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")
"""What no YAML holds."""
_QUOTED_ONLY: Final = re.compile("[\x7f-\x84\x86-\x9f\ufffe\uffff]")
"""What YAML 1.2 holds in quotes only; libyaml takes it nowhere."""
_MISREAD: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""That, and what YAML 1.1 took for line breaks or for nothing."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much YAML is read in one place."""

    characters: int = MAX_CHARACTERS
    """The most characters."""
    values: int = 20_000
    """The most values that the text may stand for; what an alias stands for counts each time."""
    depth: int = 100
    """The most lists and mappings in each other, aliases followed."""
    is_finite: bool = False
    """Whether `.inf`, `.nan` and what a float cannot hold are refused: JSON has none of them."""


DATA: Final = Limits(10_000_000, 1_000_000, 200, is_finite=True)
"""Of a `yaml` body: as much as a template may make (format.md 5.1)."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a YAML text, with its place."""

    data: JsonValue
    """The plain data."""
    span: Span
    """Where it stands; its first line only."""
    raw: str = ""
    """What is written there; empty where it takes more than one line."""
    start: Span | None = None
    """Where the text's first character stands, behind a quote; None where places in the text cannot be followed."""
    later: int | None = None
    """The column, counted from 0, in which the further lines of a block begin; None: there is only one line."""
    keys: Mapping[str, Span] = field(default_factory=dict)
    """Of a mapping: key → where the key stands."""
    parts: Mapping[str | int, Value] = field(default_factory=dict)
    """Of a mapping or list: key or place → value."""

    def place(self, line: int, column: int, length: int = 1) -> Span:
        """Return where a character of the text stands in the document; line and column count from 1."""
        if self.start is None or (line > 1 and self.later is None):
            return self.span
        if line == 1:
            return self.start.moved(0, self.start.column + column - 1, length)
        return self.start.moved(line - 1, (self.later or 0) + column, length)

    def at(self, path: Sequence[str | int]) -> Value:
        """Return the value at the end of a path of keys and places, or the last one on the way that exists."""
        value = self
        for step in path:
            if step not in value.parts:
                break
            value = value.parts[step]
        return value


def load_yaml(text: str, locate: Locate, limits: Limits = Limits()) -> Value:
    """Return the data of a YAML 1.2 text (core schema), one document, with all places. A key is the text that is written.

    Raises:
        YamlError: It is no YAML, has a key twice, asks for objects by tags, or is more than the limits allow.
    """
    if len(text) > limits.characters:
        what = f"this is more YAML than is read: at most {limits.characters:,} characters in one place"
        hint = "keep data in a file of its own and read it in a node"
        raise YamlError(Code.TOO_LARGE, what, locate(0, 0, 1), hint)
    lines = split_lines(text)
    try:
        return _Reader(lines, locate, limits).document()
    except yaml.MarkedYAMLError as error:
        raise syntax_error(error, lines, locate) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # `"\UFFFFFFFF"`, to the parser in Python.
        what = f"this is not YAML: {shortened(str(error))}"
        raise YamlError(Code.YAML_SYNTAX, what, locate(0, 0, 1)) from error


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A value that aliases may stand for."""

    value: Value
    size: int
    """How many values it is."""
    height: int
    """How many lists and mappings it is deep."""


class _Reader:
    """Turns a parser's events into values, so that no depth of a text is a depth of the C stack."""

    def __init__(self, lines: Sequence[str], locate: Locate, limits: Limits) -> None:
        self.lines, self.locate, self.limits = lines, locate, limits
        self.count = self.deepest = 0
        self.anchors: dict[str, _Anchor | None] = {}
        text = "\n".join(lines) + "\n"
        if never := _NEVER.search(text):
            raise letter_error(never[0], 0, lines, locate)
        stand_ins = _stand_ins(text)
        self.originals = {new: old for old, new in stand_ins.items()}
        self.parser = Parser(text.translate(stand_ins) if stand_ins else text)

    def document(self) -> Value:
        """Return the value of the one document; null where there is none."""
        self.next()
        if isinstance(self.next(), StreamEndEvent):
            return Value(None, self.locate(0, 0, 1))
        value = self.value(self.next(), 0)
        self.next()
        after = self.next()
        if isinstance(after, DocumentStartEvent):
            what, hint = "this is not YAML: a second document begins here", "keep one of them"
            raise YamlError(Code.YAML_SYNTAX, what, self.written(after, after)[0], hint)
        return value

    def next(self) -> Event:
        """Return the next event."""
        event = self.parser.get_event()
        assert event is not None  # What ends is ended by an event of its own.
        return event

    def value(self, event: Event, depth: int) -> Value:
        """Return the value that an event begins, `depth` lists and mappings deep, with all that is in it."""
        if isinstance(event, AliasEvent):
            return self.alias(event, depth)
        assert isinstance(event, NodeEvent)
        before, outside = self.count, self.deepest
        self.spend(1, depth if isinstance(event, ScalarEvent) else depth + 1, event)
        if event.anchor is not None:
            self.anchors[event.anchor], self.deepest = None, depth
        if isinstance(event, ScalarEvent):
            value = self.scalar(event)
        elif isinstance(event, MappingStartEvent):
            value = self.mapping(event, depth + 1)
        else:
            assert isinstance(event, SequenceStartEvent)
            value = self.sequence(event, depth + 1)
        if event.anchor is not None:
            self.anchors[event.anchor] = _Anchor(value, self.count - before, self.deepest - depth)
            self.deepest = max(outside, self.deepest)
        return value

    def alias(self, event: AliasEvent, depth: int) -> Value:
        """Return the value that an alias stands for."""
        span, _ = self.written(event, event)
        if event.anchor not in self.anchors:
            what = f"this is not YAML: nothing above it is named `&{shortened(str(event.anchor), 40)}`"
            raise YamlError(Code.YAML_SYNTAX, what, span, "a text that begins with `*` must be quoted")
        anchor = self.anchors[event.anchor]
        if anchor is None:
            what = "an alias refers to itself"
            raise YamlError(Code.TOO_LARGE, what, span, "write the values out, without aliases")
        self.spend(anchor.size, depth + anchor.height, event)
        return anchor.value

    def spend(self, size: int, depth: int, event: Event) -> None:
        """Count values.

        Raises:
            YamlError: There are too many, or they are too deep.
        """
        self.count += size
        self.deepest = max(self.deepest, depth)
        if depth > self.limits.depth:
            what, hint = "the YAML is nested too deeply", "keep data that is so deep in a file of its own"
            raise YamlError(Code.YAML_SYNTAX, what, self.written(event, event)[0], hint)
        if self.count > self.limits.values:
            what = f"this stands for more than {self.limits.values:,} values"
            hint = "write the values out, without aliases" if size > 1 else "keep data in a file of its own"
            raise YamlError(Code.TOO_LARGE, what, self.written(event, event)[0], hint)

    def sequence(self, start: SequenceStartEvent, depth: int) -> Value:
        """Return a list."""
        self.check_tag(start, "seq")
        parts: dict[str | int, Value] = {}
        while not isinstance(event := self.next(), SequenceEndEvent):
            parts[len(parts)] = self.value(event, depth)
        return Value([part.data for part in parts.values()], *self.written(start, event), parts=parts)

    def mapping(self, start: MappingStartEvent, depth: int) -> Value:
        """Return a mapping; its keys are texts."""
        self.check_tag(start, "map")
        keys: dict[str, Span] = {}
        parts: dict[str | int, Value] = {}
        while not isinstance(event := self.next(), MappingEndEvent):
            name, span = self.key(event, depth, is_flow=bool(start.flow_style))
            if name in keys:
                message = f"the key '{shortened(name)}' stands twice: {both_lines(keys[name], span)}"
                raise YamlError(Code.DUPLICATE_KEY, message, span, "keep one of them")
            keys[name], parts[name] = span, self.value(self.next(), depth)
        data = {name: parts[name].data for name in keys}
        return Value(data, *self.written(start, event), keys=keys, parts=parts)

    def key(self, event: Event, depth: int, *, is_flow: bool) -> tuple[str, Span]:
        """Return a key's text and its place."""
        span, _ = self.written(event, event)
        line, column = _start(event)
        before = self.lines[line][column - 1 : column] if is_flow else ""
        if not isinstance(event, ScalarEvent):
            if self.lines[line].startswith("{{", column - (before == "{")):
                raise braces_at(line, column - (before == "{"), self.lines, self.locate)
            raise YamlError(Code.YAML_SYNTAX, "a key must be a text", span, "write `key: value`")
        if before == "?":  # YAML 1.1 takes `[?x]` for `[? x]`.
            what, hint = "this is not YAML: `?` stands before a key", "put a text that begins with `?` in quotes"
            raise YamlError(Code.YAML_SYNTAX, what, span, hint)
        if event.anchor is not None or event.tag is not None:
            self.value(event, depth)
        return self.text(event), span

    def scalar(self, event: ScalarEvent) -> Value:
        """Return a text, number, truth value or null."""
        text, (span, raw) = self.text(event), self.written(event, event)
        data: JsonValue = text
        if event.tag is None and event.implicit[0]:
            data = self.plain(text, span)
        elif event.tag is not None and event.tag not in {"!", f"{_TAG}str"}:
            kind = _TYPES.get(event.tag.removeprefix(_TAG))
            if kind is None:
                raise _tag_error(event.tag, span)
            data = self.plain(text, span)
            if kind is float and type(data) is int:
                data = float(data)
            if type(data) is not kind:
                what = f"{shortened(text)!r} is not what the tag `{event.tag.replace(_TAG, '!!')}` says"
                raise YamlError(Code.YAML_SYNTAX, what, span, "leave the tag out")
        return Value(data, span, raw, *self.text_place(event, text, span, raw))

    def plain(self, text: str, span: Span) -> JsonValue:
        """Return what a text without quotes stands for by the core schema."""
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in "+-.0123456789":
            return text
        number: float
        try:
            if _INT.fullmatch(text):
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            if _FLOAT.fullmatch(text):
                number = float(text)
            elif _NO_NUMBER.fullmatch(text):
                number = float(text.replace(".", ""))
            else:
                return text
        except ValueError as error:  # It has more digits than Python reads.
            what = f"{shortened(text)!r} is no number that can be read"
            raise YamlError(Code.YAML_SYNTAX, what, span) from error
        if self.limits.is_finite and not math.isfinite(number):
            what = f"JSON has no number {shortened(text, 20)}"
            raise YamlError(Code.YAML_SYNTAX, what, span, "write null, or a text in quotes")
        return number

    def text(self, event: ScalarEvent) -> str:
        """Return a scalar's text."""
        text: str = event.value
        if self.originals:
            text = text.translate(self.originals)
            if event.style not in {"'", '"'} and (letter := _QUOTED_ONLY.search(text)):
                raise letter_error(letter[0], _start(event)[0], self.lines, self.locate)
        return text

    def text_place(self, event: ScalarEvent, text: str, span: Span, raw: str) -> tuple[Span | None, int | None]:
        """Return where a text's characters stand, where that can be told from the first one's place."""
        if raw == text:
            return span, None
        line, column = _start(event)
        if event.style in {'"', "'"} and raw[1:-1] == text:
            return self.locate(line, column + 1, len(text)), None
        first = line + 1
        if event.style == "|" and first < len(self.lines) and text.strip():
            while not self.lines[first].strip():
                first += 1
            skipped = first - line - 1
            written = self.lines[first]
            indent = len(written) - len(written.lstrip(" ")) - (len(text.lstrip("\n")) - len(text.lstrip("\n ")))
            start = self.locate(first, indent, len(written) - indent)
            return start.moved(-skipped, start.column, start.length), start.column - 1
        return None, None

    def written(self, first: Event, last: Event) -> tuple[Span, str]:
        """Return the place from one event to another, and what is written there where that is one line."""
        start, end = first.start_mark, last.end_mark
        assert start is not None
        assert end is not None
        line, column = start.line, start.column
        text = self.lines[line] if line < len(self.lines) else ""
        if line != end.line:
            return self.locate(line, column, max(1, len(text.rstrip()) - column)), ""
        return self.locate(line, column, max(1, end.column - column)), text[column : end.column]

    def check_tag(self, event: CollectionStartEvent, kind: str) -> None:
        """Raise where a tag would build an object."""
        if event.tag is not None and event.tag not in {"!", f"{_TAG}{kind}"}:
            raise _tag_error(str(event.tag), self.written(event, event)[0])


def _start(event: Event) -> tuple[int, int]:
    """Return the line and column in which an event begins, counted from 0."""
    assert event.start_mark is not None
    return event.start_mark.line, event.start_mark.column


def _tag_error(tag: str, span: Span) -> YamlError:
    what = f"the tag '{shortened(tag.replace(_TAG, '!!'))}' is not read: only plain data is"
    return YamlError(Code.YAML_TAG, what, span, "leave the tag out")


def _stand_ins(text: str) -> dict[int, int]:
    """Return, for each character that libyaml misreads, one of the private planes that the text does not hold."""
    misread = sorted(set(_MISREAD.findall(text)))
    if not misread:
        return {}
    taken = set(map(ord, text)) | {int(digits, 16) for digits in re.findall(r"\\U([0-9a-fA-F]{8})", text)}
    free = (code for code in range(0xF0000, 0x10FFFE) if code not in taken)
    return {ord(letter): code for letter, code in zip(misread, free, strict=False)}
