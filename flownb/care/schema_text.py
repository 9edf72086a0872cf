"""The JSON Schemas that are kept in the package."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

NAMES: Final = ("state", "journal", "decision", "front-matter", "properties")
"""What there is a schema of."""


def schema_text(name: str) -> str:
    """Return a schema as JSON.

    Args:
        name: One of `NAMES`.
    """
    return (files("flownb") / "schema" / f"{name}.json").read_text(encoding="utf-8")
