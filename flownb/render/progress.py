"""How far a run is, worked out from its events: one line a node outside items and rounds, drawn by whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.events import Event, PlannedNode, RunStatus
from flownb.model.key import holder_of, is_whole, part_of, whole_of
from flownb.model.node_state import SETTLED, NodeState, NodeStatus
from flownb.model.state import RunState
from flownb.render.inert import cut, one_line
from flownb.render.log import describe_decision

OVER: Final = frozenset({NodeStatus.COMPLETED, NodeStatus.SKIPPED, NodeStatus.FAILED, NodeStatus.CANCELLED})
"""Statuses of nodes that have ended."""
_ASKS: Final = "waits for an answer"
_REASON_CHARACTERS: Final = 120


@dataclass(slots=True)
class Line:
    """How far one node is."""

    key: str
    """Its key."""
    status: NodeStatus = NodeStatus.PENDING
    """Its status."""
    attempt: int = 0
    """Which attempt, from 1."""
    started_at: datetime | None = None
    """When it began; None: it did not."""
    finished_at: datetime | None = None
    """When it ended; None: it did not."""
    parts: int = 0
    """How many of its items or rounds have ended."""
    failed: int = 0
    """How many of these failed."""
    total: int | None = None
    """How many items or rounds it has; None: unknown, or none."""
    note: str = ""
    """What else is to be said, not yet inert."""

    @property
    def share(self) -> float:
        """How much of it is done, from 0 to 1."""
        if self.status in OVER:
            return 1.0
        return min(1.0, self.parts / self.total) if self.total else 0.0

    def took_s(self, now: datetime) -> float | None:
        """Return the seconds from its beginning to its end, else to now; None where it never began."""
        if self.started_at is None:
            return None
        return max(0.0, ((self.finished_at or now) - self.started_at).total_seconds())


class Progress:
    """What is known of every node outside items and rounds. Not thread-safe: whoever holds it locks."""

    def __init__(self, state: RunState) -> None:
        """Begin with what a run's journal says.

        Args:
            state: The run; nobody may change it meanwhile.
        """
        self.workflow = state.workflow
        """The workflow's name."""
        self.status: RunStatus = state.status
        """What became of the run."""
        self.lines: dict[str, Line] = {}
        """Key → line, in the document's order; fallbacks and the like only once they begin."""
        self.under_way: dict[str, Line] = {}
        """Those that run or wait."""
        self._waiting: set[str] = set()
        self._containers = {node.inside for node in state.plan if node.inside}
        for planned in state.plan:
            if _is_shown(planned):
                self.lines[planned.id] = Line(planned.id)
        for key, node in list(state.nodes.items()):
            self._recall(key, node)

    @property
    def is_busy(self) -> bool:
        """Whether a node runs that is more than what it holds."""
        busy = list(self.under_way.values())  # At once: another thread may add to them.
        return any(line.status is NodeStatus.RUNNING and line.key not in self._containers for line in busy)

    def watch(self, event: Event, state: RunState) -> None:
        """Take an event in that the state has taken in."""
        self.take(event)
        self.settle(state.clock.asking | state.clock.waiting_holders())

    def take(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case e.NodeStarted(key=key) if is_whole(key):
                self._start(key, event.attempt, event.at).total = event.count
            case e.AttemptFailed(key=key, failure=failure, wait_s=wait_s):
                self._line(key).note = f"again in {wait_s:.1f} s: {reason(failure)}"
            case e.NodeCompleted(key=key):
                self._complete(key, event)
            case e.NodeFailed(key=key, failure=failure):
                self._end(key, NodeStatus.FAILED, event.at, reason(failure))
            case e.NodeSkipped(key=key, reason=why):
                self._end(key, NodeStatus.SKIPPED, event.at, why)
            case e.NodeCancelled(key=key):
                self._end(key, NodeStatus.CANCELLED, event.at, "")
            case e.Asked(question=question):
                self._set(self._line(question.key), NodeStatus.WAITING, _ASKS)
            case e.Decided(key=key, decision=decision):
                self._set(self._line(key), NodeStatus.RUNNING, describe_decision(decision))
            case _:
                self._end_run(event)

    def settle(self, waiting: set[str]) -> None:
        """Let the lines of these keys wait, and no others: a node waits too while all that it holds does.

        Args:
            waiting: Keys of nodes that wait for an answer, or hold only such.
        """
        known, self._waiting = self._waiting, {whole_of(key) for key in waiting}
        for key in (known | self._waiting) - waiting:
            line = self.lines.get(key)
            if line is not None and line.status is NodeStatus.WAITING:
                self._set(line, NodeStatus.RUNNING, "")
        for key in waiting:
            line = self.lines.get(key)
            if line is not None and line.status is NodeStatus.RUNNING:
                self._set(line, NodeStatus.WAITING, _ASKS)

    def _end_run(self, event: Event) -> None:
        if isinstance(event, e.RunFinished):
            self.status = event.status
        elif isinstance(event, e.RunWaiting):
            self.status = RunStatus.WAITING

    def _recall(self, key: str, node: NodeState) -> None:
        if not is_whole(key):
            if (part := part_of(key)) and is_whole(part.owner) and node.status in OVER:
                self._line(key).parts += 1
            return
        line = self._line(key)
        line.attempt, line.total = node.attempts, node.count
        self._set(line, node.status, "kept from before" if node.status in SETTLED else "")
        if node.started_at and node.duration_s is not None:  # Without the time in which nothing ran.
            line.started_at = node.started_at
            line.finished_at = node.started_at + timedelta(seconds=node.duration_s)

    def _line(self, key: str) -> Line:
        """Return the line on which a key counts."""
        whole = whole_of(key)
        return self.lines.setdefault(whole, Line(whole))

    def _set(self, line: Line, status: NodeStatus, note: str) -> None:
        line.status, line.note = status, note
        if status in (NodeStatus.RUNNING, NodeStatus.WAITING):
            self.under_way[line.key] = line
        else:
            self.under_way.pop(line.key, None)

    def _start(self, key: str, attempt: int, at: datetime) -> Line:
        line = self._line(key)
        line.attempt, line.started_at, line.finished_at = attempt, line.started_at or at, None
        self._set(line, NodeStatus.RUNNING, "")
        return line

    def _complete(self, key: str, event: e.NodeCompleted) -> None:
        if is_whole(key):
            if event.begun is not None:
                self._start(key, event.begun.attempt, event.begun.at)
            self._line(key).total = event.count if event.gather in (e.Gather.ITEMS, e.Gather.LAST) else None
        self._end(key, NodeStatus.COMPLETED, event.at, f"fallback: {event.fallback}" if event.fallback else "")

    def _end(self, key: str, status: NodeStatus, at: datetime, note: str) -> None:
        if is_whole(key):
            line = self._line(key)
            line.finished_at = at
            self._set(line, status, note)
        elif (part := part_of(key)) and is_whole(part.owner):
            line = self._line(key)
            line.parts += 1
            line.failed += status is NodeStatus.FAILED
            line.note = ""


def reason(failure: Failure) -> str:
    """Return why something failed on one short line, not yet inert."""
    return cut(one_line(f"{failure.type}: {failure.message}"), _REASON_CHARACTERS)


def _is_shown(node: PlannedNode) -> bool:
    """Return whether a node has a line before it begins."""
    return not node.reserved and not node.inside and not holder_of(node.id)
