"""What a resume will use again, run again, and run for the first time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flownb.errors import FlowStateError
from flownb.model.nodes import FlowNode, Loop
from flownb.model.state import RunState, node_id
from flownb.plan.graph import TOP, Graph
from flownb.plan.plan import spread


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
    hold: tuple[str, ...] = ()
    """Those of `forget` whose answer holds where their question comes out the same."""

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
    seeds = {node for node in graph.nodes if start is not None and graph.positions[node] >= graph.positions[start]}
    spreading = spread(graph, seeds | _stood_in_for(graph, fingerprints, state, seeds) | _let_pass(graph, state))
    forget = tuple(key for key in state.nodes if _is_void(graph, fingerprints, state, key, spreading))
    gone = set(forget)
    reuse, again, first = [], [], []
    for unit in graph.bodies[TOP].units:
        key = unit.node.id
        node = state.nodes.get(key)
        if node is None:
            first.append(key)
        elif key not in gone and node.is_settled and node.reusable:
            reuse.append(key)
        else:
            again.append(key)
    questions = state.questions
    hold = tuple(key for key in forget if start is None and key in questions and questions[key].evidence)
    return ResumePlan(tuple(reuse), tuple(again), tuple(first), forget, hold)


def _stood_in_for(graph: Graph, fingerprints: Mapping[str, str], state: RunState, seeds: set[str]) -> set[str]:
    """Return the nodes whose value is that of a fallback that is run again or was changed."""
    changed = seeds | {
        node_id(key)
        for key, node in state.nodes.items()
        if node.definition and node_id(key) in graph.reserved and node.definition != fingerprints[node_id(key)]
    }
    return {node_id(key) for key, node in state.nodes.items() if node.fallback in changed} & graph.nodes.keys()


def _let_pass(graph: Graph, state: RunState) -> set[str]:
    """Return the nodes that failed while they said `continue_on_error`, and say it no longer."""
    names = {node_id(key) for key, node in state.nodes.items() if node.continued and node.is_settled}
    return {name for name in names & graph.nodes.keys() if not graph.nodes[name].policy.continue_on_error}


def _is_void(
    graph: Graph, fingerprints: Mapping[str, str], state: RunState, key: str, spread: Mapping[str, bool]
) -> bool:
    """Return whether what is known of a key no longer counts."""
    walked = ""
    for part in key.split("/"):
        walked = f"{walked}/{part}" if walked else part
        name = node_id(part)
        if name not in graph.nodes or spread.get(name, False) or (walked == key and name in spread):
            return True
        if isinstance(graph.nodes[name], FlowNode):
            break  # The sub-flow's text is part of its caller's fingerprint.
        if walked != key and isinstance(graph.nodes[name].repeat, Loop) and _is_changed(fingerprints, state, walked):
            return True  # Rounds follow from each other, by `previous`.
    return _is_changed(fingerprints, state, walked)


def _is_changed(fingerprints: Mapping[str, str], state: RunState, key: str) -> bool:
    """Return whether a node has another fingerprint than when it was begun."""
    known = state.nodes.get(key)
    before = known.definition if known else ""
    return bool(before) and before != fingerprints.get(node_id(key), "")
