"""Where a value may be put into a bash script or into JSON and YAML, and where quotes of the text would undo its quoting."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, Self


class Target(StrEnum):
    """Where the values of a template go."""

    TEXT = "text"
    """Plain text: values stand as they are."""
    SHELL = "shell"
    """A bash script: values are shell-quoted."""
    JSON = "json"
    """JSON or YAML: values become JSON."""


class Scanner(Protocol):
    """Follows a text from its start and knows whether a value may be put in where it stands."""

    late: str
    """What is wrong with the value put in last, seen only now; empty where nothing is."""

    def feed(self, text: str) -> None:
        """Go on over a stretch of the template's own text."""

    def insert(self, *, raw: bool) -> str:
        """Go on over one value; return what is wrong with the place, or an empty text.

        Args:
            raw: The value is put in as it is, by the author's wish: nothing is wrong then.
        """

    def place(self) -> tuple[object, ...]:
        """Return what two ways through the text must have in common where they meet."""

    def copied(self) -> Self:
        """Return a scanner that goes on from the same place."""

    def met(self, others: Iterable[Self]) -> Self:
        """Return a scanner that goes on from where this and other ways through the text meet, all in the same place."""


_PLACES: Final = {
    '"': "inside double quotes",
    "'": "inside single quotes",
    "$'": "inside $'…'",
    "`": "inside backticks",
    "${": "inside ${…}",
    '"${': "inside ${…}",
    "((": "in arithmetic",
    "((-": "in arithmetic",
    "$[": "in arithmetic",
    "[": "in an index",
    "#": "in a comment",
    "<<": "in a here-document",
    "<<word": "in the word that ends a here-document",
}
_ARITHMETIC: Final = frozenset({"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v"})
_CODE: Final = frozenset({"", "$(", "("})
_BREAKS: Final = frozenset(" \t\n;&|()<>")
_TANGLED: Final = "where flownb cannot tell how bash would read it"


@dataclass
class ShellScanner:
    """Follows bash's quoting (Bash manual, 3.1.2 Quoting, 3.5 Shell Expansions, 3.6.6 Here Documents).

    It knows less than bash. Where it cannot be sure it says so, and no value may follow.
    """

    frames: tuple[str, ...] = ("",)
    """What is open, the innermost last: a quote, `$(`, `${`, `((`, `#`, `<<`."""
    previous: str = ""
    """The character before, empty where it cannot change the meaning of the next."""
    escaped: bool = False
    """Whether a backslash stands before the next character."""
    fresh: bool | None = True
    """Whether a word may begin here; None: unknown."""
    word: str = ""
    """The word so far."""
    angles: int = 0
    """How many `<` stand right before."""
    pending: tuple[tuple[str, bool], ...] = ()
    """The here-documents that begin at the next line break: the word that ends each, and whether tabs are taken off."""
    line: str = ""
    """The line of a here-document, or its word, so far."""
    tested: int = 0
    """Inside `[[ … ]]`: 1, after an arithmetic comparison in it: 2, after a value put in: 3."""
    tangled: bool = False
    """Whether there was something that this scanner cannot follow."""
    late: str = ""
    """What is wrong with the value put in last, seen only now."""

    def copied(self) -> Self:
        """Return a scanner that goes on from the same place."""
        return copy(self)

    def met(self, others: Iterable[Self]) -> Self:
        """Return a scanner that goes on from where this and other ways through the text meet, all in the same place."""
        one = copy(self)
        for other in others:
            one.tangled = one.tangled or other.tangled
            one.fresh = one.fresh if one.fresh == other.fresh else None
        return one

    def place(self) -> tuple[object, ...]:
        """Return what two ways through the text must have in common where they meet."""
        before = self.previous if self.previous in {"$", "(", "<"} else ""
        return self.frames, self.escaped, before, self.angles, self.pending, self.line, self.tested

    def insert(self, *, raw: bool) -> str:
        """Go on over one value; return what is wrong with the place, or an empty text."""
        top = self.frames[-1]
        problem = _PLACES.get(top, "")
        if self.tangled:
            problem = _TANGLED
        elif self.escaped:
            problem = "after a backslash"
        elif self.previous == "$" and top in _CODE:
            problem = "after a $"
        elif self.angles == 2:  # noqa: PLR2004 `<<` and then a value
            problem = _PLACES["<<word"]
        elif self.tested == 2 and not problem:  # noqa: PLR2004 see `tested`
            problem = "in an arithmetic comparison"
        self.tested = 3 if self.tested else 0
        self.previous, self.angles, self.escaped = "", 0, False
        self.word += "\0"
        self.fresh = None if raw else False
        return "" if raw else problem

    def feed(self, text: str) -> None:
        """Go on over a stretch of the template's own text."""
        for character in text:
            self._step(character)

    def _step(self, character: str) -> None:
        top = self.frames[-1]
        if top == "<<":
            self._heredoc(character)
        elif top == "<<word":
            self._heredoc_word(character)
        elif top == "#":
            if character == "\n":
                self._pop()
                self._step(character)
        elif self.escaped:
            self.escaped = False
            self._after(character, fresh=False)
            self.previous = ""
        elif character == "\\" and top != "'":
            self.escaped = True
        elif top in _CODE:
            self._code(character)
        else:
            self._quoted(top, character)

    def _push(self, frame: str) -> None:
        self.frames += (frame,)
        self.previous, self.word = "", ""

    def _pop(self) -> None:
        self.frames = self.frames[:-1]
        self.previous, self.fresh = "", False

    def _after(self, character: str, *, fresh: bool) -> None:
        self.previous, self.fresh = character, fresh
        self.word = "" if fresh else self.word + character

    def _quoted(self, top: str, character: str) -> None:
        """Step where no word can begin: quotes, `${`, arithmetic and the like."""
        closes = {'"': '"', "'": "'", "$'": "'", "`": "`", "${": "}", '"${': "}", "$[": "]", "[": "]"}.get(top)
        if character == closes or (top == "[" and character in "\n;"):
            self._pop()
        elif top in {"'", "$'", "`"}:
            return
        elif top in {"((", "((-", "(+"}:
            self._arithmetic(top, character)
        elif not self._opens(top, character):
            self.previous = character

    def _opens(self, top: str, character: str) -> bool:
        """Step over what opens something almost everywhere; return whether it did."""
        dollar = self.previous == "$"
        if character == "'" and top == '"${':
            self.tangled = True  # Whether a single quote quotes here depends on the kind of expansion.
        elif character == "'" and top != '"':
            self._push("$'" if dollar else "'")
        elif character == '"':
            self._push('"')
        elif character == "`":
            self._push("`")
        elif dollar and character == "(":
            self._push("$(")
            self.previous, self.fresh = "(", True
        elif dollar and character == "{":
            self._push('"${' if '"' in (top, top[:1]) else "${")
        elif dollar and character == "[":
            self._push("$[")
        elif dollar and character == "$":
            self._after("", fresh=False)  # `$$` is a variable: what follows it begins no expansion.
        else:
            return False
        return True

    def _arithmetic(self, top: str, character: str) -> None:
        if top == "((-" and character != ")":
            self.tangled = True  # `((` was two parentheses: commands stood here, and were read as arithmetic.
            self.frames = (*self.frames[:-1], "(")
            self._code(character)
        elif character == ")":
            if top == "((":
                self.frames = (*self.frames[:-1], "((-")
            else:
                self._pop()
        elif character == "(" and self.previous != "$":
            self._push("(+")
        elif not self._opens(top, character):
            self.previous = character

    def _code(self, character: str) -> None:
        """Step where commands stand."""
        if self.angles == 2 and character != "<":  # noqa: PLR2004 `<<` and then its word
            self.angles, self.line = 0, ""
            self._push("<<word")
            self._heredoc_word(character)
            return
        self.angles = self.angles + 1 if character == "<" else 0
        if character in _BREAKS:
            self._end_word()
        if character == "(" and self.previous == "(" and self.frames[-1]:
            self.frames = (*self.frames[:-1], "((")
            self.previous = ""
        elif self._opens(self.frames[-1], character):
            return
        elif character == "(":
            self._push("(")
            self.previous, self.fresh = "(", True
        elif character == ")":
            self._close()
        elif character == "#" and self.fresh is not False:
            self.tangled = self.tangled or self.fresh is None
            self._push("#")
        elif character == "[" and (self.previous.isalnum() or self.previous == "_"):
            self._push("[")
        elif character == "\n" and self.pending:
            self._push("<<")
            self.line = ""
        else:
            self._after(character, fresh=character in _BREAKS)

    def _close(self) -> None:
        if self.frames[-1] == "$(" and self.pending:
            self.tangled = True
        if self.frames[-1]:
            self._pop()
        self._after(")", fresh=True)

    def _end_word(self) -> None:
        if self.word == "case" and "$(" in self.frames:
            self.tangled = True  # A pattern's `)` looks like the end of `$(`.
        elif self.word == "[[":
            self.tested = 1
        elif self.word == "]]":
            self.tested = 0
        elif self.tested and self.word in _ARITHMETIC:
            self.late = "in an arithmetic comparison" if self.tested == 3 else ""  # noqa: PLR2004 see `tested`
            self.tested = 2
        self.word = ""

    def _heredoc_word(self, character: str) -> None:
        quote = self.line[:1] if self.line[:1] in {"'", '"'} and self.line.count(self.line[0]) % 2 else ""
        if (character in _BREAKS and not quote and self.line not in {"", "-"}) or character == "\n":
            strip = self.line.startswith("-")
            word = self.line[strip:].strip()
            if any(sign in word for sign in "'\"\\$`"):
                self.tangled = self.tangled or word[:1] not in {"'", '"'} or word[-1:] != word[:1]
                word = word.strip(word[:1]) if word[:1] in {"'", '"'} else word.replace("\\", "")
            self.pending += ((word, strip),)
            self._pop()
            self._step(character)
        elif character not in " \t" or quote:
            self.line += character

    def _heredoc(self, character: str) -> None:
        if character != "\n":
            self.line += character
            return
        word, strip = self.pending[0]
        if (self.line.lstrip("\t") if strip else self.line) == word:
            self.pending = self.pending[1:]
            if not self.pending:
                self._pop()
                self._after("\n", fresh=True)
        self.line = ""


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
    late: str = field(default="", init=False)
    """Always empty: a value is judged where it is put in."""

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
