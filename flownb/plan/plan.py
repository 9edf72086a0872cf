"""The plan of a workflow as a run writes it down, or the circle that makes one impossible."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flownb.errors import Diagnostic
from flownb.model.events import PlannedNode
from flownb.model.nodes import CheckpointNode, Foreach, Loop, Node, walk
from flownb.model.workflow import Workflow
from flownb.plan.graph import Graph, build_graph
from flownb.text.codes import Code
from flownb.text.spans import Span


def plan_nodes(graph: Graph, definitions: Mapping[str, str]) -> tuple[PlannedNode, ...]:
    """Return the plan that a run writes down: every node in the document's order."""
    planned = []
    units = {unit.node.id: unit for body in graph.bodies.values() for unit in body.units} | graph.reserved
    for node in walk(graph.workflow.nodes):
        unit = units.get(node.id)
        if unit is None:
            continue
        body = graph.bodies[graph.home[node.id]]
        planned.append(
            PlannedNode(
                id=node.id,
                type=node.TITLE,
                wave=unit.wave,
                waits_for=tuple(body.units[index].node.id for index in unit.waits),
                definition=definitions.get(node.id, ""),
                inside=graph.home[node.id],
                reserved=node.id in graph.reserved,
                repeat=_repeat_word(node),
                fallback=node.policy.fallback or "",
                asks=node.body.strip() if isinstance(node, CheckpointNode) else "",
            )
        )
    return tuple(planned)


def _repeat_word(node: Node) -> str:
    match node.repeat:
        case Foreach(items=items):
            return f"foreach {items}"
        case Loop(condition=condition, until=until):
            return f"{'until' if until else 'while'} {condition}"
        case None:
            return ""


def find_circles(workflow: Workflow) -> list[Diagnostic]:
    """Return a diagnostic for each body whose nodes wait for each other in a circle; it shows the circle."""
    graph = build_graph(workflow)
    found = []
    for body in graph.bodies.values():
        if len(body.order) == len(body.units):
            continue
        stuck = set(range(len(body.units))) - set(body.order)
        path: list[int] = []
        current = min(stuck)
        while current not in path:
            path.append(current)
            current = next(wait for wait in body.units[current].waits if wait in stuck)
        circle = [body.units[index].node for index in path[path.index(current) :]]
        names = " → ".join(node.id for node in (*circle, circle[0]))
        first = min(circle, key=lambda node: graph.positions[node.id])
        found.append(
            Diagnostic(
                code=Code.CIRCLE,
                message=f"nodes wait for each other in a circle: {names}",
                span=_blamed(graph, circle, first),
                hint="take one of these references or `needs` away, or move the checkpoint between them",
            )
        )
    return found


def _blamed(graph: Graph, circle: Sequence[Node], first: Node) -> Span:
    """Return the place of a reference that closes the circle, else the first node's heading."""
    ids = {node.id for node in circle}
    for inner in walk((first,)):
        for use in inner.uses:
            if ids.intersection(graph.targets(use.name)):
                return use.span
    return first.span
