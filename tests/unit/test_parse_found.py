from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from flownb.errors import Diagnostic, Severity
from flownb.parse.found import MAX_PROBLEMS, Found, collected, problem, told, warning
from flownb.text.codes import Code
from flownb.text.spans import Span

PARSE = Path(__file__).parents[2] / "flownb" / "parse"


def at(line: int, column: int = 1, source: str = "a") -> Span:
    return Span(source, line, column)


def test_what_is_found_comes_with_the_value() -> None:
    def inner() -> Found[int]:
        yield warning(Code.RAW, "one", at(1))
        return 7

    def outer() -> Found[str]:
        value = yield from inner()
        yield problem(Code.BAD_ID, "two", at(2))
        return str(value)

    value, found = collected(outer())
    assert value == "7"
    assert [(item.message, item.severity) for item in found] == [("one", Severity.WARNING), ("two", Severity.ERROR)]


def test_each_place_is_told_once_for_the_same_thing_in_the_order_of_the_text() -> None:
    found = [
        problem(Code.BAD_ID, "of another", at(1, source="b")),
        problem(Code.BAD_ID, "late", at(9)),
        problem(Code.BAD_ID, "first", at(2, 3)),
        problem(Code.BAD_ID, "again", at(2, 3)),
        problem(Code.RAW, "another code", at(2, 3)),
        problem(Code.BAD_ID, "early", at(2, 1)),
    ]
    assert [item.message for item in told(found, "a")] == ["early", "first", "another code", "late", "of another"]


def test_no_more_is_looked_for_than_is_told() -> None:
    taken: list[int] = []

    def endless() -> Iterator[Diagnostic]:
        number = 0
        while True:
            number += 1
            taken.append(number)
            yield problem(Code.BAD_ID, "x", at(number))

    assert len(told(endless(), "a")) == MAX_PROBLEMS
    assert len(taken) == MAX_PROBLEMS + 1


def test_an_error_behind_many_warnings_is_told() -> None:
    warnings = [warning(Code.RAW, "x", at(number)) for number in range(1, MAX_PROBLEMS + 10)]
    found = told([*warnings, problem(Code.BAD_ID, "bad", at(5000))], "a")
    assert len(found) == MAX_PROBLEMS
    assert [item.message for item in found if item.severity is Severity.ERROR] == ["bad"]


def test_a_message_is_one_line_of_visible_characters() -> None:
    found = problem(Code.BAD_ID, "a\nb\u202ec", at(1), "d\0")
    assert (found.message, found.hint) == ("a\\nb\\u202ec", "d\\x00")


def test_nothing_that_is_found_is_dropped() -> None:
    """A generator that is called and not gone through finds nothing, and no type checker says so."""
    texts = [path.read_text() for path in PARSE.glob("*.py")]
    trees = [ast.parse(text) for text in texts if "import Found" in text]
    public = {name for tree in trees for name in finders(tree) if not name.startswith("_")}
    assert len(public) > 20
    dropped = [
        ast.unparse(node)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and called(node.value) in public | finders(tree)
    ]
    assert dropped == []


def finders(tree: ast.Module) -> set[str]:
    functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.returns)
    return {node.name for node in functions if node.returns and ast.unparse(node.returns).startswith("Found[")}


def called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
