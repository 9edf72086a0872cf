"""The state file of a run: a view for people and tools, complete at every pause and end. The engine never reads it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import AwareDatetime, ConfigDict, TypeAdapter
from pydantic_core import from_json, to_json

from flownb.errors import Failure, FlowStateError
from flownb.model.clock import RunClock
from flownb.model.decision import Decision
from flownb.model.events import RunStatus, Taken
from flownb.model.node_state import NodeState, NodeStatus
from flownb.model.state import RunState
from flownb.model.state_file import SCHEMA, state_json
from flownb.model.usage import Usage
from flownb.secrets import Redactor
from flownb.store.files import TO_WRITE, kind_of, read_file, write_private
from flownb.store.folding import FINAL
from flownb.store.journal import load_state
from flownb.store.lock import holder
from flownb.store.paths import RunPaths, check_folders, found_at, removed

_HEAD: Final = 1024
"""Bytes of a state file that hold what a list of runs shows."""

_DISTANT: Final[TypeAdapter[datetime | None]] = TypeAdapter(AwareDatetime | None, config=ConfigDict(defer_build=True))
_SECONDS: Final[TypeAdapter[float | None]] = TypeAdapter(float | None, config=ConfigDict(defer_build=True))


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


def write_snapshot(paths: RunPaths, state: RunState, *, redactor: Redactor | None = None) -> None:
    """Write a run's state file, at once or not at all.

    Args:
        paths: The run.
        state: What became of it.
        redactor: Knows the secrets; None: the state was folded from what `storable` returned, and holds none.

    Raises:
        FlowStateError: It cannot be written; the one before is still there.
    """
    data = _rendered(state, redactor)
    try:
        write_private(paths.snapshot, data, paths.disk)
    except FileNotFoundError as error:
        raise removed(paths) from error
    except OSError as error:
        raise FlowStateError(f"cannot write the state file {paths.snapshot}: {error}", TO_WRITE) from error


def _rendered(state: RunState, redactor: Redactor | None = None) -> bytes:
    content = state_json(state)
    if redactor:
        _hide(content, redactor)
    # What is no number is null: this file is read by tools that know JSON only.
    return to_json(content, indent=2, inf_nan_mode="null") + b"\n"


def renew(paths: RunPaths, state: RunState) -> None:
    """Write the state file of a run that nobody works on anew, where its last process died before it could.

    Where that is not possible, as in a folder that cannot be written, the file stays as it is.

    Args:
        paths: The run.
        state: What its journal says, as `load_state` returns it.
    """
    if state.status is RunStatus.RUNNING or state.started_at is None:
        return  # Its own process writes it; or it never began.
    # A state file never says `interrupted`: it says running, and the lock tells.
    as_kept = replace(state, status=RunStatus.RUNNING) if state.status is RunStatus.INTERRUPTED else state
    data = _rendered(as_kept)
    with suppress(OSError):
        kept = read_file(paths.snapshot, paths.disk) if kind_of(paths.snapshot, paths.disk) else b""
        if kept != data and holder(paths) is None:
            write_private(paths.snapshot, data, paths.disk)


def _hide(content: dict[str, Any], redactor: Redactor) -> None:  # Any: whatever JSON holds
    """Take secrets out of what comes from outside; statuses and names of nodes stay, whatever a secret is."""
    for part in ("inputs", "outputs"):
        content[part] = {name: redactor.json(value) for name, value in content[part].items()}
    for node in content["nodes"].values():
        node["output"] = redactor.json(node["output"])
        if "saved" in node:
            node["saved"] = redactor.json(node["saved"])
    told = [*content["errors"], *(node["error"] for node in content["nodes"].values() if node["error"])]
    for failure in told:
        failure |= {name: redactor.text(failure[name]) for name in ("type", "message", "traceback")}
    for decision in content["decisions"].values():
        decision |= {name: redactor.json(decision[name]) for name in ("input", "by")}


def stored_state(paths: RunPaths) -> RunState:
    """Return what is known of a run: from its journal, or from its state file where only that was kept, as in a clone.

    A state file that is behind the journal is written anew.

    Args:
        paths: The run.

    Raises:
        FlowStateError: Neither can be read.
    """
    check_folders(paths)
    if found_at(paths.journal, paths.disk) or not found_at(paths.snapshot, paths.disk):
        state = load_state(paths)
        renew(paths, state)
        return state
    try:
        content = from_json(read_file(paths.snapshot, paths.disk))
        _refuse_newer(paths, content["schema"])
        return _from_json(content)
    except (OSError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
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
        started_at=_moment(content["started_at"]),
        finished_at=_moment(content["finished_at"]),
        definition=content["definition"]["sha256"],
        inputs=content["inputs"],
        secrets=tuple(content["secrets"]),
        document=content["document"],
        nodes={key: _node(node) for key, node in content["nodes"].items()},
        decisions={key: Decision.model_validate_json(to_json(said)) for key, said in content["decisions"].items()},
        outputs=content["outputs"],
        tagged=content.get("tagged", False),
        failures=[Failure.model_validate(failure) for failure in content["errors"]],
        usage=_usage(content),
        clock=RunClock(content["duration"] or 0.0),
    )


def _moment(said: Any) -> datetime | None:  # Any: whatever JSON holds
    """Return a moment in UTC.

    Raises:
        ValueError: It is none, or says no zone.
        OverflowError: It lies before or behind all that can be told.
    """
    moment = _DISTANT.validate_python(said)
    return moment.astimezone(UTC) if moment is not None else None


def _node(content: dict[str, Any]) -> NodeState:
    return NodeState(
        status=NodeStatus(content["status"]),
        attempts=content["attempts"],
        started_at=_moment(content["started_at"]),
        finished_at=_moment(content["finished_at"]),
        output=content["output"],
        reusable=content.get("reusable", True),
        tagged=content.get("tagged", False),
        error=Failure.model_validate(content["error"]) if content["error"] else None,
        fallback=content["fallback"],
        definition=content["definition_sha256"],
        taken=Taken(content["taken"]) if "taken" in content else None,
        spent_s=content["duration"] or 0.0,
        usage=_usage(content),
    )


def _usage(content: dict[str, Any]) -> dict[str, Usage]:
    """Return model → usage; none where a file of before says none."""
    return {model: Usage.model_validate(each) for model, each in content.get("usage", {}).items()}


def summary(paths: RunPaths) -> RunSummary:
    """Return what a list of runs shows of a run, without reading more than that takes.

    Args:
        paths: The run.

    Raises:
        FlowStateError: Neither its state file nor its journal can be read.
    """
    check_folders(paths)
    found = _from_snapshot(paths)
    if found is not None:
        return found
    state = stored_state(paths)
    return RunSummary(paths.run_id, paths.workflow, state.seen_status, state.started_at, state.duration_s)


def _from_snapshot(paths: RunPaths) -> RunSummary | None:
    """Return a run's summary by its state file; None where that is not the last word."""
    try:
        written = paths.disk.stat(paths.snapshot).st_mtime_ns
        head = read_file(paths.snapshot, paths.disk, _HEAD)
    except OSError:
        return None
    try:
        resumed = paths.disk.stat(paths.journal).st_mtime_ns > written
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
        started_at = _moment(content["started_at"])
        duration_s = _SECONDS.validate_python(content["duration"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return RunSummary(paths.run_id, paths.workflow, status, started_at, duration_s) if status in FINAL else None
