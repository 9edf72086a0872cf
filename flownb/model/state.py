"""What the events of a run add up to: its state, and the state of each of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Action, Decision, Question
from flownb.model.events import Event, PlannedNode, RunStatus, gathered

SCHEMA: Final = 1
"""The number of the state file's layout (interfaces.md, section 4)."""


class NodeStatus(StrEnum):
    """What became of a node."""

    PENDING = "pending"
    """It was never started."""
    RUNNING = "running"
    """An attempt is under way, or the wait between two."""
    WAITING = "waiting"
    """A person is asked."""
    COMPLETED = "completed"
    """It has a value."""
    FAILED = "failed"
    """Attempts and fallback are used up."""
    SKIPPED = "skipped"
    """It was not to run; its value is null."""
    CANCELLED = "cancelled"
    """It was stopped."""


SETTLED: Final = frozenset({NodeStatus.COMPLETED, NodeStatus.SKIPPED})
"""Statuses that a resume never touches."""


def stamp(moment: datetime | None) -> str | None:
    """Return a moment as state and log write it: `2026-11-23T10:15:02.114Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    """Return the seconds from one moment to another, to the millisecond; None where one is missing."""
    return round((end - start).total_seconds(), 3) if start and end else None


@dataclass(frozen=True, slots=True)
class NodeState:
    """What became of one node, item or round."""

    status: NodeStatus = NodeStatus.PENDING
    """Its status."""
    attempts: int = 0
    """Attempts begun."""
    failed_attempts: int = 0
    """Attempts that failed since it was last begun anew; a resume after a crash goes on counting."""
    started_at: datetime | None = None
    """When its first attempt began, in UTC."""
    finished_at: datetime | None = None
    """When it ended, in UTC."""
    output: JsonValue = None
    """Its value, or what can be shown of it."""
    reusable: bool = True
    """Whether `output` is the whole value."""
    error: Failure | None = None
    """Why it failed; while it is tried again, why the last attempt did."""
    continued: bool = False
    """Whether the run went on although it failed."""
    fallback: str | None = None
    """The node whose value stands for its own."""
    definition: str = ""
    """Its fingerprint when it was begun."""
    count: int | None = None
    """How many items or rounds it had; None: it has none."""

    @property
    def is_settled(self) -> bool:
        """Whether a resume does not touch it: it is done, or failed and the run went on."""
        return self.status in SETTLED or (self.status is NodeStatus.FAILED and self.continued)

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end."""
        return seconds_between(self.started_at, self.finished_at)


def node_id(key: str) -> str:
    """Return the id in a node's key: `summary` for `research[3]/summary`, `score` for `score[3]`."""
    return key.rpartition("/")[2].partition("[")[0].partition("{")[0]


@dataclass(slots=True)
class RunState:
    """What a run's events add up to. `apply` is the only way that it changes.

    It changes in place: a copy for each event would make the cost of a run grow with the square of its nodes.
    """

    run_id: str = ""
    """The run's id."""
    workflow: str = ""
    """The workflow's name."""
    status: RunStatus = RunStatus.RUNNING
    """What became of it."""
    started_at: datetime | None = None
    """When it first began, in UTC."""
    finished_at: datetime | None = None
    """When it last ended, in UTC; None while it runs or waits."""
    definition: str = ""
    """The text's sha256."""
    inputs: dict[str, JsonValue] = field(default_factory=dict)
    """Input → value."""
    secrets: tuple[str, ...] = ()
    """Names of secrets."""
    document: str | None = None
    """The document's path; None: a cell."""
    plan: tuple[PlannedNode, ...] = ()
    """Every node there is to run."""
    nodes: dict[str, NodeState] = field(default_factory=dict)
    """Key → state, in the order in which they began. A node that never began is not here, but in the plan."""
    questions: dict[str, Question] = field(default_factory=dict)
    """Key → what was asked, answered or not."""
    decisions: dict[str, Decision] = field(default_factory=dict)
    """Key → the answer."""
    outputs: dict[str, JsonValue] = field(default_factory=dict)
    """What it returned."""
    failures: list[Failure] = field(default_factory=list)
    """Everything that made it fail, the first first."""
    former: dict[str, JsonValue] = field(default_factory=dict)
    """Key → what it made before a resume ran it again: with `once` it is asked about."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end; None while it has not ended."""
        return seconds_between(self.started_at, self.finished_at)

    @property
    def open_questions(self) -> list[Question]:
        """What waits for an answer."""
        return [question for key, question in self.questions.items() if key not in self.decisions]

    @property
    def used_up(self) -> list[str]:
        """Keys of nodes whose answer to `once` held for what is over: a resume asks again."""
        return [
            key
            for key, decision in self.decisions.items()
            if decision.action in (Action.AGAIN, Action.FAIL) and key in self.nodes and not self.nodes[key].is_settled
        ]

    @property
    def seen_status(self) -> RunStatus:
        """The status as people see it: `waiting` also while a process works on it, but only an answer is missing."""
        asked = [question.key for question in self.open_questions]
        if self.status is not RunStatus.RUNNING or not asked:
            return self.status
        # What holds a question says running, but does nothing.
        idle = {above for key in asked for above in _with_those_above(key)}
        nodes = list(self.nodes.items())  # Another thread may add to them.
        is_busy = any(node.status is NodeStatus.RUNNING and key not in idle for key, node in nodes)
        return RunStatus.RUNNING if is_busy else RunStatus.WAITING

    def status_of(self, key: str) -> NodeStatus:
        """Return a node's status; `pending` for one that never began."""
        node = self.nodes.get(key)
        return node.status if node else NodeStatus.PENDING

    def output_of(self, key: str) -> JsonValue:
        """Return a node's output; None where it has none."""
        node = self.nodes.get(key)
        return node.output if node else None

    def apply(self, event: Event) -> None:
        """Take one event in."""
        _APPLY[type(event)](self, event)

    def copy(self) -> RunState:
        """Return the state as it is now; what happens from now on does not change it."""
        return replace(
            self,
            nodes=dict(self.nodes),
            questions=dict(self.questions),
            decisions=dict(self.decisions),
            former=dict(self.former),
        )

    def become(self, other: RunState) -> None:
        """Say what another state says: what was taken in and could not be stored has not happened."""
        for item in fields(self):
            setattr(self, item.name, getattr(other, item.name))


def _with_those_above(key: str) -> set[str]:
    """Return a key and those of what it is in: `a[1]/b` gives `a`, `a[1]` and `a[1]/b`."""
    return {key} | {key[:index] for index, character in enumerate(key) if character in "[{/"}


def _run_started(state: RunState, event: e.RunStarted) -> None:
    state.run_id, state.workflow, state.started_at = event.run_id, event.workflow, event.at
    state.inputs, state.secrets = event.inputs, event.secrets
    state.definition, state.document = event.definition, event.document


def _run_resumed(state: RunState, event: e.RunResumed) -> None:
    state.status, state.finished_at = RunStatus.RUNNING, None
    state.inputs, state.definition = event.inputs, event.definition
    state.failures, state.outputs = [], {}
    for key in state.used_up:
        del state.questions[key], state.decisions[key]
    for key in event.forget:
        known = state.nodes.pop(key, None)
        if known is not None and known.attempts:
            state.former[key] = known.output
        state.questions.pop(key, None)
        state.decisions.pop(key, None)
    for key, node in state.nodes.items():
        if not node.is_settled:
            fresh = node.status in (NodeStatus.FAILED, NodeStatus.CANCELLED)
            state.nodes[key] = replace(
                node,
                status=NodeStatus.PENDING,
                failed_attempts=0 if fresh else node.failed_attempts,
                error=None,
                finished_at=None,
            )


def _planned(state: RunState, event: e.Planned) -> None:
    state.plan = event.nodes


def _node_started(state: RunState, event: e.NodeStarted) -> None:
    node = state.nodes.get(event.key)
    started = node.started_at if node and node.started_at else event.at
    state.nodes[event.key] = NodeState(
        status=NodeStatus.RUNNING,
        attempts=event.attempt,
        failed_attempts=node.failed_attempts if node else 0,
        started_at=started,
        definition=event.definition,
        error=node.error if node else None,
    )


def _attempt_failed(state: RunState, event: e.AttemptFailed) -> None:
    node = state.nodes[event.key]
    state.nodes[event.key] = replace(node, failed_attempts=node.failed_attempts + 1, error=event.failure)


def _node_completed(state: RunState, event: e.NodeCompleted) -> None:
    output = event.output if event.gather is None else gathered(event, state.output_of)
    node = state.nodes.get(event.key) or NodeState(started_at=event.at)
    state.nodes[event.key] = NodeState(  # Written out: `replace` costs three times as much, and this is the hot path.
        status=NodeStatus.COMPLETED,
        attempts=node.attempts,
        failed_attempts=node.failed_attempts,
        started_at=node.started_at,
        finished_at=event.at,
        output=output,
        reusable=event.reusable,
        error=node.error if event.fallback else None,
        fallback=event.fallback,
        definition=node.definition,
        count=event.count if event.gather in (e.Gather.ITEMS, e.Gather.LAST) else None,
    )


def _node_failed(state: RunState, event: e.NodeFailed) -> None:
    node = state.nodes.get(event.key) or NodeState(started_at=event.at)
    state.nodes[event.key] = replace(
        node, status=NodeStatus.FAILED, finished_at=event.at, error=event.failure, continued=event.continued
    )


def _node_skipped(state: RunState, event: e.NodeSkipped) -> None:
    state.nodes[event.key] = NodeState(
        status=NodeStatus.SKIPPED, started_at=event.at, finished_at=event.at, definition=event.definition
    )


def _node_cancelled(state: RunState, event: e.NodeCancelled) -> None:
    node = state.nodes.get(event.key) or NodeState(started_at=event.at)
    state.nodes[event.key] = replace(node, status=NodeStatus.CANCELLED, finished_at=event.at)


def _asked(state: RunState, event: e.Asked) -> None:
    key = event.question.key
    state.questions[key] = event.question
    node = state.nodes.get(key) or NodeState(started_at=event.at)
    state.nodes[key] = replace(node, status=NodeStatus.WAITING)


def _decided(state: RunState, event: e.Decided) -> None:
    state.decisions[event.key] = event.decision


def _run_waiting(state: RunState, event: e.RunWaiting) -> None:  # noqa: ARG001 every one takes its event
    state.status = RunStatus.WAITING


def _run_finished(state: RunState, event: e.RunFinished) -> None:
    state.status, state.finished_at, state.outputs = event.status, event.at, event.outputs
    state.failures = list(event.failures)


# Any: each function takes the one kind of event that it stands under.
_APPLY: Final[Mapping[type, Callable[[RunState, Any], None]]] = {
    e.RunStarted: _run_started,
    e.RunResumed: _run_resumed,
    e.Planned: _planned,
    e.NodeStarted: _node_started,
    e.AttemptFailed: _attempt_failed,
    e.NodeCompleted: _node_completed,
    e.NodeFailed: _node_failed,
    e.NodeSkipped: _node_skipped,
    e.NodeCancelled: _node_cancelled,
    e.Asked: _asked,
    e.Decided: _decided,
    e.RunWaiting: _run_waiting,
    e.RunFinished: _run_finished,
}


def state_json(state: RunState) -> dict[str, JsonValue]:
    """Return what the run's state file holds (interfaces.md, section 4)."""
    planned = {node.id: node for node in state.plan}
    keys = list(state.nodes) + [node.id for node in state.plan if node.id not in state.nodes and not node.inside]
    nodes: dict[str, JsonValue] = {}
    current = 0
    for key in keys:
        plan = planned.get(key) or planned.get(node_id(key))
        node = state.nodes.get(key) or NodeState()
        wave = plan.wave if plan else 0
        if node.started_at is not None:
            current = max(current, wave)
        nodes[key] = _node_json(node, wave, plan.definition if plan else "")
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
        "nodes": nodes,
        "decisions": {key: decision_json(decision) for key, decision in state.decisions.items()},
        "outputs": dict(state.outputs),
        "document": state.document,
        "errors": [failure.as_json() for failure in state.failures],
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
        "definition_sha256": node.definition or definition,
    }
    if not node.reusable:
        record["reusable"] = False
    return record


def decision_json(decision: Decision) -> dict[str, JsonValue]:
    """Return a decision as state and decision files hold it; also the value of its checkpoint."""
    return {
        "action": decision.action,
        "input": decision.input,
        "by": decision.by,
        "at": stamp(decision.at),
        "via": decision.via,
        "timed_out": decision.timed_out,
    }
