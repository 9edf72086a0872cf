"""What databases say when something goes wrong, without what must not be seen."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from flownb.errors import DatabaseConnectionError, QueryError, kinds_of
from flownb.templates.terms import REDACTED

_POINTER: Final = re.compile(r"^(?:LINE \d+:|CONTEXT:|\s*\^)")
"""Lines that show the statement: it is not as the person wrote it."""
_LONGEST: Final = 1000

Hide = Callable[[str], str]
"""Takes out of a text what must not be seen."""


def hiding(words: Collection[str]) -> Hide:
    """Return what takes some words, as a password, out of a text."""
    found = sorted(filter(None, words), key=len, reverse=True)

    def hide(text: str) -> str:
        for word in found:
            text = text.replace(word, REDACTED)
        return text

    return hide


def refused(error: BaseException, hide: Hide, hint: str = "", *, is_lost: bool = False) -> QueryError:
    """Return the error of a driver as flownb's: its class, what it says, and the names by which `retry: {on: …}` knows it.

    Args:
        error: The driver's.
        hide: Takes out what must not be seen.
        hint: What to do about it.
        is_lost: Whether there is no connection.
    """
    lines = [line.strip() for line in str(error).splitlines()]
    said = "; ".join(line for line in lines if line and not _POINTER.match(line))
    said = hide(said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…")
    kind = DatabaseConnectionError if is_lost else QueryError
    return kind(f"{type(error).__name__}: {said}", hint, tuple(dict.fromkeys(kinds_of(error))))
