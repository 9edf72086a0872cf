"""Expressions and templates as trees: reading them, what is wrong with them, which names they use."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Final, NoReturn

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from flownb.templates.sandbox import CALLABLES, sandbox
from flownb.templates.terms import ExpressionSyntaxError, Key, Name

_REFUSED: Final = frozenset({"autoescape", "block", "extends", "from", "import", "include", "print"})
_TAGS: Final = (
    *("for", "endfor", "if", "elif", "else", "endif", "set", "endset", "macro", "endmacro", "raw", "endraw"),
    *("with", "endwith", "call", "endcall", "filter", "endfilter"),
)
_SCOPES: Final = frozenset({"inputs", "secrets", "env", "run", "nodes", "error", "loop"})
"""Names that are always there, so that a guard is about their attribute."""


class _Parser(Parser):
    """Jinja's parser without the tags that need other templates or change escaping."""

    _open: tuple[int, ...] = ()
    """Where the tags stand that are being read, from the outside in."""

    def parse_statement(self) -> nodes.Node | list[nodes.Node]:
        """Parse one tag."""
        token = self.stream.current
        if token.type == "name" and token.value in _REFUSED:
            self.fail(f"the tag {token.value!r} is not there in flownb", token.lineno)
        around = self._open
        self._open = (*around, token.lineno)
        made = super().parse_statement()
        self._open = around
        return made

    def fail_eof(self, end_tokens: tuple[str, ...] | None = None, lineno: int | None = None) -> NoReturn:
        """Say at the innermost open tag that it is never closed."""
        super().fail_eof(end_tokens, self._open[-1] if self._open else lineno)


def place(source: str, offset: int) -> tuple[int, int]:
    """Return the line and the column, both counted from 1, of a place in a text with one kind of line break."""
    before = source[: max(0, min(offset, len(source)))]
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def nearest(word: object, known: Iterable[object]) -> str:
    """Return the known name most like a word, or an empty text."""
    names = [name for name in known if isinstance(name, str)]
    return next(iter(get_close_matches(str(word), names, 1, 0.6)), "")


def normalized(source: str) -> str:
    """Return a text with the line feed as its only line break, as the lexer reads it."""
    return source.replace("\r\n", "\n").replace("\r", "\n") if "\r" in source else source


def fault(source: str, offset: int, message: str, hint: str = "") -> ExpressionSyntaxError:
    """Return an error about one place of a text.

    Args:
        source: The text, normalized.
        offset: The place, counted from 0.
        message: What is wrong.
        hint: What to write instead.
    """
    return ExpressionSyntaxError(message, *place(source, offset), hint)


@contextmanager
def shallow() -> Iterator[None]:
    """Turn a RecursionError from walking a tree into an ExpressionSyntaxError."""
    try:
        yield
    except RecursionError:
        raise ExpressionSyntaxError("it is nested too deeply") from None


def parse(source: str, *, bare: bool, comments: bool = True) -> nodes.Template:
    """Return the tree of a normalized text; nodes carry their offset in the text as `lineno`.

    Args:
        source: The text.
        bare: Whether it is a bare expression: the tree is then an output of that one expression.
        comments: Whether `{#` begins a comment.

    Raises:
        ExpressionSyntaxError: It cannot be read.
    """
    environment = sandbox(comments=comments)
    try:
        parser = _Parser(environment, source, state="variable" if bare else None)
        if not bare:
            return _as_ids(parser.parse(), source)
        expression = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail(f"unexpected {str(parser.stream.current)!r} after the expression", parser.stream.current.lineno)
        tree = nodes.Template([nodes.Output([expression], lineno=1)], lineno=1)
        tree.set_environment(environment)
    except TemplateSyntaxError as error:
        raise _explained(error.message or "", error.lineno, source, bare=bare) from None
    except RecursionError:
        raise ExpressionSyntaxError("it is nested too deeply") from None
    except (ValueError, OverflowError, MemoryError) as error:
        raise ExpressionSyntaxError(" ".join(str(error).split())) from None
    return _as_ids(tree, source)


def _as_ids(tree: nodes.Template, source: str) -> nodes.Template:
    """Return the tree with its names as ids are: an `é` of two characters is that of one (NFKC, as in Python)."""
    for name in () if source.isascii() else tree.find_all(nodes.Name):
        if not name.name.isascii():
            name.name = unicodedata.normalize("NFKC", name.name)
    return tree


_WORDS: Final = (
    (re.compile(r"^unexpected char ('.*?'|\".*?\") at \d+$", re.DOTALL), r"unexpected character \1"),
    (re.compile(r"end of print statement"), "}}"),
    (re.compile(r"end of statement block"), "%}"),
    (re.compile(r"begin of print statement"), "{{"),
    (re.compile(r"begin of statement block"), "{%"),
    (re.compile(r"^expected token '(.*?)', got '(.*?)'$", re.DOTALL), r"unexpected '\2' where '\1' should stand"),
    (re.compile(r"^unexpected end of template, expected '(.*?)'\.$"), r"it ends where '\1' should stand"),
    (re.compile(r"^.*'end of template'.*$"), "it ends too early"),
    (re.compile(r"^Unexpected end of template.*needs to be closed is '(.*?)'\.$"), r"the tag '\1' is never closed"),
    (re.compile(r"^Encountered unknown tag"), "unknown tag"),
    (re.compile(r"Jinja"), "flownb"),
)


def _explained(message: str, offset: int, source: str, *, bare: bool) -> ExpressionSyntaxError:
    """Return Jinja's error in plain words and with its place."""
    for pattern, words in _WORDS:
        message = pattern.sub(words, message)
    tag, hint = re.match(r"unknown tag '(\w+)'", message), ""
    if message.endswith("is never closed"):
        offset = source.rfind("{%", 0, offset + 1)
    if bare and source.lstrip().startswith(("{{", "{%")):
        hint = "an expression stands here, without `{{` and `}}`"
    elif tag and (close := nearest(tag[1], _TAGS)) and close != tag[1]:
        hint = f"did you mean `{close}`?"
    elif "end of comment" in message:
        hint = "`{#` begins a comment: where it is meant as text write `{% raw %}{#{% endraw %}`"
    return fault(source, offset, message[:1].lower() + message[1:].rstrip("."), hint)


_MAY_CALL: Final = re.compile(r"\||is|filter")
"""What every text holds that names a filter or a test."""


def check(tree: nodes.Template, source: str) -> None:
    """Raise ExpressionSyntaxError for the first filter or test that does not exist.

    Args:
        tree: The tree of the text.
        source: The text, normalized.
    """
    if not _MAY_CALL.search(source):
        return
    environment = sandbox()
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        kind, known = ("filter", environment.filters) if isinstance(node, nodes.Filter) else ("test", environment.tests)
        if node.name not in known:
            close = nearest(node.name, (name for name in known if " " not in name))
            offset = max(node.lineno, source.find(node.name, node.lineno))
            hint = f"did you mean `{close}`?" if close else ""
            raise fault(source, offset, f"there is no {kind} {node.name!r}", hint)


def key_of(node: nodes.Node) -> Key | None:
    """Return the name and attribute that `x`, `x.y` and `x["y"]` read; None for anything else."""
    if isinstance(node, nodes.Name) and node.ctx == "load":
        return node.name, None
    if isinstance(node, nodes.Getattr | nodes.Getitem) and isinstance(node.node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            return node.node.name, node.attr
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return node.node.name, node.arg.value
    return None


def _known(test: nodes.Node, *, when: bool) -> frozenset[Key]:
    """Return what is sure to be defined where a condition came out as `when`."""
    match test:
        case nodes.Not():
            return _known(test.node, when=not when)
        case nodes.And() if when:
            return _known(test.left, when=True) | _known(test.right, when=True)
        case nodes.Or() if not when:
            return _known(test.left, when=False) | _known(test.right, when=False)
        case nodes.Test() if test.name == ("defined" if when else "undefined"):
            key = key_of(test.node)
            return frozenset([key]) if key else frozenset()
        case _:
            return frozenset()


class _Names:
    """Walks a tree and gathers the names that it does not set itself."""

    def __init__(self) -> None:
        self.found: list[tuple[int, Key, bool]] = []

    def walk(self, node: nodes.Node, bound: set[str], known: frozenset[Key]) -> None:
        """Visit a node.

        Args:
            node: The node.
            bound: Names that the template has set here; grows.
            known: What is sure to be defined here.
        """
        key = key_of(node)
        if key and not (isinstance(node, nodes.Getattr | nodes.Getitem) and key[0] in bound):
            self._read(node, key, bound, guarded=key in known or (key[0], None) in known)
            return
        match node:
            case nodes.Test() if node.name in {"defined", "undefined"} and (key := key_of(node.node)):
                self._read(node.node, key, bound, guarded=key[1] is None or key[0] in _SCOPES)
                return
            case nodes.Filter() if node.name in {"default", "d"} and node.node and (key := key_of(node.node)):
                self._read(node.node, key, bound, guarded=key[1] is None or key[0] in _SCOPES)
                self._all([*node.args, *node.kwargs], bound, known)
            case nodes.Call() if isinstance(node.node, nodes.Name) and node.node.name in CALLABLES:
                self._all(list(node.iter_child_nodes(exclude=("node",))), bound, known)
            case nodes.CondExpr() | nodes.And() | nodes.Or():
                self._condition(node, bound, known)
            case nodes.Stmt() | nodes.Template():
                self._statement(node, bound, known)
            case nodes.NSRef():
                return
            case _:
                self._all(node.iter_child_nodes(), bound, known)

    def _all(self, children: Iterable[nodes.Node], bound: set[str], known: frozenset[Key]) -> None:
        for child in children:
            self.walk(child, bound, known)

    def _read(self, node: nodes.Node, key: Key, bound: set[str], *, guarded: bool) -> None:
        name = node.node if isinstance(node, nodes.Getattr | nodes.Getitem) else node
        if key[0] not in bound:
            self.found.append((name.lineno, key, guarded))

    def _condition(self, node: nodes.Node, bound: set[str], known: frozenset[Key]) -> None:
        if isinstance(node, nodes.CondExpr):
            self.walk(node.test, bound, known)
            self.walk(node.expr1, bound, known | _known(node.test, when=True))
            if node.expr2 is not None:
                self.walk(node.expr2, bound, known | _known(node.test, when=False))
        elif isinstance(node, nodes.And | nodes.Or):
            self.walk(node.left, bound, known)
            self.walk(node.right, bound, known | _known(node.left, when=isinstance(node, nodes.And)))

    def _statement(self, node: nodes.Node, bound: set[str], known: frozenset[Key]) -> None:
        match node:
            case nodes.For():
                self.walk(node.iter, bound, known)
                inner = bound | targets_of(node.target) | {"loop"}
                self._all([*([node.test] if node.test else []), *node.body], inner, known)
                self._all(node.else_, set(bound), known)
            case nodes.If():
                self.walk(node.test, bound, known)
                self._all(node.body, bound, known | _known(node.test, when=True))
                self._all([*node.elif_, *node.else_], bound, known | _known(node.test, when=False))
            case nodes.Macro() | nodes.CallBlock():
                if isinstance(node, nodes.Macro):
                    bound.add(node.name)
                else:
                    self.walk(node.call, bound, known)
                self._all(node.defaults, bound, known)
                arguments = {argument.name for argument in node.args}
                self._all(node.body, bound | arguments | {"caller", "varargs", "kwargs"}, known)
            case nodes.Assign():
                self.walk(node.node, bound, known)
                bound |= targets_of(node.target)
            case nodes.AssignBlock() | nodes.FilterBlock():
                self._all(node.body, set(bound), known)
                if node.filter is not None:
                    self.walk(node.filter, bound, known)
                if isinstance(node, nodes.AssignBlock):
                    bound |= targets_of(node.target)
            case nodes.With():
                self._all(node.values, bound, known)
                self._all(node.body, bound.union(*map(targets_of, node.targets)), known)
            case _:
                self._all(node.iter_child_nodes(), bound, known)


def targets_of(node: nodes.Node) -> set[str]:
    """Return the names that a `set`, `for` or `with` gives a value."""
    return {name.name for name in ([node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name))}


def names(tree: nodes.Template, source: str) -> tuple[Name, ...]:
    """Return the names that a tree reads and does not set itself, in the order of the text.

    Args:
        tree: The tree of the text.
        source: The text, normalized.
    """
    finder = _Names()
    finder.walk(tree, set(), frozenset())
    return tuple(
        Name(key[0], key[1], *place(source, offset), guarded)
        for offset, key, guarded in sorted(finder.found, key=lambda one: one[0])
    )
