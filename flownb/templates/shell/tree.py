"""Bash scripts as trees: as far as tree-sitter reads a script without a fault, and its here-documents end where bash ends them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tree_sitter import Node, Parser, Tree

_DEEPEST: Final = 1_000
"""The most `${` that may be open at once."""
_MOST_HEREDOCS: Final = 10_000
"""The most here-documents in one script."""
_TRIES: Final = 10
_WORD: Final = re.compile(rb"""\\?(?P<plain>[A-Za-z0-9_]+)|'(?P<single>[^'\n]+)'|"(?P<double>[A-Za-z0-9_ .-]+)\"""")
"""The words that end here-documents and are read alike everywhere."""


@cache
def _parser() -> Parser:
    # Only who parses a bash body with a value in it pays for this import.
    import tree_sitter_bash  # noqa: PLC0415
    from tree_sitter import Language, Parser  # noqa: PLC0415

    return Parser(Language(tree_sitter_bash.language()))


@dataclass(frozen=True, slots=True)
class ScriptTree:
    """The part of a script that is read for sure."""

    tree: Tree | None
    """Its tree; None: nothing of it is read for sure."""
    text: bytes
    """The script up to the line that could not be read; all of it where all could."""

    def chain(self, start: int, end: int) -> list[Node]:
        """Return the nodes around a stretch of the text, the outermost first; the last is its `${…}` where it is one.

        Args:
            start: Where the stretch begins, in bytes.
            end: Where it ends.
        """
        assert self.tree is not None
        cursor = self.tree.walk()
        found = []
        node = cursor.node
        while node is not None and node.start_byte <= start < node.end_byte:
            found.append(node)
            if node.type == "expansion" and node.end_byte <= end:
                break
            node = cursor.node if cursor.goto_first_child_for_byte(start) is not None else None
        return found


def read_script(text: bytes) -> ScriptTree:
    """Return as much of a script as is read for sure: bash reads line by line, so nothing behind a line changes its meaning."""
    if text.count(b"${") - text.count(b"}") > _DEEPEST or text.count(b"<<") > _MOST_HEREDOCS:
        return ScriptTree(None, b"")
    for _ in range(_TRIES):
        tree = _parser().parse(text)
        fault = _fault(tree, text)
        if fault is None:
            return ScriptTree(tree, text)
        text = text[: text.rfind(b"\n", 0, _statement(tree, fault)) + 1]
        if not text or ends_escaped(text, len(text) - 1):
            break
    return ScriptTree(None, b"")


def ends_escaped(text: bytes, end: int) -> bool:
    """Return whether a backslash that is not itself escaped stands right before a place.

    Args:
        text: The script.
        end: The place, in bytes.
    """
    first = end
    while first and text[first - 1] == ord("\\"):
        first -= 1
    return (end - first) % 2 == 1


def _fault(tree: Tree, text: bytes) -> int | None:
    """Return where the first thing stands that is not read for sure; None: nothing is."""
    if b"\0" in text:  # For tree-sitter the text may end here; bash leaves it out.
        return text.index(b"\0")
    faults = [place for place in (_first_error(tree.root_node), _stray_heredoc(tree, text)) if place is not None]
    return min(faults, default=None)


def _first_error(node: Node) -> int | None:
    if not node.has_error:
        return None
    while True:
        if node.is_error or node.is_missing:
            return node.start_byte
        broken = next((child for child in node.children if child.has_error or child.is_missing), None)
        if broken is None:
            return node.start_byte
        node = broken


def _statement(tree: Tree, place: int) -> int:
    """Return where the outermost statement around a place begins."""
    cursor = tree.walk()
    found = cursor.goto_first_child_for_byte(place) is not None and cursor.node is not None
    return min(place, cursor.node.start_byte) if found and cursor.node is not None else place


def _stray_heredoc(tree: Tree, text: bytes) -> int | None:
    """Return where the first here-document stands that tree-sitter may end elsewhere than bash does."""
    above, free = -1, 0
    for node in _heredocs(tree, text):
        parts = {child.type: child for child in node.children}
        opening, start, body, end = (
            next((parts[name] for name in names if name in parts), None)
            for names in (("<<-", "<<"), ("heredoc_start",), ("heredoc_body",), ("heredoc_end",))
        )
        if opening is None or start is None or body is None or end is None:
            return node.start_byte
        line = text.find(b"\n", start.end_byte)
        first = free if line == above else line + 1
        last = _heredoc_end(text, first, start.text or b"", strips=opening.type == "<<-")
        if last is None or not first <= body.start_byte <= last[0] or not last[0] <= end.start_byte <= last[1]:
            return node.start_byte
        above, free = line, last[1] + 1
    return None


def _heredocs(tree: Tree, text: bytes) -> Iterator[Node]:
    """Yield the nodes of a script's here-documents, in their order."""
    place, cursor = text.find(b"<<"), tree.walk()
    while place >= 0:
        cursor.reset(tree.root_node)
        node = cursor.node
        while node is not None:
            if node.type == "heredoc_redirect" and node.start_byte == place:
                yield node
                break
            node = cursor.node if cursor.goto_first_child_for_byte(place) is not None else None
        while text[place : place + 1] == b"<":
            place += 1
        place = text.find(b"<<", place)


def _heredoc_end(text: bytes, first: int, start: bytes, *, strips: bool) -> tuple[int, int] | None:
    """Return where the line begins and ends that ends a here-document; None where that is not sure.

    Args:
        text: The script.
        first: Where the document's first line begins.
        start: The word behind `<<`, with its quotes.
        strips: Whether tabs at the lines' beginnings do not count.
    """
    match = _WORD.fullmatch(start)
    if match is None:
        return None
    word = match["plain"] or match["single"] or match["double"]
    is_quoted = start != word
    joined = b""
    while 0 < first <= len(text):
        stop = text.find(b"\n", first)
        stop = len(text) if stop < 0 else stop
        line = joined + (text[first:stop].lstrip(b"\t") if strips and not joined else text[first:stop])
        if line == word:
            return None if joined else (first, stop)
        joined = line[:-1] if not is_quoted and ends_escaped(line, len(line)) else b""
        first = stop + 1
    return None
