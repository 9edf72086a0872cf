"""What a value shows of itself in a few rows of text: what a person saw when deciding, kept for the log."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from flownb.render.inert import cut

MOST_ROWS: Final = 20
"""Most rows of a table, items of a list, or lines of a text."""
_MOST_CHARACTERS: Final = 4_000
_ROW_CHARACTERS: Final = 200


def size_of(value: object) -> str:
    """Return the size of a table or an array, rows first; empty where it has none."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not all(type(part) is int for part in shape):
        return ""
    return " \N{MULTIPLICATION SIGN} ".join(f"{part:,}" for part in shape)


def rows_of(value: object) -> str:
    """Return at most 20 rows of a value, and how many there are where that is not all.

    Args:
        value: Anything: a table or an array is asked for its own text, data is written as JSON.
    """
    if isinstance(value, str):
        rows = value.split("\n")
    elif isinstance(value, Mapping):
        rows = _json(value, indent=2).split("\n")
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        rows = [_json(item) for item in value[:MOST_ROWS]]
        rows += [""] * (len(value) - len(rows))
    else:
        return _own_text(value)
    shown = [cut(row, _ROW_CHARACTERS) for row in rows[:MOST_ROWS]]
    more = [f"… {len(rows) - MOST_ROWS:,} more"] if len(rows) > MOST_ROWS else []
    return cut("\n".join([*shown, *more]), _MOST_CHARACTERS)


def _own_text(value: object) -> str:
    """Return what an object says of itself; of a table and an array its first rows and its size."""
    size = size_of(value)
    try:
        text = repr(value[:MOST_ROWS] if size else value)  # type: ignore[index] # what has a shape has rows, or raises
    except Exception:  # noqa: BLE001 a stranger's object
        text = f"({type(value).__qualname__})"
    rows = text.split("\n")[: MOST_ROWS + 3]  # A table's heading, and what it says of its size.
    return cut(
        "\n".join([*(cut(row, _ROW_CHARACTERS) for row in rows), *([f"({size})"] if size else [])]), _MOST_CHARACTERS
    )


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr, indent=indent)
