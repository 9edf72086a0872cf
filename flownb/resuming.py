"""What a resume will use again, run again, and run for the first time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flownb.errors import FlowStateError
from flownb.graph import TOP, Graph
from flownb.model.nodes import FlowNode
from flownb.model.state import SETTLED, RunState, node_id


@dataclass(frozen=True, slots=True)
class ResumePlan:
    """What a resume will do, by the outermost nodes' ids, in the document's order."""

    reuse: tuple[str, ...] = ()
    """Done, and used as it is."""
    again: tuple[str, ...] = ()
    """Begun or done before, and run again."""
    first: tuple[str, ...] = ()
    """Never begun."""
    forget: tuple[str, ...] = ()
    """Keys of all nodes, items and rounds that were settled and no longer count."""

    def __str__(self) -> str:
        """Return the plan in three lines at most."""
        parts = (("reuse", self.reuse), ("run again", self.again), ("run for the first time", self.first))
        return "\n".join(f"{word}: {', '.join(ids)}" for word, ids in parts if ids)


def plan_resume(graph: Graph, fingerprints: Mapping[str, str], state: RunState, start: str | None) -> ResumePlan:
    """Work out what a resume will do (format.md, section 4.6).

    Args:
        graph: The workflow as it is now.
        fingerprints: Id → fingerprint, as it is now.
        state: What the run's journal says.
        start: The node from which on everything runs again; None: only what changed.

    Raises:
        FlowStateError: There is no node `start`.
    """
    if start is not None and start not in graph.positions:
        raise FlowStateError(f"there is no node `{start}` to start from", f"the nodes are: {', '.join(graph.nodes)}")
    restarted = {
        node for node, position in graph.positions.items() if start is not None and position >= graph.positions[start]
    }
    forget = tuple(key for key in state.nodes if _is_void(graph, fingerprints, state, key, restarted))
    gone = set(forget)
    reuse, again, first = [], [], []
    for unit in graph.bodies[TOP].units:
        key = unit.node.id
        node = state.nodes.get(key)
        if node is None:
            first.append(key)
        elif key not in gone and node.status in SETTLED and node.reusable:
            reuse.append(key)
        else:
            again.append(key)
    return ResumePlan(tuple(reuse), tuple(again), tuple(first), forget)


def _is_void(graph: Graph, fingerprints: Mapping[str, str], state: RunState, key: str, restarted: set[str]) -> bool:
    """Return whether what is known of a key no longer counts."""
    walked = ""
    for part in key.split("/"):
        walked = f"{walked}/{part}" if walked else part
        name = node_id(part)
        if name not in graph.nodes or name in restarted:
            return True
        if isinstance(graph.nodes[name], FlowNode):
            break  # The sub-flow's text is part of its caller's fingerprint.
    known = state.nodes.get(walked)
    before = known.definition if known else ""
    return bool(before) and before != fingerprints.get(node_id(walked), "")
