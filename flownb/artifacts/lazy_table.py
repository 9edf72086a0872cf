"""A table that is read where it is stored, by whoever can do that without loading it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

PLACED: Final = frozenset({"pandas.DataFrame", "polars.DataFrame", "pyarrow.Table"})
"""Types whose files hold a column for each of theirs."""


@dataclass(frozen=True, slots=True)
class LazyTable:
    """A stored table that nobody has loaded yet."""

    kind: str
    """Its type, as `pandas.DataFrame`."""
    path: Callable[[], Path]
    """Returns where its Parquet file is, seen to match its name; blocks, and raises FlowError where it is damaged."""
    load: Callable[[], object]
    """Returns the table itself; blocks, and raises FlowError where it is damaged."""


def placed_in(output: JsonValue) -> tuple[str, str] | None:
    """Return type and file of a stored table that may be read where it is; None: it is no such table.

    Args:
        output: What `encode` returned as tagged.
    """
    if not isinstance(output, dict):
        return None
    kind, name = output.get("type"), output.get("$artifact")
    if isinstance(kind, str) and kind in PLACED and isinstance(name, str) and name.endswith(".parquet"):
        return kind, name
    return None
