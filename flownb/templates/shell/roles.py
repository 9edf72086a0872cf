"""What each word of a bash script is for, and whether a value in it would mean itself there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from flownb.templates.shell.refusal import (
    ARITHMETIC,
    COMPARISON,
    DUPLICATE,
    EXPANSION,
    INDEX,
    IS_SET,
    NAME,
    RANGE,
    SHELL_INPUT,
    UNSURE,
    Refusal,
)
from flownb.templates.shell.spot import Place, Spot
from flownb.templates.shell.words import plain_word, refused_assignment, refused_operand

if TYPE_CHECKING:
    from tree_sitter import Node

_NEAR: Final = 1_000
"""How many bytes before a value are looked at for a range of braces."""
_IN_EXPANSION: Final = frozenset({":-", "-", ":+", "+", ":?", "?"})
_CONDITIONS: Final = frozenset({"binary_expression", "unary_expression", "parenthesized_expression"})
_EVALUATING: Final = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"})
SHELL: Final = re.compile(
    rb"(?<![\w.-])(?:(?:ba|da|k|z|rba)?sh|su|ssh|source)\b|(?:\A|[;&|({\n]|\bdo\b|\bthen\b|\belse\b)\s*\.\s"
)
"""What may read code, in the text of more than a simple command."""
_RANGED: Final = re.compile(rb"\{[^{}\s]*\.\.\Z")


def role_of(spot: Spot, found: Node) -> Place | Refusal:
    """Judge by the word that the value stands in, then by that where the output of its command goes, up to the outermost."""
    chain = list(spot.chain)
    place = _word_role(spot, chain, found)
    while not isinstance(place, Refusal) and any(node.type == "command_substitution" for node in chain):
        child = chain.pop()
        if child.type == "command_substitution":
            outer = _word_role(spot, chain, child)
            place = outer if isinstance(outer, Refusal) and outer is not EXPANSION else place
    return place


def _word_role(spot: Spot, chain: list[Node], child: Node) -> Place | Refusal:
    """Judge by one word, and by what it is for.

    Args:
        spot: The value's place.
        chain: The nodes around the part of the word; what belongs to the word is taken off.
        child: The value, or the `$(…)` that it stands in.
    """
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
    if isinstance(place, Refusal) or place is Place.QUOTED:
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
    return INDEX if spot.notes.opens_index(statement, place) else None


_Role = Callable[[Spot, list["Node"], "Node"], Place | Refusal]
"""Judges a word by the innermost node that is more than a word, the last of a list, and by its child that is the word."""


def _command(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    words = spot.notes.words(chain[-1], chain[-2] if chain[1:] else None)
    return words.refused(word, spot.start) or Place.WORDS


def _command_name(spot: Spot, _chain: list[Node], word: Node) -> Place | Refusal:
    rest = spot.text[spot.end : word.end_byte].lstrip(b'"')
    return NAME if re.match(rb"\+?=|\[", rest) else Place.WORDS


def _file(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    operator, *words = [part for part in chain[-1].children if part.type != "file_descriptor"]
    if words and words[0] == word:
        return DUPLICATE if operator.type in {">&", "<&"} else Place.WORD
    command, owner = _redirected(chain)
    if command is None or command.type != "command":
        return UNSURE
    return spot.notes.words(command, owner).refused(word, spot.start) or Place.WORDS


def _redirected(chain: list[Node]) -> tuple[Node | None, Node | None]:
    """Return the command that the redirection at the end of a chain is for, and the statement that holds both, if any."""
    owner = chain[-2] if chain[1:] else None
    if owner is None or owner.type != "redirected_statement":
        return owner, None
    command = owner.child_by_field_name("body")
    while command is not None and command.type in {"negated_command", "list", "pipeline"}:
        command = command.named_children[-1]
    return command, owner


def _fed(spot: Spot, chain: list[Node]) -> Refusal | None:
    """Judge a value that a command reads as its input."""
    command, owner = _redirected(chain)
    if command is None or command.type == "test_command":
        return None
    if command.type == "command":
        return spot.notes.words(command, owner).refused_input()
    return SHELL_INPUT if SHELL.search(spot.text, command.start_byte, command.end_byte) else None


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
    return refused_assignment(name, flags, spot.notes.facts, is_item=is_item)


def _name_of(assignment: Node) -> str:
    return plain_word(assignment.children[0]).partition("[")[0]


def _assignment(spot: Spot, chain: list[Node], word: Node) -> Place | Refusal:
    node = chain[-1]
    if node.children[0] == word:
        return INDEX
    if chain[1:] and chain[-2].type == "c_style_for_statement":
        return ARITHMETIC
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
    return spot.notes.facts.refused_names(names) or Place.WORDS


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
