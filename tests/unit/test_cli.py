"""The command line as a person uses it: every test starts real processes."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLOWNB = [sys.executable, "-m", "flownb"]
AT_A_TERMINAL = """\
import os, sys
os.setsid()
terminal = os.open(sys.argv[1], os.O_RDWR)  # The first one that a session's leader opens is its controlling terminal.
for descriptor in (0, 2):
    os.dup2(terminal, descriptor)
os.execv(sys.executable, [sys.executable, "-m", "flownb", *sys.argv[2:]])
"""
ASKING = """\
---
name: asking
inputs:
  n: {type: int, default: 3}
---
# Asking

## Numbers

```python
print("printed", "\\x1b[31m")
list(range(inputs.n))
```

## Review

- input: text

```checkpoint
Publish **{{ numbers | length }}** numbers?
```

## Publish

```python
{"sum": sum(numbers), "note": review.input}
```
"""
FAILING = "# Failing\n\n## Bad\n\n```python\nraise ValueError('no such host')\n```\n"
FINE = "# Fine\n\n## Word\n\n```text\nhello\n```\n"
Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def flownb(tmp_path: Path) -> Start:
    """Return what runs a command in the test's own folder, where nobody can answer."""
    for name, text in (("asking", ASKING), ("failing", FAILING), ("fine", FINE)):
        (tmp_path / f"{name}.flow.md").write_text(text)

    def start(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*FLOWNB, *arguments],
            cwd=tmp_path,
            env=os.environ | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=25,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done

    return start


class Person:
    """Sits at a real terminal in which a command runs; its results go to a file."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self._terminal, program = pty.openpty()
        self._seen = ""
        self._result = (folder / "result.txt").open("w+")
        command = [sys.executable, "-c", AT_A_TERMINAL, os.ttyname(program), *arguments]
        self.process = subprocess.Popen(command, cwd=folder, stdin=program, stderr=program, stdout=self._result)
        os.close(program)

    def sees(self, text: str, limit_s: float = 20) -> str:
        """Return all that was shown up to a text."""
        end = time.monotonic() + limit_s
        while text not in self._seen:
            assert select.select([self._terminal], [], [], max(0, end - time.monotonic()))[0], self._seen
            self._seen += os.read(self._terminal, 4096).decode()
        before, _, self._seen = self._seen.partition(text)
        return before

    def types(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def leaves(self) -> tuple[int, str]:
        """Return the exit code and the result, once the command has ended."""
        code = self.process.wait(20)
        self._result.seek(0)
        return code, self._result.read()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._result.close()
        os.close(self._terminal)


@pytest.fixture
def sit_down(tmp_path: Path, flownb: Start) -> Iterator[Callable[..., Person]]:
    people: list[Person] = []

    def sit(*arguments: str) -> Person:
        people.append(Person(tmp_path, *arguments))
        return people[-1]

    yield sit
    for person in people:
        person.close()


def run_id_of(done: subprocess.CompletedProcess[str]) -> str:
    found = re.search(r"\*\*Run ID:\*\* `(.+)`", done.stdout)
    assert found
    return found[1]


def test_a_run_that_completes_prints_its_log_and_keeps_it_once(flownb: Start, tmp_path: Path) -> None:
    first = flownb("run", "fine.flow.md")
    assert first.returncode == 0
    assert "| word | completed | " in first.stdout
    assert "word: completed" in first.stderr
    second = flownb("run", "fine.flow.md")
    text = (tmp_path / "fine.flow.md").read_text()
    assert text == f"{FINE}\n{second.stdout}"


def test_no_log_leaves_the_file_alone(flownb: Start, tmp_path: Path) -> None:
    assert flownb("run", "fine.flow.md", "--no-log").returncode == 0
    assert (tmp_path / "fine.flow.md").read_text() == FINE


def test_a_run_that_fails_says_where_and_how_to_go_on(flownb: Start) -> None:
    done = flownb("run", "failing.flow.md")
    assert done.returncode == 1
    assert re.search(r"^error: failing\.flow\.md:6: .*bad.*ValueError: no such host", done.stderr, re.MULTILINE)
    assert f"flownb resume {run_id_of(done)}" in done.stderr


def test_where_no_one_can_answer_the_default_is_taken_and_told(flownb: Start) -> None:
    done = flownb("run", "asking.flow.md")
    assert done.returncode == 3
    assert "review: reject (nobody could answer)" in done.stderr
    assert "| review | rejected | " in done.stdout


def test_what_goes_to_a_pipe_has_no_escape_codes(flownb: Start) -> None:
    done = flownb("run", "asking.flow.md")
    assert "[numbers] printed \\x1b[31m" in done.stderr
    assert "\x1b" not in done.stderr + done.stdout


def test_a_suspended_run_is_decided_and_resumed_by_command(flownb: Start, tmp_path: Path) -> None:
    waiting = flownb("run", "asking.flow.md", "--suspend", "-i", "n=4")
    run_id = run_id_of(waiting)
    assert waiting.returncode == 75
    assert f"flownb decide {run_id} review approve|reject|input" in waiting.stderr
    assert f"flownb resume {run_id}" in waiting.stderr
    for _ in range(2):  # A `decide` that is refused answers nothing.
        unknown = flownb("decide", run_id, "reviw", "approve")
        assert (unknown.returncode, unknown.stderr.splitlines()[0]) == (2, f"error: run {run_id} does not ask `reviw`")
    decided = flownb("decide", run_id, "review", "input", "{not: yaml]")
    assert decided.stderr == f"go on with: flownb resume {run_id}\n"
    assert (decided.returncode, decided.stdout[:24]) == (0, "review: input by " + decided.stdout[17:24])
    late = flownb("decide", "last", "review", "reject")
    assert late.returncode == 1
    assert "decided already: input by " in late.stderr
    done = flownb("resume", run_id[:-1], "--json")
    assert done.returncode == 0
    state = json.loads(done.stdout)
    assert state["status"] == "completed"
    assert state["nodes"]["publish"]["output"] == {"sum": 6, "note": "{not: yaml]"}
    assert state["nodes"]["numbers"]["attempts"] == 1
    assert "reuse: numbers" in done.stderr
    assert "**Status:** completed" in (tmp_path / "asking.flow.md").read_text()


def test_a_state_folder_elsewhere_is_named_in_what_to_do_next(flownb: Start, tmp_path: Path) -> None:
    waiting = flownb("run", "asking.flow.md", "--suspend", "--state", "kept here")
    assert "review approve|reject|input --state 'kept here'" in waiting.stderr
    assert flownb("runs", FLOWNB_STATE_DIR="kept here").stdout.startswith(run_id_of(waiting))
    assert not (tmp_path / ".flownb").exists()


def test_runs_and_show_tell_the_same_as_the_state_file(flownb: Start, tmp_path: Path) -> None:
    run_id = run_id_of(flownb("run", "fine.flow.md"))
    flownb("run", "failing.flow.md")
    listed = json.loads(flownb("runs", "fine", "--json").stdout)
    assert [(run["run_id"], run["workflow"], run["status"]) for run in listed] == [(run_id, "fine", "completed")]
    assert set(listed[0]) == {"run_id", "workflow", "status", "started_at", "duration"}
    assert [line.split()[1:3] for line in flownb("runs").stdout.splitlines()] == [
        ["failing", "failed"],
        ["fine", "completed"],
    ]
    shown = json.loads(flownb("show", run_id, "--json").stdout)
    assert shown == json.loads((tmp_path / ".flownb" / "fine" / f"{run_id}.json").read_text())


def test_a_document_whose_name_is_no_unicode_runs_and_is_resumed(flownb: Start, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.flow.md")
    (tmp_path / name).write_text(f"---\nname: odd\n---\n{FAILING}")
    failed = flownb("run", name, "--run-id", "r1")
    assert (failed.returncode, "no such host" in failed.stdout) == (1, True)
    assert (flownb("resume", "r1").returncode, flownb("show", "r1").returncode) == (1, 0)


def test_a_run_that_cannot_be_read_hides_no_other(flownb: Start, tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        assert flownb("run", "fine.flow.md", "--run-id", name).returncode == 0
    journal = tmp_path / ".flownb" / "fine" / "r1" / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"format":3', '"format":4'))
    listed = flownb("runs", "--json")
    assert [run["run_id"] for run in json.loads(listed.stdout)] == ["r2"]
    assert "warning: left out: .flownb/fine/r1/journal.jsonl:1: the journal has format 4" in listed.stderr


def test_a_run_whose_text_cannot_be_written_is_not_begun_and_not_held(flownb: Start, tmp_path: Path) -> None:
    (tmp_path / ".flownb" / "fine" / "r1" / "source.flow.md").mkdir(parents=True)
    refused = flownb("run", "fine.flow.md", "--run-id", "r1")
    assert refused.returncode == 1
    why = "a folder stands in place of a file"
    assert f"error: cannot write .flownb/fine/r1/source.flow.md: {why}\nhint: nothing was run" in refused.stderr
    died = flownb("resume", "r1")
    assert (died.returncode, died.stderr.splitlines()[0]) == (2, "error: run r1 died before it began")


def test_a_dry_run_runs_nothing_and_shows_what_would_be_asked(flownb: Start, tmp_path: Path) -> None:
    done = flownb("run", "asking.flow.md", "--dry-run")
    assert done.returncode == 0
    assert "asks: Publish **{{ numbers | length }}** numbers?" in done.stdout
    assert not (tmp_path / ".flownb").exists()


def test_inputs_come_from_a_file_and_single_ones_go_before(flownb: Start, tmp_path: Path) -> None:
    (tmp_path / "in.yaml").write_text("n: 9\n")
    state = json.loads(flownb("run", "asking.flow.md", "--inputs", "in.yaml", "--suspend", "--json").stdout)
    assert state["inputs"] == {"n": 9}
    state = json.loads(
        flownb("run", "asking.flow.md", "--inputs", "in.yaml", "-i", "n=1", "--suspend", "--json").stdout
    )
    assert state["inputs"] == {"n": 1}


@pytest.mark.parametrize(
    "command, message",
    [
        ("", "Usage: flownb"),
        ("nothing", "error: No such command 'nothing'"),
        ("run", "error: Missing argument 'FILE'"),
        ("run none.flow.md", "error: there is no file none.flow.md"),
        ("run asking.flow.md -i n", "error: -i n: write -i NAME=VALUE"),
        ("run asking.flow.md -i n=[", "error: -i n: "),
        ("run asking.flow.md -i n=many", "`n` was given 'many'"),
        ("run asking.flow.md -i m=1", "unknown input `m`"),
        ("run asking.flow.md -i n=1 -i n=2", "error: -i n is given twice"),
        ("run asking.flow.md -i", "hint: see `flownb --help`"),
        ("run asking.flow.md --inputs none.yaml", "error: there is no file none.yaml\nhint: give the path of a YAML"),
        ("run asking.flow.md --run-id ../x", "error: run id '../x' cannot name a folder"),
        ("show none", "error: no run is kept in .flownb"),
        ("decide none review maybe", "error: Invalid value for '{approve|"),
    ],
)
def test_bad_usage_is_one_message_and_exit_code_2(flownb: Start, command: str, message: str) -> None:
    done = flownb(*command.split())
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "command, message",
    [
        ("resume r1", "error: run r1 is completed: there is nothing to resume"),
        ("run fine.flow.md --run-id r1", "error: run r1 is completed: there is nothing to resume"),
        ("resume r1 --from wrod", "error: there is no node `wrod` to start from"),
        ("resume r2", "error: no run 'r2' is kept in .flownb"),
        ("decide r2 word approve", "error: no run 'r2' is kept in .flownb"),
        ("decide r1 word approve", "error: run r1 does not ask `word`"),
        ("decide r1 wrod approve", "error: run r1 does not ask `wrod`"),
    ],
)
def test_what_a_kept_run_cannot_do_is_bad_usage(flownb: Start, command: str, message: str) -> None:
    assert flownb("run", "fine.flow.md", "--run-id", "r1", "--no-log").returncode == 0
    done = flownb(*command.split())
    assert (done.returncode, done.stderr.splitlines()[0], done.stdout) == (2, message, "")


def test_a_run_that_another_process_holds_cannot_be_resumed_and_says_who(
    flownb: Start, sit_down: Callable[..., Person]
) -> None:
    person = sit_down("run", "asking.flow.md", "--run-id", "r1")
    person.sees("[I]nput: ")
    for command in (["resume", "r1"], ["run", "asking.flow.md", "--run-id", "r1"]):
        held = flownb(*command)
        assert held.returncode == 2
        assert held.stderr.startswith(f"error: run 'r1' is being run by process {person.process.pid} on ")


def test_a_damaged_run_is_named_and_hides_no_other(flownb: Start, tmp_path: Path) -> None:
    for name in ("r1", "r2"):
        assert flownb("run", "fine.flow.md", "--run-id", name).returncode == 0
    journal = tmp_path / ".flownb" / "fine" / "r2" / "journal.jsonl"
    journal.write_text(journal.read_text().replace("hello", "hallo", 1))
    (tmp_path / ".flownb" / "fine" / "r2.json").unlink()
    listed = flownb("runs")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["r1"]
    why = ".flownb/fine/r2/journal.jsonl:3: the journal is damaged: its checksum is wrong"
    assert f"warning: left out: {why}" in listed.stderr
    shown = flownb("show", "r2")
    assert (shown.returncode, shown.stderr.splitlines()[0]) == (1, f"error: {why}")
    assert flownb("show", "r1").returncode == 0


def test_a_document_that_lies_elsewhere_is_named_before_it_is_run(flownb: Start, tmp_path: Path) -> None:
    inside, outside = tmp_path / "cloned", tmp_path / "evil.flow.md"
    inside.mkdir()
    outside.write_text(f"---\nname: failing\n---\n{FAILING}")
    assert flownb("run", "evil.flow.md", "--state", "cloned/.flownb", "--run-id", "r1", "--no-log").returncode == 1
    warning = f"warning: this run is of {outside}, which lies outside {inside}; to go by the stored text: --as-was"
    resumed = flownb("resume", "r1", "--state", "cloned/.flownb")
    assert resumed.stderr.splitlines()[0] == warning
    assert "bad: running" in resumed.stderr.partition(warning)[2]
    assert "which lies outside" not in flownb("resume", "r1", "--as-was", "--state", "cloned/.flownb").stderr
    flownb("run", "failing.flow.md", "--run-id", "r2")
    assert "which lies outside" not in flownb("resume", "r2").stderr


def test_a_pipe_in_place_of_the_document_is_not_waited_for(flownb: Start, tmp_path: Path) -> None:
    flownb("run", "failing.flow.md", "--run-id", "r1")
    (tmp_path / "failing.flow.md").unlink()
    os.mkfifo(tmp_path / "failing.flow.md")
    assert "bad: running" in flownb("resume", "r1").stderr


def test_an_invalid_workflow_shows_all_its_problems_before_anything_runs(flownb: Start, tmp_path: Path) -> None:
    (tmp_path / "bad.flow.md").write_text("# Bad\n\n## A\n\n- retyr: 3\n- timeuot: 5s\n\n```text\nx\n```\n")
    done = flownb("run", "bad.flow.md")
    assert done.returncode == 2
    assert re.search(r"^bad\.flow\.md:5:3: error\[[\w-]+\]: .*retyr", done.stderr, re.MULTILINE)
    assert re.search(r"^bad\.flow\.md:6:3: error\[[\w-]+\]: .*timeuot", done.stderr, re.MULTILINE)
    assert re.search(r"^ +\^+$", done.stderr, re.MULTILINE)
    assert not (tmp_path / ".flownb").exists()


def test_validate_looks_at_every_file(flownb: Start, tmp_path: Path) -> None:
    (tmp_path / "bad.flow.md").write_text("# Bad\n\n## A\n\n- retyr: 3\n\n```text\nx\n```\n")
    done = flownb("validate", "none.flow.md", "fine.flow.md")
    assert (done.returncode, done.stdout) == (2, "")
    assert flownb("validate", "bad.flow.md", "fine.flow.md").returncode == 2
    done = flownb("validate", "bad.flow.md", "none.flow.md", "fine.flow.md")
    assert done.returncode == 2
    assert "bad.flow.md:5:3: error[" in done.stdout
    assert "error: there is no file none.flow.md" in done.stderr
    (record,) = json.loads(flownb("validate", "fine.flow.md", "bad.flow.md", "--json").stdout)
    assert set(record) == {"file", "line", "column", "severity", "code", "message", "hint"}
    assert (record["file"], record["line"], record["severity"]) == ("bad.flow.md", 5, "error")
    assert flownb("validate", "fine.flow.md").returncode == 0


def notebook(*cells: str) -> str:
    made: list[dict[str, Any]] = [
        {"cell_type": "code", "source": text, "metadata": {}, "outputs": [], "execution_count": None} for text in cells
    ]
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})


def test_a_notebooks_cell_runs_and_the_notebook_stays_as_it_is(flownb: Start, tmp_path: Path) -> None:
    text = notebook("1 + 1", f"%%flow\n{FINE}", f"%%flow\n{FAILING}")
    (tmp_path / "nb.ipynb").write_text(text)
    assert flownb("run", "nb.ipynb#fine").returncode == 0
    assert flownb("run", "nb.ipynb").returncode == 2
    assert (tmp_path / "nb.ipynb").read_text() == text


@pytest.mark.parametrize("name", ["none.flow.md", "folder.flow.md", "binary.flow.md", "none.ipynb"])
def test_validate_exits_with_2_for_a_file_that_it_cannot_read(flownb: Start, tmp_path: Path, name: str) -> None:
    (tmp_path / "fine.flow.md").write_text("## A\n\n```text\nx\n```\n", encoding="utf-8")
    (tmp_path / "folder.flow.md").mkdir()
    (tmp_path / "binary.flow.md").write_bytes(b"## A\xff")
    for arguments in ([name], ["fine.flow.md", name, "--json"]):
        done = flownb("validate", *arguments)
        assert done.returncode == 2
        assert name in done.stdout + done.stderr
        assert "no problems" not in done.stdout + done.stderr


def test_validate_looks_at_every_cell_of_a_notebook(flownb: Start, tmp_path: Path) -> None:
    bad = "# Bad\n\n## A\n\n- retyr: 3\n\n```text\nx\n```\n"
    (tmp_path / "nb.ipynb").write_text(notebook(f"%%flow\n{FINE}", f"%%flow\n{bad}"))
    done = flownb("validate", "nb.ipynb")
    assert done.returncode == 2
    assert done.stdout.startswith("nb.ipynb#cell 2:6:3: error[")
    assert "  - retyr: 3\n" in done.stdout
    assert flownb("validate", "nb.ipynb#fine").returncode == 0


def test_graph_draws_in_three_forms(flownb: Start) -> None:
    assert flownb("graph", "asking.flow.md").stdout.startswith("flowchart TD\n")
    assert flownb("graph", "asking.flow.md", "--format", "text", "--state", "x").stdout.startswith(
        "wave 0\n  numbers (python)\n"
    )
    drawn = json.loads(flownb("graph", "asking.flow.md", "--format", "json").stdout)
    assert drawn["workflow"] == "asking"
    assert drawn["nodes"][1] == {"id": "review", "type": "checkpoint", "wave": 1, "waits_for": ["numbers"], "line": 15}


def test_a_reader_that_goes_away_is_no_error(flownb: Start, tmp_path: Path) -> None:
    command = f"{' '.join(FLOWNB)} graph asking.flow.md | true"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=25, check=False)  # noqa: S602
    assert done.stderr == ""


def test_at_a_terminal_the_person_is_asked(sit_down: Callable[..., Person]) -> None:
    person = sit_down("run", "asking.flow.md", "--json")
    assert "Publish 3 numbers?" in re.sub(r"\x1b\[[\d;]*m", "", person.sees("[A]pprove / [R]eject / [I]nput: "))
    person.types("perhaps\n")
    person.sees("[A]pprove / [R]eject / [I]nput: ")
    person.types("I\n")
    person.sees("Input: ")
    person.types("shorter titles\n")
    code, result = person.leaves()
    assert code == 0
    state = json.loads(result)
    assert state["nodes"]["publish"]["output"]["note"] == "shorter titles"
    assert state["decisions"]["review"]["via"] == "terminal"


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["ctrl-c", "ctrl-d"])
def test_at_the_prompt_ctrl_c_and_ctrl_d_reject(sit_down: Callable[..., Person], key: str) -> None:
    person = sit_down("run", "asking.flow.md")
    person.sees("[I]nput: ")
    person.types(key)
    code, result = person.leaves()
    assert code == 3
    assert "| review | rejected | " in result
    assert "reject by " in result


def test_a_decision_by_command_ends_the_prompt(sit_down: Callable[..., Person], flownb: Start) -> None:
    person = sit_down("run", "asking.flow.md")
    person.sees("[I]nput: ")
    decided = flownb("decide", "last", "review", "approve")
    assert (decided.returncode, decided.stderr) == (0, "")  # It goes on by itself, where it runs.
    code, result = person.leaves()
    assert code == 0
    assert "approve by " in result
    assert "(command)" in result


def test_ctrl_c_cancels_the_run_which_can_be_resumed(flownb: Start, tmp_path: Path) -> None:
    slow = "# Slow\n\n## First\n\n```text\nx\n```\n\n## Sleep\n\n```bash\necho asleep\ntest -e go || sleep 60\n```\n"
    (tmp_path / "slow.flow.md").write_text(slow)
    with subprocess.Popen(
        [*FLOWNB, "run", "slow.flow.md"], cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=-1, stderr=-1, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "sleep: running" in line:
                break
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "| sleep | cancelled | " in printed
    assert "Traceback" not in errors
    (tmp_path / "go").touch()
    done = flownb("resume", "last")
    assert done.returncode == 0
    assert "reuse: first" in done.stderr


def test_reuse_takes_over_and_does_not_swallow_the_file(flownb: Start) -> None:
    first = flownb("run", "--reuse", "fine.flow.md")
    assert (first.returncode, "no earlier run" in first.stderr) == (0, True)
    run_id = first.stdout.partition("**Run ID:** `")[2].partition("`")[0]
    for words in (["--reuse", "fine.flow.md"], ["--reuse", run_id, "fine.flow.md"], ["fine.flow.md", "--reuse"]):
        again = flownb("run", *words)
        assert again.returncode == 0
        assert "takes over from 2" in again.stderr
        assert "reuse: word" in again.stderr
        assert "| word | reused |" in again.stdout
    assert flownb("run", "fine.flow.md", "--reuse", "nobody").returncode == 2


def test_from_a_node_goes_on_with_the_run_that_is_named(flownb: Start) -> None:
    assert flownb("run", "fine.flow.md").returncode == 0
    alone = flownb("run", "fine.flow.md", "--from", "word")
    assert (alone.returncode, alone.stderr.splitlines()[0]) == (2, "error: --from word: from which run?")
    assert flownb("run", "fine.flow.md", "--run-id", "last").returncode == 2, "it is completed"
    again = flownb("run", "fine.flow.md", "--run-id", "last", "--from", "word")
    assert (again.returncode, again.stderr.splitlines()[0]) == (0, "run again: word (from here on)")
    assert flownb("run", "fine.flow.md", "--run-id", "last", "--from", "wort").returncode == 2
    assert len(flownb("runs").stdout.splitlines()) == 1
