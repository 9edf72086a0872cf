"""Draws how far a run is as Markdown: a bar, and a table with one row a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from flownb.model.events import RunStatus
from flownb.model.node_state import NodeStatus
from flownb.render.inert import inert
from flownb.render.progress import OVER, Line, Progress

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
_BAR_CELLS: Final = 20
_MINUTE_S: Final = 60


def draw_board(progress: Progress, now: datetime) -> str:
    """Return how far a run is as Markdown in which nothing is active.

    Args:
        progress: How far it is.
        now: The time, in UTC.
    """
    lines = list(progress.lines.values())
    shown = lines
    if len(lines) > MOST_LINES:
        loudest = sorted(lines, key=lambda line: _LOUDEST.index(line.status))[:MOST_LINES]
        chosen = {line.key for line in loudest}
        shown = [line for line in lines if line.key in chosen]
    table = ["|   | Node | Status | Time |", "|:-:|:-----|:-------|-----:|", *(_row(line, now) for line in shown)]
    rest = _summed_up(line for line in lines if line.key not in {one.key for one in shown})
    return "\n".join([_headline(progress, lines), "", *table, *rest])


def elapsed(duration_s: float) -> str:
    """Return a duration as people read it on the move: `4.1 s`, `2:05`, `1:02:05`."""
    if duration_s < _MINUTE_S:
        return f"{duration_s:.1f} s"
    minutes, whole = divmod(int(duration_s), _MINUTE_S)
    hours, minutes = divmod(minutes, _MINUTE_S)
    return f"{hours}:{minutes:02d}:{whole:02d}" if hours else f"{minutes}:{whole:02d}"


def _headline(progress: Progress, lines: list[Line]) -> str:
    filled = int(_BAR_CELLS * sum(line.share for line in lines) / len(lines)) if lines else _BAR_CELLS
    bar = "▰" * filled + "▱" * (_BAR_CELLS - filled)
    done = sum(line.status in OVER for line in lines)
    is_asked = any(line.status is NodeStatus.WAITING for line in lines)
    is_waiting = progress.status is RunStatus.RUNNING and is_asked and not progress.is_busy
    status = RunStatus.WAITING if is_waiting else progress.status
    return f"**{inert(progress.workflow)}** · {status} · {bar} {done}/{len(lines)}"


def _row(line: Line, now: datetime) -> str:
    words = [str(line.status)]
    if line.parts or line.total:
        of = f"/{line.total:,}" if line.total else ""
        words.append(f"{line.parts:,}{of}")
    if line.failed:
        words.append(f"{line.failed:,} failed")
    if line.attempt > 1:
        words.append(f"{line.attempt} attempts" if line.status in OVER else f"attempt {line.attempt}")
    if line.note:
        words.append(line.note)
    took_s = None if line.status is NodeStatus.PENDING else line.took_s(now)
    time = "" if took_s is None else elapsed(took_s)
    if line.status is NodeStatus.WAITING:
        words, time = words[1:] or words, ""  # A time that nobody draws anew while all wait would stand still.
    return f"| {_ICONS[line.status]} | {inert(line.key)} | {inert(' · '.join(words))} | {time} |"


def _summed_up(rest: Iterable[Line]) -> list[str]:
    counts = Counter(line.status for line in rest)
    if not counts:
        return []
    told = ", ".join(f"{counts[status]:,} {status}" for status in _LOUDEST if counts[status])
    return [f"| … | and {sum(counts.values()):,} more | {told} | |"]
