"""Python code to its syntax tree, on whatever thread."""

from __future__ import annotations

import ast
from typing import Any, Final

_TRIES: Final = 5


def python_tree(source: str, filename: str = "<text>", mode: str = "exec", flags: int = 0) -> Any:  # Any: as `compile`.
    """Return the syntax tree of some code; thread-safe.

    Where two threads build trees at once, CPython 3.11 now and then raises SystemError ("AST constructor recursion depth
    mismatch", cpython#106905): one of them counts what the other does. The next try begins to count anew.

    Args:
        source: The code.
        filename: What its errors and tracebacks call it.
        mode: As `compile`'s: `exec` or `eval`.
        flags: As `compile`'s, besides that for a tree.

    Raises:
        SyntaxError: It is no Python.
        ValueError: It holds a NUL character.
        RecursionError: It is nested too deeply.
    """
    for _ in range(_TRIES):
        try:
            return compile(source, filename, mode, flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        except SystemError:
            continue
    return compile(source, filename, mode, flags | ast.PyCF_ONLY_AST, dont_inherit=True)
