"""Places in a text: which line and column of which cell or file, as the person counts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of one line, or a place where a longer stretch begins.

    Lines and columns count from 1. In a cell the `%%flow` line is line 1.
    """

    source: str
    """What holds the text: a file's path as it was given, `In[7]`, or `nb.ipynb#cell 3`."""
    line: int = 1
    """The line, counted from 1, as an editor or JupyterLab numbers it."""
    column: int = 1
    """The first character's column, counted from 1."""
    length: int = 1
    """How many characters of the line it covers, at least 1."""

    def moved(self, lines: int, column: int, length: int = 1) -> Span:
        """Return the span of something `lines` below this one, at `column` of that line.

        Args:
            lines: How many lines further down; 0 is this span's own line.
            column: The column counted from 1 in the whole line.
            length: How many characters it covers.
        """
        return Span(self.source, self.line + lines, column, max(1, length))

    def __str__(self) -> str:
        """Return `source:line`, as messages name a place."""
        return f"{self.source}:{self.line}"


Locate = Callable[[int, int, int], Span]
"""Line and column of a text, both counted from 0, and a length → where that is in the document."""


def both_lines(first: Span, second: Span) -> str:
    """Return `lines 3 and 9`, or `both in line 3`."""
    return f"both in line {first.line}" if first.line == second.line else f"lines {first.line} and {second.line}"
