"""How a run goes: attempts, failures, skips, containers, limits and stopping (format.md, sections 3 and 4)."""

from __future__ import annotations

import json
import os
import threading
import time
from array import array
from pathlib import Path

import pytest

import flownb
from flownb import Run
from flownb.api import serve
from flownb.engine.attempts import next_wait
from flownb.executors.interrupt import MainInterrupts
from flownb.executors.local import MainQueue
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.events import Event
from flownb.model.policy import Jitter, Retry
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.session import Session
from flownb.runs.start import start
from flownb.store.files import Disk
from tests.runs import node


def run(text: str, state_dir: Path, **options: object) -> Run:
    """Run a document to its end."""
    return flownb.run(flownb.parse(text), state_dir=state_dir, **options)  # type: ignore[arg-type] # as each test says


def counting(path: Path, body: str) -> str:
    """Return a body that notes that it was run, and then does something."""
    note = f"import pathlib\np = pathlib.Path({str(path)!r})\nt = (p.read_text() if p.exists() else '') + 'x'\n"
    return f"{note}p.write_text(t)\nn = len(t)\n{body}"


class Recorder:
    """Keeps every event of a run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def waits(self) -> list[float]:
        """Return the seconds before each further attempt."""
        return [event.wait_s for event in self.events if isinstance(event, e.AttemptFailed)]

    def order(self) -> list[str]:
        """Return what began and ended, in order."""
        return [
            f"{'+' if isinstance(event, e.NodeStarted) else '-'}{event.key}"
            for event in self.events
            if isinstance(event, e.NodeStarted | e.NodeCompleted)
        ]


# Attempts.


def test_a_node_is_tried_again_until_it_succeeds(tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    body = counting(tried, "assert n == 3, n\n'ok'")
    made = run(node("a", body, "retry: {max: 5, base: 1ms}"), tmp_path / "state")
    assert (made["a"], made.nodes["a"].attempts, tried.read_text()) == ("ok", 3, "xxx")


def test_retry_counts_further_attempts(tmp_path: Path) -> None:
    made = run(node("a", counting(tmp_path / "tried", "1 / 0"), "retry: {max: 2, base: 1ms}"), tmp_path / "state")
    assert (made.status, made.nodes["a"].attempts) == ("failed", 3)
    assert made.errors[0].attempts == 3


def test_the_wait_grows_exponentially_up_to_the_cap(tmp_path: Path) -> None:
    seen = Recorder()
    policy = "retry: {max: 4, base: 2ms, cap: 10ms, jitter: none}"
    run(node("a", "1 / 0", policy), tmp_path, listen=seen)
    assert seen.waits() == [0.002, 0.004, 0.008, 0.010]


@pytest.mark.parametrize("backoff, expected", [("linear", [0.002, 0.004, 0.006]), ("fixed", [0.002, 0.002, 0.002])])
def test_the_wait_grows_as_backoff_says(tmp_path: Path, backoff: str, expected: list[float]) -> None:
    seen = Recorder()
    run(node("a", "1 / 0", f"retry: {{max: 3, base: 2ms, backoff: {backoff}, jitter: none}}"), tmp_path, listen=seen)
    assert seen.waits() == pytest.approx(expected)


@pytest.mark.parametrize(
    "policy, expected",
    [
        ("{max: 3, base: 2ms, cap: 3ms, backoff: linear, jitter: none}", [0.002, 0.003, 0.003]),
        ("{max: 2, base: 1h, cap: 3ms, backoff: fixed, jitter: none}", [0.003, 0.003]),
        ("{max: 2, base: 1h, cap: 3ms, jitter: none}", [0.003, 0.003]),
    ],
)
def test_no_wait_is_longer_than_the_cap(tmp_path: Path, policy: str, expected: list[float]) -> None:
    seen = Recorder()
    run(node("a", "1 / 0", f"retry: {policy}"), tmp_path, listen=seen)
    assert seen.waits() == pytest.approx(expected)


def test_retry_after_is_obeyed_up_to_the_cap(tmp_path: Path) -> None:
    seen = Recorder()
    busy = "class Busy(Exception):\n    retry_after_s = {}\nraise Busy"
    run(node("a", busy.format("0.002"), "retry: {max: 1, base: 1h, cap: 5ms}"), tmp_path, listen=seen)
    run(node("a", busy.format("3600"), "retry: {max: 1, base: 1h, cap: 5ms}"), tmp_path, listen=seen)
    assert seen.waits() == [0.002, 0.005]


def test_the_waits_are_those_of_the_format_where_nothing_is_said() -> None:
    policy = Retry(max=9, jitter=Jitter.NONE)
    assert [next_wait(policy, failed, lambda _low, high: high) for failed in range(8)] == [1, 2, 4, 8, 16, 32, 32, 32]
    assert (Retry().jitter, Retry().max) == ("full", 0)


def test_jitter_leaves_the_wait_to_chance_between_its_bounds(tmp_path: Path) -> None:
    full, equal = Recorder(), Recorder()
    run(node("a", "1 / 0", "retry: {max: 20, base: 2ms, backoff: fixed}"), tmp_path, listen=full)
    run(node("a", "1 / 0", "retry: {max: 20, base: 2ms, backoff: fixed, jitter: equal}"), tmp_path, listen=equal)
    assert all(0 <= wait <= 0.002 for wait in full.waits())
    assert min(full.waits()) < 0.001
    assert all(0.001 <= wait <= 0.002 for wait in equal.waits())
    assert len(set(full.waits())) > 1


@pytest.mark.parametrize("body", ["nothing_here_1()", "import nothing_here_2"])
def test_hopeless_errors_are_not_tried_again(tmp_path: Path, body: str) -> None:
    body = body.replace("nothing_here_1()", "exec('nothing_here_1()')")
    made = run(node("a", body, "retry: {max: 3, base: 1ms}"), tmp_path)
    assert made.nodes["a"].attempts == 1


@pytest.mark.parametrize(
    "on, attempts",
    [("[ZeroDivisionError]", 3), ("[ArithmeticError]", 3), ("[KeyError]", 1), ("builtins.ZeroDivisionError", 3)],
)
def test_on_says_what_is_tried_again(tmp_path: Path, on: str, attempts: int) -> None:
    made = run(node("a", "1 / 0", f"retry: {{max: 2, base: 1ms, on: {on}}}"), tmp_path)
    assert made.nodes["a"].attempts == attempts


def test_on_takes_the_package_that_shows_a_class_for_its_module(tmp_path: Path) -> None:
    text = node("a", "import json\njson.loads('x')", "retry: {max: 1, base: 1ms, on: json.JSONDecodeError}")
    assert run(text, tmp_path).nodes["a"].attempts == 2


def test_a_fallback_in_a_branch_is_no_default(tmp_path: Path) -> None:
    text = "## Way\n\n- type: branch\n\n" + node("one", "1 / 0", "when: true", "fallback: f", level=3)
    assert run(text + node("other", level=3) + node("f", "'f'", level=3), tmp_path)["way"] == "f"


def test_a_timeout_is_for_each_attempt_and_can_be_retried(tmp_path: Path) -> None:
    body = counting(tmp_path / "tried", "import time\nif n < 3: time.sleep(30)\n'ok'")
    made = run(node("a", body, "timeout: 150ms", "retry: {max: 2, base: 1ms, on: timeout}"), tmp_path / "state")
    assert (made["a"], made.nodes["a"].attempts) == ("ok", 3)


@pytest.mark.parametrize(
    "runtime, body",
    [
        ("python", "import time\ntime.sleep(30)"),
        ("python", "while True: pass"),
        ("python", "import asyncio\nawait asyncio.sleep(30)"),
        ("bash", "sleep 30 & sleep 30"),
    ],
)
def test_a_timeout_really_stops(tmp_path: Path, runtime: str, body: str) -> None:
    began = time.monotonic()
    made = run(node("a", body, "timeout: 200ms", runtime=runtime), tmp_path)
    assert made.errors[0].type == "NodeTimeoutError"
    assert time.monotonic() - began < 15  # it would have been 30; no timing is meant


# Failing.


def test_a_fallback_stands_in_and_sees_the_error(tmp_path: Path) -> None:
    text = node("a", "1 / 0", "fallback: b", "retry: {max: 1, base: 1ms}")
    text += node("b", "{{ error.type }} in {{ error.node }} after {{ error.attempts }}", runtime="text") + node(
        "c", "a"
    )
    made = run(text, tmp_path)
    assert made["c"] == "ZeroDivisionError in a after 2"
    assert (made.nodes["a"].status, made.nodes["a"].fallback) == ("completed", "b")


def test_a_fallback_does_not_run_when_nothing_failed(tmp_path: Path) -> None:
    made = run(node("a", "1", "fallback: b") + node("b", counting(tmp_path / "ran", "2")), tmp_path / "state")
    assert (made.status, made.nodes["b"].status) == ("completed", "pending")
    assert not (tmp_path / "ran").exists()


def test_a_fallback_has_one_attempt_and_both_failures_are_reported(tmp_path: Path) -> None:
    text = "---\ndefaults: {retry: {max: 3, base: 1ms}}\n---\n" + node("a", "1 / 0", "fallback: b", "retry: 0")
    made = run(text + node("b", counting(tmp_path / "ran", "{}['x']")), tmp_path / "state")
    assert (tmp_path / "ran").read_text() == "x"
    assert [failure.type for failure in made.errors] == ["ZeroDivisionError", "KeyError"]


def test_what_is_under_way_is_let_finish_and_nothing_new_starts(tmp_path: Path) -> None:
    text = node("a", "false", "needs: []", runtime="bash")
    text += node("b", "sleep 0.5; echo kept", "needs: []", runtime="bash") + node("c", "{{ b }}", runtime="text")
    made = run(text, tmp_path)
    assert made.status == "failed"
    assert (made["b"], made.nodes["c"].status) == ("kept", "pending")


def test_all_failures_are_reported(tmp_path: Path) -> None:
    text = node("a", "sleep 0.2; exit 3", "needs: []", runtime="bash") + node(
        "b", "sleep 0.2; exit 4", "needs: []", runtime="bash"
    )
    made = run(text, tmp_path)
    assert sorted(failure.node for failure in made.errors) == ["a", "b"]


def test_continue_on_error_records_the_failure_and_goes_on_with_null(tmp_path: Path) -> None:
    made = run(node("a", "1 / 0", "continue_on_error: true") + node("b", "a is None"), tmp_path)
    assert (made.status, made["b"], made["a"], made.errors) == ("completed", True, None, [])
    assert made.nodes["a"].status == "failed"
    assert made.nodes["a"].error is not None


def test_the_on_error_node_runs_once_and_its_own_failure_comes_second(tmp_path: Path) -> None:
    text = "---\non_error: tell\n---\n" + node("a", "1 / 0")
    text += node("tell", counting(tmp_path / "told", "raise ValueError(error.message + run.id)"))
    made = run(text, tmp_path / "state")
    assert (tmp_path / "told").read_text() == "x"
    assert [failure.type for failure in made.errors] == ["ZeroDivisionError", "ValueError"]
    assert made.id in made.errors[1].message


def test_the_on_error_callback_is_called_once_after_the_state_is_saved(tmp_path: Path) -> None:
    seen: list[tuple[str, str, bool]] = []

    def tell(error: flownb.Problem, made: Run) -> None:
        seen.append((error.type, made.status, made.paths.snapshot.exists()))  # type: ignore[attr-defined] # a Failure
        raise RuntimeError("from the callback")

    made = run(node("a", "1 / 0"), tmp_path, on_error=tell)
    assert seen == [("ZeroDivisionError", "failed", True)]
    assert [failure.type for failure in made.errors] == ["ZeroDivisionError"]


def test_the_run_timeout_fails_the_run_and_calls_on_error(tmp_path: Path) -> None:
    text = (
        "---\ntimeout: 300ms\non_error: tell\n---\n"
        + node("a", "sleep 30", runtime="bash")
        + node("tell", "error.message")
    )
    made = run(text, tmp_path)
    assert made.status == "failed"
    assert made["tell"] == "the run took longer than 0.3 s"
    assert made.nodes["a"].status == "cancelled"


def test_waiting_at_a_checkpoint_does_not_count_for_the_run_timeout(tmp_path: Path) -> None:
    def decide(_request: Request) -> Decision:
        time.sleep(0.8)
        return Decision(action="approve")

    text = "---\ntimeout: 500ms\n---\n" + node("ask", "Go?", runtime="checkpoint") + node("b")
    assert run(text, tmp_path, decide=decide).status == "completed"


# Skips.


def test_a_false_when_skips_and_the_value_is_null(tmp_path: Path) -> None:
    made = run(node("a", "1", "when: 1 > 2") + node("b", "2", "needs: []") + node("c", "[a, b]"), tmp_path)
    assert (made.nodes["a"].status, made["a"], made["c"]) == ("skipped", None, [None, 2])


def test_a_node_all_of_whose_references_were_skipped_is_skipped_too(tmp_path: Path) -> None:
    made = run(node("a", "1", "when: false") + node("b", "a") + node("c", "b"), tmp_path)
    assert [made.nodes[key].status for key in "abc"] == ["skipped"] * 3


def test_the_when_of_a_group_holds_for_each_of_its_nodes(tmp_path: Path) -> None:
    text = node("n", "0") + "## Group\n\n- when: n > 1\n\n" + node("a", level=3) + node("b", level=3) + node("c", "5")
    made = run(text, tmp_path)
    assert [made.nodes[key].status for key in "abc"] == ["skipped", "skipped", "completed"]


# Containers.


def test_foreach_keeps_the_order_of_its_items_whatever_ends_first(tmp_path: Path) -> None:
    body = "sleep $(printf 0.%s {{ 3 - item }}); echo {{ item }}"
    made = run(node("a", body, "foreach: [0, 1, 2]", "concurrency: 3", runtime="bash"), tmp_path)
    assert made["a"] == ["0", "1", "2"]


def test_foreach_runs_no_more_items_at_once_than_it_says(tmp_path: Path) -> None:
    body = (
        "import threading, time\n"
        "g = threading.__dict__.setdefault('_flow_test', {'now': 0, 'most': 0})\n"
        "g['now'] += 1; g['most'] = max(g['most'], g['now']); time.sleep(0.05); g['now'] -= 1\n"
        "g['most']"
    )
    try:
        made = run(node("a", body, "foreach: range(8)", "concurrency: 3"), tmp_path)
        assert max(made["a"]) == 3  # type: ignore[call-overload] # a list of numbers
    finally:
        del threading.__dict__["_flow_test"]


def test_one_bad_item_does_not_lose_the_others(tmp_path: Path) -> None:
    made = run(node("a", "1 / item", "foreach: [1, 0, 2]", "continue_on_error: true"), tmp_path)
    assert (made.status, made["a"]) == ("completed", [1.0, None, 0.5])
    assert made.nodes["a[1]"].status == "failed"


def test_a_bad_item_fails_the_foreach_and_no_further_item_starts(tmp_path: Path) -> None:
    made = run(node("a", "1 / item", "foreach: [1, 0, 2]", "concurrency: 1"), tmp_path)
    assert (made.status, made.errors[0].node) == ("failed", "a[1]")
    assert "a[2]" not in made.nodes


def test_collect_says_what_an_item_gives(tmp_path: Path) -> None:
    leaf = node("a", "{'x': item, 'y': 9}", "foreach: [1, 2]", "collect: a.x")
    group = (
        "## G\n\n- foreach: [1, 2]\n- collect: '[p, q]'\n\n" + node("p", "item", level=3) + node("q", "p * 10", level=3)
    )
    made = run(leaf + group, tmp_path)
    assert (made["a"], made["g"]) == ([1, 2], [[1, 10], [2, 20]])


def test_a_fallback_and_retries_of_a_foreach_are_for_each_item(tmp_path: Path) -> None:
    text = node("a", "1 / item", "foreach: [1, 0, 2]", "fallback: b") + node("b", "-1")
    made = run(text, tmp_path)
    assert made["a"] == [1.0, -1, 0.5]
    assert made.nodes["a[1]"].fallback == "b"


def test_rate_limits_the_starts_in_a_period(tmp_path: Path) -> None:
    seen = Recorder()
    run(node("a", "1", "foreach: range(5)", "rate: 2/300ms"), tmp_path, listen=seen)
    starts = [event.at for event in seen.events if isinstance(event, e.NodeStarted) and "[" in event.key]
    assert len(starts) == 5
    assert all((later - first).total_seconds() >= 0.29 for first, later in zip(starts, starts[2:], strict=False))


def test_foreach_over_nothing_is_an_empty_list(tmp_path: Path) -> None:
    assert run(node("a", "1", "foreach: '[]'"), tmp_path)["a"] == []


def test_foreach_over_what_is_no_list_says_so(tmp_path: Path) -> None:
    made = run(node("a", "{'x': 1}") + node("b", "1", "foreach: a"), tmp_path)
    assert "gives an object, not a list" in made.errors[0].message


def test_until_stops_when_its_condition_holds(tmp_path: Path) -> None:
    made = run(node("a", "round * 2", "until: a >= 4"), tmp_path)
    assert (made["a"], made.nodes["a"].count) == (4, 3)


def test_until_that_never_holds_is_a_failure(tmp_path: Path) -> None:
    made = run(node("a", "1", "until: a > 5", "max: 3"), tmp_path)
    assert (made.status, made.errors[0].type) == ("failed", "LoopError")
    assert [key for key in made.nodes if "{" in key] == ["a{0}", "a{1}", "a{2}"]


def test_while_looks_before_each_round(tmp_path: Path) -> None:
    made = run(
        node("a", "(previous or 0) + 1", "while: (previous or 0) < 3") + node("b", "1", "while: false"), tmp_path
    )
    assert (made["a"], made["b"]) == (3, None)


def test_a_loop_of_a_group_sees_the_last_round_by_id(tmp_path: Path) -> None:
    text = "## G\n\n- until: total > 5\n\n" + node("step", "round + 1", level=3)
    text += node("total", "step + (previous.total if previous else 0)", level=3)
    assert run(text, tmp_path)["g"] == {"step": 3, "total": 6}


def test_the_first_branch_whose_when_holds_runs(tmp_path: Path) -> None:
    text = node("n", "5") + "## B\n\n- type: branch\n\n" + node("x", "'x'", "when: n > 9", level=3)
    text += node("y", "'y'", "when: n > 3", level=3) + node("z", "'z'", level=3)
    made = run(text, tmp_path)
    assert made["b"] == "y"
    assert [made.nodes[key].status for key in "xyz"] == ["skipped", "completed", "skipped"]


def test_the_default_of_a_branch_runs_only_when_no_other_holds(tmp_path: Path) -> None:
    text = (
        "## Way\n\n- type: branch\n\n" + node("other", "'other'", level=3) + node("one", "'one'", "when: {}", level=3)
    )
    assert run(text.replace("{}", "true"), tmp_path)["way"] == "one"
    assert run(text.replace("{}", "false"), tmp_path)["way"] == "other"


def test_a_branch_without_a_match_is_null(tmp_path: Path) -> None:
    made = run("## B\n\n- type: branch\n\n" + node("x", "1", "when: false", level=3), tmp_path)
    assert (made["b"], made.status) == (None, "completed")


def test_parallel_any_cancels_the_losers(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    text = "## P\n\n- type: parallel\n- wait: any\n\n" + node(
        "slow", f"sleep 20; touch {lost}", runtime="bash", level=3
    )
    began = time.monotonic()
    made = run(text + node("fast", "7", level=3), tmp_path / "state")
    assert (made["p"], made.nodes["slow"].status) == ({"slow": None, "fast": 7}, "cancelled")
    assert time.monotonic() - began < 15  # it would have been 20; no timing is meant
    assert not lost.exists()


def test_parallel_goes_on_when_enough_succeed_though_one_fails(tmp_path: Path) -> None:
    text = "## P\n\n- type: parallel\n- wait: 2\n\n" + node("x", "1 / 0", level=3) + node("y", "1", level=3)
    made = run(text + node("z", "2", level=3), tmp_path)
    assert (made.status, made["p"]) == ("completed", {"x": None, "y": 1, "z": 2})


def test_parallel_fails_when_too_few_succeed(tmp_path: Path) -> None:
    text = "## P\n\n- type: parallel\n- wait: any\n\n" + node("x", "1 / 0", level=3) + node("y", "{}['k']", level=3)
    made = run(text, tmp_path)
    assert (made.status, len(made.errors)) == ("failed", 2)


def test_a_group_with_a_retry_keeps_what_was_done(tmp_path: Path) -> None:
    text = "## G\n\n- foreach: [1]\n- retry: {max: 3, base: 1ms}\n\n" + node(
        "x", counting(tmp_path / "x", "n"), level=3
    )
    made = run(text + node("y", counting(tmp_path / "y", "assert n == 3\nx"), level=3), tmp_path / "state")
    assert (made["g"], (tmp_path / "x").read_text(), (tmp_path / "y").read_text()) == ([1], "x", "xxx")


# Sub-flows.


def test_a_sub_flow_has_names_of_its_own_and_gives_its_outputs(tmp_path: Path) -> None:
    (tmp_path / "sub.flow.md").write_text(
        "---\ninputs: {x: int}\noutputs: {twice: double * 2}\n---\n" + node("double", "inputs.x * 2"), encoding="utf-8"
    )
    text = (
        node("n", "3")
        + "## Call\n\n- type: flow\n- path: sub.flow.md\n- inputs: {x: '{{ n + 1 }}'}\n\n"
        + node("end", "call")
    )
    main = tmp_path / "main.flow.md"
    main.write_text(text, encoding="utf-8")
    made = flownb.run(main)
    assert made["end"] == {"twice": 16}
    assert made["call/double"] == 8


def test_the_inputs_of_a_sub_flow_are_validated(tmp_path: Path) -> None:
    (tmp_path / "sub.flow.md").write_text("---\ninputs: {x: int}\n---\n" + node("d", "inputs.x"), encoding="utf-8")
    main = tmp_path / "main.flow.md"
    main.write_text(
        node("n", "'word'") + "## Call\n\n- type: flow\n- path: sub.flow.md\n- inputs: {x: '{{ n }}'}\n",
        encoding="utf-8",
    )
    made = flownb.run(main)
    assert made.errors[0].type == "FlowInputError"
    assert "x" in made.errors[0].message


# Checkpoints.


def test_a_reject_ends_the_run_and_nothing_below_runs(tmp_path: Path) -> None:
    text = node("ask", "Go?", runtime="checkpoint") + node("b", counting(tmp_path / "ran", "1"), "needs: []")
    made = run(text, tmp_path / "state", decide=lambda _request: Decision(action="reject", by="ana"))
    assert (made.status, made.nodes["b"].status, made["ask"].by) == ("rejected", "pending", "ana")  # type: ignore[attr-defined]
    assert not (tmp_path / "ran").exists()


def test_on_reject_continue_goes_on_and_fail_fails(tmp_path: Path) -> None:
    def reject(_request: Request) -> Decision:
        return Decision(action="reject")

    going = run(
        node("ask", "Go?", "on_reject: continue", runtime="checkpoint") + node("b", "ask.action"),
        tmp_path,
        decide=reject,
    )
    failing = run(node("ask", "Go?", "on_reject: fail", runtime="checkpoint") + node("b"), tmp_path, decide=reject)
    assert (going.status, going["b"]) == ("completed", "reject")
    assert (failing.status, failing.nodes["ask"].status) == ("failed", "failed")


def test_where_no_one_can_answer_the_default_is_reject(tmp_path: Path) -> None:
    made = run(node("ask", "Go?", runtime="checkpoint"), tmp_path)
    assert (made.status, made.decisions["ask"].via) == ("rejected", "default")


def test_a_question_that_is_left_open_puts_the_run_aside_once_all_else_is_done(tmp_path: Path) -> None:
    text = node("ask", "Go?", "needs: []", runtime="checkpoint")
    made = run(
        node("slow", "sleep 0.4; echo done", runtime="bash") + text + node("b", "1"),
        tmp_path,
        decide=lambda _request: None,
    )
    assert (made.status, made["slow"], made.nodes["b"].status) == ("waiting", "done", "pending")
    again = flownb.resume(made.id, state_dir=tmp_path, decide=lambda _request: Decision(action="approve"))
    assert (again.status, again["b"]) == ("completed", 1)


def test_a_deadline_is_a_moment_that_a_resume_does_not_move(tmp_path: Path) -> None:
    text = node("ask", "Go?", "timeout: 400ms", "default: approve", runtime="checkpoint")
    made = run(text, tmp_path, decide=lambda _request: None)
    assert made.status == "waiting"
    time.sleep(0.5)
    again = flownb.resume(made.id, state_dir=tmp_path, decide=lambda _request: None)
    assert again.decisions["ask"].timed_out
    assert again.decisions["ask"].action == "approve"


# Stopping, resuming, values.


def test_a_cancelled_run_can_be_resumed_and_nothing_is_lost(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    text = node("a", counting(tmp_path / "a", "n")) + node(
        "b", f"test -e {flag} || sleep 30; echo {{{{ a }}}}", runtime="bash"
    )
    made: list[Run] = []

    def listen(event: Event) -> None:
        if isinstance(event, e.NodeStarted) and event.key == "b" and not flag.exists():
            threading.Timer(0.2, made[0].cancel).start()

    prepared = start(flownb.parse(text), {}, RunSettings(state_dir=tmp_path / "state"))[0]
    hooks = Hooks(watch=lambda event, _state: listen(event))
    queue = MainQueue()
    with MainInterrupts(queue.wake) as interrupts:
        session = Session(prepared, hooks, queue.post, interrupts)
        made.append(Run(session.paths, session.state, session))
        session.when_finished(queue.wake)
        session.start()
        queue.serve(lambda: session.is_finished)
    assert (made[0].status, made[0].nodes["b"].status) == ("cancelled", "cancelled")
    flag.touch()
    again = flownb.resume(made[0].id, state_dir=tmp_path / "state")
    assert (again.status, again["b"], (tmp_path / "a").read_text()) == ("completed", "1", "x")


def test_only_what_changed_and_what_depends_on_it_runs_again(tmp_path: Path) -> None:
    def text(middle: str) -> str:
        first = node("a", counting(tmp_path / "a", "n")) + node("x", counting(tmp_path / "x", "n"), "needs: []")
        return (
            first
            + node("b", counting(tmp_path / "b", middle))
            + node("c", counting(tmp_path / "c", "b"))
            + node("d", "assert 0")
        )

    main = tmp_path / "main.flow.md"
    main.write_text(text("a"), encoding="utf-8")
    made = flownb.run(main)
    main.write_text(text("# a comment\na"), encoding="utf-8")
    flownb.resume(made.id, state_dir=tmp_path / ".flownb")
    assert [(tmp_path / name).read_text() for name in "axbc"] == ["x"] * 4
    main.write_text(text("a + 10").replace("assert 0", "c"), encoding="utf-8")
    again = flownb.resume(made.id, state_dir=tmp_path / ".flownb")
    assert [(tmp_path / name).read_text() for name in "axbc"] == ["x", "x", "xx", "xx"]
    assert (again.status, again["d"]) == ("completed", 11)


def test_a_completed_run_is_resumed_only_from_a_node(tmp_path: Path) -> None:
    text = node("a", counting(tmp_path / "a", "n")) + node("b", counting(tmp_path / "b", "a + n"))
    made = run(text, tmp_path / "state")
    with pytest.raises(flownb.FlowStateError, match="there is nothing to resume"):
        flownb.resume(made.id, state_dir=tmp_path / "state")
    again = flownb.resume(made.id, state_dir=tmp_path / "state", from_node="b")
    assert (again["b"], (tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == (3, "x", "xx")


def test_a_value_of_no_kind_is_kept_for_the_run_and_made_again_by_a_resume(tmp_path: Path) -> None:
    text = (
        node("a", counting(tmp_path / "a", "__import__('array').array('i', [1, 2])"))
        + node("b", "len(a)")
        + node("c", f"assert {str(tmp_path / 'flag')!r} in __import__('glob').glob({str(tmp_path / '*')!r})\nlen(a)")
    )
    made = run(text, tmp_path / "state")
    assert (made["a"], made.nodes["a"].reusable, made["b"]) == (array("i", [1, 2]), False, 2)
    (tmp_path / "flag").touch()
    again = flownb.resume(made.id, state_dir=tmp_path / "state")
    assert (again["c"], (tmp_path / "a").read_text()) == (2, "xx")


def test_a_node_that_says_once_is_not_repeated_without_asking(tmp_path: Path) -> None:
    text = node("mail", counting(tmp_path / "sent", "assert n > 1"), "once: true") + node("b", "mail")
    made = run(text, tmp_path / "state")
    assert made.status == "failed"
    waiting = flownb.resume(made.id, state_dir=tmp_path / "state")
    assert (waiting.status, (tmp_path / "sent").read_text()) == ("waiting", "x")
    done = flownb.resume(
        made.id, state_dir=tmp_path / "state", decide=lambda _request: Decision(action="happened", input="id-7")
    )
    assert (done.status, done["b"], (tmp_path / "sent").read_text()) == ("completed", "id-7", "x")


@pytest.mark.parametrize("edited", [True, False], ids=["edited above", "from above"])
def test_what_was_done_once_is_not_repeated_because_of_what_is_above_it(tmp_path: Path, *, edited: bool) -> None:
    document, state = tmp_path / "m.flow.md", tmp_path / "state"
    text = node("src", "1") + node("mail", counting(tmp_path / "sent", "['id-7', src]"), "once: true")
    document.write_text(text + node("b", "assert mail == 0"))
    made = flownb.run(document, state_dir=state)
    document.write_text((text.replace("\n1\n", "\n2\n") if edited else text) + node("b", "mail"))
    start = None if edited else "src"
    waiting = flownb.resume(made.id, state_dir=state, from_node=start)
    assert (waiting.status, (tmp_path / "sent").read_text()) == ("waiting", "x")
    assert "`mail` has run before" in waiting.state.questions["mail"].text
    done = flownb.resume(made.id, state_dir=state, decide=lambda _request: Decision(action="happened"))
    assert (done["b"], (tmp_path / "sent").read_text()) == (["id-7", 1], "x")


@pytest.mark.parametrize("answer", ["again", "fail"])
def test_an_answer_about_a_node_with_once_holds_for_one_repetition(tmp_path: Path, answer: str) -> None:
    made = run(node("mail", counting(tmp_path / "sent", "1 / 0"), "once: true"), tmp_path / "state")
    again = flownb.resume(made.id, state_dir=tmp_path / "state", decide=lambda _request: Decision(action=answer))
    sent = "xx" if answer == "again" else "x"
    assert (again.status, (tmp_path / "sent").read_text()) == ("failed", sent)
    waiting = flownb.resume(made.id, state_dir=tmp_path / "state")
    assert (waiting.status, (tmp_path / "sent").read_text()) == ("waiting", sent)


def test_a_cached_value_is_used_again_by_a_later_run(tmp_path: Path) -> None:
    text = "---\nname: c\ninputs: {x: {type: int, default: 1}}\n---\n" + node(
        "a", counting(tmp_path / "a", "inputs.x * n"), "cache: true"
    )
    first = run(text, tmp_path / "state")
    second = run(text, tmp_path / "state")
    other = run(text, tmp_path / "state", inputs={"x": 5})
    assert (first["a"], second["a"], other["a"]) == (1, 1, 10)
    old = run(text.replace("cache: true", "cache: 1ms"), tmp_path / "state")
    assert old["a"] == 3


def test_the_idempotency_key_is_the_same_for_all_attempts_and_differs_by_item(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    note = f"import pathlib\np = pathlib.Path({str(keys)!r})\nt = p.read_text() if p.exists() else ''\n"
    body = f"{note}p.write_text(t + idempotency_key + '\\n')\nassert t"
    run(node("a", body, "foreach: [1, 2]", "concurrency: 1", "retry: {max: 1, base: 1ms}"), tmp_path / "state")
    first, again, other = keys.read_text().split()
    assert first == again
    assert first != other


def test_the_idempotency_key_is_the_same_in_a_resume_and_differs_by_run_and_node(tmp_path: Path) -> None:
    keys, flag = tmp_path / "keys", tmp_path / "flag"
    note = f"with open({str(keys)!r}, 'a') as file: file.write(idempotency_key + ' ')\n"
    text = node("a", f"{note}with open({str(flag)!r}): pass") + node("b", "echo {{ idempotency_key }}", runtime="bash")
    made = run(text, tmp_path / "state")
    flag.touch()
    again = flownb.resume(made.id, state_dir=tmp_path / "state")
    other = run(text, tmp_path / "state")
    first, second, third = keys.read_text().split()
    assert first == second
    assert len({first, third, again["b"], other["b"]}) == 4


def test_secrets_reach_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-t0ken")
    text = "---\nsecrets: [API_TOKEN]\n---\n" + node("a", "secrets.API_TOKEN") + node("b", "len(a)")
    text += node("c", "echo {{ secrets.API_TOKEN }}; exit 3", "continue_on_error: true", runtime="bash")
    text += node("d", "raise ValueError('with ' + secrets.API_TOKEN)", "continue_on_error: true")
    made = run(text, tmp_path)
    assert (made.status, made["b"], made["a"]) == ("completed", 12, "s3cr3t-t0ken")
    assert "s3cr3t" not in made.log
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"s3cr3t" not in path.read_bytes(), path


def test_a_full_disk_stops_the_run_with_one_error(tmp_path: Path) -> None:
    text = node("a") + node("b", "2") + node("c", "3")

    def full(descriptor: int, data: bytes | memoryview) -> int:
        if b'"key":"b"' in bytes(data):
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data)

    prepared, _ = start(flownb.parse(text), {}, RunSettings(state_dir=tmp_path, disk=Disk(write=full)))
    with pytest.raises(flownb.FlowStateError, match="No space left"):
        serve(prepared, Hooks())
    again = flownb.resume("last", state_dir=tmp_path)
    assert (again.status, again.outputs["c"]) == ("completed", 3)


def test_an_input_that_held_a_secret_must_be_given_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-t0ken")
    text = "---\nsecrets: [API_TOKEN]\ninputs: {header: str}\n---\n" + node(
        "a", "assert 'x' in inputs.header\nlen(secrets)"
    )
    made = run(text, tmp_path, inputs={"header": "Bearer s3cr3t-t0ken"})
    with pytest.raises(flownb.FlowInputError, match="`header` held a secret"):
        flownb.resume(made.id, state_dir=tmp_path)
    again = flownb.resume(made.id, state_dir=tmp_path, inputs={"header": "Bearer x s3cr3t-t0ken"})
    assert again.status == "completed"


def test_a_body_cannot_change_what_other_nodes_read(tmp_path: Path) -> None:
    text = "---\ninputs: {n: {type: 'list[int]', default: [0]}}\n---\n" + node("a", "[1, {'x': [2]}]")
    text += node("b", "a[1]['x'].append(9)\na.append(3)\ninputs.n.append(4)\na") + node("c", "[a, inputs.n, b]")
    made = run(text, tmp_path)
    assert made["c"] == [[1, {"x": [2]}], [0], [1, {"x": [2, 9]}, 3]]
    assert made["a"] == flownb.show(made.id, state_dir=tmp_path)["a"]


def test_an_item_cannot_change_the_list_that_it_comes_from(tmp_path: Path) -> None:
    made = run(
        node("a", "[[1], [2]]") + node("b", "item.append(5)\nitem", "foreach: a") + node("c", "[a, b]"), tmp_path
    )
    assert made["c"] == [[[1], [2]], [[1, 5], [2, 5]]]


def test_an_open_question_does_not_keep_a_failed_run_from_ending(tmp_path: Path) -> None:
    text = "## P\n\n- type: parallel\n\n" + node("bad", "sleep 0.3; exit 3", runtime="bash", level=3)
    text += node("ask", "Go?", runtime="checkpoint", level=3)
    made = run(text, tmp_path, decide=lambda _request: None)
    assert (made.status, made.nodes["ask"].status, made.errors[0].node) == ("failed", "cancelled", "bad")


def test_the_timeout_of_a_sub_flow_is_obeyed(tmp_path: Path) -> None:
    sub = "---\ntimeout: 200ms\n---\n" + node("slow", "sleep 30", runtime="bash")
    (tmp_path / "sub.flow.md").write_text(sub, encoding="utf-8")
    main = tmp_path / "main.flow.md"
    main.write_text("## Call\n\n- type: flow\n- path: sub.flow.md\n", encoding="utf-8")
    made = flownb.run(main)
    assert (made.status, made.errors[0].type, made.nodes["call/slow"].status) == (
        "failed",
        "NodeTimeoutError",
        "cancelled",
    )


def test_what_bodies_print_is_shown_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-t0ken")
    text = "---\nsecrets: [API_TOKEN]\n---\n" + node("a", "print('token', secrets.API_TOKEN)")
    run(text + node("b", "echo from bash; echo oh >&2", runtime="bash"), tmp_path)
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("token •••\nfrom bash\n", "oh\n")


def test_a_notebook_is_validated_cell_by_cell(tmp_path: Path) -> None:
    cells: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "source": "%%flow\n## A\n\n```python\n1\n```\n",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        },
        {
            "cell_type": "code",
            "source": "%%flow\n## B\n\n```python\nnothing\n```\n",
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        },
    ]
    path = tmp_path / "nb.ipynb"
    path.write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}), encoding="utf-8")
    assert [(problem.code, problem.span.line) for problem in flownb.validate(path)] == [("unknown-name", 5)]


# What containers and shared fallbacks do to these rules.


def test_a_node_in_a_container_is_skipped_with_the_node_outside_that_it_refers_to(tmp_path: Path) -> None:
    text = node("s", "1", "when: false", "needs: []") + node("k", "2", "needs: []")
    text += "## Each\n\n- foreach: [1]\n\n" + node("i", "s", level=3) + node("j", "k", level=3)
    made = run(text, tmp_path)
    assert (made.nodes["each[0]/i"].status, made["each"]) == ("skipped", [2])


def test_a_node_is_skipped_with_a_node_of_a_container_that_was_skipped(tmp_path: Path) -> None:
    text = "## Both\n\n- type: parallel\n- when: false\n\n" + node("i", level=3) + node("j", level=3)
    assert run(text + node("after", "i"), tmp_path).nodes["after"].status == "skipped"


@pytest.mark.parametrize("first", ["when: false", "continue_on_error: true"])
def test_any_waits_for_one_that_succeeded(tmp_path: Path, first: str) -> None:
    text = "## Any\n\n- type: parallel\n- wait: any\n\n" + node("i", "1 / 0", first, level=3)
    text += node("j", "import asyncio\nawait asyncio.sleep(0.05)\n7", level=3)
    assert run(text, tmp_path)["any"] == {"i": None, "j": 7}


def test_a_fallback_of_two_nodes_runs_for_each_with_its_own_error(tmp_path: Path) -> None:
    text = node("a", "1 / 0", "fallback: f") + node("b", "a; {}[1]", "fallback: f")
    made = run(text + node("f", "{{ error.node }} {{ error.type }}", runtime="text") + node("c", "[a, b]"), tmp_path)
    assert made["c"] == ["a ZeroDivisionError", "b KeyError"]


def test_a_container_whose_own_nodes_use_each_other_is_still_an_output(tmp_path: Path) -> None:
    text = "## Each\n\n- foreach: [1, 2]\n\n" + node("i", "item", level=3) + node("j", "i * 10", level=3)
    assert run(text, tmp_path).outputs == {"each": [10, 20]}


def test_what_a_body_sets_in_inputs_no_other_sees(tmp_path: Path) -> None:
    text = "---\ninputs: {x: {type: int, default: 1}}\n---\n" + node("a", "inputs['x'] = 2") + node("b", "inputs.x")
    assert run(text, tmp_path)["b"] == 1


def test_a_name_is_the_same_however_its_letters_are_composed(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    text = (
        node("Caf\u00e9", "1")
        + node("b", f"{decomposed} + 1", runtime="expr")
        + node("c", f"echo {{{{ {decomposed} }}}}", runtime="bash")
    )
    text += node("d", decomposed, f"needs: {decomposed}") + node("e", "1 / 0", f"fallback: {decomposed}2")
    text += node(f"{decomposed}2", "'stood in'")
    made = run(text, tmp_path)
    assert [made[key] for key in (composed, "b", "c", "d", "e")] == [1, 2, "1", 1, "stood in"]
