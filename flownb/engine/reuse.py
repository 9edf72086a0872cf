"""Whether what a node made before may stand: the one comparison of fingerprints (format.md, section 4.6)."""

from __future__ import annotations

from collections.abc import Mapping

from flownb.engine.namespace import Namespace
from flownb.engine.outside import changed_outside
from flownb.model.key import is_below
from flownb.model.node_state import Former, NodeState, NodeStatus
from flownb.model.nodes import CheckpointNode, Container, FlowNode, Leaf, Node, walk
from flownb.plan.fingerprint import is_read_same


def can_stand(former: Former, node: Node) -> bool:
    """Return whether what a node made before a resume may stand, as far as its fingerprint has nothing to say."""
    known = former.node
    if former.is_void or known.status is NodeStatus.SKIPPED or not known.is_settled or not known.reusable:
        return False
    if isinstance(node, CheckpointNode):
        return False  # Its decision holds while question and evidence do: it looks by itself.
    return node.policy.continue_on_error or not known.continued


def can_be_taken(known: NodeState, node: Node, *, is_one: bool) -> bool:
    """Return whether a new run may take over what a node made in an earlier one, as far as its fingerprint has nothing to say."""
    if node.policy.once or isinstance(node, CheckpointNode | Container | FlowNode):
        return False  # What is in a container is taken over by itself.
    if node.repeat is not None and not is_one:
        return False
    return known.status is NodeStatus.COMPLETED and known.reusable and known.fallback is None


def is_same(known: NodeState, definition: str, reads: Mapping[str, str]) -> bool:
    """Return whether a node's fingerprint is what it was."""
    return known.definition == definition and is_read_same(known.reads, reads)


async def is_as_written(names: Namespace, known: NodeState) -> bool:
    """Return whether the files that a node wrote are there, as it wrote them."""
    return not known.wrote or not await changed_outside({"": known.wrote}, names.program.workflow, names.program.folder)


def keys_inside(names: Namespace, node: Node, key: str, *, is_one: bool) -> tuple[str, ...]:
    """Return the key of a node, and those of nodes in it that do not begin with it."""
    inner = walk(node.children) if isinstance(node, Container) and not is_one else ()
    return (key, *(names.prefix + child.id for child in inner))


async def is_same_inside(names: Namespace, node: Node, keys: tuple[str, ...], *, is_one: bool) -> bool:
    """Return whether the files that nodes in a node read or wrote are what they were; its own were looked at."""
    if isinstance(node, Leaf) and not isinstance(node, FlowNode) and (node.repeat is None or is_one):
        return True
    former, (own, *_) = names.context.ledger.state.former, keys
    reads = {
        key: {**before.node.reads, **before.node.wrote}
        for key, before in former.items()
        if key != own and (key in keys or any(is_below(key, root) for root in keys))
    }
    place = names.prefix.count("/")
    inside = {"/".join(key.split("/")[place:]): read for key, read in reads.items()}
    return not await changed_outside(inside, names.program.workflow, names.program.folder)
