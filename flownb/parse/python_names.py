"""The names that a python body reads without giving them a value itself."""

from __future__ import annotations

import ast
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from flownb.text.python import python_tree

_PART: Final = 5_000
"""How many lines are parsed at once, at least."""
_STATEMENT: Final = re.compile(r"(?!(?:else|elif|except|finally)\b)[^\W\d]")
"""How a line begins that may begin a statement."""


@dataclass(frozen=True, slots=True)
class ReadName:
    """One place where the code reads a name. Line and column count from 1, in characters."""

    name: str
    attribute: str | None
    """What is taken from it, as `topic` in `inputs.topic` and `inputs["topic"]`."""
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class PythonNames:
    """What a body reads and assigns."""

    reads: tuple[ReadName, ...]
    """Names that it reads and nothing in it defines, builtins too, in the order of the text."""
    shadowed: tuple[ReadName, ...]
    """Names that it reads at its outermost level in a line above the one that first assigns them."""
    has_star_import: bool
    """Whether `from x import *` defines names that cannot be known."""


class PythonSyntaxError(Exception):
    """A body cannot be compiled. Line and column count from 1."""

    def __init__(self, message: str, line: int, column: int) -> None:
        """Say what is wrong where."""
        super().__init__(message, line, column)
        self.message, self.line, self.column = message, line, column


@dataclass(slots=True)
class _Scope:
    """What one function, class, comprehension or the body itself binds."""

    kind: str
    parent: _Scope | None = None
    bound: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)
    """Names that `global` or `nonlocal` hands to a scope outside."""
    loads: list[ReadName] = field(default_factory=list)


def python_names(source: str) -> PythonNames:
    """Return the names that a python body reads; top-level `await` is allowed.

    Raises:
        PythonSyntaxError: It cannot be compiled.
    """
    lines = source.split("\n")
    walker = _Walker(lines)
    try:
        with warnings.catch_warnings(action="ignore"):
            _check(source)
            for above, tree in _trees(source, lines):
                walker.body(tree, above)
    except RecursionError as error:
        raise PythonSyntaxError("the code is nested too deeply", 1, 1) from error
    module = walker.module
    reads = sorted(walker.free(), key=lambda read: (read.line, read.column))
    first = walker.first_stores
    shadowed = [read for read in module.loads if read.name in module.bound and read.line <= first.get(read.name, 0)]
    return PythonNames(tuple(reads), tuple(shadowed), walker.has_star)


def _check(source: str) -> None:
    """Let Python's own compiler look at the code."""
    try:
        compile(source, "<body>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        message = error.msg or "invalid syntax"
        raise PythonSyntaxError(message, max(1, error.lineno or 1), max(1, error.offset or 1)) from error
    except (RecursionError, MemoryError) as error:
        raise PythonSyntaxError("the code is nested too deeply", 1, 1) from error
    except (ValueError, OverflowError) as error:
        raise PythonSyntaxError(str(error), 1, 1) from error


def _trees(source: str, lines: list[str]) -> Iterator[tuple[int, ast.Module]]:
    """Yield the code's tree with the number of lines above it; of long code one part after the other, for a line takes 2 KB.

    What is cut off at a line that begins a statement, and can be parsed, is a whole number of statements.
    """
    if len(lines) <= _PART:
        yield 0, python_tree(source)
        return
    starts = [number for number, line in enumerate(lines) if _STATEMENT.match(line)]
    begin, width = 0, _PART
    while begin < len(lines):
        place = bisect_left(starts, begin + width)
        end = starts[place] if place < len(starts) else len(lines)
        try:
            tree = python_tree("\n".join(lines[begin:end]))
        except SyntaxError:
            if end == len(lines):
                raise
            width = end - begin + width
            continue
        yield begin, tree
        begin, width = end, _PART


class _Walker:
    """Finds what every scope of a body binds and reads (Python language reference, section 4.2)."""

    def __init__(self, lines: list[str]) -> None:
        self.scopes: list[_Scope] = []
        self.has_star = False
        self.first_stores: dict[str, int] = {}
        self.module = self._open("module", None)
        self._lines, self._above = lines, 0

    def body(self, tree: ast.Module, above: int) -> None:
        """Walk a part of the body that has so many lines above it."""
        self._above = above
        self._walk(tree.body, self.module)

    def free(self) -> Iterator[ReadName]:
        """Yield the names read that neither their scope nor one around it binds."""
        for scope in self.scopes:
            yield from (load for load in scope.loads if not self._is_bound(load.name, scope))

    def _read(self, node: ast.Name, attribute: str | None) -> ReadName:
        number = self._above + node.lineno
        line = self._lines[number - 1] if number <= len(self._lines) else ""
        column = node.col_offset if line.isascii() else len(line.encode()[: node.col_offset].decode(errors="ignore"))
        return ReadName(node.id, attribute, number, column + 1)

    def _is_bound(self, name: str, scope: _Scope) -> bool:
        current: _Scope | None = scope
        while current is not None:
            if (
                name in current.bound
                and (current is scope or current.kind != "class")
                and name not in current.elsewhere
            ):
                return True
            current = current.parent
        return False

    def _open(self, kind: str, parent: _Scope | None) -> _Scope:
        scope = _Scope(kind, parent)
        self.scopes.append(scope)
        return scope

    def _bind(self, name: str, scope: _Scope, line: int) -> None:
        if name in scope.elsewhere:
            self.scopes[0].bound.add(name)
        scope.bound.add(name)
        if scope.kind == "module":
            line += self._above
            self.first_stores[name] = min(line, self.first_stores.get(name, line))

    def _walk(self, nodes: Iterable[ast.AST | None], scope: _Scope) -> None:
        for node in nodes:
            if node is not None:
                self._visit(node, scope)

    def _visit(self, node: ast.AST, scope: _Scope) -> None:
        match node:
            case ast.Name():
                self._name(node, scope, None)
            case ast.Attribute(value=ast.Name() as name, attr=attribute):
                self._name(name, scope, attribute)
            case ast.Subscript(value=ast.Name() as name, slice=ast.Constant(value=str() as key)):
                self._name(name, scope, key)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self._function(node, scope)
            case ast.ClassDef():
                self._class(node, scope)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._comprehension(node, scope)
            case ast.NamedExpr(target=target, value=value):
                self._visit(value, scope)
                self._bind(target.id, _not_comprehension(scope), target.lineno)
            case ast.Global(names=names) | ast.Nonlocal(names=names) if scope.kind != "module":
                scope.elsewhere.update(names)
            case _:
                self._binding_statement(node, scope)
                self._walk(ast.iter_child_nodes(node), scope)

    def _name(self, name: ast.Name, scope: _Scope, attribute: str | None) -> None:
        if isinstance(name.ctx, ast.Load):
            scope.loads.append(self._read(name, attribute))
        else:
            self._bind(name.id, scope, name.lineno)

    def _binding_statement(self, node: ast.AST, scope: _Scope) -> None:
        """Bind what a statement names by text: imports, `except … as`, patterns."""
        match node:
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                self.has_star = self.has_star or any(alias.name == "*" for alias in names)
                for alias in names:
                    self._bind(alias.asname or alias.name.split(".")[0], scope, node.lineno)
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self._bind(name, scope, node.lineno)
            case ast.MatchMapping(rest=str(rest)):
                self._bind(rest, scope, node.lineno)
            case ast.AugAssign(target=ast.Name() as name):
                scope.loads.append(self._read(name, None))
            case _:
                pass

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: _Scope) -> None:
        arguments = node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every += [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
        self._walk([*arguments.defaults, *arguments.kw_defaults], scope)
        inner = self._open("function", scope)
        if not isinstance(node, ast.Lambda):
            self._walk([*node.decorator_list, node.returns, *(argument.annotation for argument in every)], scope)
            self._bind(node.name, scope, node.lineno)
        inner.bound |= {argument.arg for argument in every}
        inner.bound |= {parameter.name for parameter in getattr(node, "type_params", ())}
        self._walk([node.body] if isinstance(node, ast.Lambda) else node.body, inner)

    def _class(self, node: ast.ClassDef, scope: _Scope) -> None:
        self._walk([*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)], scope)
        self._bind(node.name, scope, node.lineno)
        inner = self._open("class", scope)
        inner.bound |= {"__module__", "__qualname__"}
        self._walk(node.body, inner)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp, scope: _Scope) -> None:
        self._visit(node.generators[0].iter, scope)
        inner = self._open("comprehension", scope)
        for place, generator in enumerate(node.generators):
            self._visit(generator.target, inner)
            self._walk([*(() if place == 0 else (generator.iter,)), *generator.ifs], inner)
        self._walk([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt], inner)


def _not_comprehension(scope: _Scope) -> _Scope:
    """Return the scope in which `:=` binds: the one around all comprehensions."""
    while scope.kind == "comprehension" and scope.parent is not None:
        scope = scope.parent
    return scope
