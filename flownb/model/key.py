"""Reads and writes node keys: how a run names a node, an item or a round, as `score[3]` or `poll{2}/check`.

A key is the id of a node, of an item with its place as `[3]`, of a round with its number as `{2}` (both counted from 0),
behind the key of what it is in and a `/`. Keys are plain text everywhere; only this module looks into one.
"""

from __future__ import annotations

from typing import NamedTuple


class Part(NamedTuple):
    """An item or a round, as its key says it."""

    owner: str
    """The key of the node that repeats."""
    number: int
    """Its number among the items or rounds, from 0."""
    is_item: bool
    """Whether it is an item; else it is a round."""


def item_key(owner: str, index: int) -> str:
    """Return the key of a node's item: `score[3]`."""
    return f"{owner}[{index}]"


def round_key(owner: str, count: int) -> str:
    """Return the key of a node's round: `poll{2}`."""
    return f"{owner}{{{count}}}"


def prefix_in(key: str) -> str:
    """Return what the keys of nodes begin with that are in this one: `research[3]/`."""
    return f"{key}/"


def id_of(key: str) -> str:
    """Return the id of the node that a key names: `summary` for `research[3]/summary`, `score` for `score[3]`."""
    return whole_of(key.rpartition("/")[2])


def ids_of(key: str) -> list[str]:
    """Return the ids on the way to a node, from the outside in: `research` and `summary` for `research[3]/summary`."""
    return [whole_of(step) for step in key.split("/")]


def part_of(key: str) -> Part | None:
    """Return which item or round a key names; None: it names a node."""
    if not is_part(key):
        return None
    owner, _, index = key[:-1].rpartition("[" if is_item(key) else "{")
    return Part(owner, int(index), is_item(key))


def last_part_of(key: str) -> Part | None:
    """Return the innermost item or round on the way to a node: `research`, 3 for `research[3]/summary`; None: none is."""
    return part_of(key[: max(key.rfind("]"), key.rfind("}")) + 1])


def is_part(key: str) -> bool:
    """Return whether a key names an item or a round."""
    return key.endswith(("]", "}"))


def is_item(key: str) -> bool:
    """Return whether a key names an item."""
    return key.endswith("]")


def is_whole(key: str) -> bool:
    """Return whether a key names neither an item or a round, nor a node in one."""
    return "[" not in key and "{" not in key


def whole_of(key: str) -> str:
    """Return the outermost node that a key's items and rounds are summed up under: `research` for `research[3]/summary`."""
    return key.partition("[")[0].partition("{")[0]


def holder_of(key: str) -> str:
    """Return the key of what holds a node, item or round, as its own says it: `a[1]` for `a[1]/b`; empty: nothing does."""
    part = part_of(key)
    return part.owner if part else key.rpartition("/")[0]


def is_below(key: str, root: str) -> bool:
    """Return whether a key names an item, a round or a node in another one."""
    return key.startswith(root) and key[len(root) : len(root) + 1] in ("[", "{", "/")


def name_of(key: str) -> str:
    """Return a key without its items and rounds: `research/summary` for `research[3]/summary`."""
    return key if is_whole(key) else "/".join(ids_of(key))
