"""Where a value may be put into JSON and YAML, and where quotes of the text would undo its quoting."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from typing import Self


@dataclass
class JsonScanner:
    """Follows the quotes and comments of JSON and YAML (YAML 1.2, 7.3 Flow Scalar Styles)."""

    quote: str = ""
    """The quote or `#` that is open; empty where none is."""
    fresh: bool = True
    """Whether a value may begin here."""
    previous: str = "\n"
    """The character before."""
    depth: int = 0
    """How many `[` and `{` are open."""
    escaped: bool = False
    """Whether a backslash stands before, inside double quotes."""

    def copied(self) -> Self:
        """Return a scanner that goes on from the same place."""
        return copy(self)

    def met(self, others: Iterable[Self]) -> Self:
        """Return a scanner that goes on from where this and other ways through the text meet, all in the same place."""
        one = copy(self)
        one.fresh = self.fresh or any(other.fresh for other in others)
        return one

    def place(self) -> tuple[object, ...]:
        """Return what two ways through the text must have in common where they meet."""
        return self.quote, self.escaped

    def insert(self, *, raw: bool) -> str:
        """Go on over one value; return what is wrong with the place, or an empty text."""
        problem = {'"': "inside double quotes", "'": "inside single quotes"}.get(self.quote, "")
        self.fresh, self.previous, self.escaped = False, "\0", False
        return "" if raw else problem

    def feed(self, text: str) -> None:
        """Go on over a stretch of the template's own text."""
        for character in text:
            if self.escaped:
                self.escaped = False
            elif self.quote:
                self._quoted(character)
            else:
                self._plain(character)
            self.previous = character

    def _quoted(self, character: str) -> None:
        if self.quote == '"' and character == "\\":
            self.escaped = True
        elif character == ("\n" if self.quote == "#" else self.quote):
            self.quote, self.fresh = "", character == "\n"

    def _plain(self, character: str) -> None:
        twice = character == "'" == self.previous and not self.fresh
        if twice or (self.fresh and character in "\"'"):
            self.quote = character
        elif character == "#" and self.previous.isspace():
            self.quote = "#"
        elif character in {"\n", ":"} or (character == "," and self.depth):
            self.fresh = True
        elif self.fresh and character in "[{":
            self.depth += 1
        elif character in "]}" and self.depth:
            self.depth -= 1
            self.fresh = False
        elif not character.isspace() and not (self.fresh and character in "-?"):
            self.fresh = False
