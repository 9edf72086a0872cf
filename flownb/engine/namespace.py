"""What names mean at one place of a run: a node's value, an input, an item, a notebook's variable."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final
from uuid import uuid4

from pydantic_core import to_jsonable_python

from flownb.artifacts.lazy_table import LazyTable
from flownb.engine.context import RunContext
from flownb.model.key import is_part
from flownb.model.node_state import NodeState, NodeStatus
from flownb.model.nodes import (
    Branch,
    CheckpointNode,
    Container,
    Foreach,
    Loop,
    Node,
    NodeBase,
    Parallel,
    Use,
)
from flownb.model.record import Record
from flownb.model.state import stamp
from flownb.model.workflow import Workflow
from flownb.plan.fingerprint import digest_of
from flownb.plan.graph import TOP, Graph
from flownb.templates.expressions import RESERVED_NAMES

MISSING: Final = object()
"""Stands for a name that means nothing here."""
_DECISION: Final = frozenset({"action", "input", "by", "at", "via", "timed_out"})
"""What the value of a checkpoint holds."""
_OUTSIDE_BODY: Final = frozenset({"when", "foreach", "collect", "until", "while", "needs", "files"})
"""Properties that are worked out before or after a body, with names of their own."""


@dataclass(frozen=True, slots=True)
class Program:
    """A workflow with the inputs that it runs on; a sub-flow is one of its own."""

    workflow: Workflow
    """What is run."""
    graph: Graph
    """Its waits."""
    inputs: Record
    """Input → value."""
    definitions: Mapping[str, str]
    """Id → the digest of what a node is."""
    folder: Path
    """The document's folder."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """The notebook's variables; a sub-flow has none."""

    tainted: frozenset[str] = frozenset()
    """The inputs that hold something of a secret."""

    def input_digests(self, name: str | None = None) -> Iterator[tuple[str, str]]:
        """Yield `inputs.name` and the digest of its value, of one input or of all."""
        for key in self.inputs if name is None else (name,):
            yield f"inputs.{key}", "" if key in self.tainted else digest_of(to_jsonable_python(self.inputs.get(key)))


@dataclass(frozen=True, slots=True)
class Namespace:
    """The names at one place of a run: in the document, in one item of a `foreach`, in one round of a loop."""

    context: RunContext
    """The run."""
    program: Program
    """Whose names these are."""
    prefix: str = ""
    """What the keys of the nodes here begin with, as `research[3]/`."""
    scope: str = TOP
    """The container that repeats and whose item or round this is."""
    names: Mapping[str, object] = field(default_factory=dict)
    """Names that only this place and those inside it have."""
    parent: Namespace | None = None
    """The place around it, in the same program."""
    tainted: frozenset[str] = frozenset()
    """Those of `names` that hold something of a secret."""

    def inside(
        self,
        names: Mapping[str, object],
        prefix: str | None = None,
        scope: str | None = None,
        tainted: Collection[str] = (),
    ) -> Namespace:
        """Return the names at a place inside this one, which has some more."""
        return Namespace(
            self.context,
            self.program,
            self.prefix if prefix is None else prefix,
            self.scope if scope is None else scope,
            {**self.names, **names},
            self if prefix is not None else self.parent,
            (self.tainted - names.keys()) | frozenset(tainted),
        )

    def key_of(self, node: str) -> str:
        """Return the key of the node that an id means here."""
        scope = self.program.graph.scopes[node]
        place: Namespace = self
        while place.scope != scope and place.parent is not None:
            place = place.parent
        return place.prefix + node

    def holder_of(self, node: str, key: str) -> str:
        """Return the key of what holds a node here, where `key`, its own, does not say so; else an empty text."""
        graph = self.program.graph
        if is_part(key):
            return ""
        if node in graph.reserved and "error" in self.names:
            return str(self.names["error"]["node"])  # type: ignore[index] # a Failure's record
        home = graph.home[node]
        return "" if home in (TOP, self.scope) else self.prefix + home

    def values(self, uses: Iterable[Use], key: str) -> dict[str, object]:
        """Return name → value for some uses of the node of a key; names that mean nothing are left out."""
        values: dict[str, object] = {}
        for use in uses:
            if use.name not in values:
                value = self._lazy(use) or self._value(use.name, key)
                if value is not MISSING:
                    values[use.name] = value
        return values

    def keys_read(self, uses: Iterable[Use]) -> set[str]:
        """Return the keys of the nodes whose values some uses read here; not of those that are read where they are stored."""
        nodes = self.program.graph.nodes
        here = (use for use in uses if use.name in nodes and use.name not in self.names)
        return {self.key_of(use.name) for use in here if self._lazy(use) is None}

    def body_values(self, node: NodeBase, key: str) -> dict[str, object]:
        """Return name → value for a node's body and its own properties."""
        return self.values(body_uses(node), key)

    def idempotency_key(self, key: str) -> str:
        """Return what is the same for all attempts of the node of a key, in this run and its resumes."""
        return sha256(f"{self.context.ledger.state.run_id}\0{key}".encode()).hexdigest()[:32]

    def was_skipped(self, node: str) -> bool:
        """Return whether a node was skipped, by itself or with what holds it."""
        state, home, key = self.context.ledger.state, self.program.graph.home, self.key_of(node)
        while key not in state.nodes and home[node] != TOP:
            node = home[node]
            key = self.key_of(node)
        return state.status_of(key) is NodeStatus.SKIPPED

    def enclosing(self, node: str) -> Sequence[NodeBase]:
        """Return the plain groups around a node, within its body."""
        return self.program.graph.enclosing.get(node, ())

    def _value(self, name: str, key: str) -> object:
        if name in self.names:
            return self.names[name]
        if name in self.program.graph.nodes:
            return self.node_value(name)
        if name in RESERVED_NAMES:
            return self._reserved(name, key)
        return self.program.variables.get(name, MISSING)

    def node_value(self, node: str) -> object:
        """Return a node's value, as bodies and expressions read it."""
        graph = self.program.graph
        return _as_read(graph, graph.nodes[node], self.context.ledger.value_of(self.key_of(node)))

    def _lazy(self, use: Use) -> LazyTable | None:
        """Return what reads a table where it is stored; None: it is none, or its value is at hand."""
        is_node = use.is_table and use.name in self.program.graph.nodes and use.name not in self.names
        return self.context.ledger.lazy(self.key_of(use.name)) if is_node else None

    def _reserved(self, name: str, key: str) -> object:
        services, state = self.context.services, self.context.ledger.state
        match name:
            case "inputs":
                return Record.of(self.program.inputs)  # What one body sets in it, no other sees.
            case "secrets":
                return Record(services.secrets)
            case "env":
                return Record(services.environment)
            case "run":
                workflow = self.program.workflow.name
                return Record({"id": state.run_id, "workflow": workflow, "started_at": stamp(state.started_at)})
            case "nodes":
                return self._nodes()
            case "now" | "uuid":
                return services.clock if name == "now" else _new_uuid
            case "idempotency_key":
                return self.idempotency_key(key)
            case _:
                return MISSING

    def _nodes(self) -> Record:
        """Return id → status, duration, attempts and error, for every node that can be seen here."""
        seen: dict[str, object] = {}
        graph = self.program.graph
        for node in graph.nodes:
            place: Namespace | None = self
            while place is not None and place.scope != graph.scopes.get(node, TOP):
                place = place.parent
            if place is not None:
                state = self.context.ledger.state.nodes.get(place.prefix + node) or NodeState()
                seen[node] = {
                    "status": str(state.status),
                    "duration": state.duration_s,
                    "attempts": state.attempts,
                    "error": state.error.as_json() if state.error else None,
                }
        return Record(seen)


def body_uses(node: NodeBase) -> list[Use]:
    """Return what a node's body and its own properties read."""
    return [use for use in node.uses if use.field not in _OUTSIDE_BODY]


def uses_in(node: NodeBase, name: str) -> list[Use]:
    """Return what one property reads."""
    return [use for use in node.uses if use.field == name]


def _as_read(graph: Graph, node: Node, value: object) -> object:
    """Let the parts of a checkpoint's decision be attributes too, and those of a container that gives id → value."""
    if isinstance(node.repeat, Foreach):
        is_plain = node.repeat.collect or not isinstance(node, CheckpointNode | Container)
        if is_plain or not isinstance(value, list):
            return value
        return [_as_read_once(graph, node, item) for item in value]
    return _as_read_once(graph, node, value)


def _as_read_once(graph: Graph, node: Node, value: object) -> object:
    """Do so for one item, for the last round, or for what runs once."""
    if not isinstance(value, dict):
        return value
    if isinstance(node, CheckpointNode):
        return Record(value)
    if not isinstance(node, Container):
        return value
    children = {unit.node.id: unit.node for unit in graph.bodies[node.id].units}
    if isinstance(node, Parallel) or isinstance(node.repeat, Loop):
        parts = {
            name: _as_read(graph, children[name], part) if name in children else part for name, part in value.items()
        }
        return Record.of(parts)
    if isinstance(node, Branch):
        is_decision = value.keys() >= _DECISION and any(
            isinstance(child, CheckpointNode) for child in children.values()
        )
        return Record(value) if is_decision else value
    return _as_read(graph, next(reversed(children.values())), value)


def _new_uuid() -> str:
    return str(uuid4())
