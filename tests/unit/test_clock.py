"""The time that a run takes: without that in which no process held it, or only people were waited for."""

from __future__ import annotations

import time
from pathlib import Path

import flownb
from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.clock import RunClock
from flownb.model.decision import Decision, Question, Request
from flownb.model.events import Event, RunStatus
from flownb.model.state_file import state_json
from flownb.render.log import render_log
from flownb.store.journal import fold
from tests.runs import AT, later, node, started
from tests.unit.test_engine_failing import approve, open_question, run

WHY = Failure(node="a", type="ValueError", message="no")


def begun(key: str, at: float, inside: str = "") -> Event:
    return e.NodeStarted(at=later(at), key=key, inside=inside)


def asked(key: str, at: float) -> Event:
    return e.Asked(at=later(at), question=Question(key=key, heading="R", text="?", asked_at=AT))


def answered(key: str, at: float) -> list[Event]:
    decision = e.Decided(at=later(at), key=key, decision=Decision(action="approve"))
    return [decision, e.NodeCompleted(at=later(at), key=key)]


def completed(key: str, at: float) -> Event:
    return e.NodeCompleted(at=later(at), key=key)


def resumed(at: float) -> Event:
    return e.RunResumed(at=later(at), definition="d")


def ended(at: float, status: RunStatus = RunStatus.COMPLETED) -> Event:
    return e.RunFinished(at=later(at), status=status)


def test_waiting_for_a_person_only_takes_no_time() -> None:
    events = [started(), begun("a", 1), completed("a", 3), begun("ask", 3), asked("ask", 3)]
    state = fold([*events, *answered("ask", 3600), begun("b", 3600), completed("b", 3601), ended(3602)])
    assert (state.duration_s, state.nodes["ask"].duration_s, state.nodes["b"].duration_s) == (5, 0, 1)


def test_waiting_while_something_runs_takes_time() -> None:
    events = [started(), begun("a", 0), begun("ask", 0), asked("ask", 0), completed("a", 10)]
    state = fold([*events, *answered("ask", 60), ended(60)])
    assert (state.duration_s, state.nodes["a"].duration_s, state.nodes["ask"].duration_s) == (10, 10, 10)


def test_what_only_holds_a_question_does_not_run() -> None:
    events = [started(), begun("both", 1), begun("each", 1, "both"), begun("each[0]", 1), begun("ask", 1, "each[0]")]
    state = fold([*events, asked("ask", 2)])
    assert state.clock.waiting_holders() == {"both", "each", "each[0]"}
    state.apply(begun("other", 10, "both"))
    assert state.clock.waiting_holders() == {"each", "each[0]"}
    assert state.seen_status is RunStatus.RUNNING
    state.apply(completed("other", 12))
    for event in (*answered("ask", 20), *(completed(key, 20) for key in ("each[0]", "each", "both")), ended(20)):
        state.apply(event)
    assert (state.duration_s, state.nodes["both"].duration_s) == (4, 3)


def test_the_time_in_which_no_process_held_a_run_is_left_out() -> None:
    died = [started(), begun("a", 1), e.AttemptFailed(at=later(5), key="a", failure=WHY, wait_s=1)]
    state = fold([*died, resumed(1000), begun("a", 1001), completed("a", 1003), ended(1004)])
    assert (state.duration_s, state.nodes["a"].duration_s) == (9, 6)


def test_the_time_between_a_pause_and_its_resume_is_left_out() -> None:
    waits = [started(), begun("ask", 1), asked("ask", 1), e.RunWaiting(at=later(2))]
    state = fold([*waits, resumed(1000), asked("ask", 1001), *answered("ask", 1002), ended(1003)])
    assert state.duration_s == 3  # From the start to the question, to it again, and from the answer to the end.


def test_a_node_that_failed_and_was_resumed_took_the_time_of_both_tries() -> None:
    failed = [started(), begun("a", 1), e.NodeFailed(at=later(3), key="a", failure=WHY), begun("b", 3)]
    first = [*failed, completed("b", 50), ended(50, RunStatus.FAILED)]
    state = fold([*first, resumed(1000), begun("a", 1000), completed("a", 1004), ended(1004)])
    assert (state.nodes["a"].duration_s, state.duration_s) == (6, 54)


def test_a_clock_that_is_put_back_counts_nothing_twice() -> None:
    clock = RunClock()
    for at in (0, 10, 5, 12):
        clock.advance(later(at))
    assert clock.seconds == 12


def test_time_counts_for_the_limit_over_a_pause_and_a_crash_but_not_after_an_end() -> None:
    paused = [started(), begun("ask", 4), asked("ask", 4), e.RunWaiting(at=later(4)), resumed(99)]
    ended_before = [started(), begun("a", 4), ended(5, RunStatus.FAILED), resumed(99)]
    limits = [(state.clock.seconds, state.clock.limit_from_s) for state in (fold(paused), fold(ended_before))]
    assert limits == [(4, 0), (5, 5)]


# Through whole runs.


def test_the_durations_of_a_run_leave_its_pauses_out(tmp_path: Path) -> None:
    text = node("ask", "Go?", runtime="checkpoint") + node("b", "1")

    def slow(_request: Request) -> Decision:
        time.sleep(1.5)
        return Decision(action="approve")

    made = run(text, tmp_path, decide=slow)
    assert made.state.duration_s is not None
    assert made.state.duration_s < 1.4
    assert made.nodes["ask"].duration_s is not None
    assert made.nodes["ask"].duration_s < 1.4
    assert made.as_json()["duration"] == made.state.duration_s


def test_the_run_timeout_does_not_start_again_at_a_pause(tmp_path: Path) -> None:
    head = "---\ntimeout: 900ms\n---\n"
    asking = node("one", "?", runtime="checkpoint")
    text = head + node("a", "sleep 0.5", runtime="bash") + asking + node("b", "sleep 0.5", runtime="bash")
    made = run(text + asking.replace("one", "two") + node("c", "sleep 30", runtime="bash"), tmp_path, decide=approve)
    assert (made.status, made.nodes["c"].status) == ("failed", "pending")
    assert made.errors[0].message == "the run took longer than 0.9 s"


def test_the_run_timeout_goes_on_with_what_is_left_when_a_waiting_run_is_resumed(tmp_path: Path) -> None:
    text = "---\ntimeout: 2s\n---\n" + node("a", "sleep 1.5", runtime="bash") + node("ask", "?", runtime="checkpoint")
    text += node("b", "sleep 1; echo done", runtime="bash")
    made = run(text, tmp_path, decide=open_question)
    assert made.status == "waiting"
    again = flownb.resume(made.id, state_dir=tmp_path, decide=approve)
    assert (again.status, again.errors[0].message) == ("failed", "the run took longer than 2 s")
    # One that ended begins its time anew: else nothing could be resumed once its time was over.
    assert flownb.resume(made.id, state_dir=tmp_path)["b"] == "done"


def test_a_partly_answered_foreach_of_checkpoints_waits(tmp_path: Path) -> None:
    def decide(request: Request) -> Decision | None:
        return Decision(action="approve") if request.node == "ask[1]" else None

    made = run(node("ask", "{{ item }}?", "foreach: [1, 2, 3]", runtime="checkpoint"), tmp_path, decide=decide)
    assert (made.status, made.nodes["ask"].status, made.nodes["ask[1]"].status) == ("waiting", "waiting", "completed")
    assert made.as_json()["status"] == "waiting"
    nodes = state_json(flownb.show(made.id, state_dir=tmp_path).state)["nodes"]
    assert isinstance(nodes, dict)
    assert isinstance(nodes["ask"], dict)
    assert nodes["ask"]["status"] == "waiting"
    assert "| ask | waiting (3 items) |" in render_log(made.state)


def test_a_checkpoint_in_a_parallel_lets_its_run_be_seen_to_wait(tmp_path: Path) -> None:
    sub = "## Both\n\n- type: parallel\n\n" + node("ask", "?", runtime="checkpoint", level=3)
    (tmp_path / "sub.flow.md").write_text(sub, encoding="utf-8")
    main = tmp_path / "main.flow.md"
    main.write_text("## Call\n\n- type: flow\n- path: sub.flow.md\n", encoding="utf-8")
    made = flownb.run(main, decide=open_question)
    assert [made.nodes[key].status for key in ("call", "call/both", "call/ask")] == ["waiting"] * 3


def test_a_node_whose_fallback_asks_waits(tmp_path: Path) -> None:
    text = node("a", "1 / 0", "fallback: ask") + node("ask", "{{ error.type }}?", runtime="checkpoint")
    made = run(text, tmp_path, decide=open_question)
    assert [made.nodes[key].status for key in ("a", "ask")] == ["waiting", "waiting"]
