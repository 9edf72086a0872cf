"""The known word that a mistyped one probably meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_BUDGET: Final = 200_000
"""How many letters of a mistyped word are compared with all candidates at most, so that no text takes long."""


def distance(one: str, other: str, limit: int) -> int:
    """Return how many letters must be added, removed, replaced or swapped with the next; `limit + 1` where more.

    Source: optimal string alignment, https://en.wikipedia.org/wiki/Damerau-Levenshtein_distance
    """
    if abs(len(one) - len(other)) > limit:
        return limit + 1
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, against in enumerate(other, 1):
            cost = min(last[column] + 1, current[-1] + 1, last[column - 1] + (letter != against))
            if before and column > 1 and letter == other[column - 2] and one[row - 2] == against:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        if min(current) > limit:
            return limit + 1
        before, last = last, current
    return min(last[-1], limit + 1)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word closest to a mistyped one; None where none is close.

    Case does not count. One mistake is allowed in words of up to four letters, two in longer ones.
    """
    lowered = word.casefold()
    limit = 1 if len(word) <= 4 else 2  # noqa: PLR2004 said above
    if len(lowered) > 64:  # noqa: PLR2004 no id that somebody typed
        return None
    best, best_distance, budget = None, limit + 1, _BUDGET
    for candidate in known:
        if abs(len(candidate) - len(lowered)) > limit:
            continue
        budget -= len(candidate) * len(lowered)
        if budget < 0:
            break
        found = distance(lowered, candidate.casefold(), limit)
        if found < best_distance and found < len(candidate):
            best, best_distance = candidate, found
    return best


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """Return `did you mean 'x'?`, or `otherwise` where nothing is close."""
    found = nearest(word, known)
    return f"did you mean '{found}'?" if found else otherwise


def one_of(words: Iterable[str]) -> str:
    """Return `a, b or c`."""
    listed = list(words)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} or {listed[-1]}" if listed else "nothing"
