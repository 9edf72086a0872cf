"""What a resume will use again, run again, and run for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from flownb.errors import FlowStateError
from flownb.model.key import id_of, ids_of, part_of
from flownb.model.node_state import NodeState, NodeStatus
from flownb.model.nodes import CheckpointNode, Container, FlowNode, Foreach, Node, walk
from flownb.model.state import RunState
from flownb.plan.fingerprint import changed_input, uses_of
from flownb.plan.graph import TOP, Graph, Unit

OTHER_VERSIONS: Final = "other versions than before"
"""How the line begins that names them."""
_LINES: Final = ("reuse", "run again", "may run again", "run for the first time")


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a resume will do, by the outermost nodes, in the document's order: id → why, or how much of it."""

    reuse: Mapping[str, str] = field(default_factory=dict)
    """Done, and used as it is; of what is done in part, how many items."""
    again: Mapping[str, str] = field(default_factory=dict)
    """Begun or done before, and run again."""
    maybe: Mapping[str, str] = field(default_factory=dict)
    """Done before, and run again if what it reads comes out different."""
    first: Mapping[str, str] = field(default_factory=dict)
    """Never begun."""
    forget: tuple[str, ...] = ()
    """Keys of all nodes, items and rounds that were settled and are so no longer."""
    void: tuple[str, ...] = ()
    """Those of them that run again whatever their fingerprint is."""
    anew: tuple[str, ...] = ()
    """Ids of all nodes that are to run again (`--from`), begun or not."""
    is_new: bool = False
    """Whether a new run begins, which takes over from an earlier one."""
    versions: str = ""
    """What has another version than before, which reruns nothing."""

    def __str__(self) -> str:
        """Return the plan, one line a kind."""
        lines = [
            f"{word}: " + ", ".join(f"{name} ({why})" if why else name for name, why in nodes)
            for word, nodes in self.kinds()
        ]
        return "\n".join([*lines, *([f"{OTHER_VERSIONS}: {self.versions}"] if self.versions else [])])

    def kinds(self) -> list[tuple[str, list[tuple[str, str]]]]:
        """Return the lines that there is something to say in: what is done, and each node with why."""
        kinds = zip(_LINES, (self.reuse, self.again, self.maybe, self.first), strict=True)
        return [(word, list(nodes.items())) for word, nodes in kinds if nodes]


@dataclass(frozen=True, slots=True)
class Now:
    """What there is outside the workflow's nodes, now that a run goes on."""

    digests: Mapping[str, str] = field(default_factory=dict)
    """What nodes read, as `inputs.topic` → the digest of its value."""
    changed: Mapping[str, str] = field(default_factory=dict)
    """Key of a node that read a file or module → the label of one that changed."""
    is_as_it_was: bool = True
    """Whether text and inputs are those of the run: what flownb 0.1.0 ran stands only then."""


def plan_resume(
    graph: Graph,
    definitions: Mapping[str, str],
    state: RunState,
    now: Now,
    start: str | None,
    *,
    is_new: bool = False,
) -> ResumePlan:
    """Work out what a resume will do (format.md, section 4.6), as far as that can be known before anything runs.

    Args:
        graph: The workflow as it is now.
        definitions: Id → the digest of what a node is, as it is now.
        state: What the run's journal says.
        now: What nodes read from outside the workflow's nodes.
        start: The node from which on everything runs again; None: only what changed.
        is_new: Whether a new run takes over from the one of the state.

    Raises:
        FlowStateError: There is no node `start`.
    """
    if start is not None and start not in graph.positions:
        raise FlowStateError(f"there is no node `{start}` to start from", f"the nodes are: {', '.join(graph.nodes)}")
    void = _from(graph, start)
    judge = _Judge(graph, definitions, state, now, set(void), is_new)
    for index in graph.bodies[TOP].order:
        judge.visit(graph.bodies[TOP].units[index])
    return replace(judge.plan(), anew=tuple(sorted(void)), is_new=is_new)


def _from(graph: Graph, start: str | None) -> set[str]:
    """Return a node, all below it in the document, all that depends on these, and all that is in them."""
    if start is None:
        return set()
    users: dict[str, list[str]] = {}
    for body in graph.bodies.values():
        for unit in body.units:
            for target in unit.refers:
                users.setdefault(target, []).append(unit.node.id)
            if unit.node.policy.fallback:
                users.setdefault(unit.node.policy.fallback, []).append(unit.node.id)
    found: set[str] = set()
    stack = [node for node in graph.nodes if graph.positions[node] >= graph.positions[start]]
    while stack:
        name = stack.pop()
        if name not in found:
            found.add(name)
            stack += users.get(name, [])
            stack += [inner.id for inner in walk((graph.nodes[name],)) if inner.id in graph.nodes]
    return found


@dataclass(slots=True)
class _Judge:
    """Goes through the outermost nodes, each after those that it waits for."""

    graph: Graph
    definitions: Mapping[str, str]
    state: RunState
    now: Now
    void: set[str]
    is_new: bool
    again: dict[str, str] = field(default_factory=dict)
    maybe: dict[str, str] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def visit(self, unit: Unit) -> None:
        """Judge one node."""
        node, known = unit.node, self.state.nodes.get(unit.node.id)
        if known is None:
            self.first[node.id] = ""
        elif why := self._why_again(node, known):
            self.again[node.id] = why
        elif why := self._why_maybe(node):
            self.maybe[node.id] = why

    def _why_again(self, node: Node, known: NodeState) -> str:
        """Return why a node is sure to be run again; empty: it is not."""
        if node.id in self.void:
            return "from here on"
        within = next((inner.id for inner in walk((node,)) if inner.id in self.void), None)
        if within is not None:
            self.void.update(
                holder.id for holder in walk((node,)) if self.void & {inner.id for inner in walk((holder,))}
            )
            return f"{within} in it runs again"
        return self._why_changed(node, known) or self._why_unfinished(node, known)

    def _why_changed(self, node: Node, known: NodeState) -> str:
        """Return what of a node's fingerprint is another now; empty: nothing that can be known yet."""
        if not self._is_defined_so(node.id, known):
            if known.is_older:
                return "flownb 0.1.0 ran it, and text or inputs changed"
            return "changed" if isinstance(node, Container) else "body changed"
        changed = changed_input(known.reads, self.now.digests) or self._changed_file(node)
        return f"{changed} changed" if changed is not None else ""

    def _why_unfinished(self, node: Node, known: NodeState) -> str:
        """Return why a node runs again although its fingerprint may be the same; empty: it does not."""
        if self.is_new and (why := _never_taken(node, known)):
            return why
        if not known.is_settled:
            return _UNFINISHED.get(known.status, "was not finished")
        if known.status is NodeStatus.COMPLETED and not known.reusable:
            return "its value is not kept"
        if known.continued and not node.policy.continue_on_error:
            return "it failed"
        why = self._why_fallback(known)
        if why:
            self.void.add(node.id)  # Its fingerprint says nothing of its fallback.
        return why

    def _is_defined_so(self, name: str, known: NodeState) -> bool:
        """Return whether a node is what it was when it was begun; of an older flownb's, whether the text is."""
        if known.is_older:
            return self.now.is_as_it_was
        return not known.definition or known.definition == self.definitions.get(name)

    def _changed_file(self, node: Node) -> str | None:
        """Return the first of the files and modules that changed among those that a node, or one in it, read; None: none."""
        inside = {inner.id for inner in walk((node,))}
        return next((label for key, label in self.now.changed.items() if ids_of(key)[0] in inside), None)

    def _why_fallback(self, known: NodeState) -> str:
        """Return why the fallback that stood in for a node is run again; empty: it is not."""
        name = known.fallback
        if name is None:
            return ""
        before = next((node for key, node in self.state.nodes.items() if id_of(key) == name), None)
        if name in self.void or before is None or name not in self.definitions:
            return f"its fallback {name} runs again"
        return "" if self._is_defined_so(name, before) else f"its fallback {name} changed"

    def _why_maybe(self, node: Node) -> str:
        """Return why a node may be run again; empty: it may not."""
        for use in uses_of(self.graph, node):
            for target in self.graph.targets(use.name):
                holder = self.graph.unit_above(target, TOP)
                if holder in self.again or holder in self.maybe or holder in self.first:
                    return f"{'needs' if use.field == 'needs' else 'reads'} {holder}"
        return ""

    def plan(self) -> ResumePlan:
        """Return the plan."""
        reuse: dict[str, str] = {}
        again: dict[str, str] = {}
        order = [unit.node for unit in self.graph.bodies[TOP].units]
        for node in order:
            if node.id in self.again:
                done = self._items_done(node) if self._is_kept(node.id) else ""
                (reuse if done else again)[node.id] = done or self.again[node.id]
            elif node.id not in self.maybe and node.id not in self.first:
                reuse[node.id] = ""
        forget = tuple(self._forgotten())
        void = tuple(key for key in forget if self._is_void(key))
        by_place = {name: self.maybe.get(name, "") for name in (node.id for node in order) if name in self.maybe}
        first = {node.id: "" for node in order if node.id in self.first}
        return ResumePlan(reuse, again, by_place, first, forget, void)

    def _items_done(self, node: Node) -> str:
        """Return how many items of a `foreach` are done; empty where none is, or it is no `foreach`."""
        if not isinstance(node.repeat, Foreach):
            return ""
        nodes = self.state.nodes.items()
        items = [known for key, known in nodes if (part := part_of(key)) and part.owner == node.id]
        done = sum(item.is_settled and item.reusable for item in items)
        total = self.state.nodes[node.id].count
        return f"{done} of {len(items) if total is None else total} items" if done else ""

    def _is_kept(self, name: str) -> bool:
        """Return whether what is in a node that was not finished stays as it is: nothing that it depends on changed."""
        node, known = self.graph.nodes[name], self.state.nodes[name]
        return (
            not known.is_settled
            and name not in self.void
            and self._is_defined_so(name, known)
            and changed_input(known.reads, self.now.digests) is None
            and self._changed_file(node) is None
            and not self._why_maybe(node)
        )

    def _forgotten(self) -> Iterable[str]:
        """Yield the keys that are settled and are so no longer: each is looked at again when its turn comes."""
        loose = {name for name in (*self.again, *self.maybe) if name in self.first or not self._is_kept(name)}
        holders = {name: self.graph.unit_above(name, TOP) for name in self.graph.nodes if name in self.graph.home}
        for key, known in self.state.nodes.items():
            outermost = ids_of(key)[0]
            if outermost not in self.graph.nodes or outermost in self.graph.reserved:
                is_loose = outermost not in self.graph.nodes or self._is_reserved_loose(outermost, known)
            else:
                is_loose = (holders.get(outermost) or outermost) in loose
            if is_loose or id_of(key) in self.void or (known.status is NodeStatus.COMPLETED and not known.reusable):
                yield key

    def _is_void(self, key: str) -> bool:
        """Return whether a node runs again whatever its fingerprint is: by itself, or with the `flow` node around it."""
        *around, own = ids_of(key)
        flows = (name for name in around if isinstance(self.graph.nodes.get(name), FlowNode))
        return own in self.void or not self.void.isdisjoint(flows)

    def _is_reserved_loose(self, name: str, known: NodeState) -> bool:
        is_moved = any(ids_of(key)[0] == name for key in self.now.changed)
        return name in self.void or is_moved or not self._is_defined_so(name, known)


def _never_taken(node: Node, known: NodeState) -> str:
    """Return why a new run does not take a node over although its fingerprint may be the same; empty: it does."""
    kept = next((inner for inner in walk((node,)) if inner.policy.once or isinstance(inner, CheckpointNode)), None)
    if kept is not None:
        why = "says once" if kept.policy.once else "is asked anew"
        return f"it {why}" if kept is node else f"{kept.id} in it {why}"
    if known.fallback is not None:
        return "its fallback stood in"
    return "it failed" if known.continued else ""


_UNFINISHED: Final = {NodeStatus.FAILED: "it failed", NodeStatus.CANCELLED: "it was stopped"}
