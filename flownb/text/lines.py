"""A text's lines, and a text as one line of a message."""

from __future__ import annotations


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a text as CommonMark cuts them: at `\\n`, `\\r\\n` and `\\r` only, without a BOM."""
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")


def shortened(text: str, limit: int = 60) -> str:
    """Return a text in one line of at most `limit` characters, for a message."""
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"
