"""What waits for what: the order of a workflow's nodes, worked out from its text alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from flownb.model.nodes import (
    Branch,
    CheckpointNode,
    Container,
    FlowNode,
    Foreach,
    Node,
    Parallel,
    Use,
    is_transparent,
    walk,
)
from flownb.model.workflow import Order, Workflow

TOP: Final = ""
"""The owner of the outermost body."""


@dataclass(slots=True)
class Unit:
    """One thing that a body starts: a leaf, or a container as a whole."""

    node: Node
    """The node."""
    index: int
    """Its place in the body, in the document's order."""
    whens: tuple[str, ...] = ()
    """The conditions of the groups around it, from the outside in; its own is in its policy."""
    waits: list[int] = field(default_factory=list)
    """Places of the units that must be settled before it starts."""
    refers: list[str] = field(default_factory=list)
    """Ids of the nodes that it refers to or needs, in other bodies too: it is skipped where all of them were."""
    wave: int = 0
    """The length of its longest chain of waits, from 0."""
    is_implicit: bool = False
    """Whether it names no other node, so that it waits for what stands above it."""


@dataclass(slots=True)
class Body:
    """The units that one container, or the document, runs."""

    owner: str
    """The container's id; `TOP` for the document."""
    units: list[Unit] = field(default_factory=list)
    """In the document's order, without the nodes that are reserved for failures."""
    followers: list[list[int]] = field(default_factory=list)
    """For each unit the places of those that wait for it."""
    order: list[int] = field(default_factory=list)
    """Places so that none comes before what it waits for; shorter than `units` where there is a circle."""


@dataclass(slots=True)
class Graph:
    """All bodies of a workflow, and where every node stands."""

    workflow: Workflow
    """What it was made of."""
    nodes: dict[str, Node] = field(default_factory=dict)
    """Id → node, of every node that is no plain group."""
    bodies: dict[str, Body] = field(default_factory=dict)
    """Owner → body."""
    reserved: dict[str, Unit] = field(default_factory=dict)
    """Id → a node that runs only when another failed."""
    home: dict[str, str] = field(default_factory=dict)
    """Id → the owner of the body that holds it."""
    scopes: dict[str, str] = field(default_factory=dict)
    """Id → the container around it that repeats, so that its keys begin with that one's; `TOP` where none does."""
    enclosing: dict[str, list[Node]] = field(default_factory=dict)
    """Id → the plain groups around it, within its body: their `when` and `needs` hold for it."""
    positions: dict[str, int] = field(default_factory=dict)
    """Id → place in the whole document."""
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Id of a plain group → the ids of the nodes in it, for `needs`."""

    def targets(self, name: str) -> tuple[str, ...]:
        """Return the ids that a name in the text means: itself, a group's nodes, or nothing."""
        return (name,) if name in self.nodes else self.groups.get(name, ())

    def unused(self) -> list[str]:
        """Return the ids of the outermost nodes whose value no other node reads, in the document's order."""
        outermost = self.bodies[TOP].units
        reserved = (unit for name, unit in self.reserved.items() if self.home[name] == TOP)
        read = {
            holder
            for unit in (*outermost, *reserved)
            for node in (*walk((unit.node,)), *self.enclosing.get(unit.node.id, ()))
            for use in node.uses
            if use.field != "needs"
            for holder in map(self._outermost, self.targets(use.name))
            if holder != unit.node.id
        }
        return [unit.node.id for unit in outermost if unit.node.id not in read]

    def is_shared(self, fallback: str) -> bool:
        """Return whether more than one node names a fallback, so that it may run once for each of them."""
        return sum(node.policy.fallback == fallback for node in self.nodes.values()) > 1

    def _outermost(self, node: str) -> str:
        """Return the node of the outermost body that is `node` or holds it."""
        while self.home[node] != TOP:
            node = self.home[node]
        return node

    def unit_above(self, node: str, owner: str) -> str | None:
        """Return the node of `owner`'s body that is `node` or holds it; None where it is elsewhere."""
        current = node
        while self.home[current] != owner:
            current = self.home[current]
            if current == TOP:
                return None
        return current


def reserved_ids(workflow: Workflow) -> set[str]:
    """Return the ids of the nodes that run only when another failed."""
    named = {node.policy.fallback for node in walk(workflow.nodes) if node.policy.fallback}
    return named | ({workflow.on_error} if workflow.on_error else set())


def is_gate(workflow: Workflow, node: Node) -> bool:
    """Return whether a node is a checkpoint or holds one, in a sub-flow too."""
    for inner in walk((node,)):
        if isinstance(inner, CheckpointNode):
            return True
        if isinstance(inner, FlowNode) and inner.id in workflow.subflows:
            other = workflow.subflows[inner.id]
            if any(is_gate(other, node) for node in other.nodes):
                return True
    return False


def build_graph(workflow: Workflow) -> Graph:
    """Work out what waits for what (format.md, sections 4.1 and 4.2). Circles are found by `planning.find_circles`."""
    graph = Graph(workflow)
    reserved = reserved_ids(workflow)
    for position, node in enumerate(walk(workflow.nodes)):
        graph.positions[node.id] = position
        if not is_transparent(node):
            graph.nodes[node.id] = node
    _fill(graph, reserved, TOP, workflow.nodes, apart=False)
    for body in graph.bodies.values():
        _connect(graph, body)
    for owner in graph.bodies:
        _number(graph.bodies[owner])
    _lift_waves(graph)
    return graph


def _fill(
    graph: Graph, reserved: set[str], owner: str, children: Sequence[Node], *, apart: bool, scope: str = TOP
) -> None:
    """Make the body of one container, and those of the containers in it.

    With `apart` plain groups count as one unit each, as in `parallel` and `branch`.
    """
    body = graph.bodies[owner] = Body(owner)

    def add(nodes: Sequence[Node], whens: tuple[str, ...]) -> list[str]:
        added: list[str] = []
        for node in nodes:
            if is_transparent(node) and isinstance(node, Container) and not apart:
                inner = (*whens, node.policy.when) if node.policy.when else whens
                graph.groups[node.id] = tuple(add(node.children, inner))
                added += graph.groups[node.id]
                continue
            graph.nodes[node.id] = node
            graph.home[node.id], graph.scopes[node.id] = owner, scope
            if node.id in reserved:
                graph.reserved[node.id] = Unit(node, 0, whens)
            else:
                body.units.append(Unit(node, len(body.units), whens))
                added.append(node.id)
            if isinstance(node, Container):
                inner_scope = node.id if node.repeat else scope
                kind = isinstance(node, Branch | Parallel)
                _fill(graph, reserved, node.id, node.children, apart=kind, scope=inner_scope)
        return added

    add(children, ())


def references(graph: Graph, node: Node, enclosing: Iterable[Node] = ()) -> Iterator[tuple[str, bool]]:
    """Yield every node that a node, or anything in it, refers to outside itself, and whether it is for a failure only.

    `enclosing` are the plain groups around it, whose `when` and `needs` hold for it.
    """
    inside = {inner.id for inner in walk((node,))}
    for group in enclosing:
        for use in group.uses:
            yield from ((target, False) for target in graph.targets(use.name) if target not in inside)
    for use in _uses_with_locals(node):
        yield from ((target, False) for target in graph.targets(use.name) if target not in inside)
    for inner in walk((node,)):
        caught = inner.policy.fallback
        if caught in graph.reserved:
            for use in _uses_with_locals(graph.reserved[caught].node):
                yield from ((target, True) for target in graph.targets(use.name) if target not in inside)


def _uses_with_locals(node: Node, local: frozenset[str] = frozenset()) -> Iterator[Use]:
    """Yield every use in a node, but those of names that a `foreach` around it gives."""
    own = local | {node.repeat.as_name} if isinstance(node.repeat, Foreach) else local
    for use in node.uses:
        if use.name not in (local if use.field == "foreach" else own):
            yield use
    if isinstance(node, Container):
        for child in node.children:
            yield from _uses_with_locals(child, own)


def _connect(graph: Graph, body: Body) -> None:
    """Find the waits of every unit of a body."""
    place = {unit.node.id: unit.index for unit in body.units}
    graph.enclosing |= _enclosing(graph, body)
    _add_references(graph, body, place)
    container = graph.nodes.get(body.owner)
    if not isinstance(container, Parallel | Branch):
        _add_gates(graph.workflow, body)
        if graph.workflow.order is Order.DOCUMENT:
            for unit in body.units[1:]:
                unit.waits.append(unit.index - 1)
        else:
            _add_implicit(body, place, container.children if isinstance(container, Container) else graph.workflow.nodes)
    for unit in body.units:
        unit.waits = sorted(set(unit.waits))


def _enclosing(graph: Graph, body: Body) -> dict[str, list[Node]]:
    """Return for each unit the plain groups around it, within its body."""
    found: dict[str, list[Node]] = {}
    container = graph.nodes.get(body.owner)
    stack: list[tuple[Node, list[Node]]] = [
        (node, []) for node in (container.children if isinstance(container, Container) else graph.workflow.nodes)
    ]
    while stack:
        node, groups = stack.pop()
        found[node.id] = groups
        if node.id in graph.groups and isinstance(node, Container):
            stack += [(child, [*groups, node]) for child in node.children]
    return found


def _add_references(graph: Graph, body: Body, place: dict[str, int]) -> None:
    for unit in body.units:
        groups = graph.enclosing.get(unit.node.id, [])
        refers: dict[str, None] = {}
        waits: dict[int, None] = {}
        names_other = unit.node.policy.needs is not None or any(group.policy.needs is not None for group in groups)
        for target, for_failure in references(graph, unit.node, groups):
            if not for_failure:
                names_other = True
                refers[target] = None
            holder = graph.unit_above(target, body.owner)
            if holder is not None and holder in place and place[holder] != unit.index:
                waits[place[holder]] = None
        unit.waits, unit.refers, unit.is_implicit = list(waits), list(refers), not names_other


def _add_gates(workflow: Workflow, body: Body) -> None:
    """Let everything wait for the last gate above it, which waits for the one before."""
    gate: int | None = None
    for unit in body.units:
        if gate is not None:
            unit.waits.append(gate)
        if is_gate(workflow, unit.node):
            gate = unit.index


def _add_implicit(body: Body, place: dict[str, int], children: Sequence[Node]) -> None:
    """Let a unit that names no other node wait for the node or group above it."""
    _Above(body, place).visit(children, [])


class _Above:
    """Finds, in the document's order, what stands above each unit that names no other node."""

    def __init__(self, body: Body, place: dict[str, int]) -> None:
        self._body, self._place = body, place
        self._crossed = _spans_of_forward_waits(body)
        self._dependents: list[list[int]] = [[] for _ in body.units]
        for unit in body.units:
            for wait in unit.waits:
                self._dependents[wait].append(unit.index)

    def visit(self, nodes: Sequence[Node], inherited: list[int]) -> list[int]:
        """Go through one section; return the places of all units in it.

        What its first node waits for is `inherited`.
        """
        siblings: list[list[int]] = []
        for node in nodes:
            if node.id in self._place:
                index = self._place[node.id]
                self._settle(index, siblings, inherited)
                siblings.append([index])
            elif is_transparent(node) and isinstance(node, Container):
                inner = self.visit(node.children, _last_ones(self._body, siblings[-1]) if siblings else inherited)
                if inner:
                    siblings.append(inner)
        return [index for group in siblings for index in group]

    def _settle(self, index: int, siblings: Sequence[list[int]], inherited: list[int]) -> None:
        unit = self._body.units[index]
        if unit.is_implicit:
            chosen = self._choose(siblings, inherited, self._who_wait_for(index) | {index})
            unit.waits += chosen
            for wait in chosen:
                self._dependents[wait].append(index)

    def _choose(self, siblings: Sequence[list[int]], inherited: list[int], waiting: set[int]) -> list[int]:
        for candidate in reversed(siblings):
            if waiting.isdisjoint(candidate):
                return _last_ones(self._body, candidate)
        return [index for index in inherited if index not in waiting]

    def _who_wait_for(self, index: int) -> set[int]:
        """Return the places of all units that wait for this one; empty where none above it can."""
        if not self._crossed[index]:
            return set()
        found: set[int] = set()
        stack = list(self._dependents[index])
        while stack:
            current = stack.pop()
            if current not in found:
                found.add(current)
                stack += self._dependents[current]
        return found


def _last_ones(body: Body, indices: list[int]) -> list[int]:
    """Return those of some units that no other of them waits for: to wait for these is to wait for all."""
    if len(indices) == 1:
        return indices
    waited = {wait for index in indices for wait in body.units[index].waits}
    return [index for index in indices if index not in waited]


def _spans_of_forward_waits(body: Body) -> list[bool]:
    """Return for each place whether some unit above it waits for one at or below it."""
    change = [0] * (len(body.units) + 1)
    for unit in body.units:
        for wait in unit.waits:
            if wait > unit.index:
                change[unit.index + 1] += 1
                change[min(wait + 1, len(body.units))] -= 1
    result, open_spans = [], 0
    for step in change[:-1]:
        open_spans += step
        result.append(open_spans > 0)
    return result


def _number(body: Body) -> None:
    """Put the units in an order in which they can run, and give each its wave."""
    body.followers = [[] for _ in body.units]
    missing = [len(unit.waits) for unit in body.units]
    for unit in body.units:
        for wait in unit.waits:
            body.followers[wait].append(unit.index)
    ready = [unit.index for unit in body.units if not unit.waits]
    for index in ready:
        body.order.append(index)
        for follower in body.followers[index]:
            body.units[follower].wave = max(body.units[follower].wave, body.units[index].wave + 1)
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)


def _lift_waves(graph: Graph) -> None:
    """Count the waves inside a container from the container's own."""
    for owner, body in graph.bodies.items():
        if owner in graph.home and owner not in graph.reserved:
            home = graph.bodies[graph.home[owner]]
            base = next(unit.wave for unit in home.units if unit.node.id == owner)
            for unit in body.units:
                unit.wave += base
