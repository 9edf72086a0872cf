"""Values on their way into an SQL statement: never a part of its text, always parameters that are bound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

ROW: Final = "row"
"""What a statement that is carried out for many rows calls each of them."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One place of a statement where a value goes."""

    size: ClassVar[int] = 1
    """What it takes of the template's size: the value itself is handed over, not copied."""
    offset: int
    """Where it stands in the template, counted from 0."""
    value: object = None
    """The value as it is."""


@dataclass(frozen=True, slots=True)
class Column:
    """Stands for what each of many rows has under a name."""

    name: str
    """The name."""


class EachRow(Mapping[str, Column]):
    """Stands for each of many rows in turn: whatever is asked of it is one of their columns."""

    def __getitem__(self, name: str) -> Column:
        return Column(str(name))

    def __contains__(self, _name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that is bound."""

    value: object
    """The value; a `Column` where each of many rows gives it."""


@dataclass(frozen=True, slots=True)
class NoItems:
    """`IN` and an empty list: nothing is in it, which databases have no common way to say."""

    is_not: bool
    """Whether it is `NOT IN`."""


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement without its values, which stand beside it."""

    pieces: tuple[str | Parameter | NoItems, ...]
    """Text and what is bound between it, in order."""

    @property
    def text(self) -> str:
        """The text, with `?` for every value."""
        return "".join(piece if isinstance(piece, str) else "?" for piece in self.pieces)
