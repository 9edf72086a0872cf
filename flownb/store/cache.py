"""Where the values of earlier runs are found, for nodes that say `cache`: one index a workflow, a line a value."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from flownb.errors import FlowStateError
from flownb.model.node_state import NodeState, NodeStatus
from flownb.model.state import RunState
from flownb.store.files import open_file, read_file, write_all
from flownb.store.journal import read_state
from flownb.store.paths import RunPaths, check_folders

_STATES: Final = 4
"""Earlier runs whose state is kept in memory."""


class CacheIndex:
    """The index of a run's workflow. Not thread-safe, but for `note`; everything blocks.

    `<workflow>/cache.jsonl` holds a line for each value, `{"of": fingerprint, "key": …, "run": …}`, appended without a
    sync: what a crash takes of it is made again. What it says is believed only as far as the run's own journal does.
    """

    def __init__(self, paths: RunPaths) -> None:
        """Begin without having looked.

        Args:
            paths: The run that asks; it does not answer itself.
        """
        self._paths = paths
        self._path = paths.folder.parent / "cache.jsonl"
        self._size = -1
        self._runs: dict[tuple[str, str], list[str]] = {}
        self._states: dict[str, RunState] = {}

    def note(self, key: str, node: NodeState) -> None:
        """Say that this run has a value that others may take; what cannot be noted is not found."""
        if not node.reusable or node.fallback is not None or node.status is not NodeStatus.COMPLETED:
            return
        line = json.dumps({"of": node.fingerprint, "key": key, "run": self._paths.run_id}) + "\n"
        with suppress(OSError):
            descriptor = open_file(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, self._paths.disk)
            try:
                write_all(descriptor, line.encode(), self._paths.disk)
            finally:
                os.close(descriptor)

    def find(self, key: str, fingerprint: str, age_s: float | None, now: datetime) -> tuple[str, NodeState]:
        """Return the id of the newest earlier run in which a node had this fingerprint, and what became of it there.

        Args:
            key: The node's key.
            fingerprint: Its fingerprint.
            age_s: How many seconds ago it may have ended; None: any number.
            now: The time, in UTC.

        Raises:
            LookupError: There is none.
        """
        self._read()
        for run_id in reversed(self._runs.get((key, fingerprint), [])):
            if run_id == self._paths.run_id:
                continue
            node = self._state(run_id).nodes.get(key)
            if node is None or node.finished_at is None or node.fingerprint != fingerprint:
                continue
            is_good = node.status is NodeStatus.COMPLETED and node.reusable and node.fallback is None
            if is_good and (age_s is None or now - node.finished_at <= timedelta(seconds=age_s)):
                return run_id, node
        raise LookupError(key)

    def _read(self) -> None:
        """Read the index, where it has grown; lines that were torn say nothing."""
        try:
            size = self._paths.disk.stat(self._path).st_size
            if size == self._size:
                return
            content = read_file(self._path, self._paths.disk)
        except OSError:
            return
        self._size, self._runs = size, {}
        for line in content.split(b"\n"):
            with suppress(ValueError, KeyError, TypeError):
                said = json.loads(line)
                self._runs.setdefault((str(said["key"]), str(said["of"])), []).append(str(said["run"]))

    def _state(self, run_id: str) -> RunState:
        """Return what a run's journal says; nothing where it is gone or damaged."""
        if run_id not in self._states:
            other = RunPaths(self._paths.root, self._paths.workflow, run_id, self._paths.disk)
            state = RunState()
            if os.sep not in run_id and run_id not in (".", ".."):
                with suppress(FlowStateError):
                    check_folders(other)
                    state = read_state(other)
            if len(self._states) >= _STATES:
                self._states.pop(next(iter(self._states)))
            self._states[run_id] = state
        return self._states[run_id]
