"""What the events of a run add up to."""

from __future__ import annotations

from datetime import timedelta

import pytest
from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.clock import RunClock
from flownb.model.decision import Decision, Question
from flownb.model.events import Gather, PlannedNode, RunStatus
from flownb.model.node_state import NodeState, NodeStatus, fingerprint_of
from flownb.model.state import RunState, decision_json, stamp
from flownb.model.state_file import state_json
from flownb.store.journal import fold
from tests.runs import AT, completed, finished, later, started

WHY = Failure(node="a", type="ValueError", message="no", attempts=2, traceback="line 1", place="In[1]:2", hint="do")
QUESTION = Question(key="review", heading="Review", text="Good?", asked_at=AT)
YES = Decision(action="approve", by="ana", at=AT, via="notebook")


def begun(key: str = "a", attempt: int = 1, at: float = 1) -> e.Event:
    return e.NodeStarted(at=later(at), key=key, attempt=attempt, definition="f1")


def attempt_failed(key: str = "a") -> e.Event:
    return e.AttemptFailed(at=later(1), key=key, failure=WHY, wait_s=1)


def resumed(*forget: str) -> e.Event:
    return e.RunResumed(at=later(9), definition="new", inputs={"topic": "sun"}, forget=forget)


def test_a_run_that_starts_is_running_with_all_that_it_was_given() -> None:
    event = e.RunStarted(
        at=AT, run_id="r1", workflow="flow", inputs={"n": 1}, secrets=("T",), definition="d", document="a.flow.md"
    )
    assert fold([event]) == RunState(
        run_id="r1",
        workflow="flow",
        status=RunStatus.RUNNING,
        started_at=AT,
        definition="d",
        inputs={"n": 1},
        secrets=("T",),
        document="a.flow.md",
        clock=RunClock(told_at=AT),
    )


def test_a_node_that_never_began_is_pending_without_output() -> None:
    state = fold([started()])
    assert (state.status_of("a"), state.output_of("a")) == (NodeStatus.PENDING, None)


def test_a_node_goes_from_running_to_completed() -> None:
    assert fold([begun()]).status_of("a") is NodeStatus.RUNNING
    assert fold([begun(), completed("a", 3)]).nodes["a"] == NodeState(
        status=NodeStatus.COMPLETED,
        attempts=1,
        started_at=later(1),
        finished_at=later(2),
        output=3,
        definition="f1",
        spent_s=1,
    )


def test_attempts_count_on_and_the_first_start_stays() -> None:
    between = fold([begun(), attempt_failed()])
    assert (between.status_of("a"), between.nodes["a"].error) == (NodeStatus.RUNNING, WHY)
    node = fold([begun(), attempt_failed(), begun(attempt=2, at=5)]).nodes["a"]
    assert (node.attempts, node.failed_attempts, node.started_at, node.error) == (2, 1, later(1), WHY)


def test_a_node_that_completes_after_all_has_no_error() -> None:
    node = fold([begun(), attempt_failed(), begun(attempt=2), completed("a")]).nodes["a"]
    assert (node.status, node.error, node.attempts) == (NodeStatus.COMPLETED, None, 2)


def test_a_node_that_its_fallback_stands_for_keeps_its_error() -> None:
    event = e.NodeCompleted(at=later(2), key="a", output=1, fallback="b")
    node = fold([begun(), attempt_failed(), event]).nodes["a"]
    assert (node.fallback, node.error) == ("b", WHY)


@pytest.mark.parametrize("continued", [True, False])
def test_a_node_that_failed_says_why(continued: bool) -> None:  # noqa: FBT001 a parameter of the test
    state = fold([started(), begun(), e.NodeFailed(at=later(2), key="a", failure=WHY, continued=continued)])
    node = state.nodes["a"]
    assert (node.status, node.error, node.continued) == (NodeStatus.FAILED, WHY, continued)
    assert node.duration_s == 1.0


def test_a_node_that_is_skipped_began_and_ended_at_once() -> None:
    node = fold([e.NodeSkipped(at=later(2), key="a")]).nodes["a"]
    assert (node.status, node.duration_s, node.output) == (NodeStatus.SKIPPED, 0.0, None)


def test_a_node_that_was_stopped_is_cancelled() -> None:
    node = fold([begun(), e.NodeCancelled(at=later(3), key="a")]).nodes["a"]
    assert (node.status, node.duration_s) == (NodeStatus.CANCELLED, 2.0)


@pytest.mark.parametrize(
    "event, status",
    [
        (completed("a"), NodeStatus.COMPLETED),
        (e.NodeFailed(at=later(2), key="a", failure=WHY), NodeStatus.FAILED),
        (e.NodeCancelled(at=later(2), key="a"), NodeStatus.CANCELLED),
    ],
)
def test_a_node_may_end_without_an_attempt(event: e.Event, status: NodeStatus) -> None:
    node = fold([event]).nodes["a"]
    assert (node.status, node.attempts, node.started_at) == (status, 0, later(2))


@pytest.mark.parametrize(
    "running, expected",
    [
        (["poll"], RunStatus.RUNNING),
        (["rev"], RunStatus.RUNNING),  # Its id only begins like the question's.
        (["each", "each[1]"], RunStatus.WAITING),  # They hold the question.
        ([], RunStatus.WAITING),
    ],
)
def test_a_run_is_seen_to_wait_when_only_an_answer_is_missing(running: list[str], expected: RunStatus) -> None:
    question = QUESTION.model_copy(update={"key": "each[1]/review" if "each" in running else "review"})
    state = fold([started(), *(begun(key) for key in running), e.Asked(at=later(1), question=question)])
    assert state.seen_status is expected
    assert state_json(state)["status"] == expected
    state.apply(e.Decided(at=later(2), key=question.key, decision=YES))
    assert state.seen_status is RunStatus.RUNNING


def test_a_question_is_open_until_it_is_decided() -> None:
    asked = [begun("review"), e.Asked(at=later(2), question=QUESTION)]
    state = fold(asked)
    assert (state.status_of("review"), state.open_questions) == (NodeStatus.WAITING, [QUESTION])
    state.apply(e.Decided(at=later(3), key="review", decision=YES))
    assert (state.open_questions, state.decisions) == ([], {"review": YES})
    assert fold(asked[1:]).nodes["review"].started_at == later(2)


@pytest.mark.parametrize(
    "gather, expected, count",
    [
        (Gather.ITEMS, ["x", "y"], 2),
        (Gather.LAST, "last", 2),
        (Gather.ONE, "x", None),
        (Gather.EACH, {"p": "x", "q": "y"}, None),
    ],
)
def test_a_container_s_value_is_made_of_its_parts(gather: Gather, expected: JsonValue, count: int | None) -> None:
    parts = {"p": "a[0]"} if gather is Gather.ONE else {"p": "a[0]", "q": "a[1]"}
    done = e.NodeCompleted(at=later(3), key="a", gather=gather, count=2, parts=parts)
    node = fold([completed("a[0]", "x"), completed("a[1]", "y"), completed("a{1}", "last"), done]).nodes["a"]
    assert (node.output, node.count) == (expected, count)


def test_a_value_that_is_its_own_is_made_of_nothing() -> None:
    with pytest.raises(AssertionError):
        e.gathered(e.NodeCompleted(at=AT, key="a"), lambda key: key)


def test_a_run_ends_with_its_outputs_and_what_made_it_fail() -> None:
    event = e.RunFinished(at=later(60), status=RunStatus.FAILED, outputs={"x": 1}, failures=(WHY,))
    state = fold([started(), event])
    assert (state.status, state.duration_s, state.outputs, state.failures) == (RunStatus.FAILED, 60.0, {"x": 1}, [WHY])


def test_a_run_that_waits_has_not_ended() -> None:
    state = fold([started(), e.RunWaiting(at=later(5))])
    assert (state.status, state.duration_s) == (RunStatus.WAITING, None)


def test_a_resumed_run_runs_again_with_its_new_text_and_inputs() -> None:
    event = e.RunFinished(at=later(5), status=RunStatus.FAILED, outputs={"x": 1}, failures=(WHY,))
    state = fold([started(), event, resumed()])
    assert (state.status, state.finished_at, state.failures, state.outputs) == (RunStatus.RUNNING, None, [], {})
    assert (state.started_at, state.definition, state.inputs) == (AT, "new", {"topic": "sun"})


def test_a_resume_keeps_what_is_settled_and_begins_the_rest_again() -> None:
    history = [
        *[begun(key) for key in ("done", "failed", "stopped", "torn")],
        completed("done", 1),
        e.NodeSkipped(at=later(2), key="skipped"),
        attempt_failed("failed"),
        e.NodeFailed(at=later(2), key="failed", failure=WHY),
        begun("passed over"),
        e.NodeFailed(at=later(2), key="passed over", failure=WHY, continued=True),
        e.NodeCancelled(at=later(2), key="stopped"),
        attempt_failed("torn"),
    ]
    before, state = fold(history), fold([*history, resumed()])
    assert state.nodes["done"] == before.nodes["done"]
    assert state.nodes["skipped"] == before.nodes["skipped"]
    assert state.nodes["passed over"] == before.nodes["passed over"]
    for key in ("failed", "stopped", "torn"):
        node = state.nodes[key]
        why = WHY if key == "torn" else None  # Its attempts count, so why the last one failed is still known.
        assert (node.status, node.error, node.finished_at, node.continued) == (NodeStatus.PENDING, why, None, False)


def test_attempts_made_before_a_crash_count_and_those_of_a_failed_node_do_not() -> None:
    torn = fold([begun(), attempt_failed(), resumed()])
    failed = fold([begun(), attempt_failed(), e.NodeFailed(at=later(2), key="a", failure=WHY), resumed()])
    stopped = fold([begun(), attempt_failed(), e.NodeCancelled(at=later(2), key="a"), resumed()])
    assert [state.nodes["a"].failed_attempts for state in (torn, failed, stopped)] == [1, 0, 0]


def test_a_resume_forgets_the_nodes_that_it_names_with_their_answers() -> None:
    history = [
        completed("a", 1),
        completed("a[1]", 2),
        begun("review"),
        e.Asked(at=later(2), question=QUESTION),
        e.Decided(at=later(3), key="review", decision=YES),
        completed("kept", 3),
    ]
    state = fold([*history, resumed("a", "a[1]", "review", "unknown")])
    assert list(state.nodes) == ["kept"]
    assert (state.questions, state.decisions) == ({}, {})


def test_moments_are_written_in_milliseconds_and_utc() -> None:
    assert stamp(AT + timedelta(microseconds=999)) == "2026-11-23T10:15:02.114Z"
    assert stamp(None) is None


def test_the_state_file_holds_what_interfaces_md_names() -> None:
    plan = (
        PlannedNode(id="a", type="bash", wave=0, definition="p"),
        PlannedNode(id="each", type="bash", wave=1, definition="q"),
        PlannedNode(id="inner", type="bash", wave=4, definition="i", inside="each"),
        PlannedNode(id="last", type="bash", wave=2, definition="r"),
    )
    state = fold(
        [
            started(),
            e.Planned(at=AT, nodes=plan),
            begun(),
            attempt_failed(),
            e.NodeFailed(at=later(2), key="a", failure=WHY),
            e.NodeCompleted(at=later(2), key="each[0]", output="•••", reusable=False),
            e.Decided(at=AT, key="review", decision=YES),
            e.RunFinished(at=later(3), status=RunStatus.FAILED, outputs={"a": None}, failures=(WHY,)),
        ]
    )
    written = state_json(state)
    nodes = written.pop("nodes")
    error = {"node": "a", "type": "ValueError", "message": "no", "traceback": "line 1", "attempts": 2}
    assert written == {
        "schema": 1,
        "workflow": "flow",
        "run_id": "r1",
        "status": "failed",
        "current_wave": 1,
        "started_at": "2026-11-23T10:15:02.114Z",
        "finished_at": "2026-11-23T10:15:05.114Z",
        "duration": 3.0,
        "definition": {"sha256": "abc"},
        "inputs": {"topic": "wind"},
        "secrets": [],
        "decisions": {"review": decision_json(YES)},
        "outputs": {"a": None},
        "document": None,
        "errors": [error],
    }
    assert isinstance(nodes, dict)
    assert list(nodes) == ["a", "each[0]", "each", "last"]
    assert nodes["a"] == {
        "status": "failed",
        "wave": 0,
        "attempts": 1,
        "started_at": "2026-11-23T10:15:03.114Z",
        "finished_at": "2026-11-23T10:15:04.114Z",
        "duration": 1.0,
        "output": None,
        "error": error,
        "fallback": None,
        "definition_sha256": fingerprint_of("f1", {}),
    }
    item, never = nodes["each[0]"], nodes["last"]
    assert isinstance(item, dict)
    assert isinstance(never, dict)
    assert (item["reusable"], item["wave"], item["definition_sha256"]) == (False, 1, "q")
    assert (never["status"], never["wave"], never["definition_sha256"]) == ("pending", 2, "r")


def test_a_node_of_no_plan_stands_in_wave_0() -> None:
    nodes = state_json(fold([started(), completed("stray"), finished()]))["nodes"]
    assert isinstance(nodes, dict)
    assert isinstance(stray := nodes["stray"], dict)
    assert stray["wave"] == 0


def test_a_decision_is_written_as_its_checkpoint_s_value() -> None:
    assert decision_json(YES) == {
        "action": "approve",
        "input": None,
        "by": "ana",
        "at": "2026-11-23T10:15:02.114Z",
        "via": "notebook",
        "timed_out": False,
    }
