"""The places of a bash script where a value can mean itself, and those where it cannot, or would be evaluated."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from flownb.shellrefusal import (
    AFTER_BACKSLASH,
    AFTER_DOLLAR,
    ARITHMETIC,
    BACKTICKS,
    COMPARISON,
    DUPLICATE,
    EXPANSION,
    INDEX,
    IS_SET,
    NAME,
    RANGE,
    TRANSLATED,
    UNFOUND,
    UNSURE,
    Refusal,
)
from flownb.shelltree import ends_escaped, read_script
from flownb.shellwords import Words, plain_word, read_facts, refused_assignment, refused_operand

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


_IN_EXPANSION: Final = frozenset({":-", "-", ":+", "+", ":?", "?"})
_CONDITIONS: Final = frozenset({"binary_expression", "unary_expression", "parenthesized_expression"})
_EVALUATING: Final = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"})
_OPENS_ARITHMETIC: Final = re.compile(rb"\(\(|\$\[")
_RANGED: Final = re.compile(rb"\{[^{}\s]*\.\.\Z")
_NEAR: Final = 1_000
"""How many bytes of a line are looked at where only a hint, or what stands right before, depends on them."""
_QUOTES: Final = re.compile(rb"""\\.|\$?'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_STRAY: Final = re.compile(rb"`|\$[\[({]")
_INDEXED: Final = re.compile(rb"[\w$]\[|\]")


class Places:
    """The places of one script, with what is found out about its nodes on the way."""

    def __init__(self, text: bytes) -> None:
        """Read the script.

        Args:
            text: The script, with a `${…}` for each value.
        """
        self._all = text
        self._script = read_script(text)
        self.text = self._script.text
        """The script, as far as it is read for sure."""
        self.facts = read_facts(text.decode())
        """What it says of its variables."""
        self._words: dict[int, Words] = {}
        self._strays: dict[int, Refusal | None] = {}
        self._brackets: dict[int, list[tuple[int, int]]] = {}

    def judge(self, start: int, end: int) -> Place | Refusal:
        """Return how a value stands at a place, or why none can.

        Args:
            start: Where the value's `${…}` begins, in bytes.
            end: Where it ends.
        """
        place = UNSURE if end > len(self.text) else self._judged(start, end)
        if place is UNSURE:
            line = self._all[max(start - _NEAR, self._all.rfind(b"\n", 0, start) + 1) : start]
            return ARITHMETIC if _OPENS_ARITHMETIC.search(line) else place
        return place

    def _judged(self, start: int, end: int) -> Place | Refusal:
        *chain, found = self._script.chain(start, end)
        spot = Spot(self, start, end, chain)
        # tree-sitter counts white space between two expansions of a string to the second.
        gap = self.text[found.start_byte : start].strip()
        if found.type != "expansion" or gap or found.end_byte != end:
            return _unfound(spot, found)
        return _before(spot) or _around(spot) or _role(spot, found)

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
        return re.sub(rb"\\.", b"", b"\0".join(parts), flags=re.DOTALL)

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

    places: Places
    """All of the script."""
    start: int
    """Where the `${…}` begins, in bytes."""
    end: int
    """Where it ends."""
    chain: list[Node]
    """The nodes around it, the outermost first."""

    @property
    def text(self) -> bytes:
        """The script, as far as it is read for sure."""
        return self.places.text


def _unfound(spot: Spot, deepest: Node) -> Place | Refusal:
    """Judge a value that bash would not see as one."""
    kind = deepest.type
    if kind == "regex":
        return _regex(spot, deepest)
    return UNFOUND.get(kind) or _before(spot) or UNSURE


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
    for node in spot.chain:
        opening = spot.text[node.start_byte : node.start_byte + 3]
        match node.type:
            case "ERROR":
                return UNSURE
            case "command_substitution" if opening.startswith(b"`"):
                return BACKTICKS
            case "command_substitution" if opening == b"$((":
                return ARITHMETIC
            case "subshell" if opening.startswith(b"(("):
                return ARITHMETIC
            case "string" if spot.text[node.start_byte - 1 : node.start_byte] == b"$":
                return TRANSLATED
            case "string" | "heredoc_body" if refusal := spot.places.stray(node):
                return refusal
            case _:
                pass
    return None


def _role(spot: Spot, found: Node) -> Place | Refusal:
    """Judge by the word that the value stands in, and by what that word is for."""
    chain, child = list(spot.chain), found
    is_quoted, is_part = False, False
    while chain and chain[-1].type in {"string", "concatenation", "expansion"}:
        if chain[-1].type == "expansion" and (refusal := _in_expansion(chain[-1], child, is_quoted=is_quoted)):
            return refusal
        is_quoted = is_quoted or chain[-1].type == "string"
        is_part = is_part or chain[-1].type != "string"
        child = chain.pop()
    if not chain:
        return UNSURE
    role = _ROLES.get(chain[-1].type)
    place = role(spot, chain, child) if role else UNSURE
    if isinstance(place, Refusal):
        return place
    if refusal := _glued(spot, chain[-1], child, is_quoted=is_quoted):
        return refusal
    return Place.QUOTED if is_quoted else Place.WORD if is_part else place


def _in_expansion(node: Node, child: Node, *, is_quoted: bool) -> Refusal | None:
    """Judge a value inside `${…}`: only what stands in for a variable is neither evaluated nor a pattern."""
    before = [part.type for part in node.children if part.end_byte <= child.start_byte]
    if not before[2:] or before[2] == ":":
        return ARITHMETIC
    return None if before[2] in _IN_EXPANSION and not before[3:] and not is_quoted else EXPANSION


def _glued(spot: Spot, statement: Node, word: Node, *, is_quoted: bool) -> Refusal | None:
    """Judge by what the word holds besides, as bash reads it before it looks at anything else."""
    place = spot.start
    if is_quoted:
        place = word.start_byte
    elif spot.text[spot.end : spot.end + 2] == b".." or _RANGED.search(
        spot.text, max(0, spot.start - _NEAR), spot.start
    ):
        return RANGE
    return INDEX if spot.places.opens_index(statement, place) else None


_Role = Callable[[Spot, list["Node"], "Node"], Place | Refusal]
"""Judges a word by the innermost node that is more than a word, the last of a list, and by its child that is the word."""


def _command(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    words = spot.places.words(chain[-1], chain[-2] if chain[1:] else None)
    return words.refused(word, spot.start) or Place.WORDS


def _command_name(spot: Spot, _chain: list[Node], word: Node) -> Place | Refusal:
    rest = spot.text[spot.end : word.end_byte].lstrip(b'"')
    return NAME if re.match(rb"\+?=|\[", rest) else Place.WORDS


def _file(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    operator, *words = [part for part in chain[-1].children if part.type != "file_descriptor"]
    if words and words[0] == word:
        return DUPLICATE if operator.type in {">&", "<&"} else Place.WORD
    command, owner = _redirected(chain)
    if command is None:
        return UNSURE
    return spot.places.words(command, owner).refused(word, spot.start) or Place.WORDS


def _redirected(chain: list[Node]) -> tuple[Node | None, Node | None]:
    """Return the command whose redirection is the last node of a chain, None where it is more than a command, and what holds both."""
    owner = chain[-2] if chain[1:] else None
    if owner is None or owner.type != "redirected_statement":
        return (owner if owner is not None and owner.type == "command" else None), None
    body = owner.child_by_field_name("body")
    return (body if body is not None and body.type == "command" else None), owner


def _fed(spot: Spot, chain: list[Node]) -> Refusal | None:
    """Judge a value that a command reads as its input."""
    command, owner = _redirected(chain)
    return None if command is None else spot.places.words(command, owner).refused_input()


def _herestring(spot: Spot, chain: list[Node], _word: Node) -> Place | Refusal:
    return _fed(spot, chain) or Place.WORD


def _heredoc(spot: Spot, chain: list[Node], _word: Node) -> Place | Refusal:
    return _fed(spot, chain[:-1]) or Place.QUOTED


def _assigned(spot: Spot, above: list[Node], name: str, before: int, *, is_item: bool = False) -> Refusal | None:
    """Judge a value by the variable that gets it.

    Args:
        spot: The value's place.
        above: The nodes around the assignment.
        name: The variable's name.
        before: Where the assignment begins in the script.
        is_item: Whether the value is an item between parentheses.
    """
    is_declared = bool(above) and above[-1].type == "declaration_command"
    flags = spot.text[above[-1].start_byte : before].decode("utf-8", "replace") if is_declared else None
    return refused_assignment(name, flags, spot.places.facts, is_item=is_item)


def _name_of(assignment: Node) -> str:
    return plain_word(assignment.children[0]).partition("[")[0]


def _assignment(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    node = chain[-1]
    if node.children[0] == word:
        return INDEX
    return _assigned(spot, chain[:-1], _name_of(node), node.start_byte) or Place.WORD


def _item(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    before = spot.text[word.start_byte : spot.start].lstrip()
    if before.startswith(b"[") and not re.match(rb"""\[[^\[\]$"'`\\]*\]\+?=""", before):
        return INDEX
    node = chain[-2] if chain[1:] else None
    if node is None or node.type != "variable_assignment":
        return UNSURE
    return _assigned(spot, chain[:-2], _name_of(node), node.start_byte, is_item=True) or Place.WORDS


def _declaration(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    name = re.match(r'"?(\w+)\+?="?', spot.text[word.start_byte : spot.start].decode("utf-8", "replace"))
    return NAME if name is None else _assigned(spot, chain, name[1], word.start_byte) or Place.WORD


def _loop(spot: Spot, chain: list[Node], _word: Node) -> Place | Refusal:
    names = [plain_word(part) for part in chain[-1].children if part.type == "variable_name"]
    return spot.places.facts.refused(names) or Place.WORDS


def _test(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    inside = []
    for node in reversed(chain):
        if node.type == "test_command":
            break
        if node.type not in _CONDITIONS:
            return ARITHMETIC
        inside.append(node)
    else:
        return ARITHMETIC
    before = spot.text[node.start_byte : word.start_byte].decode("utf-8", "replace").split()[-1:]
    after = spot.text[word.end_byte : node.end_byte].decode("utf-8", "replace").split()[:1]
    if spot.text[node.start_byte :].startswith(b"[["):
        operators = {plain_word(part) for above in inside for part in above.children if part.type == "test_operator"}
        near = _EVALUATING & {*before, *after, *operators}
        return Place.WORD if not near else IS_SET if near <= {"-v", "-R"} else COMPARISON
    return refused_operand("".join(before)) or Place.WORD


def _always(judgement: Place | Refusal) -> _Role:
    return lambda _spot, _chain, _word: judgement


_ROLES: Final[Mapping[str, _Role]] = {
    "command": _command,
    "command_name": _command_name,
    "file_redirect": _file,
    "herestring_redirect": _herestring,
    "heredoc_body": _heredoc,
    "variable_assignment": _assignment,
    "array": _item,
    "declaration_command": _declaration,
    "unset_command": _always(NAME),
    "for_statement": _loop,
    "case_statement": _always(Place.WORD),
    "case_item": _always(Place.WORD),
    "test_command": _test,
    **dict.fromkeys(_CONDITIONS, _test),
    "subscript": _always(INDEX),
    **dict.fromkeys(
        ("arithmetic_expansion", "compound_statement", "c_style_for_statement", "ternary_expression"),
        _always(ARITHMETIC),
    ),
    "postfix_expression": _always(ARITHMETIC),
}
"""What each kind of node says of a value in a word right below it."""
