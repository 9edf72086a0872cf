"""The state file of a run: a view for people and tools, complete at every pause and end. The engine never reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from flownb.errors import Failure, FlowStateError
from flownb.model.clock import RunClock
from flownb.model.decision import Decision
from flownb.model.events import RunStatus, Taken
from flownb.model.state import NodeState, NodeStatus, RunState
from flownb.model.state_file import SCHEMA, state_json
from flownb.secrets import Redactor
from flownb.store.files import TO_WRITE, Sync, write_atomically
from flownb.store.journal import load_state
from flownb.store.paths import RunPaths

FINAL: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED})
"""Statuses that only a resume changes."""

_HEAD: Final = 1024
"""Bytes of a state file that hold what a list of runs shows."""

_DISTANT: Final[TypeAdapter[datetime | None]] = TypeAdapter(datetime | None)


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a list of runs shows of one."""

    run_id: str
    """The run's id."""
    workflow: str
    """The workflow's name."""
    status: RunStatus
    """What became of it."""
    started_at: datetime | None
    """When it first began, in UTC; None: it died before."""
    duration_s: float | None
    """Seconds from start to end; None while it has not ended."""


def write_snapshot(
    paths: RunPaths, state: RunState, *, sync: Sync = os.fsync, redactor: Redactor | None = None
) -> None:
    """Write a run's state file, at once or not at all.

    Args:
        paths: The run.
        state: What became of it.
        sync: What brings a descriptor to the disk.
        redactor: Knows the secrets; None: the state was folded from what `Journal.append` returned, and holds none.

    Raises:
        FlowStateError: It cannot be written; the one before is still there.
    """
    content = state_json(state)
    if redactor:
        _hide(content, redactor)
    # What is no number is null: this file is read by tools that know JSON only.
    data = to_json(content, indent=2, inf_nan_mode="null") + b"\n"
    try:
        write_atomically(paths.snapshot, data, sync)
    except OSError as error:
        raise FlowStateError(f"cannot write the state file {paths.snapshot}: {error}", TO_WRITE) from error


def _hide(content: dict[str, Any], redactor: Redactor) -> None:  # Any: whatever JSON holds
    """Take secrets out of what comes from outside; statuses and names of nodes stay, whatever a secret is."""
    for part in ("inputs", "outputs"):
        content[part] = {name: redactor.json(value) for name, value in content[part].items()}
    for node in content["nodes"].values():
        node["output"] = redactor.json(node["output"])
    told = [*content["errors"], *(node["error"] for node in content["nodes"].values() if node["error"])]
    for failure in told:
        failure |= {name: redactor.text(failure[name]) for name in ("type", "message", "traceback")}
    for decision in content["decisions"].values():
        decision |= {name: redactor.json(decision[name]) for name in ("input", "by")}


def stored_state(paths: RunPaths) -> RunState:
    """Return what is known of a run: from its journal, or from its state file where only that was kept, as in a clone.

    Args:
        paths: The run.

    Raises:
        FlowStateError: Neither can be read.
    """
    if paths.journal.exists() or not paths.snapshot.exists():
        return load_state(paths)
    try:
        content = from_json(paths.snapshot.read_bytes())
        _refuse_newer(paths, content["schema"])
        return _from_json(content)
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise FlowStateError(
            f"cannot read the state file {paths.snapshot}: {type(error).__name__}: {error}",
            "it was not written by flownb, or was damaged; restore the file",
        ) from error


def _from_json(content: dict[str, Any]) -> RunState:  # Any: whatever JSON holds
    """Return the state that `state_json` wrote; the plan is not in it."""
    status = RunStatus(content["status"])
    return RunState(
        run_id=content["run_id"],
        workflow=content["workflow"],
        status=RunStatus.INTERRUPTED if status is RunStatus.RUNNING else status,
        started_at=_DISTANT.validate_python(content["started_at"]),
        finished_at=_DISTANT.validate_python(content["finished_at"]),
        definition=content["definition"]["sha256"],
        inputs=content["inputs"],
        secrets=tuple(content["secrets"]),
        document=content["document"],
        nodes={key: _node(node) for key, node in content["nodes"].items()},
        decisions={key: Decision.model_validate_json(to_json(said)) for key, said in content["decisions"].items()},
        outputs=content["outputs"],
        failures=[Failure.model_validate(failure) for failure in content["errors"]],
        clock=RunClock(content["duration"] or 0.0),
    )


def _node(content: dict[str, Any]) -> NodeState:
    return NodeState(
        status=NodeStatus(content["status"]),
        attempts=content["attempts"],
        started_at=_DISTANT.validate_python(content["started_at"]),
        finished_at=_DISTANT.validate_python(content["finished_at"]),
        output=content["output"],
        reusable=content.get("reusable", True),
        error=Failure.model_validate(content["error"]) if content["error"] else None,
        fallback=content["fallback"],
        definition=content["definition_sha256"],
        taken=Taken(content["taken"]) if "taken" in content else None,
        spent_s=content["duration"] or 0.0,
    )


def summary(paths: RunPaths) -> RunSummary:
    """Return what a list of runs shows of a run, without reading more than that takes.

    Args:
        paths: The run.

    Raises:
        FlowStateError: Neither its state file nor its journal can be read.
    """
    found = _from_snapshot(paths)
    if found is not None:
        return found
    state = stored_state(paths)
    return RunSummary(paths.run_id, paths.workflow, state.seen_status, state.started_at, state.duration_s)


def _from_snapshot(paths: RunPaths) -> RunSummary | None:
    """Return a run's summary by its state file; None where that is not the last word."""
    try:
        with paths.snapshot.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            head = file.read(_HEAD)
    except OSError:
        return None
    try:
        resumed = paths.journal.stat().st_mtime_ns > written
    except OSError:
        resumed = False  # Only the state file was kept, as in a clone.
    return None if resumed else _summary(paths, head)


def _refuse_newer(paths: RunPaths, schema: int) -> None:
    if schema > SCHEMA:
        raise FlowStateError(
            f"{paths.snapshot}: the state has schema {schema}, this flownb reads up to schema {SCHEMA}",
            "use the flownb that wrote it, or a newer one",
        )


def _summary(paths: RunPaths, head: bytes) -> RunSummary | None:
    """Read what stands at the head of a state file."""
    try:
        content = from_json(head, allow_partial=True)
        _refuse_newer(paths, content["schema"])
        status = RunStatus(content["status"])
        started_at = _DISTANT.validate_python(content["started_at"])
        duration_s = content["duration"]
    except (KeyError, TypeError, ValueError, ValidationError):
        return None
    return RunSummary(paths.run_id, paths.workflow, status, started_at, duration_s) if status in FINAL else None
