r"""SQL text in words and signs, with what stands in quotes and comments told apart.

Of what the databases have in common: SQL-92, 5.2, and beside it PostgreSQL's `$tag$ … $tag$`, `E'\''` and nested comments
(https://www.postgresql.org/docs/current/sql-syntax-lexical.html), which DuckDB has too, and MySQL's backquotes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class TokenKind(StrEnum):
    """What a stretch of SQL is."""

    WORD = "word"
    """A keyword or a bare name."""
    NAME = "name"
    """A name in double quotes or backquotes."""
    TEXT = "text"
    """A text in single quotes or dollar quotes."""
    COMMENT = "comment"
    """A comment."""
    SIGN = "sign"
    """One character of anything else, or a number."""


@dataclass(frozen=True, slots=True)
class Token:
    """One stretch of SQL."""

    kind: TokenKind
    """What it is."""
    text: str
    """As it is written."""
    start: int
    """Where it begins, counted from 0."""

    @property
    def end(self) -> int:
        """Where the next one begins."""
        return self.start + len(self.text)

    @property
    def word(self) -> str:
        """A bare word in capitals; empty for anything else."""
        return self.text.upper() if self.kind is TokenKind.WORD else ""

    @property
    def name(self) -> str:
        """The name that it may be; empty for what is none."""
        if self.kind is TokenKind.WORD:
            return self.text
        return self.text[1:-1].replace(self.text[0] * 2, self.text[0]) if self.kind is TokenKind.NAME else ""


_TOKEN: Final = re.compile(
    r"""
    (?P<space> \s+ )
  | (?P<comment> --[^\n]* )
  | (?P<nested> /\* )
  | (?P<text> [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z) | '(?:[^']|'')*(?:'|\Z) | \$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z) )
  | (?P<name> "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) )
  | (?P<word> [^\W\d][\w$]* )
  | (?P<sign> \d[\w.]* | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_KINDS: Final = {**{kind.value: kind for kind in TokenKind}, "nested": TokenKind.COMMENT, "tag": TokenKind.TEXT}
_COMMENT_END: Final = re.compile(r"/\*|\*/")
_IN_OWN_WORDS: Final = frozenset({"TRIGGER", "PROCEDURE", "FUNCTION", "PACKAGE"})
"""What a CREATE makes whose text holds statements, each with its `;`."""
_NOT_IN_OWN_WORDS: Final = frozenset({"TABLE", "VIEW", "INDEX", "SCHEMA", "DATABASE", "TYPE", "SEQUENCE"})
"""What one makes whose text does not."""


def tokens_of(text: str) -> Iterator[Token]:
    """Yield the tokens of an SQL text, comments too, without the space between them; what is never closed goes to the end."""
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        assert found is not None, "the last branch takes any character"
        kind = found.lastgroup or ""
        end = _comment_end(text, place) if kind == "nested" else found.end()
        if kind != "space":
            yield Token(_KINDS[kind], text[place:end], place)
        place = end


def _comment_end(text: str, start: int) -> int:
    depth, place = 0, start
    while found := _COMMENT_END.search(text, place):
        depth += 1 if found[0] == "/*" else -1
        place = found.end()
        if not depth:
            return place
    return len(text)


def count_statements(text: str) -> tuple[int, int]:
    """Return how many statements a text holds, up to 2, and where the second begins; what a CREATE TRIGGER holds is its own."""
    begun, ended, makes = 0, True, False
    for token in tokens_of(text):
        if token.kind is TokenKind.COMMENT:
            continue
        if token.text == ";":
            ended = not (makes and begun)
        elif ended:
            begun, ended = begun + 1, False
            makes = token.word == "CREATE"
            if begun > 1:
                return begun, token.start
        elif makes and token.word in _IN_OWN_WORDS:
            return 1, 0
        elif token.word in _NOT_IN_OWN_WORDS:
            makes = False
    return begun, 0
