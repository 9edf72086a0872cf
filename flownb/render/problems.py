"""Problems of a text, drawn: each with its line, a caret under the place, and the hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue
from rich.cells import cell_len

from flownb.errors import Diagnostic
from flownb.render.inert import visible

_MAX_WIDTH: Final = 160
"""The most columns of a line that are shown; the rest is cut around the place."""


def render_problems(problems: Sequence[Diagnostic], text: str, first_line: int = 1, source: str | None = None) -> str:
    """Return problems as text: `FILE:LINE:COLUMN: error[code]: message`, the line with a caret, `hint: …`.

    Args:
        problems: What is wrong, in the order in which it is to be shown.
        text: The document.
        first_line: The number of the text's first line: 2 in a cell.
        source: What the spans call the text: a problem of another document, a sub-flow's, is shown without its line.
            None: what the first problem calls it.
    """
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    own = source if source is not None else problems[0].span.source if problems else ""
    return "\n\n".join(_drawn(problem, lines if problem.span.source == own else [], first_line) for problem in problems)


def problems_json(problems: Sequence[Diagnostic]) -> list[dict[str, JsonValue]]:
    """Return problems as records: `{file, line, column, severity, code, message, hint}`."""
    return [
        {
            "file": problem.span.source,
            "line": problem.span.line,
            "column": problem.span.column,
            "severity": str(problem.severity),
            "code": str(problem.code),
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in problems
    ]


def _drawn(problem: Diagnostic, lines: Sequence[str], first_line: int) -> str:
    parts = [str(problem)]
    number = problem.span.line - first_line
    if 0 <= number < len(lines) and lines[number] and not lines[number].isspace():
        parts += _with_caret(lines[number], problem.span.column - 1, problem.span.length)
    if problem.hint:
        parts.append(f"hint: {problem.hint}")
    return visible("\n".join(parts))


def _with_caret(line: str, column: int, length: int) -> list[str]:
    """Return a line and the marks below a stretch of it; tabs stay, so that both lines are indented alike."""
    start = min(column, len(line))
    first = max(0, start - _MAX_WIDTH // 2) if len(line) > _MAX_WIDTH else 0
    near = line[first : first + 2 * _MAX_WIDTH]
    shown = "".join(letter if letter.isprintable() or letter == "\t" else "\ufffd" for letter in near)
    before, under = shown[: start - first], shown[start - first : start - first + length]
    cut = shown[:_MAX_WIDTH].rstrip()
    lead = "…" if first else ""
    blank = "".join("\t" if letter == "\t" else " " * cell_len(letter) for letter in lead + before)
    marks = "^" * max(1, min(cell_len(under.rstrip()), _MAX_WIDTH - len(before)))
    tail = "…" if len(shown) > _MAX_WIDTH else ""
    return [f"  {lead}{cut}{tail}", f"  {blank}{marks}"]
