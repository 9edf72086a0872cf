"""The earlier run that a new one takes over from (`--reuse`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from flownb.errors import FlowInputError, FlowStateError
from flownb.model.key import ids_of
from flownb.model.node_state import NodeState
from flownb.model.state import RunState
from flownb.store.files import DISK, Disk
from flownb.store.journal import read_state
from flownb.store.paths import LAST, RunPaths, find_run, list_runs


def find_earlier(root: Path, workflow: str, which: str, disk: Disk = DISK) -> tuple[str, RunState] | None:
    """Return the id and the state of the run that a person means; None: `last` is meant, and there is none.

    Args:
        root: The state folder.
        workflow: The workflow's name.
        which: A run's id, the beginning of it, or `last`.
        disk: What reads them.

    Raises:
        FlowInputError: There is no such run.
        FlowStateError: Its journal cannot be read.
    """
    if which == LAST:
        return next(filter(None, (_begun(paths) for paths in list_runs(root, workflow, disk))), None)
    try:
        paths = find_run(root, which, workflow, disk)
    except FlowStateError as error:
        raise FlowInputError(error.message, error.hint) from None
    return paths.run_id, read_state(paths)


def _begun(paths: RunPaths) -> tuple[str, RunState] | None:
    """Return a run's id and state; None where it never began, or cannot be read."""
    try:
        state = read_state(paths)
    except FlowStateError:
        return None
    return (paths.run_id, state) if state.started_at is not None else None


def earlier_nodes(
    paths: RunPaths, state: RunState, definition: str, inputs: Mapping[str, JsonValue]
) -> dict[str, NodeState]:
    """Return key → what a run may take over; nothing where the earlier run is there no more.

    Args:
        paths: The run that takes over.
        state: Its state.
        definition: The text's sha256: what flownb 0.1.0 ran counts only while that is the same.
        inputs: Its inputs, likewise.
    """
    if state.reuses is None:
        return {}
    try:
        earlier = read_state(RunPaths(paths.root, paths.workflow, state.reuses, paths.disk))
    except FlowStateError:
        return {}
    is_same_text = (earlier.definition, earlier.inputs) == (definition, inputs)
    anew = set(state.anew)
    return {
        key: node
        for key, node in earlier.nodes.items()
        if anew.isdisjoint(ids_of(key)) and (is_same_text or not node.is_older)
    }
