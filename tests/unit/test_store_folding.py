"""What cannot have happened is no state: it is told by line, before memory is taken."""

from __future__ import annotations

import resource
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from flownb.errors import Failure, FlowStateError
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.model.events import Event
from flownb.store.folding import fold_run
from flownb.store.paths import RunPaths
from tests.runs import AT, completed, started

PATHS = RunPaths(Path("state"), "flow", "r1")
FAILURE = Failure(node="a", type="ValueError", message="x")
EDGE = datetime.max.replace(tzinfo=timezone(timedelta(hours=-5)))


def gathering(gather: e.Gather, count: int = 0, **parts: str) -> Event:
    return e.NodeCompleted(at=AT, key="a", gather=gather, count=count, parts=parts)


def question(**fields: object) -> Question:
    return Question.model_validate({"key": "a", "heading": "A", "text": "?", "asked_at": AT, **fields})


@pytest.mark.parametrize(
    "events, why",
    [
        ([completed("a")], "1: the journal is damaged: it begins with node_completed"),
        ([started("r2")], "1: the journal is damaged: it is that of run flow/r2"),
        ([started(workflow="other")], "1: the journal is damaged: it is that of run other/r1"),
        ([started(), started()], "2: the journal is damaged: a run begins once"),
        ([started(), e.AttemptFailed(at=AT, key="a", failure=FAILURE, wait_s=1)], "2: .*`a` failed and never began"),
        ([started(), gathering(e.Gather.ITEMS, 300_000_000)], "2: .*`a` has 300,000,000 items, of which most are"),
        ([started(), gathering(e.Gather.ITEMS, -1)], "2: .*`a` has -1 items"),
        ([started(), gathering(e.Gather.LAST, 300_000_000)], "2: .*`a` has 300,000,000 rounds, of which the last"),
        ([started(), gathering(e.Gather.ONE)], "2: .*`a` has 0 values, not one"),
        ([started(), e.Asked(at=AT, question=question(actions=("explode",)))], "2: .*asks for what is no action"),
        ([started(), e.Decided(at=AT, key="a", decision=Decision(action="again"))], "2: .*was decided and never asked"),
        ([started(), e.RunFinished(at=AT, status=e.RunStatus.RUNNING)], "2: .*the run ended as running"),
        ([started(), e.RunWaiting(at=EDGE)], "2: .*it happened at no moment"),
        ([started(), e.RunWaiting(at=datetime(2026, 1, 1))], "2: .*it happened at no moment"),  # noqa: DTZ001 the point
        ([started(), e.Asked(at=AT, question=question(deadline=EDGE))], "2: .*it happened at no moment"),
    ],
)
def test_what_cannot_have_happened_is_told_by_line(events: list[Event], why: str) -> None:
    with pytest.raises(FlowStateError, match=rf"journal\.jsonl:{why}"):
        fold_run(events, PATHS)


def test_values_made_of_themselves_again_and_again_are_refused_before_they_fill_the_memory() -> None:
    doubled: list[Event] = [started(), completed("v0", "x")]
    doubled += [
        e.NodeCompleted(at=AT, key=f"v{i}", gather=e.Gather.EACH, parts={"a": f"v{i - 1}", "b": f"v{i - 1}"})
        for i in range(1, 40)
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FlowStateError, match="is made of more values than there are"):
        fold_run(doubled, PATHS)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_what_can_have_happened_adds_up() -> None:
    parts = [completed("a[0]", 1), completed("a[1]", 2)]
    state = fold_run([started(), *parts, gathering(e.Gather.ITEMS, 2), e.RunWaiting(at=AT.astimezone(UTC))], PATHS)
    assert state.output_of("a") == [1, 2]
