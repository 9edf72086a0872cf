"""Golden files: cases written as *title / . / input / . / expected / .*, as markdown-it writes them.

A test takes one case at a time and the `check_golden` fixture:

    @golden("diagnostics.md")
    def test_mistake_is_reported(case: Case, check_golden: CheckGolden) -> None:
        check_golden(case, render_problems(problems_in(case.input)))

`pytest --regen` writes what came out into the file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """One text and what it gives."""

    path: Path
    """The golden file."""
    line: int
    """The title's line, counted from 1."""
    title: str
    """What the case shows; no two in a file are the same."""
    input: str
    """The text, without the last line break."""
    expected: str
    """What comes out, without the last line break."""

    def rewrite(self, actual: str) -> None:
        """Put `actual` into the file in place of what was expected; the rest of the file stays as it is."""
        lines = self.path.read_text(encoding="utf-8").split("\n")
        for title_line, first, last in _bounds(lines, self.path):
            if lines[title_line].strip() == self.title:
                lines[first + 1 : last] = actual.rstrip("\n").split("\n")
                break
        self.path.write_text("\n".join(lines), encoding="utf-8")


CheckGolden = Callable[[Case, str], None]
"""The type of the `check_golden` fixture."""


def _bounds(lines: list[str], path: Path) -> list[tuple[int, int, int]]:
    """Return each case's title line and the lines of its second and third dot, counted from 0."""
    dots = [number for number, line in enumerate(lines) if line.rstrip() == "."]
    if len(dots) % 3:
        raise ValueError(f"{path.name}: {len(dots)} lines with a lone dot: each case has three")
    found = []
    for opening, middle, closing in zip(dots[0::3], dots[1::3], dots[2::3], strict=True):
        found.append((opening - 1, middle, closing))
    return found


def read_cases(path: Path) -> list[Case]:
    """Return a golden file's cases.

    Raises:
        ValueError: A dot is missing, or two cases have one title.
    """
    lines = path.read_text(encoding="utf-8").split("\n")
    cases = [
        Case(
            path=path,
            line=title + 1,
            title=lines[title].strip(),
            input="\n".join(lines[title + 2 : middle]),
            expected="\n".join(lines[middle + 1 : last]).rstrip("\n"),
        )
        for title, middle, last in _bounds(lines, path)
    ]
    titles = [case.title for case in cases]
    if len(set(titles)) < len(titles):
        raise ValueError(f"{path.name}: two cases have the same title")
    return cases


def golden(name: str) -> pytest.MarkDecorator:
    """Run a test once for each case of a golden file, as its argument `case`."""
    cases = read_cases(FOLDER / name)
    return pytest.mark.parametrize("case", cases, ids=[case.title for case in cases])
