"""Python bodies: code with the line numbers that its author sees, run where the node's executor says."""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import CodeType
from typing import Final

from flownb.errors import NodeError
from flownb.model.nodes import Leaf
from flownb.model.record import Record, plain
from flownb.runtimes.base import Scope
from flownb.runtimes.output import redacted
from flownb.text.python import python_tree

_VALUE: Final = "_flownb_value"
_RECORDS: Final = ("inputs", "secrets", "env", "run", "nodes", "error", "loop")


@dataclass(frozen=True, slots=True)
class PythonBody:
    """One call of a body: all that is needed to carry it out here or in another process (it pickles if its values do).

    Calling it returns the value of the last statement if that is an expression, else None. Every call has names of its own.
    """

    source: str
    """The code."""
    filename: str = "<text>"
    """What tracebacks call the text that holds it, as `In[7]`."""
    first_line: int = 1
    """The code's first line in that text, counted from 1."""
    values: Mapping[str, object] = field(default_factory=dict, repr=False)
    """Name → value, for every name that is there beside the builtins; whoever logs a body does not show them."""
    folder: str = ""
    """The document's folder, whose modules it can import, wherever it is carried out; empty: none."""

    @property
    def is_async(self) -> bool:
        """Whether it awaits something outside of functions: then `begin` is to be called in place of it.

        Raises:
            SyntaxError: It is no Python.
        """
        return bool(compile_body(self.source, self.filename, self.first_line).co_flags & inspect.CO_COROUTINE)

    def __call__(self) -> object:
        """Carry it out and return its value; blocks."""
        code = compile_body(self.source, self.filename, self.first_line)
        return enter_body(code, self._names())

    async def begin(self) -> object:
        """Carry out one that awaits, and return its value."""
        code = compile_body(self.source, self.filename, self.first_line)
        return await enter_body_async(code, self._names())

    def _names(self) -> dict[str, object]:
        see_modules_in(self.folder)
        return {"__name__": "__main__", **self.values}


class PythonRuntime:
    """Runs `python` nodes."""

    def __init__(
        self, transform: Callable[[str], str] | None = None, names: Mapping[str, object] | None = None
    ) -> None:
        """Make the runtime of a plain Python program, or of a notebook.

        Args:
            transform: Turns what only a notebook knows (`!ls`, `%time`) into Python and keeps the lines' count; None: nothing does.
            names: What such lines need in scope, as `get_ipython`.
        """
        self._transform = lru_cache(maxsize=1024)(transform) if transform else None
        self._names = dict(names or {})

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Run the body where the scope's caller says, and return its value."""
        place = node.spans.get("body", node.span)
        source = self._transform(node.body) if self._transform else node.body
        values = {**self._names, **scope.values}
        for name in _RECORDS:
            if type(values.get(name)) is dict:
                values[name] = Record(values[name])  # type: ignore[arg-type]  # The line above looked.
        body = PythonBody(source, place.source, place.line, values, str(scope.folder.absolute()))
        show = redacted(scope)
        try:
            if body.is_async:
                value = await scope.caller.run_async(body.begin, show)
            else:
                value = await scope.caller.run(body, show)
        finally:
            show.end()
        if inspect.iscoroutine(value):
            value.close()
            raise NodeError("the value is a coroutine that nobody awaited", "write `await` before the call")
        return plain(value) if isinstance(value, Record) else value


def see_modules_in(folder: str) -> None:
    """Let modules in a folder be imported, before others of their names, as Python does for a script's own; thread-safe.

    Args:
        folder: An absolute path; empty: nothing is done.
    """
    if folder and folder not in sys.path:
        sys.path.insert(0, folder)


@lru_cache(maxsize=2048)
def compile_body(source: str, filename: str, first_line: int) -> CodeType:
    """Return the body's code, with the lines of the text that holds it; tracebacks find its text through linecache.

    Raises:
        SyntaxError: It is no Python; the line is the text's.
    """
    _remember_lines(source, filename, first_line)
    above = first_line - 1
    try:
        code = _one_expression(source, filename) or _statements(source, filename)
    except SyntaxError as error:
        error.lineno = error.lineno and error.lineno + above
        error.end_lineno = error.end_lineno and error.end_lineno + above
        raise
    return _moved(code, above)


def _one_expression(source: str, filename: str) -> CodeType | None:
    """Return the code of a body that is one expression on one line, a third of the work; None: it is more than that."""
    if "\n" in source.rstrip("\n") or source[:1].isspace():
        return None
    try:
        code: CodeType = compile(source, filename, "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError:
        return None  # It may be a statement.
    return code


def _statements(source: str, filename: str) -> CodeType:
    """Return the code of any body; the value of a last expression goes into a name."""
    tree: ast.Module = python_tree(source, filename, flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    if tree.body and isinstance(tree.body[-1], ast.Expr):
        last = tree.body[-1]
        target = ast.copy_location(ast.Name(_VALUE, ast.Store()), last)
        tree.body[-1] = ast.copy_location(ast.Assign([target], last.value), last)
    code: CodeType = compile(tree, filename, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


def _moved(code: CodeType, above: int) -> CodeType:
    """Return code whose lines stand further below. Empty lines before the text would cost as much as what is above is long."""
    inner = tuple(_moved(part, above) if isinstance(part, CodeType) else part for part in code.co_consts)
    return code.replace(co_firstlineno=code.co_firstlineno + above, co_consts=inner)


def _remember_lines(source: str, filename: str, first_line: int) -> None:
    """Lay the body's lines over what linecache has of its text; without a time of change it is never dropped as stale."""
    known = linecache.cache.get(filename)
    lines: list[str] = []
    if known is not None and len(known) > 2:  # noqa: PLR2004 A lazy entry has one field.
        lines = known[2] if known[1] is None else list(known[2])  # Ours is not copied: there are many bodies in a text.
    body = [line + "\n" for line in source.split("\n")]
    end = first_line - 1 + len(body)
    lines.extend(["\n"] * (end - len(lines)))
    lines[first_line - 1 : end] = body
    linecache.cache[filename] = (0, None, lines, filename)  # The size is looked at only beside a time of change.


def enter_body(code: CodeType, names: dict[str, object]) -> object:
    """Carry out code and return the last expression's value. The name is known to flownb.runtimes.frames."""
    value: object = eval(code, names)  # noqa: S307 Running the person's code is what this is for.
    return names.pop(_VALUE, value)


async def enter_body_async(code: CodeType, names: dict[str, object]) -> object:
    """Do the same for code that awaits."""
    value = await eval(code, names)  # noqa: S307 The same.
    return names.pop(_VALUE, value)
