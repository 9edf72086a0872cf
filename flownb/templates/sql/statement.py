"""Makes a statement of a text and its values: what is bound in the place of each, and where none can stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, Protocol

from flownb.templates.limits import BUDGET
from flownb.templates.sql.tokens import Token, TokenKind, tokens_of
from flownb.templates.sql.value import Bound, NoItems, Parameter, Statement

_STAND_IN: Final = "\ufdd0"
"""Stands for a value while the text is looked at: a character that Unicode leaves to programs."""


class _HasOffset(Protocol):
    @property
    def offset(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A value that cannot stand where it does."""

    offset: int
    """Where it stands in the template, counted from 0."""
    where: str
    """Where that is, as `inside single quotes`."""
    hint: str
    """What to write; `{}` stands for the `{{ … }}`."""


def check_statement(parts: Sequence[str | _HasOffset]) -> list[Misplaced]:
    """Return the values of a statement that cannot stand where they do.

    Args:
        parts: The stretches of the statement's text, and the slots between them.
    """
    return [place for place in _Places(parts).found if isinstance(place, Misplaced)]


def make_statement(parts: Sequence[str | Bound], refuse: Callable[[Misplaced], Exception]) -> Statement:
    """Return a statement that can be carried out.

    Args:
        parts: The stretches of the statement's text, and the values between them.
        refuse: Makes the error that is raised for a value that cannot stand where it does.
    """
    places = _Places(parts)
    pieces: list[str | Parameter | NoItems] = []
    done = 0
    for slot, start, place in zip(places.slots, places.starts, places.found, strict=True):
        if isinstance(place, Misplaced):
            raise refuse(place)
        assert isinstance(slot, Bound)
        items = _items(slot.value) if place.is_put else None
        if items == []:
            if place.in_start < 0:
                hint = "an empty list can only stand behind IN, as `IN {}`"
                raise refuse(Misplaced(slot.offset, "where a value is needed, and it is an empty list", hint))
            pieces += [places.text[done : place.in_start], NoItems(place.is_not)]
            done = place.in_end
            continue
        pieces.append(places.text[done:start])
        pieces += _bound(slot.value, is_bare=place.is_among) if place.is_put else ()
        done = start + 1
    pieces.append(places.text[done:])
    return Statement(tuple(_joined(pieces)))


def _items(value: Any) -> list[object] | None:  # Any: whatever a node made.
    """Return the items of a list, a set, an array or a column of a table; None: it is a value by itself."""
    to_list = getattr(value, "tolist", None) or getattr(value, "to_list", None)
    if callable(to_list) and not isinstance(value, type):
        value = to_list()  # Of one number it makes that.
    if not isinstance(value, list | tuple | AbstractSet | range | ValuesView):
        return None
    return BUDGET.get().gather(value)


def _bound(value: object, *, is_bare: bool = False) -> Iterator[str | Parameter]:
    """Yield what stands for a value: of a list its items, in parentheses where it does not stand in some."""
    items = _items(value)
    if items is None:
        yield Parameter(value)
        return
    if not is_bare:
        yield "("
    for place, item in enumerate(items):
        if place:
            yield ", "
        yield from _bound(item)
    if not is_bare:
        yield ")"


def _joined(pieces: Sequence[str | Parameter | NoItems]) -> Iterator[str | Parameter | NoItems]:
    """Yield pieces so that no two texts are neighbours."""
    texts: list[str] = []
    for piece in pieces:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        yield "".join(texts)
        texts = []
        yield piece
    yield "".join(texts)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value may stand."""

    is_put: bool = True
    """Whether it is bound at all: in a comment it is not."""
    is_among: bool = False
    """Whether it stands in parentheses or brackets, between commas: a list's items are some of those there."""
    in_start: int = -1
    """Where `IN` or `NOT IN` begins, where it stands behind that alone; else -1."""
    in_end: int = -1
    """Where that ends, with parentheses of the text's own."""
    is_not: bool = False
    """Whether it is `NOT IN`."""


class _Places:
    """A statement's text with something simple for each value, and how each value stands in it."""

    def __init__(self, parts: Sequence[str | _HasOffset]) -> None:
        self.slots = [part for part in parts if not isinstance(part, str)]
        self.starts: list[int] = []
        size = 0
        for part in parts:
            if not isinstance(part, str):
                self.starts.append(size)
            size += len(part) if isinstance(part, str) else 1
        self.text = "".join(part if isinstance(part, str) else _STAND_IN for part in parts)
        self.found: list[_Place | Misplaced] = list(self._judged()) if self.slots else []

    def _judged(self) -> Iterator[_Place | Misplaced]:
        tokens = list(tokens_of(self.text))
        words = [token for token in tokens if token.kind is not TokenKind.COMMENT]
        at = {token.start: place for place, token in enumerate(words)}
        around = iter(tokens)
        token = next(around)
        for slot, start in zip(self.slots, self.starts, strict=True):
            while token.end <= start:
                token = next(around)
            yield self._judge(slot.offset, start, token, words, at)

    def _judge(
        self, offset: int, start: int, token: Token, words: list[Token], at: dict[int, int]
    ) -> _Place | Misplaced:
        match token.kind:
            case TokenKind.COMMENT:
                return _Place(is_put=False)
            case TokenKind.TEXT:
                hint = "write {} without quotes: it is bound; join texts as {{ 'a ' ~ b }}"
                return Misplaced(offset, "inside quotes", hint)
            case TokenKind.NAME:
                hint = "a name cannot be bound: write it, or choose between names with {% if %}"
                return Misplaced(offset, "inside a quoted name", hint)
            case _:
                pass
        before, after = self.text[start - 1 : start], self.text[start + 1 : start + 2]
        if _is_wordy(before) or _is_wordy(after) or before in {"$", "@"}:
            hint = "only a whole value can be bound: put a space around {}; names of tables and columns cannot be bound"
            return Misplaced(offset, "in the middle of a word", hint)
        return _place(words, at[start])


def _place(words: list[Token], place: int) -> _Place:
    """Return how a value stands among the words of a statement."""
    before = words[place - 1].text if place else ""
    after = words[place + 1].text if place + 1 < len(words) else ""
    is_alone = before == "(" and after == ")"
    head = place - 2 if is_alone else place - 1
    is_among = before in {"(", ",", "["} and after in {")", ",", "]"}
    if head < 0 or words[head].word != "IN":
        return _Place(is_among=is_among)
    is_not = head > 0 and words[head - 1].word == "NOT"
    return _Place(
        is_among=is_among,
        in_start=words[head - is_not].start,
        in_end=words[place + is_alone].end,
        is_not=is_not,
    )


def _is_wordy(character: str) -> bool:
    return character.isalnum() or character == "_"
