"""What a failure lets go on and what it stops, and what a container that is tried again keeps (format.md, 4.2, 4.4, 4.5)."""

from __future__ import annotations

import asyncio
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

import flownb
from flownb import Run
from flownb.api import serve, take_up
from flownb.model.decision import Decision, Request
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.start import start
from tests.meeting import expect
from tests.runs import node


def run(text: str, state_dir: Path, **options: object) -> Run:
    """Run a document to its end."""
    return flownb.run(flownb.parse(text), state_dir=state_dir, **options)  # type: ignore[arg-type] # as each test says


def marking(path: Path, body: str) -> str:
    """Return Python code that leaves an `x` and counts them in `n` before its body."""
    return (
        f"import pathlib\np = pathlib.Path({str(path)!r})\n"
        f"n = len(p.read_text() if p.exists() else '') + 1\np.write_text('x' * n)\n{body}"
    )


def until(path: Path) -> str:
    """Return a script that ends when a file is there."""
    return f"for _ in $(seq 600); do test -e {path} && break; sleep 0.02; done; test -e {path}"


def open_question(_request: Request) -> None:
    """Leave a question open."""


def approve(_request: Request) -> Decision:
    return Decision(action="approve", by="ana")


# What is under way when something fails (4.5).


def test_items_under_way_are_let_finish_and_kept_when_one_fails(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    body = (
        f"if test {{{{ item }}}} = 1; then touch {gone}; exit 3; fi; {until(gone)}; sleep 0.3; echo kept {{{{ item }}}}"
    )
    made = run(node("a", body, "foreach: range(5)", "concurrency: 3", runtime="bash"), tmp_path / "state")
    assert (made.status, [failure.node for failure in made.errors]) == ("failed", ["a[1]"])
    assert [made[f"a[{index}]"] for index in (0, 2)] == ["kept 0", "kept 2"]
    assert not {"a[3]", "a[4]"} & made.nodes.keys()


@pytest.mark.parametrize("slots", [2, 3], ids=["an item waits for its turn", "all items run"])
def test_items_under_way_are_let_finish_and_kept_when_a_node_elsewhere_fails(tmp_path: Path, slots: int) -> None:
    gone, begun = tmp_path / "gone", tmp_path / "begun"
    text = f"---\nconcurrency: {slots}\n---\n"
    text += node("bad", f"{until(begun)}; touch {gone}; exit 3", "needs: []", runtime="bash")
    body = f"echo {{{{ item }}}} >> {begun}; {until(gone)}; sleep 0.3; echo kept {{{{ item }}}}"
    text += node("a", body, "foreach: range(3)", "concurrency: 2", "needs: []", runtime="bash")
    made = run(text, tmp_path / "state")
    ran = [key for key in ("a[0]", "a[1]", "a[2]") if key in made.nodes]
    assert ran == ["a[0]", "a[1]"][: slots - 1]
    assert [made[key] for key in ran] == [f"kept {index}" for index in range(slots - 1)]
    assert (made.status, made.nodes["a"].status) == ("failed", "cancelled")
    (tmp_path / "bad").touch()
    again = flownb.resume(made.id, state_dir=tmp_path / "state")
    assert [again[key] for key in ran] == [f"kept {index}" for index in range(slots - 1)]
    assert begun.read_text().splitlines().count("0") == 1


def test_a_node_under_way_in_an_item_is_let_finish_and_no_other_starts_there(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    text = "## Each\n\n- foreach: [0, 1]\n\n"
    first = f"if test {{{{ item }}}} = 1; then touch {gone}; exit 3; fi; {until(gone)}; sleep 0.3; echo kept"
    text += node("first", first, runtime="bash", level=3) + node("second", "first", level=3)
    made = run(text, tmp_path / "state")
    assert (made["each[0]/first"], "each[0]/second" in made.nodes) == ("kept", False)
    assert [failure.node for failure in made.errors] == ["each[1]/first"]


def test_an_item_that_is_left_at_a_question_does_not_take_the_others_along(tmp_path: Path) -> None:
    gone, begun = tmp_path / "gone", tmp_path / "begun"
    text = node("bad", f"{until(begun)}; touch {gone}; exit 3", "needs: []", runtime="bash")
    text += "## Each\n\n- foreach: [0, 1]\n- needs: []\n\n"
    text += node("ask", "?", "when: item == 0", runtime="checkpoint", level=3)
    text += node("work", f"touch {begun}; {until(gone)}; sleep 0.8; echo kept", runtime="bash", level=3)
    made = run(text, tmp_path / "state", decide=open_question)
    assert (made.status, made["each[1]/work"], "each[0]/work" in made.nodes) == ("failed", "kept", False)


def test_all_items_that_fail_are_reported(tmp_path: Path) -> None:
    body = "import threading\nfrom tests.meeting import meet\nmeet('all fail')\nraise ValueError(item)"
    expect("all fail", 3)
    made = run(node("a", body, "foreach: range(3)", "concurrency: 3"), tmp_path)
    assert sorted(failure.message for failure in made.errors) == ["0", "1", "2"]


@pytest.mark.parametrize("waits", ["rate: 1/1h", "concurrency: 1"])
def test_a_failed_item_lets_nothing_start_elsewhere_though_others_are_under_way(tmp_path: Path, waits: str) -> None:
    text = node("a", "1 / (1 - item)", "foreach: [1, 2, 3]", waits, "needs: []")
    text += node("slow", "sleep 0.5; echo done", "needs: []", runtime="bash") + node("late", "slow")
    made = run(text, tmp_path)
    assert (made.status, made["slow"], made.nodes["late"].status) == ("failed", "done", "pending")


def test_an_item_that_fails_stops_the_run_before_the_others_are_done(tmp_path: Path) -> None:
    gone, seen = tmp_path / "gone", tmp_path / "seen"
    body = f"if test {{{{ item }}}} = 0; then exit 3; fi; touch {seen}; sleep 1; echo kept"
    text = node("a", body, "foreach: [0, 1]", "needs: []", runtime="bash")
    text += node("other", f"{until(seen)}; sleep 0.3", "needs: []", runtime="bash")
    text += node("late", f"touch {gone}; sleep 0.1", "needs: other", runtime="bash")
    made = run(text, tmp_path / "state")
    assert (made.status, made["a[1]"], gone.exists()) == ("failed", "kept", False)


@pytest.mark.parametrize(
    "waits",
    [("delay: 1h",), ("until: round > 0", "every: 1h"), ("foreach: [1, 2]", "rate: 1/1h")],
    ids=["before its start", "between rounds", "between items"],
)
def test_what_only_pauses_does_not_keep_a_failed_run_from_ending(tmp_path: Path, waits: tuple[str, ...]) -> None:
    text = node("bad", "sleep 0.3; exit 3", "needs: []", runtime="bash") + node("a", "1", "needs: []", *waits)
    made = run(text, tmp_path)
    assert made.status == "failed"
    assert made.nodes["a"].status in ("pending", "cancelled")


def test_a_question_that_is_open_when_the_run_fails_is_asked_again_with_its_deadline(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    text = "## P\n\n- type: parallel\n\n"
    text += node("bad", f"sleep 0.3; test -e {flag}", runtime="bash", level=3)
    text += node("ask", "Go {{ item }}?", "foreach: [1, 2]", "timeout: 1h", runtime="checkpoint", level=3)
    made = run(text, tmp_path / "state", decide=open_question)
    first = dict(made.state.questions)
    assert (made.status, sorted(first)) == ("failed", ["ask[0]", "ask[1]"])
    flag.touch()
    asked: list[Request] = []

    def answer(request: Request) -> Decision:
        asked.append(request)
        return Decision(action="approve")

    again = flownb.resume(made.id, state_dir=tmp_path / "state", decide=answer)
    assert (again.status, len(asked)) == ("completed", 2)
    for request in asked:
        before = first[request.node]
        assert request.question.deadline == before.deadline == before.asked_at + timedelta(hours=1)


def test_items_that_failed_and_were_let_pass_are_told_with_index_and_message(tmp_path: Path) -> None:
    text = node("a", "1 / item", "foreach: [1, 0, 2, 0]", "continue_on_error: true") + node("b", "a")
    made = run(text, tmp_path)
    expected = [("a[1]", "division by zero"), ("a[3]", "division by zero")]
    kept = flownb.show(made.id, state_dir=tmp_path)
    assert made.status == "completed"
    for one in (made, kept):
        assert [(failure.node, failure.message) for failure in one.errors] == expected
        assert [(error["node"], error["message"]) for error in one.as_json()["errors"]] == expected  # type: ignore[index,union-attr,call-overload]
        assert "### Errors" in one.log
        assert "**a[3]**" in one.log
    assert made.raise_for_status() is made


def test_a_run_that_fails_counts_only_what_made_it_fail(tmp_path: Path) -> None:
    text = node("a", "1 / item", "foreach: [0]", "continue_on_error: true") + node("b", "a; {}['k']")
    made = run(text, tmp_path)
    assert [failure.node for failure in made.errors] == ["b", "a[0]"]
    with pytest.raises(flownb.FlowRunError) as caught:
        made.raise_for_status()
    assert "more" not in caught.value.message
    assert [failure.node for failure in caught.value.errors] == ["b"]


def test_a_table_shows_its_size(tmp_path: Path) -> None:
    table = "class Table:\n    shape = (1389, 3)\n    def __repr__(self): return '   a  b'\nTable()"
    made = run(node("a", table) + node("b", "a.shape[0]"), tmp_path)
    times = "\N{MULTIPLICATION SIGN}"
    assert f"Table: 1,389 {times} 3 a b |" in made.log


def test_a_cache_hit_says_so(tmp_path: Path) -> None:
    text = "---\nname: c\n---\n" + node("a", "1", "cache: true")
    assert "| a | completed |" in run(text, tmp_path).log
    assert "| a | cached |" in run(text, tmp_path).log


# A container that is tried again (4.4).


def test_a_retry_inside_begins_anew_with_each_attempt_of_the_container(tmp_path: Path) -> None:
    text = "## P\n\n- type: parallel\n- retry: {max: 1, base: 1ms}\n\n"
    text += node("x", marking(tmp_path / "x", "assert n == 5\nn"), "retry: {max: 2, base: 1ms}", level=3)
    text += node("y", marking(tmp_path / "y", "n"), level=3)
    made = run(text, tmp_path / "state")
    assert made["p"] == {"x": 5, "y": 1}
    assert (made.nodes["x"].attempts, made.nodes["p"].attempts) == (2, 2)


@pytest.mark.parametrize("head", ["- foreach: [1]\n", "- type: branch\n"])
def test_a_retry_inside_an_item_or_a_branch_begins_anew_too(tmp_path: Path, head: str) -> None:
    text = f"## G\n\n{head}- retry: {{max: 2, base: 1ms}}\n\n"
    text += node("x", marking(tmp_path / "x", "assert n == 6"), "retry: {max: 1, base: 1ms}", level=3)
    made = run(text, tmp_path / "state")
    assert (made.status, (tmp_path / "x").read_text()) == ("completed", "x" * 6)


def test_a_retry_inside_is_used_up_with_each_attempt_of_the_container(tmp_path: Path) -> None:
    text = "## P\n\n- type: parallel\n- retry: {max: 1, base: 1ms}\n\n"
    text += node("x", marking(tmp_path / "x", "1 / 0"), "retry: {max: 2, base: 1ms}", level=3)
    made = run(text, tmp_path / "state")
    assert (made.status, (tmp_path / "x").read_text()) == ("failed", "x" * 6)


# Values of earlier runs, by key.


def test_a_cached_value_of_an_item_is_found_by_its_key(tmp_path: Path) -> None:
    text = "---\nname: c\n---\n## Each\n\n- foreach: [1, 2]\n- concurrency: 1\n\n"
    text += node("x", marking(tmp_path / "x", "[item, n]"), "cache: true", level=3)
    first, second = run(text, tmp_path / "state"), run(text, tmp_path / "state")
    assert first["each"] == second["each"] == [[1, 1], [2, 2]]
    assert (tmp_path / "x").read_text() == "xx"


def test_items_of_a_failed_run_are_taken_from_the_cache(tmp_path: Path) -> None:
    body = marking(tmp_path / "x", f"assert item < 2 or pathlib.Path({str(tmp_path / 'flag')!r}).exists()\nitem")
    text = "---\nname: c\n---\n" + node("a", body, "foreach: [0, 1, 2]", "concurrency: 1", "cache: true")
    assert run(text, tmp_path / "state").status == "failed"
    (tmp_path / "flag").touch()
    assert (run(text, tmp_path / "state")["a"], (tmp_path / "x").read_text()) == ([0, 1, 2], "xxxx")


def test_a_sub_flow_takes_from_the_cache_only_what_had_the_same_inputs(tmp_path: Path) -> None:
    sub = "---\ninputs: {x: int}\n---\n" + node("d", marking(tmp_path / "x", "inputs.x"), "cache: true")
    (tmp_path / "sub.flow.md").write_text(sub, encoding="utf-8")
    main = tmp_path / "main.flow.md"
    call = "---\ninputs: {{x: int}}\n---\n## {}\n\n- type: flow\n- path: sub.flow.md\n- inputs: {{x: '{{{{ inputs.x }}}}'}}\n"
    main.write_text(call.format("Call"), encoding="utf-8")
    values = [flownb.run(main, {"x": x})["call/d"] for x in (1, 2, 1)]
    assert (values, (tmp_path / "x").read_text()) == ([1, 2, 1], "xx")


# Checkpoints in containers (4.2, 5.2).


def test_two_checkpoints_in_a_parallel_are_open_at_once(tmp_path: Path) -> None:
    text = "## Both\n\n- type: parallel\n\n" + node("one", "1?", runtime="checkpoint", level=3)
    text += node("two", "2?", runtime="checkpoint", level=3) + node("after", "'ran'", level=3) + node("below", "1")
    made = run(text, tmp_path, decide=open_question)
    assert [question.key for question in made.state.open_questions] == ["one", "two"]
    assert (made.status, made["after"], made.nodes["below"].status) == ("waiting", "ran", "pending")


@pytest.mark.parametrize("kind", ["python", "expr"])
def test_the_decisions_in_a_parallel_are_read_as_those_of_a_checkpoint(tmp_path: Path, kind: str) -> None:
    text = "## Both\n\n- type: parallel\n\n"
    text += node("params", "?", "input: {rate: float}", runtime="checkpoint", level=3)
    text += node("data", "{'items': [1], 'x': {'y': 2}}", level=3)
    text += node("a", "both.params.input.rate", runtime=kind) + node("b", "both['params']['action']", runtime=kind)
    text += node("c", "both.data['items']", runtime=kind) + node("d", "both.params", runtime=kind)
    text += node("e", "type(both.data) is dict and type(both['data']['x']) is dict")

    def answer(_request: Request) -> Decision:
        return Decision(action="input", input={"rate": 0.5}, by="ana")

    made = run(text, tmp_path, decide=answer)
    assert [made[key] for key in "abc"] == [0.5, "input", [1]], made.errors
    assert made["d"] == made["both"]["params"]  # type: ignore[index] # an object
    assert made["e"] is True


@pytest.mark.parametrize(
    "head, body",
    [
        ("- foreach: [1, 2]\n", "[one.by for one in box]"),
        ("- until: round == 1\n", "[box.ask.by, box.ask.by]"),
        ("- type: branch\n", "[box.by, box.by]"),
    ],
)
def test_the_decisions_in_other_containers_are_read_so_too(tmp_path: Path, head: str, body: str) -> None:
    text = f"## Box\n\n{head}\n" + node("ask", "?", runtime="checkpoint", level=3) + node("a", body)
    made = run(text, tmp_path, decide=approve)
    assert made["a"] == ["ana", "ana"], made.errors


def test_the_decisions_of_a_repeated_checkpoint_are_read_so_too(tmp_path: Path) -> None:
    text = node("each", "?", "foreach: [1, 2]", runtime="checkpoint") + node("a", "[one.by for one in each]")
    assert run(text, tmp_path, decide=approve)["a"] == ["ana", "ana"]


def test_what_a_body_sets_deep_in_an_input_no_other_sees(tmp_path: Path) -> None:
    text = "---\ninputs: {x: {type: any, default: {a: {b: 1}, c: [{d: 1}]}}}\n---\n"
    text += node("a", "inputs.x.a['b'] = 2\ninputs.x.c[0]['d'] = 2") + node("b", "[inputs.x.a.b, inputs.x.c[0].d]")
    assert run(text, tmp_path)["b"] == [1, 1]


# What must not happen twice.


def test_a_node_that_says_once_has_one_attempt(tmp_path: Path) -> None:
    body = marking(tmp_path / "x", "raise ConnectionError")
    made = run(node("a", body, "once: true", "retry: {max: 3, base: 1ms}"), tmp_path / "state")
    assert (made.status, (tmp_path / "x").read_text()) == ("failed", "x")


def test_a_node_that_says_once_and_whose_value_was_not_kept_is_said_to_have_run(tmp_path: Path) -> None:
    text = node("a", marking(tmp_path / "x", "__import__('array').array('i', [1])"), "once: true") + node(
        "b", "assert 0, a"
    )
    made = run(text, tmp_path / "state")
    waiting = flownb.resume(made.id, state_dir=tmp_path / "state", decide=open_question)
    assert (waiting.status, (tmp_path / "x").read_text()) == ("waiting", "x")
    assert "`a` has run before" in waiting.state.questions["a"].text


def test_a_question_that_was_answered_meanwhile_is_shown_to_nobody(tmp_path: Path) -> None:
    made = run(node("ask", "Go?", runtime="checkpoint"), tmp_path, decide=open_question)
    flownb.show(made.id, state_dir=tmp_path).decide("ask", "approve")
    shown: list[Request] = []
    prepared = take_up(made.id, RunSettings(state_dir=tmp_path), {})[0]
    assert (serve(prepared, Hooks(ask=shown.append)).status, shown) == ("completed", [])


def test_what_an_item_sets_in_inputs_no_other_sees(tmp_path: Path) -> None:
    text = "---\ninputs: {x: {type: int, default: 1}}\n---\n"
    made = run(text + node("a", "inputs['x'] += 1\ninputs.x", "foreach: range(3)", "concurrency: 1"), tmp_path)
    assert made["a"] == [2, 2, 2]


# Pauses.


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses of an hour and more that were asked for; they take no time."""
    asked: list[float] = []
    real = asyncio.sleep

    async def sleep(wait_s: float) -> None:
        if wait_s >= 3600:
            asked.append(wait_s)
        await real(0 if wait_s >= 3600 else wait_s)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return asked


def test_every_is_between_rounds(tmp_path: Path, slept: list[float]) -> None:
    assert run(node("a", "round", "until: a == 2", "every: 1h"), tmp_path)["a"] == 2
    assert slept == [3600, 3600]


def test_a_node_that_was_begun_is_not_delayed_again_by_a_resume(tmp_path: Path, slept: list[float]) -> None:
    made = run(node("a", marking(tmp_path / "x", "assert n == 2"), "delay: 2h"), tmp_path / "state")
    assert (made.status, slept) == ("failed", [7200])
    assert flownb.resume(made.id, state_dir=tmp_path / "state").status == "completed"
    assert slept == [7200]


@pytest.mark.parametrize("head", ["foreach: [1]", "needs: []"], ids=["an item", "a node"])
def test_a_container_is_tried_again_as_what_failed_in_it_asks(tmp_path: Path, slept: list[float], head: str) -> None:
    busy = "class Busy(Exception):\n    retry_after_s = 7200\nif n == 1: raise Busy\nassert n > 2"
    inside = node("a", marking(tmp_path / "tries", busy), head, level=3)
    text = f"## Box\n\n- type: parallel\n- retry: {{max: 2, base: 1ms, cap: 3h, on: Busy}}\n\n{inside}"
    made = run(text, tmp_path / "state")
    assert ([error.type for error in made.errors], slept) == (["AssertionError"], [7200])


def test_without_the_cache_a_value_is_made_anew_and_found_by_later_runs(tmp_path: Path) -> None:
    text = "---\nname: c\n---\n" + node("a", marking(tmp_path / "x", "[1]"), "cache: true")
    run(text, tmp_path)
    prepared, _ = start(flownb.parse(text), {}, RunSettings(state_dir=tmp_path, takes_cached=False))
    made = serve(prepared, Hooks())
    again = run(text, tmp_path)

    assert (made.nodes["a"].taken, again.nodes["a"].taken) == (None, "cached")
    assert (tmp_path / "x").read_text().count("x") == 2


def test_a_cached_table_comes_back_as_one_and_outlives_the_run_that_made_it(tmp_path: Path) -> None:
    text = "---\nname: c\n---\n" + node("a", "import pandas as pd\npd.DataFrame({'n': [1, 2]})", "cache: true")
    text += node("b", "a.n.sum() + 0")
    first = run(text, tmp_path)
    second = run(text, tmp_path)
    shutil.rmtree(first.paths.folder)

    assert (second.nodes["a"].taken, second["b"]) == ("cached", 3)
    assert list(flownb.show(second.id, tmp_path)["a"].n) == [1, 2]  # type: ignore[attr-defined] # a table
    assert run(text, tmp_path).nodes["a"].taken is None, "the index names a run that is gone, and one that made nothing"
