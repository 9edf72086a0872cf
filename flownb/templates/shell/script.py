"""Makes a bash script of a text and its values: what stands for each of them, and where none can stand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from flownb.templates.shell.places import Places
from flownb.templates.shell.refusal import Refusal
from flownb.templates.shell.spot import Place
from flownb.templates.shell.value import Slot
from flownb.templates.shell.variables import PREFIX, Script, Variable

_LIST: Final = Refusal(
    "where one word stands, and it is a list", "join it, as {{ items | join(' ') }}, or use {% for %}"
)
_LIST_QUOTED: Final = Refusal(
    "inside quotes, and it is a list", "write {} without quotes: one word for each item; or join it"
)


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A value that cannot stand where it does."""

    offset: int
    """Where it stands in the template, counted from 0."""
    refusal: Refusal
    """Why not."""


def check_script(parts: Sequence[str | Slot]) -> list[Misplaced]:
    """Return the values of a script that cannot stand where they do.

    Args:
        parts: The stretches of the script's text, and the slots between them.
    """
    return [
        Misplaced(slot.offset, place)
        for slot, place in zip(_slots(parts), _places(parts), strict=True)
        if isinstance(place, Refusal)
    ]


def make_script(parts: Sequence[str | Slot], refuse: Callable[[Misplaced], Exception]) -> Script:
    """Return a script that can be run.

    Args:
        parts: The stretches of the script's text, and the slots between them.
        refuse: Makes the error that is raised for a value that cannot stand where it does.
    """
    texts: list[str] = []
    variables: list[Variable] = []
    places = iter(_places(parts))
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        place = next(places)
        if place is not Place.WORDS and part.is_list and not isinstance(place, Refusal):
            place = _LIST_QUOTED if place is Place.QUOTED else _LIST
        if isinstance(place, Refusal):
            raise refuse(Misplaced(part.offset, place))
        name = f"{PREFIX}{len(variables) + 1}"
        items = part.items if place is not Place.QUOTED or part.quoted is None else (part.quoted,)
        variables.append(Variable(name, items, part.is_list, part.offset))
        texts.append(_reference(name, place, part))
    return Script("".join(texts), tuple(variables))


def _reference(name: str, place: Place, slot: Slot) -> str:
    """Return what stands for a value: it fails where the variable is not there, as in a function that another shell gets."""
    inner = f"{name}[@]" if slot.is_list else name
    text = f"${{{inner}?}}" if slot.items else f"${{{inner}}}"
    return text if place is Place.QUOTED else f'"{text}"'


def _slots(parts: Sequence[str | Slot]) -> list[Slot]:
    return [part for part in parts if isinstance(part, Slot)]


def _places(parts: Sequence[str | Slot]) -> list[Place | Refusal]:
    """Return how each value stands at its place: the script is read with a `${…}` for each, as bash reads it in the end."""
    pieces: list[bytes] = []
    spans: list[tuple[int, int]] = []
    size = 0
    for part in parts:
        piece = part.encode("utf-8", "replace") if isinstance(part, str) else f"${{{PREFIX}{len(spans) + 1}}}".encode()
        if isinstance(part, Slot):
            spans.append((size, size + len(piece)))
        pieces.append(piece)
        size += len(piece)
    if not spans:
        return []
    places = Places(b"".join(pieces))
    return [places.judge(start, end) for start, end in spans]
