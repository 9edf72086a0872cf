"""IPython's own lines (`!ls`, `%time`) in a body, rewritten to Python without moving any line."""

from __future__ import annotations

from collections.abc import Callable
from difflib import SequenceMatcher


def keeping_lines(transform: Callable[[str], str]) -> Callable[[str], str]:
    """Return a cell transformer whose result has the lines of its source where they were.

    Args:
        transform: The shell's `transform_cell`: drops blank lines at the start, joins a command's continued lines.
    """

    def transformed(source: str) -> str:
        stripped = source.lstrip("\n")
        lead = len(source) - len(stripped)
        before = stripped.split("\n")
        after = transform(stripped).rstrip("\n").split("\n")
        after += [""] * (len(before) - len(after)) if before[: len(after)] == after else []
        if len(after) != len(before):
            after = _aligned(before, after)
        return "\n" * lead + "\n".join(after)

    return transformed


def _aligned(before: list[str], after: list[str]) -> list[str]:
    """Put blank lines behind what became shorter."""
    lines: list[str] = []
    for _, i1, i2, j1, j2 in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        lines += after[j1:j2]
        lines += [""] * ((i2 - i1) - (j2 - j1))
    return lines
