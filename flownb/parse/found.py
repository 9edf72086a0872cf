"""What is wrong with a text, as data: found one by one on the way to a value, told once at the end."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Final, TypeVar

from flownb.errors import Diagnostic, Severity
from flownb.text.codes import Code
from flownb.text.spans import Span

MAX_PROBLEMS: Final = 1000
"""The most problems that are told of one document."""

T = TypeVar("T")
Found = Generator[Diagnostic, None, T]
"""Yields what is wrong and returns a value; `value = yield from f(…)` hands on what `f` finds."""


def problem(code: Code, message: str, span: Span, hint: str = "") -> Diagnostic:
    """Return an error."""
    return Diagnostic(code=code, message=_one_line(message), span=span, hint=_one_line(hint))


def warning(code: Code, message: str, span: Span, hint: str = "") -> Diagnostic:
    """Return a warning."""
    return problem(code, message, span, hint).model_copy(update={"severity": Severity.WARNING})


def collected(found: Found[T]) -> tuple[T, tuple[Diagnostic, ...]]:
    """Return the value, and all that was found on the way to it."""
    problems: list[Diagnostic] = []
    while True:
        try:
            problems.append(next(found))
        except StopIteration as end:
            value: T = end.value
            return value, tuple(problems)


def has_errors(found: Iterable[Diagnostic]) -> bool:
    """Return whether anything found keeps the workflow from running."""
    return any(item.severity is Severity.ERROR for item in found)


def told(found: Iterable[Diagnostic], source: str) -> list[Diagnostic]:
    """Return what is told, in the order of the text, that of other documents below: each place once for the same thing.

    Args:
        found: What was found, in the order of finding. No more is taken than is told, and one error, if there is any.
        source: What the document itself is called.
    """
    first: dict[tuple[Code, Span], Diagnostic] = {}
    is_bad = False
    for item in found:
        if len(first) < MAX_PROBLEMS:
            first.setdefault((item.code, item.span), item)
            is_bad = is_bad or item.severity is Severity.ERROR
        elif is_bad:
            break
        elif item.severity is Severity.ERROR:
            first.popitem()
            first[item.code, item.span] = item
            break
    return sorted(
        first.values(),
        key=lambda item: (item.span.source != source, item.span.source, item.span.line, item.span.column),
    )


def _one_line(text: str) -> str:
    """Return a text as one line in which nothing is invisible or turns the reading direction."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
