"""YAML 1.2 to plain data in which every key and value knows its place in the document."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flownb.parse.source import Locate, Problems, both_lines, shortened
from flownb.text.codes import Code
from flownb.text.spans import Span

MAX_CHARACTERS: Final = 64 * 1024
"""The most characters of YAML in one place: ruamel.yaml reads some 90 KB a second."""
_MAX_VALUES: Final = 20_000
"""The most values that one YAML text may stand for once its aliases are followed."""
_MAX_NESTING: Final = 100
"""How deep brackets may be nested: ruamel.yaml's time grows with the square of it."""
_BRACKET: Final = re.compile(r"[\[\]{}]")
_TAG: Final = "tag:yaml.org,2002:"
_TEXT_TAGS: Final = frozenset({f"{_TAG}{name}" for name in ("str", "timestamp", "value", "merge")})


class YamlError(Exception):
    """A text is no YAML that flownb reads."""

    def __init__(self, code: Code, message: str, span: Span, hint: str = "") -> None:
        """Say what is wrong where, and what to write instead."""
        super().__init__(code, message, span, hint)
        self.code, self.message, self.span, self.hint = code, message, span, hint


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


def load_yaml(lines: Sequence[str], locate: Locate, problems: Problems) -> Value:
    """Return the data of a YAML text, with all places.

    Raises:
        YamlError: It is no YAML, has a key twice, asks for objects by tags, or is too large.
    """
    text = "\n".join(lines)
    if max(text.count("["), text.count("{")) > _MAX_NESTING and _depth(text) > _MAX_NESTING:
        raise YamlError(Code.YAML_SYNTAX, "the YAML is nested too deeply", locate(0, 0, 1))
    if len(text) > MAX_CHARACTERS or not problems.spend(len(text)):
        raise YamlError(
            Code.TOO_LARGE,
            f"this is more YAML than is read: at most {MAX_CHARACTERS:,} characters in one place, four times that in all",
            locate(0, 0, 1),
            "keep data in a file of its own and read it in a node",
        )
    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings(action="ignore"):
            node = yaml.compose(text + "\n")
    except MarkedYAMLError as error:
        raise _syntax_error(error, lines, locate) from error
    except RecursionError as error:
        raise YamlError(Code.YAML_SYNTAX, "the YAML is nested too deeply", locate(0, 0, 1)) from error
    except Exception as error:  # ruamel.yaml 0.19 lets others out on malformed text (ReaderError, AttributeError, …).
        raise _other_error(error, lines, locate) from error
    if node is None:
        return Value(None, locate(0, 0, 1))
    try:
        return _Reader(yaml, lines, locate).value(node)
    except RecursionError as error:
        raise YamlError(Code.YAML_SYNTAX, "the YAML is nested too deeply", locate(0, 0, 1)) from error


def _depth(text: str) -> int:
    """Return how deep brackets are nested at most, wherever they stand."""
    deepest = depth = 0
    for letter in _BRACKET.findall(text):
        depth = depth + 1 if letter in "[{" else max(0, depth - 1)
        deepest = max(deepest, depth)
    return deepest


def _syntax_error(error: MarkedYAMLError, lines: Sequence[str], locate: Locate) -> YamlError:
    """Return ruamel.yaml's error in our words."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if line >= len(lines) or (line == len(lines) - 1 and not lines[line].strip()):
        line = max((number for number, text in enumerate(lines) if text.strip()), default=0)
        column = len(lines[line].rstrip()) if lines else 0
    braces = re.search(r"(?<![\"'{\w])\{\{", lines[line]) if lines else None
    if braces and lines[line][: braces.start()].rstrip().endswith((":", "-", ",", "[", "{")):
        return braces_error(locate(line, braces.start(), 2))
    problem = str(error.problem or error.context or "it cannot be read").split("\n")[0]
    hint = next((advice for part, advice in _ADVICE if part in problem), "")
    for words, plain in _PLAIN:
        problem = problem.replace(words, plain)
    return YamlError(Code.YAML_SYNTAX, f"this is not YAML: {problem}", locate(line, column, 1), hint)


_PLAIN: Final = (
    ("'<stream end>'", "the end of the text"),
    ("'<document start>'", "`---`"),
    ("'<block mapping start>'", "a key in another column"),
    ("'<block sequence start>'", "a list in another column"),
    ("'<scalar>'", "text"),
    ("<block end>", "the next key"),
    ("found unexpected end of stream", "a quote is never closed"),
    ("mapping values are not allowed here", "`: ` stands inside a text"),
    ("that cannot start any token", "where a value begins"),
)
"""ruamel.yaml's words → words for people."""
_ADVICE: Final = (
    ("mapping values are not allowed", "put a text that holds `: ` in quotes, and begin keys in one column"),
    ("'\\t'", "indent with spaces: YAML does not take tabs"),
    ("cannot start any token", "put the text in quotes"),
    ("undefined alias", "a text that begins with `*` must be quoted"),
    ("expected the node content", "a text that begins with `,`, `]`, `}`, `-`, `?` or `:` must be quoted"),
    ("while scanning a quoted scalar", "close the quotes"),
    ("unexpected end of stream", "close the quotes"),
    ("expected ',' or", "close the bracket, and part entries by commas"),
    ("could not find expected ':'", "write `key: value`, with a space behind the colon"),
    ("expected <block end>", "begin keys in one column, and put a text with quotes inside it in quotes"),
)


def braces_error(
    span: Span, hint: str = 'quote it, as "{{ … }}"; where an expression is wanted, write it without braces'
) -> YamlError:
    """Return the error for a value that begins with an unquoted `{{`."""
    return YamlError(
        Code.UNQUOTED_BRACES,
        "a value that begins with `{{` must be quoted: YAML reads braces as a mapping",
        span,
        hint,
    )


def _other_error(error: Exception, lines: Sequence[str], locate: Locate) -> YamlError:
    """Return an error for what ruamel.yaml could not even begin to read."""
    letter = getattr(error, "character", None)
    shown = letter if isinstance(letter, str) else chr(letter) if isinstance(letter, int) else ""
    for number, line in enumerate(lines):
        if shown and shown in line:
            what = f"the character U+{ord(shown):04X} is not allowed in YAML"
            return YamlError(Code.YAML_SYNTAX, what, locate(number, line.index(shown), 1), "remove it")
    return YamlError(
        Code.YAML_SYNTAX, f"this is not YAML: {shortened(str(error)) or type(error).__name__}", locate(0, 0, 1)
    )


@dataclass(slots=True)
class _Reader:
    """Turns ruamel.yaml's nodes into values."""

    yaml: YAML
    lines: Sequence[str]
    locate: Locate
    count: int = 0
    open: list[int] = field(default_factory=list)

    def value(self, node: Node) -> Value:
        """Return a node's value with all that is in it."""
        self.count += 1
        if self.count > _MAX_VALUES or id(node) in self.open:
            what = (
                "an alias refers to itself"
                if id(node) in self.open
                else f"this stands for more than {_MAX_VALUES:,} values"
            )
            raise YamlError(Code.TOO_LARGE, what, self.span(node), "write the values out, without aliases")
        self.open.append(id(node))
        try:
            match node:
                case ScalarNode():
                    return self.scalar(node)
                case SequenceNode() if node.tag == f"{_TAG}seq":
                    parts: dict[str | int, Value] = {place: self.value(item) for place, item in enumerate(node.value)}
                    return Value([part.data for part in parts.values()], self.span(node), self.raw(node), parts=parts)
                case MappingNode() if node.tag == f"{_TAG}map":
                    return self.mapping(node)
            raise self.tag_error(node)
        finally:
            self.open.pop()

    def mapping(self, node: MappingNode) -> Value:
        """Return a mapping; its keys are texts."""
        keys: dict[str, Span] = {}
        parts: dict[str | int, Value] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, MappingNode) and node.flow_style:
                raise braces_error(self.span(node))
            key = self.value(key_node)
            if isinstance(key.data, list | dict):
                raise YamlError(Code.YAML_SYNTAX, "a key must be a text", key.span, "write `key: value`")
            name = key_node.value
            if name in keys:
                message = f"the key '{shortened(name)}' stands twice: {both_lines(keys[name], key.span)}"
                raise YamlError(Code.DUPLICATE_KEY, message, key.span, "keep one of them")
            keys[name], parts[name] = key.span, self.value(value_node)
        return Value(
            {str(key): part.data for key, part in parts.items()},
            self.span(node),
            self.raw(node),
            keys=keys,
            parts=parts,
        )

    def scalar(self, node: ScalarNode) -> Value:
        """Return a text, number, truth value or null."""
        span, raw = self.span(node), self.raw(node)
        data: JsonValue
        constructor = self.yaml.constructor
        try:
            match str(node.tag).removeprefix(_TAG):
                case "int":
                    data = int(constructor.construct_yaml_int(node))
                case "float":
                    data = float(constructor.construct_yaml_float(node))
                case "bool":
                    data = bool(constructor.construct_yaml_bool(node))
                case "null":
                    data = None
                case _ if node.tag in _TEXT_TAGS:
                    data = node.value
                case _:
                    raise self.tag_error(node)
        except (ValueError, LookupError, OverflowError) as error:
            raise YamlError(
                Code.YAML_SYNTAX, f"{shortened(node.value)!r} is no number that can be read", span
            ) from error
        return Value(data, span, raw, *self.text_place(node, raw))

    def text_place(self, node: ScalarNode, raw: str) -> tuple[Span | None, int | None]:
        """Return where a text's characters stand, where that can be told from the first one's place."""
        if raw == node.value:
            return self.span(node), None
        if node.style in {'"', "'"} and raw[1:-1] == node.value:
            return self.locate(node.start_mark.line, node.start_mark.column + 1, len(node.value)), None
        first = node.start_mark.line + 1
        if node.style == "|" and first < len(self.lines) and node.value.strip():
            while not self.lines[first].strip():
                first += 1
            skipped = first - node.start_mark.line - 1
            text = self.lines[first]
            indent = len(text) - len(text.lstrip(" ")) - (len(node.value.lstrip("\n")) - len(node.value.lstrip("\n ")))
            start = self.locate(first, indent, len(text) - indent)
            return start.moved(-skipped, start.column, start.length), start.column - 1
        return None, None

    def raw(self, node: Node) -> str:
        """Return what is written for a node, where it is written on one line."""
        start, end = node.start_mark, node.end_mark
        return (
            self.lines[start.line][start.column : end.column].rstrip()
            if start.line == end.line < len(self.lines)
            else ""
        )

    def span(self, node: Node) -> Span:
        """Return where a node stands."""
        start, end = node.start_mark, node.end_mark
        width = len(self.lines[start.line].rstrip()) if start.line < len(self.lines) else 0
        length = end.column - start.column if end.line == start.line else width - start.column
        return self.locate(start.line, start.column, max(1, length))

    def tag_error(self, node: Node) -> YamlError:
        """Return the error for a tag that would build an object."""
        tag = str(node.tag).replace(_TAG, "!!")
        return YamlError(
            Code.YAML_TAG,
            f"the tag '{shortened(tag)}' is not read: only plain data is",
            self.span(node),
            "leave the tag out",
        )
