"""A document's text by lines."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flownb.errors import Diagnostic
from flownb.parse.found import Found, problem
from flownb.text.codes import Code
from flownb.text.lines import split_lines
from flownb.text.spans import Span

MAX_BYTES: Final = 1024 * 1024
"""The largest document (format.md 1.1)."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Source:
    """The lines of one document and how the person numbers them."""

    name: str
    """What messages call it."""
    first_line: int
    """The number of its first line."""
    lines: list[str]
    """Its lines, without line breaks."""

    def span(self, line: int, column: int = 0, length: int = 1) -> Span:
        """Return a stretch of one line; line and column count from 0."""
        return Span(self.name, self.first_line + line, column + 1, max(1, length))

    def whole_line(self, line: int) -> Span:
        """Return what is written in a line, without the spaces around it."""
        text = self.lines[line] if line < len(self.lines) else ""
        stripped = text.strip()
        return self.span(line, text.find(stripped), len(stripped))


def front_matter_end(lines: Sequence[str]) -> int:
    """Return the line in which the body begins, counted from 0: 0 where there is no front matter."""
    if not lines or lines[0].rstrip() != "---":
        return 0
    return next((number + 1 for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), 0)


def read_source(text: str, name: str, first_line: int) -> Found[Source | None]:
    """Return a document's lines; None where it is too large to be looked at."""
    size = len(text) if len(text) > MAX_BYTES else len(text.encode(errors="surrogatepass"))
    if size > MAX_BYTES:
        where = Span(name, first_line)
        yield problem(
            Code.TOO_LARGE,
            f"the document has {size:,} bytes; at most {MAX_BYTES:,} are read",
            where,
            "keep data in files of their own, and move parts into sub-flows (`type: flow`)",
        )
        return None
    source = Source(name, first_line, split_lines(text))
    yield from _refuse(source, text, Code.NULL_BYTE, "\0", "a null byte", "remove it: a text holds none")
    surrogate = _SURROGATE.search(text)
    if surrogate:
        half = "half of a surrogate pair, which UTF-8 cannot hold"
        yield from _refuse(source, text, Code.NOT_UTF8, surrogate[0], half, "save the text as UTF-8")
    return source


def _refuse(source: Source, text: str, code: Code, letter: str, what: str, hint: str) -> Found[None]:
    """Report the first place of a character that no text may hold."""
    if letter not in text:
        return
    number = next(number for number, line in enumerate(source.lines) if letter in line)
    yield problem(code, f"the line holds {what}", source.span(number, source.lines[number].index(letter)), hint)


def decode(data: bytes, name: str, first_line: int = 1) -> tuple[str, list[Diagnostic]]:
    """Return the text of a file's bytes, and what is wrong with them: `not-utf8` names line and column.

    Where something is wrong the text holds U+FFFD in its place; it is there to draw the problem with.
    """
    try:
        return data.decode(), []
    except UnicodeDecodeError as error:
        before = split_lines(data[: error.start].decode())
        where = Span(name, first_line + len(before) - 1, len(before[-1]) + 1)
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        problem = Diagnostic(code=Code.NOT_UTF8, message=message, span=where, hint="save the file as UTF-8")
        return data.decode(errors="replace"), [problem]
