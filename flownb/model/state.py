"""What the events of a run add up to: its state, and the state of each of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.clock import RunClock
from flownb.model.decision import Action, Decision, Question
from flownb.model.events import Event, PlannedNode, RunStatus, gathered, parts_of
from flownb.model.key import is_below, is_item
from flownb.model.node_state import Former, NodeState, NodeStatus, StoredValue
from flownb.model.usage import Usage, added

_WITHOUT_FINGERPRINTS: Final = 1
"""The journal's format of flownb 0.1.0."""


def stamp(moment: datetime | None) -> str | None:
    """Return a moment as state and log write it: `2026-11-23T10:15:02.114Z`."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


_NEW: Final = NodeState()
"""The state of a node of which nothing is known."""


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
    format: int = e.FORMAT
    """The format of its journal's last lines."""
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
    unkept: tuple[str, ...] | None = None
    """The inputs that held a secret, so that `•••` stands in them; None: an older flownb did not say."""
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
    former: dict[str, Former] = field(default_factory=dict)
    """Key → what became of it before a resume that perhaps runs it again; with `once` it is asked about."""
    saved: dict[str, dict[str, StoredValue]] = field(default_factory=dict)
    """Key → what the body of a node that is not done keeps in `saved`."""
    tagged: bool = False
    """Whether `outputs` stand for the values, as `flownb.artifacts` writes them; False: they are the values."""
    reuses: str | None = None
    """The earlier run that it takes over from."""
    anew: tuple[str, ...] = ()
    """Ids of nodes that it never takes over from there."""
    versions: dict[str, str] = field(default_factory=dict)
    """Python and each package that a body imports → version."""
    usage: dict[str, Usage] = field(default_factory=dict)
    """Model → what it was asked, by every attempt of every node, also of those that ran again since."""
    clock: RunClock = field(default_factory=RunClock)
    """Counts the time in which something ran."""

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, without the time in which nothing ran; None while it has not ended."""
        return round(self.clock.seconds, 3) if self.started_at and self.finished_at else None

    @property
    def open_questions(self) -> list[Question]:
        """What waits for an answer."""
        return [question for key, question in self.questions.items() if key not in self.decisions]

    @property
    def errors(self) -> list[Failure]:
        """Everything that made it fail, the first first; then why items failed that it went on after."""
        known = set(self.failures)
        nodes = list(self.nodes.items())  # Another thread may add to them.
        passed = [node.error for key, node in nodes if node.continued and node.error and is_item(key)]
        return [*self.failures, *(failure for failure in passed if failure not in known)]

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
        return RunStatus.WAITING if self.status is RunStatus.RUNNING and self.clock.is_idle() else self.status

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
        if isinstance(event, e.RunResumed):
            self.clock.resume(event.at, anew=self.finished_at is not None)
        else:
            self.clock.advance(event.at)
        _APPLY[type(event)](self, event)

    def copy(self) -> RunState:
        """Return the state as it is now; what happens from now on does not change it."""
        return replace(
            self,
            nodes=dict(self.nodes),
            questions=dict(self.questions),
            decisions=dict(self.decisions),
            former=dict(self.former),
            saved={key: dict(values) for key, values in self.saved.items()},
        )

    def become(self, other: RunState) -> None:
        """Say what another state says: what was taken in and could not be stored has not happened."""
        for item in fields(self):
            setattr(self, item.name, getattr(other, item.name))


def _over(state: RunState, key: str) -> tuple[NodeState | None, float]:
    """Note that a node is no longer under way; return what was known of it, and how long it was."""
    state.clock.end(key)
    node = state.nodes.get(key)
    return node, node.spent_until(state.clock.seconds) if node else 0.0


def _run_started(state: RunState, event: e.RunStarted) -> None:
    state.run_id, state.workflow, state.started_at = event.run_id, event.workflow, event.at
    state.inputs, state.secrets, state.unkept = event.inputs, event.secrets, event.unkept
    state.definition, state.document = event.definition, event.document
    state.reuses, state.versions, state.anew = event.reuses, event.versions, event.anew
    state.format = event.format


def _run_resumed(state: RunState, event: e.RunResumed) -> None:
    state.status, state.finished_at = RunStatus.RUNNING, None
    state.inputs, state.definition, state.versions = event.inputs, event.definition, event.versions
    state.unkept, state.format, state.anew = event.unkept, event.format, (*state.anew, *event.anew)
    state.failures, state.outputs, state.tagged = [], {}, False
    for key in state.used_up:
        del state.questions[key], state.decisions[key]
    again = set(event.again)
    for key in event.forget:
        known = state.nodes.pop(key, None)
        question, decision = state.questions.pop(key, None), state.decisions.pop(key, None)
        if known is not None:
            state.former[key] = Former(known, question, decision, key in again)
    for key, node in state.nodes.items():
        if not node.is_settled:
            fresh = node.status in (NodeStatus.FAILED, NodeStatus.CANCELLED)
            state.nodes[key] = replace(
                node,
                status=NodeStatus.PENDING,
                failed_attempts=0 if fresh else node.failed_attempts,
                error=None if fresh else node.error,
                finished_at=None,
                began_s=None,
                spent_s=node.spent_until(state.clock.seconds),
            )


def _planned(state: RunState, event: e.Planned) -> None:
    state.plan = event.nodes


def _node_started(state: RunState, event: e.NodeStarted) -> None:
    node = state.nodes.get(event.key)
    started = node.started_at if node and node.started_at else event.at
    began_s = node.began_s if node and node.began_s is not None else state.clock.seconds
    state.clock.begin(event.key, event.inside)
    state.nodes[event.key] = NodeState(
        status=NodeStatus.RUNNING,
        attempts=event.attempt,
        failed_attempts=event.attempt - 1,
        started_at=started,
        definition=event.definition,
        reads=event.reads,
        is_older=state.format == _WITHOUT_FINGERPRINTS,
        count=event.count,
        error=node.error if node else None,
        began_s=began_s,
        spent_s=node.spent_s if node else 0.0,
        usage=node.usage if node else {},
    )


def _attempt_failed(state: RunState, event: e.AttemptFailed) -> None:
    node = state.nodes[event.key]
    state.nodes[event.key] = replace(node, failed_attempts=node.failed_attempts + 1, error=event.failure)


def _node_completed(state: RunState, event: e.NodeCompleted) -> None:
    output = event.output if event.gather is None else gathered(event, state.output_of)
    state.saved.pop(event.key, None)
    known, spent_s = _over(state, event.key)
    node, begun = known or _NEW, event.begun
    if begun is None:
        attempts, failed_attempts, definition, reads = node.attempts, node.failed_attempts, node.definition, node.reads
        started_at = node.started_at if known else event.at
    else:
        attempts, failed_attempts, definition, reads = begun.attempt, begun.attempt - 1, begun.definition, begun.reads
        started_at = node.started_at if node.attempts else begun.at
        spent_s += (event.at - begun.at).total_seconds()
    state.nodes[event.key] = NodeState(  # Written out: `replace` costs three times as much, and this is the hot path.
        status=NodeStatus.COMPLETED,
        attempts=attempts,
        failed_attempts=failed_attempts,
        started_at=started_at,
        finished_at=event.at,
        output=output,
        reusable=event.reusable,
        tagged=event.tagged if event.gather is None else _are_tagged(state, event),
        error=node.error if event.fallback else None,
        fallback=event.fallback,
        definition=definition,
        reads=reads,
        is_older=begun is None and (node.is_older if known else state.format == _WITHOUT_FINGERPRINTS),
        count=event.count if event.gather in (e.Gather.ITEMS, e.Gather.LAST) else None,
        taken=event.taken,
        wrote=event.wrote,
        spent_s=spent_s,
        usage=node.usage,
    )


def _are_tagged(state: RunState, event: e.NodeCompleted) -> bool:
    return any(key in state.nodes and state.nodes[key].tagged for key in parts_of(event))


def _saved(state: RunState, event: e.Saved) -> None:
    values = state.saved.setdefault(event.key, {})
    if event.gone:
        values.pop(event.name, None)
    else:
        values[event.name] = StoredValue(event.output, event.tagged)


def _saved_dropped(state: RunState, event: e.SavedDropped) -> None:
    state.saved.pop(event.key, None)


def _used(state: RunState, event: e.Used) -> None:
    state.usage = added(state.usage, event.model, event.usage)
    node = state.nodes.get(event.key) or NodeState(started_at=event.at)
    state.nodes[event.key] = replace(node, usage=added(node.usage, event.model, event.usage))


def _node_reused(state: RunState, event: e.NodeReused) -> None:
    for root in event.keys:
        for key in [key for key in state.former if key == root or is_below(key, root)]:
            former = state.former.pop(key)
            state.nodes[key] = former.node
            if former.question is not None:
                state.questions[key] = former.question
            if former.decision is not None:
                state.decisions[key] = former.decision


def _node_failed(state: RunState, event: e.NodeFailed) -> None:
    known, spent_s = _over(state, event.key)
    if event.continued:
        state.saved.pop(event.key, None)
    state.nodes[event.key] = replace(
        known or NodeState(started_at=event.at),
        status=NodeStatus.FAILED,
        finished_at=event.at,
        error=event.failure,
        continued=event.continued,
        began_s=None,
        spent_s=spent_s,
    )


def _node_skipped(state: RunState, event: e.NodeSkipped) -> None:
    state.nodes[event.key] = NodeState(
        status=NodeStatus.SKIPPED,
        started_at=event.at,
        finished_at=event.at,
        definition=event.definition,
        reads=event.reads,
        is_older=state.format == _WITHOUT_FINGERPRINTS,
    )


def _node_cancelled(state: RunState, event: e.NodeCancelled) -> None:
    known, spent_s = _over(state, event.key)
    node = known or NodeState(started_at=event.at)
    state.nodes[event.key] = replace(
        node, status=NodeStatus.CANCELLED, finished_at=event.at, began_s=None, spent_s=spent_s
    )


def _asked(state: RunState, event: e.Asked) -> None:
    key = event.question.key
    state.questions[key] = event.question
    state.decisions.pop(key, None)  # One that is used up.
    state.clock.ask(key)
    node = state.nodes.get(key) or NodeState(started_at=event.at)
    began_s = node.began_s if node.began_s is not None else state.clock.seconds
    state.nodes[key] = replace(node, status=NodeStatus.WAITING, began_s=began_s)


def _decided(state: RunState, event: e.Decided) -> None:
    state.decisions[event.key] = event.decision
    state.clock.end(event.key)


def _run_waiting(state: RunState, event: e.RunWaiting) -> None:  # noqa: ARG001 every one takes its event
    state.status = RunStatus.WAITING
    state.clock.stop()


def _run_finished(state: RunState, event: e.RunFinished) -> None:
    state.status, state.finished_at = event.status, event.at
    state.outputs, state.tagged = event.outputs, event.tagged
    state.failures = list(event.failures)
    state.clock.stop()


# Any: each function takes the one kind of event that it stands under.
_APPLY: Final[Mapping[type, Callable[[RunState, Any], None]]] = {
    e.RunStarted: _run_started,
    e.RunResumed: _run_resumed,
    e.Planned: _planned,
    e.NodeStarted: _node_started,
    e.AttemptFailed: _attempt_failed,
    e.NodeCompleted: _node_completed,
    e.Saved: _saved,
    e.SavedDropped: _saved_dropped,
    e.Used: _used,
    e.NodeReused: _node_reused,
    e.NodeFailed: _node_failed,
    e.NodeSkipped: _node_skipped,
    e.NodeCancelled: _node_cancelled,
    e.Asked: _asked,
    e.Decided: _decided,
    e.RunWaiting: _run_waiting,
    e.RunFinished: _run_finished,
}


def decision_json(decision: Decision) -> dict[str, JsonValue]:
    """Return a decision as state and decision files hold it; also the value of its checkpoint."""
    return {
        "action": str(decision.action),
        "input": decision.input,
        "by": decision.by,
        "at": stamp(decision.at),
        "via": str(decision.via),
        "timed_out": decision.timed_out,
    }
