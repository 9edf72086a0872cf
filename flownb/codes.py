"""The codes of everything that can be wrong with a workflow's text."""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """A kind of mistake. The text is stable: tools and people look it up by it."""
