"""Tuples, sets and dicts that are no JSON: tagged lists of what is in them."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.scalars import list_in

_FACTORIES: Final[dict[str, Callable[[], object]]] = {
    kind.__name__: kind for kind in (list, dict, set, int, float, str, tuple, bool)
}
"""What a defaultdict may make by itself: these, and nothing that a file names."""


def _listed(items: Iterable[object], keeper: Keeper) -> list[JsonValue]:
    return [keeper.item(item, f"[{place}]") for place, item in enumerate(items)]


def _in_order(items: list[JsonValue]) -> list[JsonValue]:
    """Return what was in a set in an order that does not depend on the process."""
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))


def _pairs(value: dict[object, object], keeper: Keeper) -> list[JsonValue]:
    return [
        [keeper.item(key, f"(key {place})"), keeper.item(item, f"[{key!r}]"[:80])]
        for place, (key, item) in enumerate(dict.items(value))
    ]


def _read_pairs(data: Fields, restorer: Restorer) -> list[tuple[Any, object]]:
    pairs: list[tuple[Any, object]] = []
    for pair in list_in(data):
        if not isinstance(pair, list) or len(pair) != 2:  # noqa: PLR2004 a key and a value
            raise restorer.refused(data, "one of its items is no pair of key and value")
        pairs.append((restorer.item(pair[0]), restorer.item(pair[1])))
    return pairs


@dataclass(frozen=True, slots=True)
class _Row:
    """A tuple, which holds its items in order."""

    def keep(self, value: tuple[object, ...], keeper: Keeper) -> dict[str, JsonValue]:
        """Return its items."""
        return {"value": _listed(value, keeper)}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the tuple."""
        return tuple(restorer.item(item) for item in list_in(data))


@dataclass(frozen=True, slots=True)
class _Sets:
    """A set or a frozenset."""

    make: Callable[[Iterable[object]], object]

    def keep(self, value: set[object] | frozenset[object], keeper: Keeper) -> dict[str, JsonValue]:
        """Return its members in a fixed order."""
        return {"value": _in_order([keeper.item(item, "{…}") for item in value])}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the set; a list, where what is in it came back as data that no set can hold."""
        members = [restorer.item(item) for item in list_in(data)]
        try:
            return self.make(members)
        except TypeError:
            restorer.note("a set came back as a list: what is in it is no longer of its class")
            return members


@dataclass(frozen=True, slots=True)
class _Dicts:
    """A dict with keys that are no text, or look like tags; or one of its sisters in `collections`."""

    make: Callable[[Iterable[tuple[Any, object]]], object]

    def keep(self, value: dict[object, object], keeper: Keeper) -> dict[str, JsonValue]:
        """Return its pairs, in order."""
        return {"value": _pairs(value, keeper)}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the dict; a list of pairs, where a key came back as data that can be none."""
        pairs = _read_pairs(data, restorer)
        try:
            return self.make(pairs)
        except TypeError:
            restorer.note("a dict came back as a list of pairs: a key is no longer of its class")
            return pairs


class _Defaulting:
    """A defaultdict that makes something simple."""

    def keep(self, value: defaultdict[object, object], keeper: Keeper) -> dict[str, JsonValue]:
        """Return its pairs, and what it makes."""
        factory = value.default_factory
        name = getattr(factory, "__name__", "")
        if factory is not None and _FACTORIES.get(name) is not factory:
            raise keeper.unkept(value, f"what it makes is none of {', '.join(_FACTORIES)}; return dict(…)")
        return {"makes": name or None, "value": _pairs(value, keeper)}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the dict."""
        name = data.get("makes")
        if name is not None and name not in _FACTORIES:
            raise restorer.refused(data, "it makes what it must not make")
        return defaultdict(_FACTORIES[str(name)] if name else None, _read_pairs(data, restorer))


class _Deques:
    """A deque, with the most that it holds."""

    def keep(self, value: deque[object], keeper: Keeper) -> dict[str, JsonValue]:
        """Return its items."""
        return {"most": value.maxlen, "value": _listed(value, keeper)}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the deque."""
        most = data.get("most")
        if most is not None and type(most) is not int:
            raise restorer.refused(data, "`most` is no number")
        return deque([restorer.item(item) for item in list_in(data)], most)


TUPLE: Final[Kind] = _Row()
SET: Final[Kind] = _Sets(set)
FROZENSET: Final[Kind] = _Sets(frozenset)
DICT: Final[Kind] = _Dicts(dict)
ORDERED: Final[Kind] = _Dicts(OrderedDict)
COUNTER: Final[Kind] = _Dicts(lambda pairs: Counter(dict(pairs)))
DEFAULTING: Final[Kind] = _Defaulting()
DEQUE: Final[Kind] = _Deques()
