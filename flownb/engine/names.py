"""What a name means at one place of a run: a node's value, an input, an item, a notebook's variable."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from flownb.model.nodes import Branch, CheckpointNode, Container, Foreach, Loop, Node, NodeBase, Parallel, Use
from flownb.model.record import Record
from flownb.model.state import NodeState, stamp
from flownb.model.workflow import Workflow
from flownb.plan.graph import TOP, Graph
from flownb.templates.expressions import RESERVED_NAMES

if TYPE_CHECKING:
    from flownb.engine.engine import Engine

MISSING: Final = object()
"""Stands for a name that means nothing here."""
_DECISION: Final = frozenset({"action", "input", "by", "at", "via", "timed_out"})
"""What the value of a checkpoint holds."""
_OUTSIDE_BODY: Final = frozenset({"when", "foreach", "collect", "until", "while", "needs"})
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
    fingerprints: Mapping[str, str]
    """Id → fingerprint."""
    folder: Path
    """The document's folder."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """The notebook's variables; a sub-flow has none."""
    tainted: frozenset[str] = frozenset()
    """The inputs that hold something of a secret."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One place of a run: the document, one item of a `foreach`, one round of a loop."""

    program: Program
    """Whose names these are."""
    prefix: str = ""
    """What the keys of the nodes here begin with, as `research[3]/`."""
    scope: str = TOP
    """The container that repeats and whose item or round this is."""
    names: Mapping[str, object] = field(default_factory=dict)
    """Names that only this place and those inside it have."""
    parent: Frame | None = None
    """The place around it, in the same program."""
    tainted: frozenset[str] = frozenset()
    """Those of `names` that hold something of a secret."""

    def inside(
        self,
        names: Mapping[str, object],
        prefix: str | None = None,
        scope: str | None = None,
        tainted: Collection[str] = (),
    ) -> Frame:
        """Return a place inside this one, with some names more."""
        return Frame(
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
        frame: Frame = self
        while frame.scope != scope and frame.parent is not None:
            frame = frame.parent
        return frame.prefix + node

    def holder_of(self, node: str, key: str) -> str:
        """Return the key of what holds a node here, where `key`, its own, does not say so; else an empty text."""
        graph = self.program.graph
        if key.endswith(("]", "}")):
            return ""
        if node in graph.reserved and "error" in self.names:
            return str(self.names["error"]["node"])  # type: ignore[index] # a Failure's record
        home = graph.home[node]
        return "" if home in (TOP, self.scope) else self.prefix + home


def values_for(engine: Engine, frame: Frame, uses: Iterable[Use], key: str) -> dict[str, object]:
    """Return name → value for some uses; names that mean nothing are left out."""
    values: dict[str, object] = {}
    for use in uses:
        if use.name not in values:
            value = _value(engine, frame, use, key)
            if value is not MISSING:
                values[use.name] = value
    return values


def body_uses(node: NodeBase) -> list[Use]:
    """Return what a node's body and its own properties read."""
    return [use for use in node.uses if use.field not in _OUTSIDE_BODY]


def body_values(engine: Engine, frame: Frame, node: NodeBase, key: str) -> dict[str, object]:
    """Return name → value for a node's body and its own properties."""
    return values_for(engine, frame, body_uses(node), key)


def uses_of(node: NodeBase, name: str) -> list[Use]:
    """Return what one property reads."""
    return [use for use in node.uses if use.field == name]


def _value(engine: Engine, frame: Frame, use: Use, key: str) -> object:
    if use.name in frame.names:
        return frame.names[use.name]
    graph = frame.program.graph
    if use.name in graph.nodes:
        return node_value(engine, graph, use.name, frame.key_of(use.name))
    if use.name in RESERVED_NAMES:
        return _reserved(engine, frame, use, key)
    return frame.program.variables.get(use.name, MISSING)


def node_value(engine: Engine, graph: Graph, node: str, key: str) -> object:
    """Return a node's value, as bodies and expressions read it."""
    return _as_read(graph, graph.nodes[node], engine.value_of(key))


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


def _reserved(engine: Engine, frame: Frame, use: Use, key: str) -> object:
    state = engine.state
    match use.name:
        case "inputs":
            return Record.of(frame.program.inputs)  # What one body sets in it, no other sees.
        case "secrets":
            return Record(engine.services.secrets)
        case "env":
            return Record(engine.services.environment)
        case "run":
            return Record(
                {
                    "id": state.run_id,
                    "workflow": frame.program.workflow.name,
                    "started_at": stamp(state.started_at),
                }
            )
        case "nodes":
            return _nodes(engine, frame)
        case "now" | "uuid":
            return engine.services.clock if use.name == "now" else _new_uuid
        case "idempotency_key":
            return sha256(f"{state.run_id}\0{key}".encode()).hexdigest()[:32]
        case _:
            return MISSING


def _new_uuid() -> str:
    return str(uuid4())


def _nodes(engine: Engine, frame: Frame) -> Record:
    """Return id → status, duration, attempts and error, for every node that can be seen here."""
    seen: dict[str, object] = {}
    for node in frame.program.graph.nodes:
        current: Frame | None = frame
        while current is not None and current.scope != frame.program.graph.scopes.get(node, TOP):
            current = current.parent
        if current is not None:
            state = engine.state.nodes.get(current.prefix + node) or NodeState()
            seen[node] = {
                "status": str(state.status),
                "duration": state.duration_s,
                "attempts": state.attempts,
                "error": state.error.as_json() if state.error else None,
            }
    return Record(seen)
