"""Simple YAML values without ruamel.yaml, which takes 0.3 ms for each; what is not simple is left to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from flownb.parse.source import Locate
from flownb.parse.yaml_values import Value
from flownb.text.spans import Span

_WORDS: Final[Mapping[str, bool | None]] = {
    word: value
    for name, value in (("true", True), ("false", False), ("null", None))
    for word in (name, name.capitalize(), name.upper())
}
"""The words that YAML 1.2 does not read as text."""
_SCALAR: Final = re.compile(
    r"(?P<word>[A-Za-z_](?:[ !\"$-9;-~]|(?<! )#|:(?! |$))*)|(?P<count>0|[1-9][0-9]{0,15})|(?P<time>[1-9][0-9]*[a-z]{1,3})"
    r"""|"(?P<double>[ !#-\[\]-~]*)"|'(?P<single>[ -&(-~]*)'"""
)
_TOKEN: Final = re.compile(
    r" *(?:(?P<mark>[\[\]{}])|(?P<key>[A-Za-z_][A-Za-z0-9_]*): +(?=[^ ])"
    r"|(?:(?P<word>[A-Za-z_][A-Za-z0-9_.]*)|(?P<count>0|[1-9][0-9]{0,15})|(?P<time>[1-9][0-9]*[a-z]{1,3})"
    r"""|"(?P<double>[A-Za-z0-9_ ./|()<>=+*,;:{}\[\]'-]*)")(?= *[,\]}]))"""
)
_NEXT: Final = re.compile(r" *, *(?=[^ ,\]}])")
_CLOSE: Final = re.compile(r" *([\]}])")
_DEEPEST: Final = 4


def quick_value(text: str, locate: Locate, line: int, column: int) -> Value | None:
    """Return a simple value; None where it is not simple.

    Args:
        text: The value, on one line and without spaces around it.
        locate: Where the text's places are.
        line: Its line for `locate`.
        column: Its column for `locate`.
    """
    if text.startswith(("[", "{")):
        found = _Flow(text, locate, line, column).value(0, 0)
        return found[0] if found and found[1] == len(text) else None
    match = _SCALAR.fullmatch(text)
    return _scalar(match, locate(line, column, len(text)), text) if match else None


def _scalar(match: re.Match[str], span: Span, raw: str) -> Value:
    match match.lastgroup:
        case "word":
            return Value(_WORDS.get(raw, raw), span, raw, span)
        case "count":
            return Value(int(raw), span, raw, span)
        case "time":
            return Value(raw, span, raw, span)
        case _:
            return Value(raw[1:-1], span, raw, span.moved(0, span.column + 1, len(raw) - 2))


class _Flow:
    """Reads `[a, b]` and `{a: 1, b: [c]}` made of simple values."""

    def __init__(self, text: str, locate: Locate, line: int, column: int) -> None:
        self.text, self.locate, self.line, self.column = text, locate, line, column

    def span(self, start: int, end: int) -> Span:
        """Return where a stretch of the text stands."""
        return self.locate(self.line, self.column + start, end - start)

    def value(self, place: int, depth: int) -> tuple[Value, int] | None:
        """Return the value that begins at a place, and the place behind it."""
        match = _TOKEN.match(self.text, place)
        kind = match.lastgroup if match else None
        if match is None or kind == "key" or depth > _DEEPEST:
            return None
        if kind == "mark":
            mark = match["mark"]
            return self.collection(match.start("mark"), mark, depth) if mark in "[{" else None
        start = match.end() - len(match[0].lstrip(" "))
        return _scalar(match, self.span(start, match.end()), self.text[start : match.end()]), match.end()

    def collection(self, start: int, mark: str, depth: int) -> tuple[Value, int] | None:
        """Return the list or mapping that begins at a place."""
        keys: dict[str, Span] = {}
        parts: dict[str | int, Value] = {}
        place = start + 1
        while not (parts == {} and (close := _CLOSE.match(self.text, place)) and close[1] == _PAIRS[mark]):
            name: str | int = len(parts)
            if mark == "{":
                key = _TOKEN.match(self.text, place)
                if key is None or key.lastgroup != "key" or key["key"] in keys:
                    return None
                name, place = key["key"], key.end()
                keys[name] = self.span(key.start("key"), key.end("key"))
            found = self.value(place, depth + 1)
            if found is None:
                return None
            parts[name], place = found
            following = _NEXT.match(self.text, place)
            if following is None:
                break
            place = following.end()
        close = _CLOSE.match(self.text, place)
        if close is None or close[1] != _PAIRS[mark]:
            return None
        data = (
            {str(key): part.data for key, part in parts.items()}
            if mark == "{"
            else [part.data for part in parts.values()]
        )
        span, raw = self.span(start, close.end()), self.text[start : close.end()]
        return Value(data, span, raw, None, keys=keys, parts=parts), close.end()


_PAIRS: Final = {"[": "]", "{": "}"}
