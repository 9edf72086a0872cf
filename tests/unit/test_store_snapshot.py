"""The state file and what a list of runs shows."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from flownb.errors import Failure, FlowStateError
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.model.state_file import state_json
from flownb.render.log import render_log
from flownb.secrets import Redactor
from flownb.store.files import Disk
from flownb.store.journal import Journal, load_state
from flownb.store.paths import RunPaths, create_run
from flownb.store.snapshot import RunSummary, stored_state, summary, write_snapshot
from tests.runs import AT, append, completed, finished, later, make_run, started


def make_snapshot(state_dir: Path, *, status: e.RunStatus = e.RunStatus.COMPLETED) -> RunPaths:
    paths = make_run(state_dir, [started(), completed("a", [1, float("nan")]), finished(status)])
    write_snapshot(paths, load_state(paths))
    return paths


def broken(descriptor: int) -> None:
    raise OSError(errno.EIO, "the disk is gone")


def test_the_state_file_is_json_that_any_tool_reads(state_dir: Path) -> None:
    text = make_snapshot(state_dir).snapshot.read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    state = json.loads(text, parse_constant=refuse)
    assert (state["schema"], state["run_id"], state["status"]) == (1, "r1", "completed")
    assert state["nodes"]["a"]["output"] == [1, None]
    assert text.endswith("}\n")


def test_secrets_do_not_reach_the_state_file(state_dir: Path) -> None:
    paths = make_run(state_dir, [started(), completed("a", "hunter2hunter2"), completed("run", "status")])
    state = load_state(paths)
    write_snapshot(paths, state, redactor=Redactor(["hunter2hunter2", "wind"]))
    content = json.loads(paths.snapshot.read_text())
    assert content["nodes"]["a"]["output"] == "•••"
    assert content["inputs"] == {"topic": "•••"}
    assert content["run_id"] == "r1"


def without_questions(log: str) -> list[str]:
    """Return the words of a log without the questions: these stand in the journal only."""
    return [line.strip() for line in log.splitlines() if line.strip() and not line.startswith(">")]


def test_where_only_the_state_file_was_kept_it_tells_the_same(state_dir: Path) -> None:
    failure = Failure(node="b", type="ValueError", message="x", traceback="line 1", attempts=2)
    decided = e.Decided(at=AT, key="ask", decision=Decision(action="input", input=[1], by="ana", at=AT, via="api"))
    failed = e.NodeFailed(at=later(2), key="b", failure=failure)
    ended = e.RunFinished(at=later(3), status=e.RunStatus.FAILED, failures=(failure,))
    question = Question(key="ask", heading="Ask", text="Go on?", input="any", asked_at=AT, actions=("approve", "input"))
    asked = e.Asked(at=AT, question=question)
    paths = make_run(state_dir, [started(), completed("a", {"n": [1, None]}), asked, decided, failed, ended])
    write_snapshot(paths, load_state(paths))
    content = json.loads(paths.snapshot.read_text())
    log = render_log(load_state(paths))
    shutil.rmtree(paths.folder)
    kept = stored_state(paths)
    assert json.loads(json.dumps(state_json(kept))) == content
    assert without_questions(render_log(kept)) == without_questions(log)
    assert summary(paths).status is e.RunStatus.FAILED


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', '{"schema": "1"}'])
def test_a_damaged_state_file_is_named(state_dir: Path, text: str) -> None:
    paths = make_run(state_dir, [started()])
    shutil.rmtree(paths.folder)
    paths.snapshot.write_text(text)
    with pytest.raises(FlowStateError, match=f"cannot read the state file {paths.snapshot}"):
        stored_state(paths)


def test_a_state_file_that_cannot_be_written_leaves_the_one_before(state_dir: Path) -> None:
    paths = make_snapshot(state_dir)
    before = paths.snapshot.read_bytes()
    with pytest.raises(FlowStateError, match=r"cannot write the state file .*the disk is gone") as caught:
        write_snapshot(replace(paths, disk=Disk(sync=broken)), load_state(paths))
    assert caught.value.hint == "make room there, or make it writable, and try again"
    assert paths.snapshot.read_bytes() == before


def test_a_run_that_ended_is_summed_up_from_its_state_file_alone(state_dir: Path) -> None:
    paths = make_snapshot(state_dir, status=e.RunStatus.FAILED)
    expected = RunSummary("r1", "flow", e.RunStatus.FAILED, AT, 3.0)
    assert summary(paths) == expected
    paths.journal.unlink()  # As in a clone: journals stay out of git.
    assert summary(paths) == expected


def test_only_the_head_of_a_state_file_is_needed(state_dir: Path) -> None:
    paths = make_snapshot(state_dir)
    text = paths.snapshot.read_text()
    paths.snapshot.write_text(text + "é" * 2000)
    assert summary(paths).status is e.RunStatus.COMPLETED


def test_a_run_that_was_resumed_since_is_summed_up_from_its_journal(state_dir: Path) -> None:
    paths = make_snapshot(state_dir, status=e.RunStatus.FAILED)
    with Journal.open_for_append(paths) as journal:
        append(journal, [e.RunResumed(at=later(9), definition="abc")])
        written = paths.snapshot.stat().st_mtime_ns
        os.utime(paths.journal, ns=(written + 1, written + 1))
        assert summary(paths) == RunSummary("r1", "flow", e.RunStatus.RUNNING, AT, None)


@pytest.mark.parametrize("status", [e.RunStatus.RUNNING, e.RunStatus.WAITING])
def test_a_state_that_is_not_the_last_word_is_not_believed(state_dir: Path, status: e.RunStatus) -> None:
    paths = make_run(state_dir, [started()], [finished()])
    state = load_state(paths)
    state.status = status
    write_snapshot(paths, state)
    assert summary(paths).status is e.RunStatus.COMPLETED


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema": 1, "status": "completed"}', "nonsense"])
def test_a_damaged_state_file_is_not_believed(state_dir: Path, text: str) -> None:
    paths = make_snapshot(state_dir)
    paths.snapshot.write_text(text)
    assert summary(paths) == RunSummary("r1", "flow", e.RunStatus.COMPLETED, AT, 3.0)


def test_a_newer_state_file_is_refused_by_name(state_dir: Path) -> None:
    paths = make_snapshot(state_dir)
    paths.snapshot.write_text(paths.snapshot.read_text().replace('"schema": 1', '"schema": 2'))
    with pytest.raises(FlowStateError, match="has schema 2, this flownb reads up to schema 1"):
        summary(paths)


def test_a_run_without_events_is_summed_up_as_interrupted(state_dir: Path) -> None:
    paths = create_run(state_dir, "flow", "r1")
    assert summary(paths) == RunSummary("r1", "flow", e.RunStatus.INTERRUPTED, None, None)


def test_a_run_that_is_not_there_has_no_summary(state_dir: Path) -> None:
    with pytest.raises(FlowStateError, match="is missing"):
        summary(RunPaths(state_dir, "flow", "r1"))
