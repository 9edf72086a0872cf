"""What the state file of a run holds (interfaces.md, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import JsonValue

from flownb.model.key import id_of
from flownb.model.node_state import NodeState, NodeStatus
from flownb.model.state import RunState, decision_json, stamp
from flownb.model.usage import Usage

SCHEMA: Final = 1
"""The number of the file's layout."""


def state_json(state: RunState) -> dict[str, JsonValue]:
    """Return what the run's state file holds (interfaces.md, section 4)."""
    planned = {node.id: node for node in state.plan}
    keys = list(state.nodes) + [node.id for node in state.plan if node.id not in state.nodes and not node.inside]
    nodes: dict[str, dict[str, JsonValue]] = {}
    waiting = state.clock.waiting_holders()
    current = 0
    for key in keys:
        plan = planned.get(key) or planned.get(id_of(key))
        node = state.nodes.get(key) or NodeState()
        wave = plan.wave if plan else 0
        if node.started_at is not None:
            current = max(current, wave)
        nodes[key] = _node_json(node, wave, plan.definition if plan else "")
        if key in waiting:
            nodes[key]["status"] = NodeStatus.WAITING
        if state.saved.get(key):
            nodes[key]["saved"] = {name: value.output for name, value in state.saved[key].items()}
    return {
        "schema": SCHEMA,
        "workflow": state.workflow,
        "run_id": state.run_id,
        "status": state.seen_status,
        "current_wave": current,
        "started_at": stamp(state.started_at),
        "finished_at": stamp(state.finished_at),
        "duration": state.duration_s,
        "definition": {"sha256": state.definition},
        "inputs": dict(state.inputs),
        "secrets": list(state.secrets),
        "nodes": dict(nodes),
        "decisions": {key: decision_json(decision) for key, decision in state.decisions.items()},
        "outputs": dict(state.outputs),
        **({"tagged": True} if state.tagged else {}),
        **({"usage": _usage_json(state.usage)} if state.usage else {}),
        "document": state.document,
        "errors": [failure.as_json() for failure in state.errors],
    }


def _node_json(node: NodeState, wave: int, definition: str) -> dict[str, JsonValue]:
    record: dict[str, JsonValue] = {
        "status": node.status,
        "wave": wave,
        "attempts": node.attempts,
        "started_at": stamp(node.started_at),
        "finished_at": stamp(node.finished_at),
        "duration": node.duration_s,
        "output": node.output,
        "error": node.error.as_json() if node.error else None,
        "fallback": node.fallback,
        "definition_sha256": node.fingerprint or definition,
    }
    if node.taken:
        record["taken"] = node.taken
    if node.tagged:
        record["tagged"] = True
    if not node.reusable:
        record["reusable"] = False
    if node.usage:
        record["usage"] = _usage_json(node.usage)
    return record


def _usage_json(usage: Mapping[str, Usage]) -> dict[str, JsonValue]:
    return {model: each.model_dump() for model, each in usage.items()}
