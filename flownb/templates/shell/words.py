"""The commands of bash that evaluate their words, and the variables that evaluate what is assigned to them.

Found by trying: `tests/property/test_scripts.py` holds what a real bash made of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flownb.templates.shell.refusal import (
    DECLARED,
    FORMAT,
    IS_SET,
    NUMBER,
    OPERATOR,
    SHELL_CODE,
    SHELL_INPUT,
    SPECIAL,
    UNSURE,
    VARIABLE,
    Refusal,
)

if TYPE_CHECKING:
    from tree_sitter import Node


@dataclass(frozen=True, slots=True)
class Facts:
    """What a script says of its variables anywhere: more rather than less."""

    numeric: frozenset[str]
    """Names that are declared as whole numbers or as references: what is assigned to them is evaluated."""
    arrays: frozenset[str]
    """Names that are used as arrays: what a declaration assigns to them is evaluated where it begins with a parenthesis."""

    def refused(self, words: Iterable[str]) -> Refusal | None:
        """Return why a value cannot stand in one command with these words; None where it can."""
        return NUMBER if any(assigned_name(word) in self.numeric for word in words) else None

    def refused_names(self, words: Iterable[str]) -> Refusal | None:
        """Return why a value cannot be assigned to what these words name; None where it can."""
        words = tuple(words)
        return SPECIAL if any(assigned_name(word) in _EVALUATED for word in words) else self.refused(words)


_NAME: Final = re.compile(r"(\w+)(?=\[|\+?=|\Z)")
_EVALUATED: Final = frozenset(
    {"RANDOM", "SRANDOM", "OPTIND", "HISTCMD", "SECONDS", "BASHPID", "LINENO", "EPOCHSECONDS", "EPOCHREALTIME"}
    | {"PS0", "PS1", "PS2", "PS4", "BASH_ENV", "ENV", "PROMPT_COMMAND"}
)
_DECLARATIONS: Final = re.compile(r"\b(?:declare|typeset|local|readonly|export)\b([^;&|\n()]*)")
_ARRAYS: Final = re.compile(r"\b(\w+)(?:\+?=\(|\[)|\b(?:read|mapfile|readarray)\b([^;&|\n()<>]*)")
_NO_WORDS: Final = frozenset({"variable_assignment", "herestring_redirect", "heredoc_redirect"})
_WRAPPERS: Final = frozenset({"command", "builtin", "time", "coproc", "exec"})
_RESERVED: Final = frozenset(
    {"!", "{", "}", "if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in"}
    | {"select", "function", "[[", "]]", "(("}
)
_SHELLS: Final = frozenset({"bash", "rbash", "sh", "dash", "ksh", "zsh", "su", "ssh", "source"})
_ASSIGNING: Final = frozenset({"read", "mapfile", "readarray", "getopts", "printf"})
_REFUSED: Final = {
    "let": Refusal("behind `let`, which evaluates it", "work it out in the expression, as {{ n + 1 }}"),
    "eval": Refusal("behind `eval`, which would run it", "leave `eval` out"),
    "trap": Refusal("behind `trap`, which would run it", "write x={} above, and trap '… \"$x\" …' here"),
    **dict.fromkeys(
        ("unset", "read", "getopts", "mapfile", "readarray", "declare", "typeset", "local", "export", "readonly"),
        Refusal("where `{command}` takes the name of a variable", "write the name itself"),
    ),
    **dict.fromkeys(
        ("wait", "alias", "compgen", "complete"),
        Refusal("behind `{command}`, which may evaluate it", "put what it is to do into the script itself"),
    ),
}


def assigned_name(word: str) -> str:
    """Return the name of a variable that a word is, or that it begins with as an assignment does; empty where there is none."""
    match = _NAME.match(word)
    return match[1] if match else ""


def read_facts(script: str) -> Facts:
    """Return what a script says of its variables.

    Args:
        script: The script, with `${…}` in place of values.
    """
    text = re.sub(r"\$(?=[\"'])|[\"']|\\\n|\\", "", script)
    numeric, arrays = set(), set()
    for match in _DECLARATIONS.finditer(text):
        words = re.split(r"[\s{},]+", match[1])
        letters = {letter for word in words if word[:1] in {"-", "+"} for letter in word}
        names = {assigned_name(word) for word in words if word[:1] not in {"-", "+"}}
        if letters & {"i", "n"}:
            numeric |= names
        if letters & {"a", "A"}:
            arrays |= names
    for match in _ARRAYS.finditer(text):
        arrays |= {match[1]} if match[1] else set(match[2].split())
    return Facts(frozenset(numeric), frozenset(arrays))


def plain_word(node: Node) -> str:
    """Return a word as bash takes it when it looks for a command: without quotes and backslashes."""
    return re.sub(r"\\\n|\$(?=[\"'])|[\"'\\]", "", (node.text or b"").decode("utf-8", "replace"))


class Words:
    """The words of a simple command, its name first, also those that stand behind redirections."""

    def __init__(self, command: Node, owner: Node | None, facts: Facts) -> None:
        """Read them.

        Args:
            command: The command.
            owner: The node around it, which may hold redirections.
            facts: What the script says of its variables.
        """
        words: list[Node] = []
        redirects = list(owner.children) if owner is not None and owner.type == "redirected_statement" else []
        for node in [*command.children, *redirects]:
            if node.type == "file_redirect":
                words += [part for part in node.children if part.type != "file_descriptor"][2:]
            elif node.type not in _NO_WORDS and node != command:
                words.append(node)
        self._texts = [plain_word(word) for word in words]
        self._places = {word.id: place for place, word in enumerate(words)}
        self._command = self._found_command()
        # As the name of a command tree-sitter took it for a word where bash may begin a statement.
        begin, end = self._command, len(words) if "coproc" in self._texts[: self._command] else self._command + 1
        self._is_unsure = not _RESERVED.isdisjoint(self._texts[begin:end])  # A `coproc` may have a name.
        is_assigning = not _ASSIGNING.isdisjoint(self._texts[self._command : self._command + 1])
        self._facts = (facts.refused_names if is_assigning else facts.refused)(self._texts)
        self._shell = next((place for place, text in enumerate(self._texts) if self._is_shell(place, text)), len(words))

    def _is_shell(self, place: int, text: str) -> bool:
        return text.rpartition("/")[2] in _SHELLS or (text == "." and place == self._command)

    def _is_code(self, place: int) -> bool:
        """Return whether a shell may take a word for code: only options stand between it and a `-c`."""
        place -= 1
        while place > self._shell:
            if re.fullmatch(r"-[\w{},]*c[\w{},]*", self._texts[place]):
                return True
            if re.fullmatch(r"[-+]\w*[oO]", self._texts[place - 1]):
                place -= 1
            elif self._texts[place][:1] not in {"-", "+"}:
                return False
            place -= 1
        return False

    def _found_command(self) -> int:
        place, texts = 0, self._texts
        while texts[place : place + 1] and texts[place] in _WRAPPERS:
            place += 1
            while texts[place : place + 1] and texts[place].startswith("-"):
                place += 1
        return place

    def refused(self, word: Node, start: int) -> Refusal | None:
        """Return why a value cannot stand in an argument; None where it can.

        Args:
            word: The argument.
            start: Where the value begins in the script, in bytes.
        """
        place = self._places[word.id]
        if self._is_unsure:
            return UNSURE
        if assigned_name(self._texts[place]) in _EVALUATED:
            return SPECIAL
        if place <= self._command:
            return self._facts
        command, before = self._texts[self._command], self._texts[place - 1]
        if refusal := _REFUSED.get(command):
            return Refusal(refusal.where.replace("{command}", command), refusal.hint)
        if self._is_code(place):
            return SHELL_CODE
        if command == "test" and (refusal := refused_operand(before)):
            return refusal
        if command == "printf" and (refusal := self._printf(place, word, start)):
            return refusal
        return self._facts

    def _printf(self, place: int, word: Node, start: int) -> Refusal | None:
        """Judge an argument of `printf`: as its format it may be an option, and the option `-v` evaluates a name."""
        first = self._command + 1
        while self._texts[first].startswith("-v") and first < place:
            first += 2 if self._texts[first] == "-v" else 1
        if first > place or self._texts[place].startswith("-v"):
            return VARIABLE
        opening = (word.text or b"")[: start - word.start_byte].decode("utf-8", "replace").strip()
        begins = re.sub("[\"'\\\\]", "", opening)[:1] in {"", "$", "`"}
        return FORMAT if begins and first == place else None

    def refused_input(self) -> Refusal | None:
        """Return why the command cannot be given a value to read; None where it can."""
        return UNSURE if self._is_unsure else self.refused_pipe()

    def refused_pipe(self) -> Refusal | None:
        """Return why the command cannot be given what prints a value; None where it can."""
        return SHELL_INPUT if self._shell < len(self._texts) else self._facts


def refused_operand(before: str) -> Refusal | None:
    """Return why a value cannot stand behind a word of `[` or `test`; None where it can.

    Args:
        before: The word before it.
    """
    word = re.sub(r"[\"'\\]", "", before)
    if word in {"-v", "-R"}:
        return IS_SET
    return OPERATOR if "${__flownb_" in word else None


def refused_assignment(name: str, flags: str | None, facts: Facts, *, is_item: bool = False) -> Refusal | None:
    """Return why a value cannot be assigned; None where it can.

    Args:
        name: The variable's name.
        flags: What stands before it in a declaration; None: it is not declared here.
        facts: What the script says of its variables.
        is_item: Whether the value is an item between parentheses.
    """
    if name in _EVALUATED:
        return SPECIAL
    words = (flags or "").split()[1:]
    letters = {letter for word in words if word[:1] in {"-", "+", '"', "'", "\\"} for letter in word}
    if name in facts.numeric or letters & {"i", "n"}:
        return NUMBER
    is_array = bool(letters & {"a", "A"}) or name in facts.arrays
    return DECLARED if flags is not None and is_array and not is_item else None
