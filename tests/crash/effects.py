"""What bodies of a run did in this process: each marks its key, as a body in the world outside would."""

from __future__ import annotations

from collections import Counter

MARKS: Counter[str] = Counter()
"""Key → how often its body got to its end."""


def mark(key: str) -> None:
    """Have an effect."""
    MARKS[key] += 1
