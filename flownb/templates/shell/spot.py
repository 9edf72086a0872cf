"""One value in a bash script, and what is found out about the nodes around it."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from flownb.templates.shell.refusal import BACKTICKS, UNSURE, Refusal
from flownb.templates.shell.words import Facts, Words

if TYPE_CHECKING:
    from tree_sitter import Node


class Place(StrEnum):
    """How a value stands at its place."""

    WORDS = "words"
    """Bare: one word; a list is a word for each item."""
    WORD = "word"
    """Bare, where only one word can stand."""
    QUOTED = "quoted"
    """Inside double quotes or a here-document."""


_QUOTES: Final = re.compile(rb"""\\.|\$?'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_ASIDE: Final = re.compile(rb"\\.|\$\{__flownb_\d+\}", re.DOTALL)
"""What is escaped, and what stands for values."""
_STRAY: Final = re.compile(rb"`|\$[\[({]")
_INDEXED: Final = re.compile(rb"[\w$]\[|\]")


class Notes:
    """What is found out about a script's nodes, each once."""

    def __init__(self, text: bytes, facts: Facts) -> None:
        """Begin.

        Args:
            text: The script, as far as it is read for sure.
            facts: What it says of its variables.
        """
        self.text = text
        """The script, as far as it is read for sure."""
        self.facts = facts
        """What it says of its variables."""
        self._words: dict[int, Words] = {}
        self._strays: dict[int, Refusal | None] = {}
        self._brackets: dict[int, list[tuple[int, int]]] = {}

    def words(self, command: Node, owner: Node | None) -> Words:
        """Return the words of a simple command."""
        if command.id not in self._words:
            self._words[command.id] = Words(command, owner, self.facts)
        return self._words[command.id]

    def stray(self, node: Node) -> Refusal | None:
        """Return what a string or a here-document holds that tree-sitter did not take apart; None: nothing."""
        if node.id not in self._strays:
            text = self._own_text(node)
            self._strays[node.id] = (BACKTICKS if b"`" in text else UNSURE) if _STRAY.search(text) else None
        return self._strays[node.id]

    def _own_text(self, node: Node) -> bytes:
        """Return the text of a string or a here-document without what is expanded in it, and without what is escaped."""
        parts, place = [], node.start_byte
        for child in node.children:
            if child.type not in {"string_content", "heredoc_content"} and child.is_named:
                parts.append(self.text[place : child.start_byte])
                place = child.end_byte
        parts.append(self.text[place : node.end_byte])
        return _ASIDE.sub(b"", b"\0".join(parts))

    def opens_index(self, statement: Node, place: int) -> bool:
        """Return whether an index (`a[`) that began in a statement, outside quotes, is open at a place of the script."""
        if statement.id not in self._brackets:
            self._brackets[statement.id] = self._found_brackets(statement)
        found = self._brackets[statement.id]
        before = bisect_left(found, (place, -1))
        return before > 0 and found[before - 1][1] > 0

    def _found_brackets(self, statement: Node) -> list[tuple[int, int]]:
        """Return the places of brackets outside quotes, and how many are open behind each."""
        text = self.text[statement.start_byte : statement.end_byte]
        text = _QUOTES.sub(lambda match: b" " * len(match[0]), text)
        opened, found = 0, []
        for match in _INDEXED.finditer(text):
            opened = max(0, opened + (-1 if match[0] == b"]" else 1))
            found.append((statement.start_byte + match.start(), opened))
        return found


@dataclass(frozen=True, slots=True)
class Spot:
    """One `${…}` of a script that stands for a value."""

    notes: Notes
    """What is found out about the script."""
    start: int
    """Where the `${…}` begins, in bytes."""
    end: int
    """Where it ends."""
    chain: list[Node]
    """The nodes around it, the outermost first."""

    @property
    def text(self) -> bytes:
        """The script, as far as it is read for sure."""
        return self.notes.text
