"""What the predecessor got wrong (design/peers.md, 1 to 13), each through the public functions."""

from __future__ import annotations

import getpass
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

import flownb
from flownb.api import plan
from flownb.cli.commands import run_command
from flownb.model.decision import Decision, Request
from flownb.model.events import AttemptFailed, Event, NodeCompleted, NodeFailed

RunText = Callable[..., flownb.Run]
SECRET = 'pä"ss\\word/<1>'


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run_text(state_dir: Path) -> RunText:
    """Return a function that runs a text; keywords as of `flownb.run`."""

    def run(text: str, inputs: Mapping[str, object] | None = None, **more: Any) -> flownb.Run:  # Any: its keywords
        return flownb.run(flownb.parse(text), inputs, state_dir=state_dir, **more)

    return run


def node(heading: str, body: str, *properties: str, kind: str = "python") -> str:
    """Return one section."""
    listed = "".join(f"- {line}\n" for line in properties)
    return f"## {heading}\n\n{listed}\n```{kind}\n{body}\n```\n\n"


def trace(word: str) -> str:
    """Return Python code that leaves a mark."""
    return f"with open('trace.txt', 'a') as file:\n    file.write({word!r} + '\\n')\n"


def traces() -> list[str]:
    path = Path("trace.txt")
    return path.read_text().splitlines() if path.exists() else []


def approve(_: Request) -> flownb.Decision:
    return flownb.Decision(action="approve", by="ana")


def reject(_: Request) -> flownb.Decision:
    return flownb.Decision(action="reject", by="ana")


# 1. Data was rendered again as a template, and JSON that looked like an engine structure was run.


@pytest.mark.parametrize("kind", ["text", "markdown", "expr", "python", "bash", "json", "yaml"])
def test_data_is_never_read_as_a_template(run_text: RunText, kind: str) -> None:
    hostile = "{{ 7 * 7 }} {% for x in range(3) %}x{% endfor %} {# gone #}"
    bodies = {"expr": "given", "python": "given", "bash": "printf %s {{ given }}"}
    run = run_text(
        "---\ninputs: {text: str}\n---\n"
        + node("Given", "inputs.text", kind="expr")
        + node("Used", bodies.get(kind, "{{ given }}"), kind=kind)
        + node("Again", "{{ used }}!", kind="text"),
        {"text": hostile},
    )
    assert run.status == "completed", run.errors
    assert run["used"] == hostile
    assert run["again"] == hostile + "!"


def test_data_that_looks_like_the_engines_own_is_only_data(run_text: RunText) -> None:
    data = {
        "type": "bash",
        "body": "touch ran",
        "$artifact": "x",
        "nodes": {"n": {"status": "completed"}},
        "kind": "each",
    }
    run = run_text(node("Given", json.dumps(data), kind="json") + node("Used", "given", kind="expr"))
    assert run["used"] == data
    assert flownb.show(run.id, run.paths.root)["used"] == data
    assert not Path("ran").exists()


# 2. Bodies of if, branch, while, for-each never ran, with status success.


def test_bodies_of_branches_loops_and_foreach_run(run_text: RunText) -> None:
    text = (
        "## Choose\n\n- type: branch\n\n#"
        + node("Left", trace("left") + "'l'", "when: false")
        + "#"
        + node("Right", trace("right") + "'r'")
        + "## Rounds\n\n- while: round < 2\n\n#"
        + node("Inner", trace("loop") + "round")
        + "## Each\n\n- foreach: [1, 2]\n- concurrency: 1\n\n#"
        + node("Twice", trace("each") + "item * 2")
    )
    run = run_text(text)
    assert run.status == "completed", run.errors
    assert traces() == ["right", "loop", "loop", "each", "each"]
    assert (run["choose"], run["rounds"], run["each"]) == ("r", {"inner": 1}, [2, 4])


# 3. A reject stopped nothing; checkpoints did not gate what did not take their output; one answer was taken for two.

TWO_QUESTIONS = (
    node("First", "One?", kind="checkpoint")
    + node("Between", trace("between"), "needs: []")
    + node("Second", "Two?", kind="checkpoint")
    + node("End", trace("end"), "needs: []")
)


def test_each_question_is_asked_and_gates_all_that_is_below_it(run_text: RunText) -> None:
    seen: list[tuple[str, list[str]]] = []

    def decide(request: Request) -> flownb.Decision:
        seen.append((request.node, traces()))
        return flownb.Decision(action="approve", by=request.node)

    run = run_text(TWO_QUESTIONS, decide=decide)
    assert seen[0] == ("first", [])
    assert seen[1][0] == "second"
    assert sorted(traces()) == ["between", "end"]
    assert [run.decisions[key].by for key in ("first", "second")] == ["first", "second"]


def test_a_reject_stops_the_run(run_text: RunText) -> None:
    run = run_text(TWO_QUESTIONS, decide=reject)
    assert run.status == "rejected"
    assert traces() == []
    assert [run.nodes[key].status for key in ("between", "second", "end")] == ["pending"] * 3
    with pytest.raises(flownb.FlowRunError, match="rejected at `first` by ana") as caught:
        run.raise_for_status()
    assert caught.value.hint == f"to ask again: %flow_resume {run.id} --from first"


def test_a_node_that_is_not_there_is_an_error_that_names_those_near(run_text: RunText) -> None:
    run = run_text(TWO_QUESTIONS, decide=reject)
    with pytest.raises(KeyError) as caught:
        _ = run["firstt"]
    assert isinstance(caught.value, flownb.FlowError)
    assert str(caught.value) == f"run {run.id} has no node `firstt`\nhint: there is first"


def test_a_text_that_is_no_workflow_says_what_to_write_instead() -> None:
    with pytest.raises(flownb.FlowSyntaxError) as caught:
        flownb.parse("## A\n- retyr: 3\n```bash\necho\n```\n")
    assert str(caught.value).splitlines() == [
        "<text>:2:3: error[unknown-key]: unknown property 'retyr'",
        "hint: did you mean 'retry'?",
    ]


@pytest.mark.parametrize("value, kind", [(object(), "object"), ([threading.Lock()], "list"), (b"\xff", "bytes")])
def test_an_input_that_could_not_be_kept_is_refused_before_anything_is_written(
    run_text: RunText, state_dir: Path, value: object, kind: str
) -> None:
    with pytest.raises(flownb.FlowInputError, match=f"input `x` is a {kind}, which is not JSON"):
        run_text("---\ninputs: {x: any}\n---\n## A\n```python\ninputs.x\n```\n", inputs={"x": value})
    assert not state_dir.exists()


def test_an_answer_that_is_no_decision_is_told_by_its_value(run_text: RunText) -> None:
    with pytest.raises(flownb.FlowInputError, match="decide answered `first` with 'approve'") as caught:
        run_text(TWO_QUESTIONS, decide=lambda _request: "approve")
    assert caught.value.hint == "return a flownb.Decision, or None"


def test_a_run_takes_answers_only_where_it_asks(run_text: RunText) -> None:
    run = run_text(TWO_QUESTIONS, decide=lambda _request: None)
    with pytest.raises(flownb.FlowStateError, match="does not ask `second`"):
        run.decide("second")
    with pytest.raises(flownb.FlowInputError, match="cannot be answered with 'maybe'"):
        run.decide("first", "maybe")
    assert run.decide("first").by == getpass.getuser()


@pytest.mark.parametrize("on_reject, status, end", [("continue", "completed", ["end"]), ("fail", "failed", [])])
def test_on_reject_says_what_a_reject_does(run_text: RunText, on_reject: str, status: str, end: list[str]) -> None:
    text = node("Ask", "Go?", f"on_reject: {on_reject}", kind="checkpoint") + node("End", trace("end") + "ask.action")
    run = run_text(text, decide=reject)
    assert (run.status, traces()) == (status, end)


# 4. The question, default, time limit and input of a checkpoint were lost between file and runtime.


def test_all_that_a_checkpoint_says_reaches_who_answers(run_text: RunText) -> None:
    asked: list[Request] = []

    def decide(request: Request) -> flownb.Decision:
        asked.append(request)
        return flownb.Decision(action="input", input={"count": "3"})

    run = run_text(
        node("Rows", "[1, 2]", kind="json")
        + node(
            "Ask", "Take **{{ rows | length }}**?", "timeout: 1h", "default: approve", "show: rows",
            "input: {count: int}", kind="checkpoint",
        ),
        decide=decide,
    )  # fmt: skip
    question = asked[0].question
    assert question.text == "Take **2**?"
    assert question.default == "approve"
    assert question.deadline is not None
    assert (question.deadline - question.asked_at).total_seconds() == 3600
    assert question.actions == ("approve", "reject", "input")
    assert asked[0].values == {"rows": [1, 2]}
    answer = run["ask"]
    assert isinstance(answer, dict)
    assert answer["input"] == {"count": 3}


def test_nobody_to_ask_takes_the_default_which_is_reject(run_text: RunText) -> None:
    assert run_text(node("Ask", "Go?", kind="checkpoint")).status == "rejected"
    run = run_text(node("Ask", "Go?", "default: approve", kind="checkpoint"))
    assert run.status == "completed"
    assert (run.decisions["ask"].by, run.decisions["ask"].via) == ("", "default")


DEFAULTS = "input: {n: {type: int, default: 3}, note: {type: str, default: x}}"


@pytest.mark.parametrize(
    "wanted, given",
    [
        (DEFAULTS, {"n": 3, "note": "x"}),
        ("input: {n: {type: int, default: 3}, note: str}", None),
        ("input: text", None),
    ],
    ids=["every field has one", "one has none", "no object"],
)
@pytest.mark.parametrize("who", ["nobody", "person", "too late"])
def test_an_approval_without_input_has_what_the_defaults_of_its_type_give(
    run_text: RunText, wanted: str, given: object, who: str
) -> None:
    answers: dict[str, Callable[[Request], Decision | None] | None] = {
        "nobody": None,
        "person": lambda _request: Decision(action="approve"),
        "too late": lambda _request: None,
    }
    late = ["timeout: 50ms"] if who == "too late" else []
    ask = node("Ask", "Go?", "default: approve", wanted, *late, kind="checkpoint")
    run = run_text(ask + node("Use", "ask.input", kind="expr"), decide=answers[who])
    assert (run.decisions["ask"].action, run["use"]) == ("approve", given)


def test_a_rejection_has_no_input(run_text: RunText) -> None:
    run = run_text(node("Ask", "Go?", "on_reject: continue", DEFAULTS, kind="checkpoint"))
    assert (run.decisions["ask"].action, run.decisions["ask"].input) == ("reject", None)


def test_an_input_that_is_given_stands_in_place_of_the_defaults(run_text: RunText) -> None:
    given = Decision(action="approve", input={"n": 5, "note": "y"})
    run = run_text(node("Ask", "Go?", DEFAULTS, kind="checkpoint"), decide=lambda _request: given)
    assert run.decisions["ask"].input == {"n": 5, "note": "y"}


# 5. Timeouts stopped nothing.


def is_alive_in(process: psutil.Process, group: int) -> bool:
    try:
        return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False


@pytest.mark.parametrize(
    "kind, body",
    [
        (
            "python",
            "import time\nfrom pathlib import Path\nPath('began').touch()\nwhile True:\n    time.sleep(0.001)\n",
        ),
        (
            "python",
            "import asyncio\nfrom pathlib import Path\nPath('began').touch()\nawait asyncio.sleep(60)\nPath('late').touch()",
        ),
        ("bash", "echo $$ > began\nsleep 60\ntouch late"),
        ("bash", "trap '' TERM\necho $$ > began\n(sleep 60; touch late) & wait"),
    ],
)
def test_a_timeout_stops_the_body(run_text: RunText, kind: str, body: str) -> None:
    run = run_text(node("Slow", body, "timeout: 300ms", kind=kind) + node("After", trace("after")))
    assert run.status == "failed"
    assert [(error.node, error.type) for error in run.errors] == [("slow", "NodeTimeoutError")]
    assert traces() == []
    assert not Path("late").exists()
    if kind == "bash":
        group = int(Path("began").read_text())
        assert [process.pid for process in psutil.process_iter() if is_alive_in(process, group)] == []


def test_the_runs_own_timeout_ends_it_as_failed(run_text: RunText) -> None:
    run = run_text("---\ntimeout: 300ms\n---\n" + node("Slow", "sleep 60", kind="bash") + node("After", trace("after")))
    assert run.status == "failed"
    assert [error.type for error in run.errors] == ["TimeoutError"]
    assert run.nodes["slow"].status == "cancelled"
    assert traces() == []


# 6. Retry and fallback from the file were parsed and ignored.


def test_a_refused_connection_is_tried_again_and_then_the_fallback_runs(run_text: RunText) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    body = f"import socket\n{trace('try')}socket.create_connection(('127.0.0.1', {port}))"
    retry = "retry: {max: 2, backoff: exponential, base: 1ms, jitter: none, on: ConnectionError}"
    events: list[Event] = []
    run = run_text(
        node("Fetch", body, retry, "fallback: cached")
        + node("Cached", "error.type + ' ' + str(error.attempts)")
        + node("Used", "fetch", kind="expr"),
        listen=events.append,
    )
    assert run.status == "completed", run.errors
    assert traces() == ["try"] * 3
    assert run["used"] == "ConnectionRefusedError 3"
    assert [event.wait_s for event in events if isinstance(event, AttemptFailed)] == [0.001, 0.002]


def test_what_on_does_not_name_is_not_tried_again(run_text: RunText) -> None:
    run = run_text(node("Fetch", trace("try") + "raise ValueError('no')", "retry: {max: 3, on: ConnectionError}"))
    assert (run.status, traces()) == ("failed", ["try"])


def test_a_fallback_does_not_run_when_nothing_failed(run_text: RunText) -> None:
    run = run_text(node("Fetch", "1", "fallback: cached") + node("Cached", trace("cached")))
    assert (run["fetch"], traces()) == (1, [])
    assert run.nodes["cached"].status == "pending"


def test_fallbacks_that_name_each_other_are_refused() -> None:
    with pytest.raises(flownb.FlowSyntaxError) as refused:
        flownb.parse(node("A", "1", "fallback: b") + node("B", "2", "fallback: a"))
    assert len(refused.value.problems) == 1


def test_a_node_that_waits_for_its_next_attempt_holds_no_slot(run_text: RunText) -> None:
    retry = "retry: {max: 400, backoff: fixed, base: 10ms, jitter: none}"
    first = "from pathlib import Path\nif not Path('other').exists():\n    raise OSError('not yet')\n'done'"
    run = run_text(
        "---\nconcurrency: 1\n---\n"
        + node("First", first, "needs: []", retry)
        + node("Other", "open('other', 'w').close()", "needs: []")
    )
    assert run.status == "completed", run.errors
    assert run["first"] == "done"


# 7. Secrets stood in plain text in the state, in the log and on the screen.


def test_a_secret_is_in_no_file_and_not_on_the_screen(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("TOKEN", SECRET)
    path = tmp_path / "secret.flow.md"
    path.write_text(
        "---\nsecrets: [TOKEN]\non_error: tell\n---\n# S\n\n"
        + node("Shell", "printf 'it is %s' {{ secrets.TOKEN }}; echo {{ secrets.TOKEN }} >&2", kind="bash")
        + node("Data", "print(secrets.TOKEN)\n{'a': [secrets.TOKEN], secrets.TOKEN: 1}")
        + node("Text", "{{ secrets.TOKEN }} and {{ data.a[0] }}", kind="text")
        + node("Length", "secrets.TOKEN | length", kind="expr")
        + node("Ask", "Use {{ secrets.TOKEN }}?", "default: approve", "show: text", kind="checkpoint")
        + node("Broken", "raise ValueError('bad ' + secrets.TOKEN)", "continue_on_error: true")
        + node("Worse", "echo {{ text }} >&2; exit 1", kind="bash")
        + node("Tell", "{{ error.message }}", kind="text")
    )
    assert run_command(["run", str(path)]) == 1
    ran = capfd.readouterr()
    run_command(["show", "last", "--json"])
    shown = capfd.readouterr()
    state = json.loads(shown.out)
    assert [state["nodes"][node]["output"] for node in ("text", "length")] == ["•••"] * 2
    assert state["nodes"]["length"]["reusable"] is False
    forms = {SECRET, json.dumps(SECRET)[1:-1], json.dumps(SECRET, ensure_ascii=False)[1:-1]}
    files = {file: file.read_text() for file in tmp_path.rglob("*") if file.is_file()}
    assert len(files) >= 4
    texts = {**{str(file): text for file, text in files.items()}, "screen": ran.out + ran.err + shown.out + shown.err}
    assert [name for name, text in texts.items() for form in forms if form in text] == []
    assert "•••" in texts["screen"]


# 8. The log writer deleted text below the log, and the workflow itself.


def test_the_log_replaces_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "logged.flow.md"
    above = "# Logged\n\n" + node("Tricky", "## Execution Log\n\n---\n\n## Execution Log\n\nstill text", kind="text")
    path.write_text(above)
    assert run_command(["run", str(path)]) == 0
    path.write_text(path.read_text() + "\n## Notes\n\nMine.\n")
    assert run_command(["run", str(path)]) == 0
    text = path.read_text()
    assert text.startswith(above)
    assert text.endswith("\n## Notes\n\nMine.\n")
    assert text.count("**Run ID:**") == 1
    assert flownb.show("last")["tricky"] == "## Execution Log\n\n---\n\n## Execution Log\n\nstill text"


# 9 and 12. Waves were barriers; one failure lost what was under way, and hid the others.


def test_a_wave_is_no_barrier(run_text: RunText) -> None:
    slow = "import time\nfrom pathlib import Path\nwhile not Path('next').exists():\n    time.sleep(0.002)\n'slow'"
    run = run_text(
        node("Slow", slow, "needs: []", "executor: thread", "timeout: 20s")
        + node("Quick", "1", "needs: []")
        + node("Next", "open('next', 'w').close()\nquick + 1")
    )
    assert run.status == "completed", run.errors
    assert (run["slow"], run["next"]) == ("slow", 2)


def test_a_failure_lets_what_is_under_way_finish_and_all_are_reported(run_text: RunText, state_dir: Path) -> None:
    def until(name: str) -> str:
        return (
            "import time\nfrom pathlib import Path\n"
            f"while not Path('{name}').exists():\n    time.sleep(0.002)\n"
        )  # fmt: skip

    def listen(event: Event) -> None:
        if isinstance(event, NodeFailed) and event.key == "first":
            Path("failed").touch()

    def other(name: str) -> str:
        return f"from pathlib import Path\nPath('{name}').touch()\n" + until("failed")

    options = ("needs: []", "executor: thread", "timeout: 20s")
    text = (
        node("First", until("a") + until("b") + "raise ValueError('one')", *options)
        + node("Good", other("a") + trace("good") + "'kept'", *options)
        + node("Second", other("b") + "raise KeyError('two')", *options)
        + node("New", trace("new") + "good")
    )
    run = run_text(text, listen=listen)
    assert run.status == "failed"
    assert [(error.node, error.type) for error in run.errors] == [("first", "ValueError"), ("second", "KeyError")]
    assert run["good"] == "kept"
    assert traces() == ["good"]
    assert run.nodes["new"].status == "pending"
    again = flownb.resume(run.id, state_dir=state_dir)
    assert traces() == ["good", "new"], "what was finished in an open wave is not lost"
    assert again.status == "failed"


def test_a_failure_inside_a_group_lets_nothing_new_start_outside(run_text: RunText) -> None:
    def wait_for(name: str) -> str:
        return f"import time\nfrom pathlib import Path\nwhile not Path('{name}').exists():\n    time.sleep(0.002)\n"

    def listen(event: Event) -> None:
        if isinstance(event, NodeFailed | NodeCompleted):
            Path(f"{event.key}-ended").touch()

    options = ("needs: []", "executor: thread", "timeout: 20s")
    text = (
        "## Both\n\n- type: parallel\n- needs: []\n\n#"
        + node("Bad", "raise ValueError('no')")
        + "#"
        + node("Long", wait_for("quick-ended"), "timeout: 20s")
        + node("Quick", wait_for("bad-ended") + "1", *options)
        + node("Next", trace("next") + "quick")
    )
    run = run_text(text, listen=listen)
    assert run.status == "failed"
    assert run["quick"] == 1
    assert (run.nodes["next"].status, traces()) == ("pending", [])


# 10. Resume took any state, and a node that was added upstream never ran.


def test_a_completed_run_is_not_resumed_and_a_rejected_one_only_from_a_node(run_text: RunText, state_dir: Path) -> None:
    text = node("A", trace("a") + "1") + node("B", trace("b") + "a + 1")
    run = run_text(text)
    with pytest.raises(flownb.FlowStateError, match="completed"):
        flownb.resume(run.id, state_dir=state_dir)
    again = flownb.resume(run.id, state_dir=state_dir, from_node="b")
    assert again.status == "completed"
    assert traces() == ["a", "b", "b"]


def test_a_run_of_another_workflow_is_not_taken_up(run_text: RunText, state_dir: Path) -> None:
    run = run_text("# One\n\n" + node("A", "raise ValueError('no')"))
    other = run_text("# Two\n\n" + node("A", "2"), run_id=run.id)
    assert other["a"] == 2
    assert other.workflow == "two"
    assert [summary.status for summary in flownb.runs("one", state_dir)] == ["failed"]


def test_an_edited_document_runs_what_changed_what_is_new_and_what_depends_on_it(tmp_path: Path) -> None:
    path = tmp_path / "edited.flow.md"
    path.write_text(
        "# Edited\n\n"
        + node("A", trace("a") + "1")
        + node("B", trace("b") + "a + 1")
        + node("C", trace("c") + "c_ = 1/0")
    )
    run = flownb.run(path)
    assert (run.status, traces()) == ("failed", ["a", "b", "c"])
    path.write_text(
        "# Edited\n\nProse may change.\n\n"
        + node("New", trace("new") + "10")
        + node("A", "# a comment is no change\n" + trace("a") + "1", "retry: 2")
        + node("B", trace("b") + "a + new")
        + node("C", trace("c") + "b")
    )
    again = flownb.resume(run.id)
    assert again.status == "completed", again.errors
    assert traces() == ["a", "b", "c", "new", "b", "c"]
    assert again["c"] == 11


# 11. Unknown names became empty text; references in most places made no edge.


@pytest.mark.parametrize(
    "text",
    [
        node("A", "{{ nope }}", kind="text"),
        node("A", "nope + 1"),
        node("A", "nope", kind="expr"),
        node("A", "1", "when: nope"),
        node("A", "1", "foreach: nope"),
        node("A", "echo", "env: {X: '{{ nope }}'}", kind="bash"),
        node("A", "Go?", "show: nope", kind="checkpoint"),
        node("A", "1", "needs: nope"),
        node("A", "1", "fallback: nope"),
        node("A", "inputs.nope", kind="expr"),
        node("A", "secrets.NOPE", kind="expr"),
        "---\noutputs: {x: nope}\n---\n" + node("A", "1"),
        "---\non_error: nope\n---\n" + node("A", "1"),
    ],
)
def test_an_unknown_name_is_an_error_before_anything_runs(text: str) -> None:
    with pytest.raises(flownb.FlowSyntaxError) as refused:
        flownb.parse(text)
    assert ["nope" in problem.message.lower() for problem in refused.value.problems] == [True]
    assert refused.value.problems[0].span.line > 0


@pytest.mark.parametrize(
    "reads",
    [
        node("Reads", "{{ late }}", kind="text"),
        node("Reads", "late", kind="expr"),
        node("Reads", "def f():\n    return late\nf()"),
        node("Reads", "1", "when: late"),
        node("Reads", "item", "foreach: late", kind="expr"),
        node("Reads", "echo", "env: {X: '{{ late | string }}'}", kind="bash"),
        node("Reads", "echo", "cwd: '{{ late | string }}'", kind="bash"),
        node("Reads", "1", "until: late", kind="expr"),
        node("Reads", "1", "needs: late"),
        "## Reads\n\n- type: branch\n\n#" + node("Inner", "1", "when: late"),
        "## Reads\n\n- foreach: [1]\n- collect: late\n\n#" + node("Inner", "1"),
        "## Reads\n\n- type: parallel\n\n#" + node("Inner", "late", kind="expr"),
    ],
)
def test_a_reference_anywhere_is_waited_for(reads: str) -> None:
    waves = {planned.id: planned.wave for planned in plan(flownb.parse(reads + node("Late", "[1]", kind="json")))}
    assert waves["late"] < waves["reads"]


def test_a_missing_key_or_attribute_is_an_error_and_not_empty_text(run_text: RunText) -> None:
    run = run_text(node("Data", '{"a": 1}', kind="json") + node("Text", "{{ data.b }}", kind="text"))
    assert run.status == "failed"
    assert "`data` has no `b`" in run.errors[0].message


# 13. Cost grew with the square.


def test_what_is_written_grows_with_what_happens(run_text: RunText) -> None:
    def size(count: int) -> int:
        nodes = [node("N0", "0", kind="expr")] + [node(f"N{k}", f"n{k - 1} + 1", kind="expr") for k in range(1, count)]
        run = run_text(f"# Chain {count}\n\n" + "".join(nodes))
        assert run[f"n{count - 1}"] == count - 1
        return sum(path.stat().st_size for path in run.paths.root.rglob("*") if path.is_file() and run.id in str(path))

    assert size(300) < 11 * size(30)
