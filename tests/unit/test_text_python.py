"""Code becomes a tree on any number of threads."""

from __future__ import annotations

import ast
import builtins
from typing import Any

import pytest

from flownb.text.python import python_tree


def test_it_is_the_tree_that_python_reads() -> None:
    assert ast.dump(python_tree("a = 1\nb")) == ast.dump(ast.parse("a = 1\nb"))
    assert isinstance(python_tree("a + 1", mode="eval"), ast.Expression)
    assert isinstance(python_tree("await a", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), ast.Module)


@pytest.mark.parametrize("stumbles, ends", [(1, True), (5, True), (6, False)])
def test_a_stumble_over_another_thread_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, stumbles: int, *, ends: bool
) -> None:
    """CPython 3.11 raises this about once in 8 s where four threads parse and the garbage collector runs `__del__`s."""
    left, real = [stumbles], builtins.compile

    def stumbling(*arguments: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise SystemError("AST constructor recursion depth mismatch (before=15, after=10)")
        return real(*arguments, **named)

    monkeypatch.setattr(builtins, "compile", stumbling)
    if ends:
        assert isinstance(python_tree("a"), ast.Module)
    else:
        with pytest.raises(SystemError):
            python_tree("a")


def test_no_python_is_a_syntax_error() -> None:
    with pytest.raises(SyntaxError, match="never closed"):
        python_tree("a = (")
