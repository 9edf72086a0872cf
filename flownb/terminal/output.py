"""What the command line says: results on standard output, all else on standard error."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from pydantic import JsonValue
from pydantic_core import to_json

from flownb.errors import Diagnostic, FlowError
from flownb.parse.notebook import flow_cells
from flownb.render.inert import visible, visible_json
from flownb.render.problems import render_problems
from flownb.runs.prepare import read_text


def draw_problems(problems: Sequence[Diagnostic]) -> str:
    """Return problems with their lines, whatever documents these stand in."""
    texts = {problem.span.source: _text_of(problem.span.source) for problem in problems}
    return "\n\n".join(render_problems([problem], *texts[problem.span.source]) for problem in problems)


def _text_of(source: str) -> tuple[str, int]:
    """Return a document's text and the number of its first line; an empty text where it is gone."""
    path, is_cell, index = source.partition("#cell ")
    try:
        if not is_cell:
            return read_text(Path(path)), 1
        return next((cell.text, cell.first_line) for cell in flow_cells(Path(path)) if str(cell.index) == index)
    except (FlowError, StopIteration):
        return "", 1


def print_result(result: str | Mapping[str, JsonValue] | Sequence[Mapping[str, JsonValue]]) -> None:
    """Write a result to standard output: text, or data as JSON in which what is no number is null; neither moves a terminal."""
    if isinstance(result, str):
        text = visible(result)
    else:
        text = visible_json(to_json(result, indent=2, inf_nan_mode="null").decode())
    click.echo(text.removesuffix("\n"))


def say(text: str) -> None:
    """Write to standard error."""
    click.echo(visible(text), err=True)


def leave_closed_terminal() -> None:
    """Let all that would be written to a terminal that was closed go nowhere: it can only fail."""
    for number in (1, 2):
        try:
            os.write(number, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, number)
            os.close(nowhere)


def tell(message: str, hint: str = "") -> None:
    """Write an error and what to do about it to standard error."""
    say(f"error: {message}" + (f"\nhint: {hint}" if hint else ""))
