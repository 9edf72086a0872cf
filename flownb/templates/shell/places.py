"""The places of a bash script where a value can mean itself, and those where it cannot, or would be evaluated."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from flownb.templates.shell.refusal import (
    AFTER_BACKSLASH,
    AFTER_DOLLAR,
    ARITHMETIC,
    BACKTICKS,
    EXPANSION,
    SHELL_INPUT,
    TRANSLATED,
    UNFOUND,
    UNSURE,
    Refusal,
)
from flownb.templates.shell.roles import SHELL, role_of
from flownb.templates.shell.spot import Notes, Place, Spot
from flownb.templates.shell.tree import ends_escaped, read_script
from flownb.templates.shell.words import read_facts

if TYPE_CHECKING:
    from tree_sitter import Node

_NEAR: Final = 1_000
"""How many bytes of a line are looked at where only a hint depends on them."""
_COMPOUND: Final = frozenset(
    {"compound_statement", "subshell", "if_statement", "while_statement", "for_statement", "c_style_for_statement"}
    | {"case_statement", "redirected_statement"}
)
_STATEMENTS: Final = frozenset({"command", "redirected_statement"})
_PROCESS: Final = re.compile(rb"[<>]\([^()]*\)")
_TO_PROCESS: Final = re.compile(rb">\(([^()]*)")
_OPENS_ARITHMETIC: Final = re.compile(rb"\(\(|\$\[")


class Places:
    """The places of one script, with what is found out about its nodes on the way."""

    def __init__(self, text: bytes) -> None:
        """Read the script.

        Args:
            text: The script, with a `${…}` for each value.
        """
        self._all = text
        self._script = read_script(text)
        self._notes = Notes(self._script.text, read_facts(text.decode()))

    def judge(self, start: int, end: int) -> Place | Refusal:
        """Return how a value stands at a place, or why none can.

        Args:
            start: Where the value's `${…}` begins, in bytes.
            end: Where it ends.
        """
        place = UNSURE if end > len(self._script.text) else self._judged(start, end)
        if place is UNSURE:
            line = self._all[max(start - _NEAR, self._all.rfind(b"\n", 0, start) + 1) : start]
            return ARITHMETIC if _OPENS_ARITHMETIC.search(line) else place
        return place

    def _judged(self, start: int, end: int) -> Place | Refusal:
        *chain, found = self._script.chain(start, end)
        spot = Spot(self._notes, start, end, chain)
        # tree-sitter counts white space between two expansions of a string to the second.
        gap = self._script.text[found.start_byte : start].strip()
        if found.type != "expansion" or gap or found.end_byte != end:
            return _unfound(spot, found)
        return _before(spot) or _around(spot) or role_of(spot, found)


def _unfound(spot: Spot, deepest: Node) -> Place | Refusal:
    """Judge a value that tree-sitter did not see as one: mostly bash would not either."""
    around = [*spot.chain, deepest]
    if deepest.type == "regex":
        return _regex(spot, deepest)
    if any(node.type == "heredoc_body" for node in around[-2:]):
        return _in_heredoc(spot, around)
    return UNFOUND.get(deepest.type) or _before(spot) or UNSURE


def _in_heredoc(spot: Spot, around: list[Node]) -> Place | Refusal:
    """Judge a value in a here-document: behind a tab tree-sitter leaves it as text, also where bash would not."""
    body = max(place for place, node in enumerate(around) if node.type == "heredoc_body")
    start = next((child.text or b"" for child in around[body - 1].children if child.type == "heredoc_start"), b"")
    if not start.isalnum():
        return UNFOUND["heredoc_body"]
    inside = Spot(spot.notes, spot.start, spot.end, around[: body + 1])
    return _before(inside) or _around(inside) or role_of(inside, around[body])


def _regex(spot: Spot, node: Node) -> Place | Refusal:
    """Judge a value in a regular expression behind `=~`, or in a pattern of `${…}`, which tree-sitter does not take apart."""
    parent = spot.chain[-1] if spot.chain and spot.chain[-1] != node else (node.parent or node)
    before = spot.text[node.start_byte : spot.start]
    if parent.type != "binary_expression":
        return EXPANSION
    if re.search(rb"""['"`\\]|\$[({\[]""", before.replace(b"${__flownb_", b"")):
        return UNSURE
    return _before(spot) or _around(spot) or Place.WORD


def _before(spot: Spot) -> Refusal | None:
    """Judge by the character right before."""
    if ends_escaped(spot.text, spot.start):
        return AFTER_BACKSLASH
    is_dollar = spot.text[spot.start - 1 : spot.start] == b"$"
    return AFTER_DOLLAR if is_dollar and not ends_escaped(spot.text, spot.start - 1) else None


def _around(spot: Spot) -> Refusal | None:
    """Judge by what is open anywhere around."""
    return next(filter(None, (_opened(spot, node) or _sent(spot, node) for node in spot.chain)), None)


def _opened(spot: Spot, node: Node) -> Refusal | None:
    """Judge by one of the nodes around."""
    opening = spot.text[node.start_byte : node.start_byte + 3]
    match node.type:
        case "ERROR":
            return UNSURE
        case "command_substitution" if opening.startswith(b"`"):
            return BACKTICKS
        case "command_substitution" | "subshell" if opening.removeprefix(b"$").startswith(b"(("):
            return ARITHMETIC
        case "string" if spot.text[node.start_byte - 1 : node.start_byte] == b"$":
            return TRANSLATED
        case "string" | "heredoc_body":
            return spot.notes.stray(node)
        case "pipeline" | "heredoc_redirect":
            return next(filter(None, (_piped(spot, part) for part in (node, *node.children))), None)
        case "process_substitution":
            return SHELL_INPUT if _is_read_by_shell(spot, node) else None
        case _:
            return None


def _sent(spot: Spot, node: Node) -> Refusal | None:
    """Judge by the `>(…)` that a value may be written to."""
    if node.type not in {*_STATEMENTS, "pipeline"}:
        return None
    to = _TO_PROCESS.finditer(spot.text, node.start_byte, node.end_byte)
    return SHELL_INPUT if any(SHELL.search(match[1]) for match in to) else None


def _is_read_by_shell(spot: Spot, node: Node) -> bool:
    """Return whether what stands before a `<(…)` in its command may read code."""
    above = spot.chain[: spot.chain.index(node)]
    start = next((part.start_byte for part in reversed(above) if part.type in _STATEMENTS), node.start_byte)
    before = spot.text[start : node.start_byte]
    return SHELL.search(_PROCESS.sub(b"", before)) is not None


def _piped(spot: Spot, node: Node) -> Refusal | None:
    """Judge by the commands of a pipeline that read what a value's command prints."""
    if node.type != "pipeline":
        return None
    is_fed = any(part.type == "heredoc_body" for part in spot.chain)  # It stands behind the commands that read it.
    for part in node.named_children:
        if part.type == "command" and (is_fed or part.start_byte >= spot.end):
            refusal = spot.notes.words(part, None).refused_pipe()
        elif part.type in _COMPOUND and part.start_byte >= spot.end:
            refusal = SHELL_INPUT if SHELL.search(spot.text, part.start_byte, part.end_byte) else None
        else:
            refusal = None
        if refusal:
            return refusal
    return None
