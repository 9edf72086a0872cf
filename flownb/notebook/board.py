"""How far a run is: one line a node, kept up with its events, drawn as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.events import Event, PlannedNode, RunStatus
from flownb.model.key import holder_of, is_whole, part_of, whole_of
from flownb.model.state import NodeState, NodeStatus, RunState
from flownb.render.inert import cut, inert, one_line

MOST_LINES: Final = 18
"""Most nodes drawn; the others are summed up in a line below them."""

_ICONS: Final[Mapping[NodeStatus, str]] = {
    NodeStatus.PENDING: "○",
    NodeStatus.RUNNING: "▶\ufe0e",
    NodeStatus.WAITING: "◆",
    NodeStatus.COMPLETED: "✔\ufe0e",
    NodeStatus.FAILED: "✖\ufe0e",
    NodeStatus.SKIPPED: "↷",
    NodeStatus.CANCELLED: "■",
}
_LOUDEST: Final = (
    NodeStatus.FAILED,
    NodeStatus.WAITING,
    NodeStatus.RUNNING,
    NodeStatus.CANCELLED,
    NodeStatus.COMPLETED,
    NodeStatus.SKIPPED,
    NodeStatus.PENDING,
)
"""Which nodes are drawn first where not all can be."""
_OVER: Final = frozenset({NodeStatus.COMPLETED, NodeStatus.SKIPPED, NodeStatus.FAILED, NodeStatus.CANCELLED})
_BAR_CELLS: Final = 20
_REASON_CHARACTERS: Final = 80
_MINUTE_S: Final = 60


@dataclass(slots=True)
class Line:
    """One node on the board."""

    key: str
    """Its key."""
    status: NodeStatus = NodeStatus.PENDING
    """Its status."""
    attempt: int = 0
    """Which attempt, from 1."""
    started_at: datetime | None = None
    """When it began."""
    finished_at: datetime | None = None
    """When it ended."""
    parts: int = 0
    """How many of its items or rounds have ended."""
    failed: int = 0
    """How many of these failed."""
    note: str = ""
    """What else is to be said, not yet inert."""


class Board:
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
        self._waiting: set[str] = set()
        self._containers = {node.inside for node in state.plan if node.inside}
        for planned in state.plan:
            if _is_drawn(planned):
                self.lines[planned.id] = Line(planned.id)
        for key, node in list(state.nodes.items()):
            self._recall(key, node)

    def take(self, event: Event) -> None:
        """Take an event in."""
        match event:
            case e.NodeStarted(key=key) if is_whole(key):
                line = self._line(key)
                line.status, line.attempt, line.note = NodeStatus.RUNNING, event.attempt, ""
                line.started_at = line.started_at or event.at
                line.finished_at = None
            case e.AttemptFailed(key=key, failure=failure, wait_s=wait_s):
                self._line(whole_of(key)).note = f"again in {wait_s:.1f} s: {_reason(failure)}"
            case e.NodeCompleted(key=key):
                note = f"by its fallback {event.fallback}" if event.fallback else ""
                self._end(key, NodeStatus.COMPLETED, event.at, note)
            case e.NodeFailed(key=key, failure=failure):
                self._end(key, NodeStatus.FAILED, event.at, _reason(failure))
            case e.NodeSkipped(key=key, reason=reason):
                self._end(key, NodeStatus.SKIPPED, event.at, reason)
            case e.NodeCancelled(key=key):
                self._end(key, NodeStatus.CANCELLED, event.at, "")
            case e.Asked(question=question):
                line = self._line(whole_of(question.key))
                line.status, line.note = NodeStatus.WAITING, "waits for an answer"
            case e.Decided(key=key, decision=decision):
                line = self._line(whole_of(key))
                line.status, line.note = NodeStatus.RUNNING, decision.action
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
                line.status, line.note = NodeStatus.RUNNING, ""
        for key in waiting:
            line = self.lines.get(key)
            if line is not None and line.status is NodeStatus.RUNNING:
                line.status, line.note = NodeStatus.WAITING, "waits for an answer"

    @property
    def ticks(self) -> bool:
        """Whether a time on it changes by itself."""
        return any(self._is_busy(line) for line in self.lines.values())

    def draw(self, now: datetime, total_of: Callable[[str], int | None]) -> str:
        """Return the board as Markdown in which nothing is active.

        Args:
            now: The time, in UTC.
            total_of: Key → how many items the node has; None: unknown.
        """
        lines = list(self.lines.values())
        shown = lines
        if len(lines) > MOST_LINES:
            loudest = sorted(lines, key=lambda line: _LOUDEST.index(line.status))[:MOST_LINES]
            chosen = {line.key for line in loudest}
            shown = [line for line in lines if line.key in chosen]
        rows = [_row(line, now, total_of(line.key)) for line in shown]
        table = ["|   | Node | Status | Time |", "|:-:|:-----|:-------|-----:|", *rows]
        rest = _summed_up(line for line in lines if line.key not in {one.key for one in shown})
        return "\n".join([self._headline(lines, total_of), "", *table, *rest])

    def _headline(self, lines: list[Line], total_of: Callable[[str], int | None]) -> str:
        over = sum(_share(line, total_of(line.key)) for line in lines)
        filled = int(_BAR_CELLS * over / len(lines)) if lines else _BAR_CELLS
        bar = "▰" * filled + "▱" * (_BAR_CELLS - filled)
        done = sum(line.status in _OVER for line in lines)
        is_asked = any(line.status is NodeStatus.WAITING for line in lines)
        is_busy = any(self._is_busy(line) for line in lines)
        status = RunStatus.WAITING if self.status is RunStatus.RUNNING and is_asked and not is_busy else self.status
        return f"**{inert(self.workflow)}** · {status} · {bar} {done}/{len(lines)}"

    def _is_busy(self, line: Line) -> bool:
        return line.status is NodeStatus.RUNNING and line.key not in self._containers

    def _recall(self, key: str, node: NodeState) -> None:
        if not is_whole(key):
            if (part := part_of(key)) and is_whole(part.owner) and node.status in _OVER:
                self._line(whole_of(key)).parts += 1
            return
        line = self._line(key)
        line.status, line.attempt = node.status, node.attempts
        if node.started_at and node.duration_s is not None:  # Without the time in which nothing ran.
            line.started_at = node.started_at
            line.finished_at = node.started_at + timedelta(seconds=node.duration_s)
        if node.status in (NodeStatus.COMPLETED, NodeStatus.SKIPPED):
            line.note = "kept from before"

    def _end_run(self, event: Event) -> None:
        if isinstance(event, e.RunFinished):
            self.status = event.status
        elif isinstance(event, e.RunWaiting):
            self.status = RunStatus.WAITING

    def _line(self, key: str) -> Line:
        return self.lines.setdefault(key, Line(key))

    def _end(self, key: str, status: NodeStatus, at: datetime, note: str) -> None:
        if is_whole(key):
            line = self._line(key)
            line.status, line.finished_at, line.note = status, at, note
            line.started_at = line.started_at or at
        elif (part := part_of(key)) and is_whole(part.owner):
            line = self._line(whole_of(key))
            line.parts += 1
            line.failed += status is NodeStatus.FAILED
            line.note = ""


def elapsed(duration_s: float) -> str:
    """Return a duration as people read it on the move: `4.1 s`, `2:05`, `1:02:05`."""
    if duration_s < _MINUTE_S:
        return f"{duration_s:.1f} s"
    minutes, whole = divmod(int(duration_s), _MINUTE_S)
    hours, minutes = divmod(minutes, _MINUTE_S)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def _is_drawn(node: PlannedNode) -> bool:
    """Return whether a node has a line before it begins."""
    return not node.reserved and not node.inside and not holder_of(node.id)


def _reason(failure: Failure) -> str:
    return cut(one_line(f"{failure.type}: {failure.message}"), _REASON_CHARACTERS)


def _share(line: Line, total: int | None) -> float:
    if line.status in _OVER:
        return 1.0
    return min(1.0, line.parts / total) if total else 0.0


def _row(line: Line, now: datetime, total: int | None) -> str:
    words = [str(line.status)]
    if line.parts or total:
        of = f"/{total:,}" if total else ""
        words.append(f"{line.parts:,}{of}")
    if line.failed:
        words.append(f"{line.failed:,} failed")
    if line.attempt > 1:
        over = line.status in _OVER
        words.append(f"{line.attempt} attempts" if over else f"attempt {line.attempt}")
    if line.note:
        words.append(line.note)
    time = ""
    if line.started_at and line.status in _OVER and line.finished_at:
        time = elapsed((line.finished_at - line.started_at).total_seconds())
    elif line.started_at and line.status in (NodeStatus.RUNNING, NodeStatus.WAITING):
        time = elapsed(max(0.0, (now - line.started_at).total_seconds()))
    if line.status is NodeStatus.WAITING:
        words, time = words[1:] or words, ""  # A time that nobody draws anew while all wait would stand still.
    return f"| {_ICONS[line.status]} | {inert(line.key)} | {inert(' · '.join(words))} | {time} |"


def _summed_up(rest: Iterable[Line]) -> list[str]:
    counts = Counter(line.status for line in rest)
    if not counts:
        return []
    told = ", ".join(f"{counts[status]:,} {status}" for status in _LOUDEST if counts[status])
    return [f"| … | and {sum(counts.values()):,} more | {told} | |"]
