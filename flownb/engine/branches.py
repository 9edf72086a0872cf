"""Which child of a branch runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flownb.model.node_state import NodeStatus
from flownb.plan.graph import Unit


def chosen_of(
    units: Sequence[Unit], status_of: Callable[[Unit], NodeStatus | None], holds: Callable[[Unit], bool]
) -> Unit | None:
    """Return the first child whose `when` is true, else the one without; None: there is none.

    One that was begun before a crash is not chosen anew, unless what was passed over before it changed since.

    Args:
        units: The children, in the document's order.
        status_of: What became of a child; None: nothing is known of it.
        holds: Whether a child's `when` is true.
    """
    ordered = sorted(units, key=lambda unit: unit.node.policy.when is None)  # The default comes last.
    known = {unit.index: status_of(unit) for unit in ordered}
    is_begun = any(status not in (None, NodeStatus.SKIPPED) for status in known.values())
    for unit in ordered:
        status = known[unit.index]
        if status not in (None, NodeStatus.SKIPPED) or unit.node.policy.when is None:
            return unit
        if is_begun and status is NodeStatus.SKIPPED:
            continue
        if holds(unit):
            return unit
    return None
