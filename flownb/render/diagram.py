"""Draw a run's plan, with what became of it: as Mermaid, and as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from flownb.model.events import PlannedNode
from flownb.model.key import holder_of, id_of, name_of
from flownb.model.node_state import NodeStatus
from flownb.model.nodes import CheckpointNode
from flownb.model.state import RunState
from flownb.render.inert import cut, one_line

_TIMES: Final = "\N{MULTIPLICATION SIGN}"
_MOST_NODES: Final = 200
_MOST_EDGES: Final = 450  # Mermaid refuses more than 500.
_LABEL_CHARACTERS: Final = 60
_COLOURS: Final[Mapping[NodeStatus, str]] = {
    NodeStatus.PENDING: "fill:#f4f4f4,stroke:#999,color:#333",
    NodeStatus.RUNNING: "fill:#dbeafe,stroke:#2563eb,color:#111",
    NodeStatus.WAITING: "fill:#fef3c7,stroke:#d97706,color:#111",
    NodeStatus.COMPLETED: "fill:#dcfce7,stroke:#16a34a,color:#111",
    NodeStatus.FAILED: "fill:#fee2e2,stroke:#dc2626,color:#111",
    NodeStatus.SKIPPED: "fill:#fff,stroke:#bbb,color:#777",
    NodeStatus.CANCELLED: "fill:#ede9fe,stroke:#7c3aed,color:#111",
}
_LOUDEST: Final = (
    NodeStatus.FAILED,
    NodeStatus.RUNNING,
    NodeStatus.WAITING,
    NodeStatus.CANCELLED,
    NodeStatus.COMPLETED,
    NodeStatus.SKIPPED,
    NodeStatus.PENDING,
)
_MARKS: Final[Mapping[NodeStatus, str]] = {
    NodeStatus.PENDING: "·",
    NodeStatus.RUNNING: "▸",
    NodeStatus.WAITING: "?",
    NodeStatus.COMPLETED: "✓",
    NodeStatus.FAILED: "✗",
    NodeStatus.SKIPPED: "○",
    NodeStatus.CANCELLED: "■",
}


def mermaid(plan: Sequence[PlannedNode], state: RunState | None = None) -> str:
    """Return a Mermaid flowchart: containers around their nodes, checkpoints as hexagons, fallbacks dashed.

    Of a plan with more than 200 nodes the first 200 are drawn. No text of a workflow can become Mermaid syntax.

    Args:
        plan: Every node, in the document's order.
        state: What became of them, drawn as colours; None: no colours.
    """
    drawn = plan[:_MOST_NODES]
    tree = _Tree.of(drawn)
    lines = ["flowchart TD"]
    for node in tree.below(""):
        lines += _mermaid_node(node, tree, state, 1)
    if len(plan) > len(drawn):
        lines.append(f'  more["and {len(plan) - len(drawn)} more nodes"]')
    lines += _edges(drawn, tree)
    if state is not None:
        lines += _classes(drawn, statuses(drawn, state), tree)
    return "\n".join(lines) + "\n"


def text_tree(plan: Sequence[PlannedNode], state: RunState | None = None) -> str:
    """Return the plan as lines for a terminal: waves, what waits for what, what is asked, what runs on failure only.

    Args:
        plan: Every node, in the document's order.
        state: What became of them, shown as a mark before each; None: no marks.
    """
    tree = _Tree.of(plan)
    marks = {key: _MARKS[status] + " " for key, status in statuses(plan, state).items()} if state else {}
    called_by = {node.fallback: node.id for node in plan if node.fallback}
    lines: list[str] = []
    wave = -1
    for node in sorted((node for node in tree.below("") if not node.reserved), key=lambda node: node.wave):
        if node.wave != wave:
            wave = node.wave
            lines.append(f"wave {wave}")
        lines += _text_node(node, tree, marks, called_by)
    reserved = [node for node in tree.below("") if node.reserved]
    if reserved:
        lines.append("only after a failure")
        for node in reserved:
            lines += _text_node(node, tree, marks, called_by)
    return "\n".join(lines) + "\n"


def statuses(plan: Sequence[PlannedNode], state: RunState) -> dict[str, NodeStatus]:
    """Return id → status; of a node that runs in items or rounds the one that asks most for attention."""
    known = {node.id for node in plan}
    found: dict[str, NodeStatus] = {}
    for key, node in state.nodes.items():
        node_id = name if (name := name_of(key)) in known else id_of(key)
        if key == node_id:
            found[node_id] = node.status
        elif node_id in known and node_id not in state.nodes:
            found[node_id] = min(found.get(node_id, node.status), node.status, key=_LOUDEST.index)
    return {node.id: found.get(node.id, NodeStatus.PENDING) for node in plan}


def kind(node: PlannedNode, items: int | None = None) -> str:
    """Return what a node is, as `http`, `python, foreach articles`, `parallel`.

    Args:
        node: The node.
        items: How many items or rounds it had; None: unknown.
    """
    how, _, rest = node.repeat.partition(" ")
    times = f" {_TIMES}{items:,}" if items is not None else f" {rest}"
    words = [node.type] if node.type != "group" or not how else []
    return ", ".join(words + [f"{how}{times}"] * bool(how))


@dataclass(frozen=True, slots=True)
class _Tree:
    """Which nodes stand in which."""

    inside: Mapping[str, str]
    """Id → the id of what holds it; empty at the top."""
    children: Mapping[str, list[PlannedNode]]
    """Id → the nodes in it, in order; those at the top under an empty id."""
    names: Mapping[str, str]
    """Id → its name in Mermaid, which knows only letters and digits."""

    @classmethod
    def of(cls, plan: Sequence[PlannedNode]) -> _Tree:
        names = {node.id: f"n{number}" for number, node in enumerate(plan)}
        inside: dict[str, str] = {}
        children: dict[str, list[PlannedNode]] = {}
        for node in plan:
            # A sub-flow's nodes stand in the node that calls it, unless they say otherwise.
            holder = node.inside or holder_of(node.id)
            inside[node.id] = holder if holder in names and holder != node.id else ""
            children.setdefault(inside[node.id], []).append(node)
        return cls(inside, children, names)

    def below(self, holder: str) -> list[PlannedNode]:
        """Return the nodes directly in a container."""
        return self.children.get(holder, [])

    def above(self, node_id: str) -> Iterator[str]:
        """Yield the containers around a node, the nearest first."""
        while node_id := self.inside.get(node_id, ""):
            yield node_id


def _mermaid_node(node: PlannedNode, tree: _Tree, state: RunState | None, depth: int) -> list[str]:
    indent = "  " * depth
    known = state.nodes.get(node.id) if state else None
    what = _label(kind(node, known.count if known else None))
    name = tree.names[node.id]
    children = tree.below(node.id)
    if children:
        # On one line: Mermaid leaves no room for a second one above what stands inside.
        lines = [f'{indent}subgraph {name}["{_label(node.id)}, {what}"]']
        for child in children:
            lines += _mermaid_node(child, tree, state, depth + 1)
        return [*lines, f"{indent}end"]
    label = f"{_label(node.id)}<br/>{what}"
    if node.type == CheckpointNode.TITLE:
        asks = f"<br/>{_label(node.asks)}" if node.asks else ""
        return [f'{indent}{name}{{{{"{label}{asks}"}}}}']
    return [f'{indent}{name}[["{label}"]]' if node.repeat else f'{indent}{name}["{label}"]']


def _edges(plan: Sequence[PlannedNode], tree: _Tree) -> list[str]:
    """Return the arrows; none between a container and what is in it, which Mermaid cannot draw."""
    lines: list[str] = []
    for node in plan:
        around = {*tree.above(node.id)}
        others = [other for other in node.waits_for if other in tree.names and other not in around]
        lines += [
            f"  {tree.names[other]} --> {tree.names[node.id]}" for other in others if node.id not in tree.above(other)
        ]
        if node.fallback in tree.names:
            lines.append(f"  {tree.names[node.id]} -.->|fallback| {tree.names[node.fallback]}")
    return lines[:_MOST_EDGES]


def _classes(plan: Sequence[PlannedNode], found: Mapping[str, NodeStatus], tree: _Tree) -> list[str]:
    lines = []
    for status, colours in _COLOURS.items():
        names = [tree.names[node.id] for node in plan if found[node.id] == status]
        if names:
            lines += [f"  classDef {status} {colours}", f"  class {','.join(names)} {status}"]
    reserved = [tree.names[node.id] for node in plan if node.reserved]
    if reserved:
        lines += ["  classDef reserved stroke-dasharray:4", f"  class {','.join(reserved)} reserved"]
    return lines


def _text_node(
    node: PlannedNode, tree: _Tree, marks: Mapping[str, str], called_by: Mapping[str, str], depth: int = 1
) -> list[str]:
    indent = "  " * depth
    notes = f" <- {', '.join(node.waits_for)}" if node.waits_for else ""
    if node.fallback:
        notes += f", else {node.fallback}"
    if node.reserved:
        notes += f": in place of {called_by[node.id]}" if node.id in called_by else ": when the run failed"
    lines = [one_line(f"{indent}{marks.get(node.id, '')}{node.id} ({kind(node)}){notes}")]
    if node.asks:
        lines.append(f"{indent}  asks: {_first_line(node.asks)}")
    for child in tree.below(node.id):
        lines += _text_node(child, tree, marks, called_by, depth + 1)
    return lines


def _first_line(text: str) -> str:
    """Return the first line of a text that says something, cut to fit."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return cut(one_line(line), _LABEL_CHARACTERS)


def _label(text: str) -> str:
    """Return the text for a quoted label: everything but letters, digits, spaces and commas as a code of Mermaid's.

    Quotes would end the label, backticks and `1.` make Markdown of it, `$$` mathematics, `%%{` a directive, `fa:` an icon.
    """
    shown = _first_line(text)
    return "".join(
        c if c.isalnum() or c in f" ,…{_TIMES}" or (c == "_" and shown.isidentifier()) else f"#{ord(c)};" for c in shown
    )
