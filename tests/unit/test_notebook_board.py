from __future__ import annotations

from datetime import UTC, datetime, timedelta

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.model.events import Event, PlannedNode, RunStatus
from flownb.model.state import RunState
from flownb.notebook.board import MOST_LINES, draw_board, elapsed
from flownb.render.progress import Progress

START = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def planned(*ids: str, **more: str) -> tuple[PlannedNode, ...]:
    return tuple(PlannedNode(id=name, type="python", wave=0, definition="d", inside=more.get(name, "")) for name in ids)


def state_of(plan: tuple[PlannedNode, ...], *events: Event) -> RunState:
    state = RunState()
    state.apply(e.RunStarted(at=START, run_id="r", workflow="weekly", definition="d"))
    state.apply(e.Planned(at=START, nodes=plan))
    for event in events:
        state.apply(event)
    return state


def board(plan: tuple[PlannedNode, ...], *events: Event) -> Progress:
    made = Progress(state_of(plan))
    for event in events:
        made.take(event)
    return made


def drawn(made: Progress, seconds: float = 10) -> list[str]:
    return draw_board(made, at(seconds)).splitlines()


def row(made: Progress, key: str, seconds: float = 10) -> str:
    return next(line for line in drawn(made, seconds) if line.split("|")[2:3] == [f" {key} "])


def failure(message: str = "503") -> Failure:
    return Failure(node="a", type="ConnectionError", message=message)


def test_a_node_goes_from_pending_through_running_to_completed() -> None:
    made = board(planned("a", "b"))
    assert row(made, "a") == "| ○ | a | pending |  |"
    made.take(e.NodeStarted(at=at(1), key="a"))
    assert row(made, "a", 3.5) == "| ▶\ufe0e | a | running | 2.5 s |"
    made.take(e.NodeCompleted(at=at(4), key="a"))
    assert row(made, "a", 99) == "| ✔\ufe0e | a | completed | 3.0 s |"
    assert drawn(made)[0] == "**weekly** · running · " + "▰" * 10 + "▱" * 10 + " 1/2"


def test_attempts_are_counted_and_the_wait_is_explained() -> None:
    made = board(planned("a"), e.NodeStarted(at=at(0), key="a"))
    made.take(e.AttemptFailed(at=at(1), key="a", failure=failure(), wait_s=1.25))
    assert "again in 1.2 s: ConnectionError: 503" in row(made, "a")
    made.take(e.NodeStarted(at=at(2), key="a", attempt=2))
    assert row(made, "a", 3) == "| ▶\ufe0e | a | running · attempt 2 | 3.0 s |"
    made.take(e.NodeCompleted(at=at(3), key="a"))
    assert row(made, "a") == "| ✔\ufe0e | a | completed · 2 attempts | 3.0 s |"


def test_items_are_summed_up_in_their_nodes_line() -> None:
    made = board(planned("score"), e.NodeStarted(at=at(0), key="score", count=16))
    for index in range(7):
        made.take(e.NodeStarted(at=at(1), key=f"score[{index}]"))
        made.take(e.NodeCompleted(at=at(1), key=f"score[{index}]"))
    made.take(e.NodeFailed(at=at(1), key="score[7]", failure=failure(), continued=True))
    made.take(e.NodeCompleted(at=at(1), key="score[0]/inside"))
    assert row(made, "score") == "| ▶\ufe0e | score | running · 8/16 · 1 failed | 10.0 s |"
    assert drawn(made)[0].endswith("▰" * 10 + "▱" * 10 + " 0/1")
    assert len(made.lines) == 1


def test_a_question_waits_and_its_answer_lets_it_run() -> None:
    question = Question(key="ask", heading="Ask", text="?", asked_at=START)
    made = board(planned("ask"), e.NodeStarted(at=at(0), key="ask"), e.Asked(at=at(0), question=question))
    assert row(made, "ask") == "| ◆ | ask | waits for an answer |  |"
    assert "· waiting ·" in drawn(made)[0]
    assert not made.is_busy
    made.take(e.Decided(at=at(2), key="ask", decision=Decision(action="approve")))
    assert "approve" in row(made, "ask")
    assert made.is_busy


def test_a_run_waits_only_when_nothing_else_runs() -> None:
    question = Question(key="box[0]", heading="Ask", text="?", asked_at=START)
    plan = planned("box", "in", "other", **{"in": "box"})
    made = board(plan, e.NodeStarted(at=at(0), key="box"), e.Asked(at=at(0), question=question))
    made.take(e.NodeStarted(at=at(0), key="other"))
    assert "· running ·" in drawn(made)[0]
    made.take(e.NodeCompleted(at=at(1), key="other"))
    assert "· waiting ·" in drawn(made)[0]


def test_a_partly_answered_foreach_waits_but_while_an_item_of_it_runs() -> None:
    state = state_of(planned("each"))
    made = Progress(state)
    heads = []
    item = [e.NodeStarted(at=at(0), key=f"each[{index}]") for index in range(2)]
    asked = [Question(key=f"each[{index}]/ask", heading="Ask", text="?", asked_at=at(0)) for index in range(2)]
    events: list[Event] = [
        e.NodeStarted(at=at(0), key="each"),
        *item,
        *(e.Asked(at=at(0), question=question) for question in asked),
        e.Decided(at=at(1), key="each[0]/ask", decision=Decision(action="approve")),
        e.NodeCompleted(at=at(1), key="each[0]/ask"),
        e.NodeStarted(at=at(1), key="each[0]/work"),
        e.NodeCompleted(at=at(2), key="each[0]/work"),
        e.NodeCompleted(at=at(2), key="each[0]"),
    ]
    for event in events:
        state.apply(event)
        made.take(event)
        made.settle(state.clock.asking | state.clock.waiting_holders())
        heads.append(drawn(made)[0].split(" · ")[1])
    assert heads[3:] == ["running", "waiting", *["running"] * 4, "waiting"]
    assert row(made, "each").startswith("| ◆ | each | 1 · waits for an answer |")


def test_ends_are_told_with_their_reason() -> None:
    made = board(planned("a", "b", "c", "d"))
    made.take(e.NodeStarted(at=at(0), key="a"))
    made.take(e.NodeFailed(at=at(1), key="a", failure=failure("<b>503</b>" + "x" * 200)))
    made.take(e.NodeSkipped(at=at(1), key="b", reason="when: false"))
    made.take(e.NodeCancelled(at=at(1), key="c"))
    made.take(e.NodeCompleted(at=at(1), key="d", fallback="cached"))
    made.take(e.RunFinished(at=at(1), status=RunStatus.FAILED))
    assert "&lt;b&gt;503&lt;/b&gt;" in row(made, "a")
    assert row(made, "a").endswith("… | 1.0 s |")
    assert "skipped · when: false" in row(made, "b")
    assert "cancelled" in row(made, "c")
    assert "fallback: cached" in row(made, "d")
    assert "· failed ·" in drawn(made)[0]


def test_what_only_failures_call_is_drawn_once_it_begins() -> None:
    plan = (*planned("a"), PlannedNode(id="tell", type="bash", wave=0, definition="d", reserved=True))
    made = board(plan)
    assert [line.key for line in made.lines.values()] == ["a"]
    made.take(e.NodeStarted(at=at(0), key="tell"))
    assert [line.key for line in made.lines.values()] == ["a", "tell"]


def test_a_long_list_shows_failed_waiting_and_running_ones_and_sums_up_the_rest() -> None:
    names = [f"n{number}" for number in range(100)]
    made = board(planned(*names))
    for name in names[:60]:
        made.take(e.NodeStarted(at=at(0), key=name))
        made.take(e.NodeCompleted(at=at(1), key=name))
    made.take(e.NodeStarted(at=at(0), key="n70"))
    made.take(e.NodeFailed(at=at(1), key="n99", failure=failure()))
    lines = drawn(made)
    assert len(lines) == 4 + MOST_LINES + 1
    assert row(made, "n70")
    assert row(made, "n99")
    assert lines[-1] == "| … | and 82 more | 44 completed, 38 pending | |"


def test_a_resumed_run_begins_with_what_was_done() -> None:
    done: list[Event] = [
        e.NodeStarted(at=at(0), key="a"),
        e.NodeCompleted(at=at(2), key="a"),
        e.NodeStarted(at=at(2), key="b", count=4),
        e.NodeStarted(at=at(2), key="b[0]"),
        e.NodeCompleted(at=at(3), key="b[0]"),
    ]
    made = Progress(state_of(planned("a", "b"), *done))
    assert row(made, "a") == "| ✔\ufe0e | a | completed · kept from before | 2.0 s |"
    assert "1/4" in row(made, "b")


def test_durations_read_as_people_say_them() -> None:
    assert [elapsed(s) for s in (0.04, 59.94, 60, 125.9, 3725)] == ["0.0 s", "59.9 s", "1:00", "2:05", "1:02:05"]
