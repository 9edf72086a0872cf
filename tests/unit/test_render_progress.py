from __future__ import annotations

from datetime import datetime

import pytest

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Question
from flownb.model.events import Event, Gather, PlannedNode
from flownb.model.node_state import NodeStatus
from flownb.model.state import RunState
from flownb.render.progress import Line, Progress
from tests.runs import later

FAILED = Failure(node="a", type="ValueError", message="no")
PLAN = tuple(PlannedNode(id=name, type="python", wave=0, definition="d") for name in ("a", "b", "c", "d"))
ENDED: list[Event] = [
    e.Planned(at=later(0), nodes=PLAN),
    e.NodeStarted(at=later(0), key="a", count=2),
    e.NodeStarted(at=later(0), key="a[0]"),
    e.NodeCompleted(at=later(1), key="a[0]", output=1),
    e.NodeStarted(at=later(1), key="a[1]"),
    e.NodeCompleted(at=later(2), key="a[1]", output=2),
    e.NodeCompleted(at=later(2), key="a", gather=Gather.ITEMS, count=2),
    e.NodeStarted(at=later(2), key="b"),
    e.AttemptFailed(at=later(3), key="b", failure=FAILED, wait_s=1),
    e.NodeStarted(at=later(4), key="b", attempt=2),
    e.NodeFailed(at=later(5), key="b", failure=FAILED),
    e.NodeCompleted(at=later(7), key="c", begun=e.Begun(at=later(6), attempt=1)),
    e.NodeSkipped(at=later(7), key="d", reason="when: false"),
]


def followed(events: list[Event]) -> Progress:
    state = RunState()
    made = Progress(state)
    for event in events:
        state.apply(event)
        made.watch(event, state)
    return made


def told(line: Line, at: datetime) -> tuple[object, ...]:
    return line.key, line.status, line.attempt, line.parts, line.total, line.took_s(at)


@pytest.mark.parametrize("count", range(2, len(ENDED) + 1))
def test_what_is_followed_is_what_a_journal_says(count: int) -> None:
    events = ENDED[:count]
    state = RunState()
    for event in events:
        state.apply(event)
    at, live = events[-1].at, followed(events)
    over = [line for line in live.lines.values() if line.finished_at and line.started_at]
    recalled = Progress(state)
    assert [told(recalled.lines[line.key], at) for line in over] == [told(line, at) for line in over]
    assert recalled.under_way.keys() == live.under_way.keys()
    under_way = [recalled.lines[key] for key in live.under_way]
    assert [(line.parts, line.total) for line in under_way] == [
        (line.parts, line.total) for line in live.under_way.values()
    ]


def test_what_is_under_way_is_known_at_any_time() -> None:
    question = Question(key="c", heading="C", text="?", asked_at=later(5))
    events: list[Event] = [*ENDED[:10], e.NodeStarted(at=later(5), key="c"), e.Asked(at=later(5), question=question)]
    made = followed(events)
    assert [(line.key, line.status) for line in made.under_way.values()] == [
        ("b", NodeStatus.RUNNING),
        ("c", NodeStatus.WAITING),
    ]
    assert made.is_busy


def test_a_short_node_whose_start_and_end_are_one_event_took_time() -> None:
    assert followed(ENDED).lines["c"].took_s(later(99)) == 1
