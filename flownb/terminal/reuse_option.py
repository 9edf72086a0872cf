"""The option `--reuse [ID]`: it takes a run's id where one follows, and never the document."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from flownb.store.paths import LAST

REUSE: Final = "--reuse"
"""The option."""


def with_reuse_said(words: Sequence[str]) -> list[str]:
    """Return arguments in which `--reuse` has its value with it: what follows, else `last`.

    What follows is no id where it is an option, or names a document: `flownb run --reuse weekly.flow.md`.
    """
    found: list[str] = []
    is_taken = False
    for word, following in pairwise([*words, ""]):
        if is_taken:
            is_taken = False
        elif word == REUSE:
            is_taken = bool(following) and not following.startswith("-") and not _is_document(following)
            found.append(f"{REUSE}={following if is_taken else LAST}")
        else:
            found.append(word)
    return found


def _is_document(word: str) -> bool:
    path = word.partition("#")[0]
    return path.endswith((".md", ".ipynb")) or "/" in word or Path(path).is_file()
