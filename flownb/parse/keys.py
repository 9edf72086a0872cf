"""Which properties there are, and which of them each kind of node has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from flownb.model.nodes import BodyKind, Branch, Container, Group, Leaf, NodeBase, Parallel
from flownb.model.policy import Policy

POLICY_KEYS: Final = frozenset(Policy.model_fields)
"""Properties that say how any node is run."""
FOREACH_KEYS: Final = frozenset({"as", "collect", "concurrency", "rate"})
"""Properties that only make sense beside `foreach`."""
LOOP_KEYS: Final = frozenset({"max", "every"})
"""Properties that only make sense beside `until` or `while`."""
REPEATS: Final = ("foreach", "until", "while")
"""What makes a node repeat."""
EXPRESSION_KEYS: Final = frozenset({"when", "foreach", "collect", "until", "while"})
"""Properties of every node that are bare expressions."""
MARKERS: Final = frozenset({"type", *REPEATS})
"""Properties that make a section a node even without a fence (format.md 1.4)."""
COMMON_KEYS: Final = POLICY_KEYS | FOREACH_KEYS | LOOP_KEYS | MARKERS
"""Properties of every node."""
GROUP_KEYS: Final = frozenset({"when", "needs"})
"""What a plain group may say."""
CONTAINERS: Final[Mapping[str, type[Container]]] = {"branch": Branch, "parallel": Parallel}
"""Containers by their `type`."""


def own_keys(kind: type[NodeBase]) -> frozenset[str]:
    """Return the properties that only a kind of node has."""
    return frozenset(kind.model_fields) - frozenset(NodeBase.model_fields) - {"body", "children"}


@dataclass(frozen=True)
class Kinds:
    """The runtimes that a document may name."""

    by_name: Mapping[str, type[Leaf]]
    """Canonical name → kind."""

    @cached_property
    def words(self) -> Mapping[str, type[Leaf]]:
        """Every word that names a runtime → its kind."""
        found: dict[str, type[Leaf]] = {}
        for name, kind in self.by_name.items():
            found |= dict.fromkeys((name, *kind.ALIASES), kind)
        return found

    @cached_property
    def types(self) -> frozenset[str]:
        """Every word that `type` takes."""
        return frozenset(self.words) | frozenset(CONTAINERS)

    @cached_property
    def own(self) -> Mapping[str, frozenset[str]]:
        """Kind's name → the properties that only it has."""
        kinds: list[type[NodeBase]] = [*self.by_name.values(), Branch, Parallel, Group]
        return {kind.TITLE: own_keys(kind) for kind in kinds}

    @cached_property
    def all_keys(self) -> frozenset[str]:
        """Every property of any kind."""
        return COMMON_KEYS.union(*self.own.values())

    def allowed(self, title: str, *, is_plain_group: bool) -> frozenset[str]:
        """Return the properties of a kind of node, given its name."""
        return GROUP_KEYS if is_plain_group else COMMON_KEYS | self.own.get(title, frozenset())

    def owners(self, key: str) -> list[str]:
        """Return the names of the kinds that have a property of their own."""
        return sorted(title for title, keys in self.own.items() if key in keys)


def has_body(kind: type[Leaf]) -> bool:
    """Return whether a kind of node takes a fence."""
    return kind.BODY is not BodyKind.NONE
