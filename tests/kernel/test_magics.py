"""`%%flow` in a real kernel: it runs, asks, waits as told, and says what went wrong in one line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.harness import ROOT, VIEW, Cell, Kernel, kernel

JOB = """\
# Weekly report

## Articles

- retry: {max: 3, base: 1ms}

```python
with open("tries.txt", "a") as file:
    file.write("x")
if open("tries.txt").read() != "xxx":
    raise ConnectionError("503")
print("fetched")
["wind", "sun"]
```

## Shout

- foreach: articles

```bash
echo {{ item | upper }}
```

## Review

```checkpoint
Publish **{{ shout | length }}** articles?
```

## Publish

```python
with open("published.txt", "a") as file:
    file.write("1")
{"published": shout}
```
"""
ASK = "## Ask\n```checkpoint\nGo on?\n```\n## After\n```python\n41 + 1\n```\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def k(home: Path) -> Iterator[Kernel]:
    """One kernel with flownb loaded, for all tests that leave it as it was."""
    with kernel(cwd=home) as started:
        assert started.run("%load_ext flownb").ok
        yield started


@pytest.fixture(autouse=True)
def _empty(home: Path) -> None:
    for name in ("tries.txt", "published.txt"):
        (home / name).unlink(missing_ok=True)


def asked(k: Kernel, code: str) -> Cell:
    """Run a cell with `--until-asked`: it returns while a question is open."""
    cell = k.run(code.replace("%%flow", "%%flow --until-asked", 1))
    assert cell.ok, cell.text
    k.button("Reject")
    return cell


def log_of(k: Kernel, cell: Cell) -> str:
    """Wait until the log stands in a cell's output, and return it."""
    k.wait_until(lambda: any("## Execution Log" in text for text in cell.markdown), "the log")
    return next(text for text in cell.markdown if "## Execution Log" in text)


def error_of(cell: Cell) -> str:
    """Return the one error of a cell, as it is shown."""
    assert cell.status == "error", cell.text
    assert cell.error is not None
    return "\n".join(cell.error["traceback"])


def test_the_main_job_returns_at_the_question_and_goes_on_after_the_click(k: Kernel, home: Path) -> None:
    cell = asked(k, f"%%flow -o run\n{JOB}")
    assert "waiting" in cell.text
    assert "completed · 3 attempts" in cell.text
    assert k.value("run.status") == "<RunStatus.WAITING: 'waiting'>"
    assert not (home / "published.txt").exists()
    k.click("Approve")
    log = log_of(k, cell)
    assert "**Status:** completed" in log
    assert "| articles | completed (3 attempts) |" in log
    assert "approve by" in log
    assert "```mermaid" in log
    assert "fetched" in log
    assert k.value("run['publish']") == "{'published': ['WIND', 'SUN']}"
    assert (home / "published.txt").read_text() == "1"


def test_after_the_decision_a_line_of_text_takes_the_cards_place(k: Kernel) -> None:
    cell = asked(k, f"%%flow\n{ASK}")
    k.click("Approve")
    cell.wait_for("**Ask** · ✔\ufe0e approved by")
    assert k.find("Button", "Approve") is None


def test_a_click_on_a_subshell_lets_the_run_go_on(k: Kernel) -> None:
    subshell = k.subshell()
    if subshell is None:
        pytest.skip("this ipykernel has no subshells")
    cell = asked(k, f"%%flow -o run\n{ASK}")
    k.click("Approve", subshell=subshell)
    assert "**Status:** completed" in log_of(k, cell)
    assert k.value("run['after']") == "42"


def test_a_reject_ends_the_run_and_nothing_below_starts(k: Kernel) -> None:
    cell = asked(k, f"%%flow -o run\n{ASK}")
    k.click("Reject")
    assert "**Status:** rejected" in log_of(k, cell)
    assert k.value("run.nodes['after'].status") == "<NodeStatus.PENDING: 'pending'>"


@pytest.mark.parametrize("shell", ["main", "subshell"])
def test_with_wait_the_cell_stays_busy_and_cells_behind_it_wait(k: Kernel, shell: str) -> None:
    subshell = k.subshell() if shell == "subshell" else None
    cell = k.start(f"%%flow --wait -o run\n{ASK}")
    behind = [k.start(f"print({number}, run['after'])") for number in range(3)]
    k.button("Approve")
    assert not cell.done
    k.click("Approve", subshell=subshell)
    assert cell.finish().ok
    assert [later.finish().stdout for later in behind] == ["0 42\n", "1 42\n", "2 42\n"]
    assert "**Status:** completed" in log_of(k, cell)


def test_a_rejected_run_that_is_waited_for_raises_one_short_error(k: Kernel) -> None:
    cell = k.start(f"%%flow --wait\n{ASK}")
    k.click("Reject")
    error = error_of(cell.finish())
    assert error.startswith("FlowRunError: run ")
    assert "was rejected at `ask`" in error
    assert len(error.splitlines()) == 2
    assert "**Status:** rejected" in log_of(k, cell)


def test_no_wait_returns_at_once_and_the_run_goes_on(k: Kernel) -> None:
    cell = k.run("%%flow --no-wait -o run\n## A\n```bash\nsleep 0.2\n```\n## B\n```python\n7\n```\n")
    assert cell.ok
    assert "**Status:** completed" in log_of(k, cell)
    assert k.value("run['b']") == "7"


@pytest.mark.parametrize("wait", ["run.wait()", "await run"])
def test_a_later_cell_waits_for_the_run_with_its_buttons_alive(k: Kernel, wait: str) -> None:
    cell = asked(k, f"%%flow -o run\n{ASK}")
    later = k.start(f"{wait}; print(run['after'])")
    k.read(0.1)
    k.click("Approve")
    assert later.finish().ok, later.text
    assert later.stdout == "42\n"
    assert any("## Execution Log" in text for text in cell.markdown), "it is drawn before the wait ends"


def test_waiting_with_a_limit_says_that_it_still_goes_on(k: Kernel) -> None:
    asked(k, f"%%flow -o run\n{ASK}")
    assert "TimeoutError" in error_of(k.run("run.wait(0.05)"))
    k.click("Reject")


def test_a_field_is_submitted_and_its_value_reaches_the_node_below(k: Kernel) -> None:
    source = "## Ask\n- input: text\n```checkpoint\nWhy?\n```\n## After\n```python\nask.input.upper()\n```\n"
    cell = asked(k, f"%%flow -o run\n{source}")
    k.type("your answer", "because {{ 1 }}")
    k.click("Submit")
    log_of(k, cell)
    assert k.value("run['after']") == "'BECAUSE {{ 1 }}'"


def test_a_form_says_beside_the_field_what_is_wrong(k: Kernel) -> None:
    source = "## Ask\n- input: {note: str, tags: 'list[int]'}\n```checkpoint\nWhat?\n```\n## After\n```python\nask.input\n```\n"
    cell = asked(k, f"%%flow -o run\n{source}")
    k.type("note", "n")
    k.type("YAML", "[1, x]")
    k.click("Submit")
    wrong = [widget.state["value"] for widget in k.shown() if '"flownb-error"' in str(widget.state.get("value"))]
    assert len(wrong) == 1
    assert "tags" in wrong[0]
    k.type("YAML", "[1, 2]")
    k.click("Submit")
    log_of(k, cell)
    assert k.value("run['after']") == "{'note': 'n', 'tags': [1, 2]}"


def test_two_open_questions_are_two_cards(k: Kernel) -> None:
    source = "## Both\n- foreach: [1, 2]\n```checkpoint\nNumber {{ item }}?\n```\n"
    cell = asked(k, f"%%flow -o run\n{source}")
    k.wait_until(lambda: sum(w.state.get("description") == "Approve" for w in k.shown()) == 2, "two cards")
    k.click("Approve")
    k.wait_until(lambda: len(k.value("sorted(run.decisions)")) > 2, "a decision")
    k.wait_until(lambda: sum(w.state.get("description") == "Approve" for w in k.shown()) == 1, "one card")
    k.click("Approve")
    assert "**Status:** completed" in log_of(k, cell)


def test_a_second_question_gets_its_card_when_the_cell_has_long_ended(k: Kernel) -> None:
    source = "## One\n```checkpoint\nFirst?\n```\n## Two\n```checkpoint\nSecond?\n```\n"
    cell = asked(k, f"%%flow\n{source}")
    k.click("Approve")
    k.wait_until(lambda: any("Second?" in str(w.state.get("outputs")) for w in k.shown()), "the second card")
    k.click("Reject")
    assert "**Status:** rejected" in log_of(k, cell)
    cell.wait_for("**One** · ✔\ufe0e approved by")
    cell.wait_for("**Two** · ✖\ufe0e rejected by")


def test_the_second_card_appears_also_where_an_ended_cells_output_cannot_be_changed(k: Kernel) -> None:
    source = "## One\n```checkpoint\nFirst?\n```\n## Two\n```checkpoint\nSecond?\n```\n"
    k.ignores_late_updates = True
    try:
        cell = asked(k, f"%%flow -o run\n{source}")
        k.click("Approve")
        k.wait_until(lambda: any("Second?" in str(w.state.get("outputs")) for w in k.shown()), "the second card")
        assert any("approved by" in str(w.state.get("outputs")) for w in k.shown()), "how the first was answered"
        k.click("Approve")
        k.wait_until(lambda: k.find("Button", "Approve") is None, "the end of the card")
        k.wait_until(lambda: any(": completed" in str(w.state.get("outputs")) for w in k.shown()), "the end")
        assert "## Execution Log" not in cell.text
    finally:
        k.ignores_late_updates = False


def test_a_question_stands_as_text_beside_its_card_for_front_ends_without_widgets(k: Kernel) -> None:
    cell = asked(k, f"%%flow -o run\n{ASK}")
    (plain,) = (output.data["text/plain"] for output in cell.outputs if VIEW in output.data)
    run_id = k.value("run.id").strip("'")
    assert plain == f"Ask\nGo on?\nto answer: %flow_decide {run_id} ask approve|reject"
    k.click("Reject")
    log_of(k, cell)


def test_a_plotly_figure_in_show_stands_in_the_card(k: Kernel) -> None:
    k.run("import plotly.graph_objects as go")
    source = "## Figure\n```python\ngo.Figure(go.Bar(x=['a', 'b'], y=[1, 22]))\n```\n## Ask\n- show: [figure]\n```checkpoint\nGo on?\n```\n"
    cell = k.start(f"%%flow\n{source}")
    k.button("Approve")
    outputs = [part for widget in k.shown() for part in widget.state.get("outputs", ())]
    assert any("application/vnd.plotly.v1+json" in part["data"] for part in outputs)
    assert not any("plotly" in kind for output in cell.outputs for kind in output.data)
    k.click("Approve")
    assert cell.finish().ok, cell.text
    assert not any(
        "plotly" in kind or "<script" in str(data) for output in cell.outputs for kind, data in output.data.items()
    )


def test_what_cannot_be_drawn_is_said_and_the_run_goes_on(k: Kernel) -> None:
    broken = "class Broken:\n    def _repr_mimebundle_(self, **_): raise SystemError('no picture')\n    def __repr__(self): raise SystemError('no text')\n    def _ipython_display_(self): raise SystemError('nothing')\n"
    k.run(broken)
    source = "## Made\n```python\nBroken()\n```\n## Ask\n- show: [made]\n```checkpoint\nGo on?\n```\n"
    cell = k.start(f"%%flow\n{source}")
    k.click("Approve")
    assert cell.finish().ok, cell.text
    assert "**Status:** completed" in log_of(k, cell)
    assert "flownb/" not in cell.text


@pytest.mark.parametrize(
    "what",
    [
        "notebook.card.Card.__init__",
        "notebook.view.draw_board",
        "notebook.cards.Cards._settle",
        "notebook.shown.Shown.folded",
    ],
)
def test_a_fault_in_a_drawing_job_never_hangs_a_run_nor_shows_our_frames(k: Kernel, home: Path, what: str) -> None:
    module, owner, name = what.rsplit(".", 2)
    k.heard.clear()
    k.run(f"import flownb.{module} as m; old = m.{owner}.{name}\ndef bad(*_, **__): raise RuntimeError('bad drawing')")
    k.run(f"m.{owner}.{name} = bad")
    run_id = f"drawn-{name.strip('_')}"
    journal = home / ".flownb" / "flow" / run_id / "journal.jsonl"
    try:
        cell = k.start(f"%%flow --run-id {run_id}\n{ASK}")
        k.wait_until(lambda: journal.exists() and '"asked"' in journal.read_text(), "the question")
        if owner == "Card":
            cell.wait_for(f"to answer: %flow_decide {run_id} ask approve|reject")
        command = [sys.executable, "-m", "flownb", "decide", run_id, "ask", "approve"]
        assert (
            subprocess.run(command, cwd=home, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode == 0
        )
        assert cell.finish().ok, cell.text
        assert "RuntimeError: bad drawing" in cell.text
        assert ("**Status:** completed" in cell.text) is (owner != "Shown")
        assert "Traceback" not in k.heard_text()
    finally:
        assert k.run(f"m.{owner}.{name} = old").ok


def test_a_run_that_goes_on_alone_runs_its_bodies_between_the_cells(k: Kernel) -> None:
    source = "## Ask\n```checkpoint\nGo?\n```\n## After\n```python\nimport threading\nthreading.current_thread() is threading.main_thread()\n```\n"
    cell = asked(k, f"%%flow -o run\n{source}")
    busy = k.start("import time\nprint('busy', flush=True)\ntime.sleep(0.3)\nprint(run.nodes['after'].status)")
    busy.wait_for("busy")
    assert k.run("%flow_decide {run.id} ask approve").ok
    assert "pending" in busy.finish().stdout
    assert "**Status:** completed" in log_of(k, cell)
    assert k.value("run['after']") == "True"


def test_a_body_that_runs_between_cells_can_be_interrupted(k: Kernel) -> None:
    source = "## Ask\n```checkpoint\nGo?\n```\n## After\n```python\nprint('begun')\nwhile True: pass\n```\n"
    cell = asked(k, f"%%flow -o run\n{source}")
    k.click("Approve")
    cell.wait_for("begun")
    k.interrupt()
    assert "**Status:** cancelled" in log_of(k, cell)
    assert k.value("1 + 1") == "2"


def test_where_buttons_are_dead_while_a_cell_waits_it_ends_with_an_error_that_says_how_to_answer(k: Kernel) -> None:
    k.run("from flownb.notebook import waiting as w; found = w._find_channel; w._find_channel = lambda kernel: None")
    try:
        assert k.run("%%flow -o run\n## A\n```python\n6 * 7\n```\n").ok, "it asks nothing"
        cell = k.start(f"%%flow -o run\n{ASK}")
        behind = k.start("print('behind')")
        error = error_of(cell.finish())
        assert behind.finish().status == "aborted"
        run_id = k.value("run.id").strip("'")
        assert error.startswith(f"FlowError: run {run_id} waits for an answer, and this kernel cannot")
        assert f"%flow_decide {run_id} ask approve|reject" in error
        k.click("Approve")
        assert "**Status:** completed" in log_of(k, cell)
        assert k.value("run['after']") == "42"
    finally:
        assert k.run("w._find_channel = found").ok


def test_a_fault_of_our_own_on_the_cells_thread_ends_the_run_and_shows_none_of_our_frames(k: Kernel) -> None:
    k.run("from flownb.executors.base import Job; perform = Job.perform\ndef bad(*_): raise RuntimeError('bad job')")
    k.run("Job.perform = bad")
    try:
        cell = k.run("%%flow --run-id bad-job\n## A\n```python\n1\n```\n")
        error = error_of(cell)
        assert error == "FlowError: run bad-job broke off: RuntimeError: bad job\nhint: to go on: %flow_resume bad-job"
        assert "**The run broke off:** RuntimeError: bad job" in cell.text
    finally:
        assert k.run("Job.perform = perform").ok
    resumed = k.run("%flow_resume bad-job")
    assert resumed.ok, resumed.text


def test_a_resume_binds_the_variable_that_the_run_was_bound_to(k: Kernel) -> None:
    first = k.run("%%flow -o mine\n## A\n```python\nopen('there').close()\n7\n```\n")
    assert "FileNotFoundError" in error_of(first)
    run_id = k.value("mine.id").strip("'")
    k.run("open('there', 'w').close(); mine = None")
    assert k.run(f"%flow_resume {run_id[:-1]}").ok
    assert k.value("(mine.id, mine['a'])") == f"('{run_id}', 7)"


def test_a_run_that_breaks_off_says_so_where_it_stands(k: Kernel, home: Path) -> None:
    cell = asked(k, f"%%flow -o run\n{ASK}")
    k.run(
        "import errno\ndef full(*a, **b): raise OSError(errno.ENOSPC, 'No space left on device')\nrun.session._journal.append = full"
    )
    k.click("Approve")
    cell.wait_for("No space left on device")
    waited = k.run("run.wait()")
    assert waited.done


def test_secrets_are_hidden_in_everything_that_is_shown(k: Kernel) -> None:
    k.run("import os; os.environ['NEWS_TOKEN'] = 'hush-hush-42'")
    source = "---\nsecrets: [NEWS_TOKEN]\n---\n## Say\n```python\nfrom IPython.display import display, HTML\n"
    source += "print(secrets.NEWS_TOKEN)\ndisplay(HTML(secrets.NEWS_TOKEN))\nsecrets.NEWS_TOKEN\n```\n"
    source += "## Ask\n- show: [say]\n```checkpoint\nUse {{ say }}?\n```\n"
    k.heard.clear()
    cell = asked(k, f"%%flow\n{source}")
    k.click("Approve")
    log_of(k, cell)
    told = k.heard_text()  # All that was ever sent: the cards are gone by now.
    assert "Use •••?" in told
    assert told.count("•••") >= 4
    assert "hush-hush-42" not in told
    assert "•••" in str([output.data for output in cell.outputs])


@pytest.mark.parametrize(
    "first", ["%%capture\n%%flow\n", "%%capture held\n%%flow --until-asked\n## Q\n```checkpoint\nGo?\n```\n"]
)
def test_secrets_are_hidden_also_where_the_first_cell_was_captured(home: Path, first: str) -> None:
    show = "## Say\n```python\nfrom IPython.display import display, HTML, JSON\ndisplay(HTML(secrets.NEWS_TOKEN))\n"
    show += "display(JSON({'token': secrets.NEWS_TOKEN}))\n```\n"
    with kernel(cwd=home, NEWS_TOKEN="hush-hush-42") as k:
        assert k.run("%load_ext flownb").ok
        assert k.run(f"{first}## A\n```python\n1\n```\n").ok
        shown = k.run(f"%%flow\n---\nsecrets: [NEWS_TOKEN]\n---\n{show}")
        assert shown.ok, shown.text
        assert sum("•••" in str(output.data) for output in shown.outputs) >= 2
        captured = k.run(f"%%capture held\n%%flow\n---\nsecrets: [NEWS_TOKEN]\n---\n{show}")
        assert captured.ok, captured.text
        again = k.run("held()")
        assert "•••" in str([output.data for output in again.outputs])
        assert "hush-hush-42" not in k.heard_text()
        assert (
            k.run("from IPython.display import HTML, display\ndisplay(HTML('<b>mine</b>'))")
            .outputs[0]
            .data["text/html"]
        )


def test_what_a_body_captures_itself_is_its_own(k: Kernel) -> None:
    source = "from IPython.utils.capture import capture_output\nfrom IPython.display import HTML, display\n"
    source += "with capture_output() as held:\n    display(HTML('<i>x</i>'))\nlen(held.outputs)"
    cell = k.run(f"%%flow -o run\n## A\n```python\n{source}\n```\n")
    assert cell.ok, cell.text
    assert k.value("run['a']") == "1"


def test_flow_decide_answers_what_a_cell_asks(k: Kernel) -> None:
    cell = asked(k, f"%%flow -o run\n{ASK}")
    decided = k.run("%flow_decide {run.id} ask approve")
    assert "ask: ✔\ufe0e approved by" in decided.stdout
    assert "**Status:** completed" in log_of(k, cell)
    assert "was decided already: approve" in error_of(k.run("%flow_decide {run.id} ask reject"))


def test_interrupting_cancels_the_run_and_the_cell_says_how_to_go_on(k: Kernel) -> None:
    cell = k.start("%%flow -o run\n## Slow\n```python\nprint('begun')\nimport time\ntime.sleep(60)\n```\n")
    cell.wait_for("begun")
    k.interrupt()
    error = error_of(cell.finish())
    run_id = k.value("run.id").strip("'")
    assert error == f"FlowRunError: run {run_id} was cancelled\nhint: to go on: %flow_resume {run_id}"
    assert k.value("run.status") == "<RunStatus.CANCELLED: 'cancelled'>"


def test_interrupting_a_bash_node_or_a_waiting_card_cancels_too(k: Kernel) -> None:
    cell = k.start("%%flow -o run\n## Slow\n```bash\necho begun; sleep 60\n```\n")
    cell.wait_for("begun")
    k.interrupt()
    assert "was cancelled" in error_of(cell.finish())
    waits = k.start(f"%%flow --wait\n{ASK}")
    k.button("Approve")
    k.interrupt()
    assert "was cancelled" in error_of(waits.finish())
    waits.wait_for("not answered")


def test_an_interrupt_arrives_also_where_the_kernel_was_started_by_what_ignores_it(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # As a shell does for `pytest … &`.
    try:
        with kernel(cwd=tmp_path) as k:
            assert k.run("%load_ext flownb").ok
            for body in ("python\nprint('begun')\nimport time\ntime.sleep(60)", "bash\necho begun; sleep 60"):
                cell = k.start(f"%%flow\n## Slow\n```{body}\n```\n")
                cell.wait_for("begun")
                k.interrupt()
                assert "was cancelled" in error_of(cell.finish())
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_failing_node_is_one_error_with_the_cells_own_line(k: Kernel) -> None:
    cell = k.run("%%flow\n## Bad\n```python\nx = {}\nx['title']\n```\n")
    error = error_of(cell)
    number = cell.reply["content"]["execution_count"] if cell.reply else 0
    assert error.startswith(f"FlowRunError: In[{number}]:5: node `bad` failed: KeyError: 'title'")
    assert f'File "In[{number}]", line 5' in error
    assert "x['title']" in error
    assert "flownb/" not in error
    run_id = re.search(r"Run ID:\*\* `(.*?)`", log_of(k, cell))[1]  # type: ignore[index] # the log has one
    ways = f"to go on with the same text: %flow_resume {run_id}; with the cell put right: %%flow --run-id {run_id}"
    assert error.endswith(f"hint: {ways}")
    assert "**Status:** failed" in log_of(k, cell)


def test_all_mistakes_of_a_text_are_shown_with_line_and_caret(k: Kernel) -> None:
    cell = k.run("%%flow\n## A\n- retyr: 3\n```python\n1 +\n```\n")
    error = error_of(cell)
    number = cell.reply["content"]["execution_count"] if cell.reply else 0
    assert f"In[{number}]:3:" in error
    assert "retry" in error
    assert f"In[{number}]:5:" in error
    assert error.count("^") >= 2


@pytest.mark.parametrize(
    "line, said",
    [
        ("-i", "expected one argument"),
        ("-i topic", "this is not NAME=VALUE"),
        ("-i topic={missing}", "NameError"),
        ("--nonsense", "unrecognized arguments: --nonsense"),
        ("-i nothing=1", "unknown input `nothing`"),
        ("--wait --no-wait", "--wait and --no-wait cannot both hold"),
        ("--until-asked --no-wait", "--until-asked and --no-wait cannot both hold"),
        ("--save x.txt", ".flow.md"),
        ("-o 1st", "-o 1st: this is no name for a variable"),
        ("--save nowhere/x.flow.md", "--save nowhere/x.flow.md: No such file or directory"),
    ],
)
def test_a_wrong_line_is_one_short_error(k: Kernel, line: str, said: str) -> None:
    error = error_of(k.run(f"%%flow {line}\n## A\n```python\n1\n```\n"))
    assert said in error
    assert error.startswith("Flow")
    assert len(error.splitlines()) <= 3


def test_inputs_are_yaml_or_values_of_the_notebook(k: Kernel) -> None:
    head = "---\ninputs: {topic: str, many: 'list[int]', table: any}\n---\n"
    body = "## A\n```python\n[inputs.topic, inputs.many, type(inputs.table).__name__]\n```\n"
    k.run("numbers = [1, 2]; box = {1, 2}")
    cell = k.run(
        f'%%flow -o run -i topic="solar wind" -i many={{[n + 1 for n in numbers]}} -i table={{sorted(box)}}\n{head}{body}'
    )
    assert cell.ok, cell.text
    assert k.value("run['a']") == "['solar wind', [2, 3], 'list']"


def test_a_body_reads_the_notebooks_variables_and_its_shell_commands(k: Kernel) -> None:
    k.run("base = 40")
    cell = k.run("%%flow -o run\n## A\n```python\n\nfound = !echo 2\nbase + int(found[0])\n```\n")
    assert cell.ok, cell.text
    assert k.value("run['a']") == "42"


def test_the_cells_value_is_the_run_and_is_not_shown_twice(k: Kernel) -> None:
    cell = k.run("%%flow\n## A\n```python\n1\n```\n")
    assert sum("## Execution Log" in text for text in cell.markdown) == 1
    assert k.value("_['a']") == "1"
    assert sum("## Execution Log" in text for text in k.run("_run = _; _run").markdown) == 1


def test_nobody_can_click_so_the_default_is_taken_at_once_and_the_log_says_so(k: Kernel) -> None:
    cell = k.run(f"%%flow\n{ASK}", stdin=False)
    assert "was rejected at `ask` by nobody" in error_of(cell)
    assert "reject (nobody could answer)" in log_of(k, cell)


def test_what_bodies_display_stands_under_their_node(k: Kernel) -> None:
    cell = k.run(
        "%%flow\n## Show\n```python\nfrom IPython.display import HTML, display\ndisplay(HTML('<i>mine</i>'))\n1\n```\n"
    )
    at = [index for index, output in enumerate(cell.outputs) if output.data.get("text/html") == "<i>mine</i>"]
    assert len(at) == 1
    assert cell.outputs[at[0] - 1].markdown == "**show**"


def test_figures_that_a_body_leaves_open_are_shown_as_its(k: Kernel) -> None:
    source = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone"
    cell = k.run(f"%%flow\n## Draw\n```python\n{source}\n```\n")
    assert cell.ok, cell.text
    at = [index for index, output in enumerate(cell.outputs) if "image/png" in output.data]
    assert len(at) == 1
    assert cell.outputs[at[0] - 1].markdown == "**draw**"


def test_what_a_body_displays_after_the_cell_has_ended_still_shows(k: Kernel) -> None:
    source = f"{ASK}## Show\n```python\nfrom IPython.display import HTML, display\ndisplay(HTML('<i>late</i>'))\n```\n"
    cell = asked(k, f"%%flow\n{source}")
    k.click("Approve")
    k.wait_until(lambda: any("<i>late</i>" in str(o.data.get("text/html")) for o in cell.outputs), "the display")


def test_data_in_a_question_is_never_active(k: Kernel) -> None:
    source = "## Data\n```python\n'<img src=x onerror=alert(1)> [go](javascript:alert(1)) $x$'\n```\n## Ask\n```checkpoint\n{{ data }}\n```\n"
    cell = asked(k, f"%%flow\n{source}")
    shown = "".join(str(widget.state.get("outputs", "")) + str(widget.state.get("value", "")) for widget in k.shown())
    assert "&lt;img src=x" in shown
    assert "<img" not in shown
    assert "href" not in shown
    assert "$" not in shown
    k.click("Reject")
    assert "<img" not in log_of(k, cell)


def test_a_run_id_that_exists_is_resumed_with_the_cells_text(k: Kernel, home: Path) -> None:
    source = "%%flow --run-id again-1 -o run\n## A\n```python\nopen('tries.txt', 'a').write('x')\n```\n## B\n```python\n{}\n```\n"
    assert "NameError" not in error_of(k.run(source.replace("{}", "1 / 0")))
    cell = k.run(source.replace("{}", "5"))
    assert cell.ok, cell.text
    assert "**reuse**: `a`" in cell.text
    assert "**run again**: `b`" in cell.text
    assert k.value("run['b']") == "5"
    assert (home / "tries.txt").read_text() == "x"


def test_dry_run_and_graph_show_the_plan_and_run_nothing(k: Kernel, home: Path) -> None:
    cell = k.run(f"%%flow --dry-run\n{JOB}")
    assert cell.ok
    assert "```mermaid" in cell.text
    assert "asks at `review`" in cell.text
    assert not (home / "tries.txt").exists()
    (home / "job.flow.md").write_text(JOB)
    assert "asks at `review`" in k.run("%flow_graph job.flow.md").text


def test_a_file_is_run_and_a_cell_is_saved_as_one(k: Kernel, home: Path) -> None:
    cell = k.run("%%flow --save made.flow.md -o run\n## A\n```python\n6 * 7\n```\n")
    assert "Saved as made.flow.md" in cell.stdout
    assert (home / "made.flow.md").read_text() == "## A\n```python\n6 * 7\n```\n"
    assert k.run("again = %flow made.flow.md").ok
    assert k.value("again['a']") == "42"


def test_runs_are_listed_and_shown_from_their_state(k: Kernel) -> None:
    k.run(
        "%%flow --run-id shown-1\n# Shown\n## A\n```python\n6 * 7\n```\n## Each\n- foreach: [1, 2]\n```python\nitem\n```\n"
    )
    assert "| shown-1 | shown | completed |" in k.run("%flow_runs shown").text
    shown = k.run("%flow_show shown-1").text
    assert "## Execution Log" in shown
    assert re.findall(r"^`(\w.*?)`$", shown.partition("### Values")[2], re.MULTILINE) == ["a", "each"]
    assert "42" in shown
    assert "no run 'nonsense'" in error_of(k.run("%flow_show nonsense"))


def test_a_running_run_is_shown_anew_with_its_buttons(k: Kernel) -> None:
    asked(k, f"%%flow -o run\n{ASK}")
    anew = k.run("%flow_show {run.id}")
    k.wait_until(lambda: any("widget-view" in kind for o in anew.outputs for kind in o.data), "the card")
    k.click("Approve")
    assert "**Status:** completed" in log_of(k, anew)


def test_a_run_inside_a_run_is_refused(k: Kernel) -> None:
    inner = "get_ipython().run_cell_magic('flow', '', '## X\\n```python\\n1\\n```\\n')"
    cell = k.run(f"%%flow\n## A\n```python\n{inner}\n```\n")
    assert "a run already waits in this kernel" in error_of(cell)


def test_where_the_state_goes_is_said_once_and_can_be_set(k: Kernel, home: Path) -> None:
    k.run(f"%config Flow.state_dir = {str(home / 'elsewhere')!r}")
    one, two = (k.run("%%flow\n# Else\n## A\n```python\n1\n```\n") for _ in range(2))
    assert f"Runs are kept in {home / 'elsewhere'}" in one.stdout
    assert "Runs are kept" not in two.stdout
    assert (home / "elsewhere" / "else").is_dir()
    k.run("%config Flow.state_dir = ''")


def test_help_shows_the_options_with_an_example(k: Kernel) -> None:
    reply = k.run("%%flow?").reply
    assert reply is not None
    text = reply["content"]["payload"][0]["data"]["text/plain"]
    assert "--no-wait" in text
    example = text.partition("An example:")[2].partition("options:")[0]
    cell = asked(k, textwrap.dedent(example).strip("\n"))
    k.click("Approve")
    assert "**Status:** completed" in log_of(k, cell)
    assert k.value("run['articles']") == "['wind 0', 'wind 1', 'wind 2']"


def test_a_run_that_outlives_the_extension_still_hides_its_secrets(home: Path) -> None:
    show = "## Say\n```python\nfrom IPython.display import display, HTML\ndisplay(HTML(secrets.NEWS_TOKEN))\n```\n"
    with kernel(cwd=home, NEWS_TOKEN="hush-hush-42") as k:
        k.run("before = get_ipython().display_pub.publish.__func__\n%load_ext flownb")
        cell = asked(k, f"%%flow -o run\n---\nsecrets: [NEWS_TOKEN]\n---\n{ASK}{show}")
        assert k.run("%unload_ext flownb").ok
        k.click("Approve")
        log_of(k, cell)
        k.wait_until(lambda: "•••" in str([output.data for output in cell.outputs]), "the display")
        assert "hush-hush-42" not in k.heard_text()
        assert k.value("get_ipython().display_pub.publish.__func__ is before") == "True"


def test_loading_twice_is_harmless_and_unloading_takes_everything_back() -> None:
    with kernel() as k:
        k.run("before = get_ipython().display_pub.publish.__func__\n%load_ext flownb")
        assert k.run("%load_ext flownb").ok
        assert k.run("%reload_ext flownb").ok
        assert k.value("'flow' in get_ipython().magics_manager.magics['cell']") == "True"
        assert k.run("%unload_ext flownb").ok
        left = "[n for kind in get_ipython().magics_manager.magics.values() for n in kind if 'flow' in n]"
        assert k.value(left) == "[]"
        assert k.value("get_ipython().display_pub.publish.__func__ is before") == "True"
