"""What the events of a journal add up to, and whether they can."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Final

from flownb.model import events as e
from flownb.model.decision import Action
from flownb.model.events import Event, RunStatus
from flownb.model.key import item_key, round_key
from flownb.model.state import RunState
from flownb.store.lines import damaged
from flownb.store.paths import RunPaths

FINAL: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED})
"""Statuses that only a resume changes."""

_ACTIONS: Final = frozenset(Action)


def fold_run(events: Iterable[Event], paths: RunPaths) -> RunState:
    """Return what the events of a run's journal add up to, where they can be of that run.

    Args:
        events: From the first on.
        paths: The run that they are to be of.

    Raises:
        FlowStateError: They are another run's, or say what cannot be; the message names the line.
    """
    state = RunState()
    weights: dict[str, int] = {}
    for number, event in enumerate(events, 1):
        why = _foreign(event, paths) if number == 1 else _odd(state, event)
        if not why and isinstance(event, e.NodeCompleted):
            weights[event.key] = _weight(event, weights)
            if weights[event.key] > number:
                why = f"`{event.key}` is made of more values than there are"
        if why:
            raise damaged(paths.journal, number, why)
        state.apply(event)
    return state


def _foreign(event: Event, paths: RunPaths) -> str:
    """Return why a journal is not that of a run, by its first event; empty where it is."""
    if not isinstance(event, e.RunStarted):
        return f"it begins with {event.kind}"
    if (event.workflow, event.run_id) != (paths.workflow, paths.run_id):
        return f"it is that of run {event.workflow}/{event.run_id}"
    return _odd_moment(event)


def _odd(state: RunState, event: Event) -> str:
    """Return why an event cannot have happened; empty where it can."""
    match event:
        case e.RunStarted():
            return "a run begins once"
        case e.AttemptFailed(key=key) if key not in state.nodes:
            return f"`{key}` failed and never began"
        case e.NodeCompleted() if event.gather is not None and (why := _odd_parts(state, event)):
            return why
        case e.Asked(question=question) if not _ACTIONS.issuperset(question.actions):
            return f"`{question.key}` asks for what is no action"
        case e.Decided(key=key) if key not in state.questions:
            return f"`{key}` was decided and never asked"
        case e.RunFinished(status=status) if status not in FINAL:
            return f"the run ended as {status}"
        case _:
            return _odd_moment(event)


def _odd_parts(state: RunState, event: e.NodeCompleted) -> str:
    """Return why a value cannot be made of its parts; empty where it can."""
    key, count = event.key, event.count
    match event.gather:
        case e.Gather.ONE if len(event.parts) != 1:
            return f"`{key}` has {len(event.parts)} values, not one"
        case e.Gather.ITEMS if not 0 <= count <= len(state.nodes):
            return f"`{key}` has {count:,} items, of which most are missing"
        case e.Gather.LAST if round_key(key, count - 1) not in state.nodes:
            return f"`{key}` has {count:,} rounds, of which the last is missing"
        case _:
            return ""


def _odd_moment(event: Event) -> str:
    """Return why moments in an event are none that can be told; empty where they are."""
    moments = [event.at]
    if isinstance(event, e.Asked):
        moments += [moment for moment in (event.question.asked_at, event.question.deadline) if moment is not None]
    if isinstance(event, e.Decided) and event.decision.at is not None:
        moments.append(event.decision.at)
    try:
        is_told = all(moment.tzinfo is not None and moment.astimezone(UTC) for moment in moments)
    except OverflowError:
        is_told = False
    return "" if is_told else "it happened at no moment"


def _weight(event: e.NodeCompleted, weights: dict[str, int]) -> int:
    """Return of how many values a value is made."""
    match event.gather:
        case None:
            return 1
        case e.Gather.ITEMS:
            return sum(weights.get(item_key(event.key, index), 0) for index in range(event.count))
        case e.Gather.LAST:
            return weights.get(round_key(event.key, event.count - 1), 0)
        case _:
            return sum(weights.get(key, 0) for key in event.parts.values())
