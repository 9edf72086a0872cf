"""A value on its way into a bash script: never a part of the script's text, always a variable that it gets."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from flownb.templates.filters import to_argument, to_word
from flownb.templates.limits import BUDGET


@dataclass(frozen=True, slots=True)
class Slot:
    """One place of a script where a value goes."""

    offset: int
    """Where it stands in the template, counted from 0."""
    items: tuple[str, ...] = ("",)
    """The value as text; of a list its items."""
    is_list: bool = False
    """Whether the value is a list, which is one word for each item."""
    quoted: str | None = None
    """What stands inside quotes where `| quote` came last: text for another shell, as in `ssh host "ls {{ x | quote }}"`."""

    @property
    def size(self) -> int:
        """How many characters it has."""
        return sum(map(len, self.items))


def to_slot(value: object, offset: int, *, quote: bool = False) -> Slot:
    """Return the slot that holds a value; its size is taken from the budget.

    Args:
        value: Any value that is there. A list is its items; an object, and a list in a list, is its JSON.
        offset: Where it stands in the template, counted from 0.
        quote: Whether `| quote` came last: where the value stands bare it is one word all the same.

    Raises:
        ValueError: It holds a NUL, which bash cannot hold.
    """
    is_list = isinstance(value, list | tuple | AbstractSet | range) and not quote
    items = BUDGET.get().gather(value) if is_list else [value]  # type: ignore[arg-type]  # A list.
    slot = Slot(offset, tuple(map(to_argument, items)), is_list, to_word(value) if quote else None)
    BUDGET.get().spend(slot.size)
    return slot
