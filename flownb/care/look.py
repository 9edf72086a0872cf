"""What is known of a run, without writing anything."""

from __future__ import annotations

from flownb.model.state import RunState
from flownb.store.journal import load_state
from flownb.store.paths import RunPaths, check_folders, found_at
from flownb.store.snapshot import stored_state


def look_at(paths: RunPaths) -> RunState:
    """Return a run's state: from its journal, or from its state file where only that was kept. Nothing is written.

    Args:
        paths: The run.

    Raises:
        FlowStateError: Neither can be read; it says why.
    """
    check_folders(paths)
    if not found_at(paths.journal, paths.disk) and found_at(paths.snapshot, paths.disk):
        return stored_state(paths)
    return load_state(paths)
