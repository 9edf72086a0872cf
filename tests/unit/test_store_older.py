"""State that was written by flownb 0.1.0, in format 1, loads and can be resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import flownb
from flownb.model.decision import Decision, Request
from flownb.model.events import RunStatus
from flownb.store.journal import load_state, read_journal
from flownb.store.paths import list_runs
from flownb.store.snapshot import stored_state, summary

KEPT = Path(__file__).parents[1] / "data" / "format-1"


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    shutil.copy(KEPT / "sample.flow.md", tmp_path)
    shutil.copytree(KEPT / "state", tmp_path / ".flownb")
    return tmp_path / ".flownb"


def yes(request: Request) -> Decision:
    return Decision(action="input", input="fine")


def test_the_runs_load_with_what_they_said(state_dir: Path) -> None:
    states = {paths.run_id: stored_state(paths) for paths in list_runs(state_dir)}
    assert {name: str(state.status) for name, state in states.items()} == {
        "completed": "completed",
        "failed": "failed",
        "killed": "interrupted",
        "waits": "waiting",
    }
    assert {paths.run_id: summary(paths).status for paths in list_runs(state_dir)} == {
        name: state.status for name, state in states.items()
    }
    assert states["completed"].outputs["done"] == {
        "sum": 14,
        "note": None,
        "climb": {"step": 20},
        "both": {"left": 1, "right": 2},
    }


def test_looking_at_them_changes_no_journal(state_dir: Path) -> None:
    for paths in list_runs(state_dir):
        stored_state(paths)
        assert paths.journal.read_bytes() == (KEPT / "state" / "sample" / paths.run_id / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("run_id", ["failed", "killed", "waits"])
def test_they_are_resumed_with_what_was_done(state_dir: Path, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state_dir.parent)
    Path("go").touch()
    run = flownb.resume(run_id, decide=yes)
    assert run.status is RunStatus.COMPLETED
    assert run.outputs["done"] == {"sum": 14, "note": "fine", "climb": {"step": 20}, "both": {"left": 1, "right": 2}}
    assert run.nodes["numbers"].attempts == 1
    assert load_state(run.paths).outputs == run.outputs
    lines = run.paths.journal.read_bytes().split(b"\n")
    old = (KEPT / "state" / "sample" / run_id / "journal.jsonl").read_bytes()
    assert run.paths.journal.read_bytes().startswith(old)
    assert json.loads(lines[old.count(b"\n")])["format"] == 2
    assert len(read_journal(run.paths.journal)) == len(lines) - 1
