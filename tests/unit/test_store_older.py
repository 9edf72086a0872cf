"""State of every format that was ever written loads and can be resumed: 1 is that of flownb 0.1.0, 2 has fingerprints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import flownb
from flownb.api import take_up
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.events import RunStatus
from flownb.runs.prepare import RunSettings
from flownb.store.journal import load_state, read_journal
from flownb.store.paths import RunPaths, list_runs
from flownb.store.snapshot import stored_state, summary

DATA = Path(__file__).parents[1] / "data"
FIRST_ONLY = pytest.mark.parametrize("state_dir", [1], indirect=True)


@pytest.fixture(params=range(1, e.FORMAT))
def state_dir(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    kept = DATA / f"format-{request.param}"
    shutil.copy(kept / "sample.flow.md", tmp_path)
    shutil.copytree(kept / "state", tmp_path / ".flownb")
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
        before = paths.journal.read_bytes()
        stored_state(paths)
        assert paths.journal.read_bytes() == before


@pytest.mark.parametrize("run_id", ["failed", "killed", "waits"])
def test_they_are_resumed_with_what_was_done(state_dir: Path, run_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(state_dir.parent)
    Path("go").touch()
    old = (state_dir / "sample" / run_id / "journal.jsonl").read_bytes().rstrip(b"\0")
    run = flownb.resume(run_id, decide=yes)
    assert run.status is RunStatus.COMPLETED
    assert run.outputs["done"] == {"sum": 14, "note": "fine", "climb": {"step": 20}, "both": {"left": 1, "right": 2}}
    assert run.nodes["numbers"].attempts == 1
    assert load_state(run.paths).outputs == run.outputs
    lines = run.paths.journal.read_bytes().split(b"\n")
    assert run.paths.journal.read_bytes().startswith(old)
    assert json.loads(lines[old.count(b"\n")])["format"] == e.FORMAT
    assert len(read_journal(run.paths.journal)) == len(lines) - 1


@pytest.mark.parametrize("run_id", ["failed", "killed", "waits"])
def test_nothing_that_they_did_runs_again_while_text_and_inputs_are_the_same(
    state_dir: Path, run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(state_dir.parent)
    Path("go").touch()
    before = load_state(RunPaths(state_dir, "sample", run_id))
    done = {key for key, node in before.nodes.items() if node.is_settled}
    assert done
    made: list[str] = []

    def listen(event: e.Event) -> None:
        if isinstance(event, e.NodeStarted | e.NodeCompleted | e.NodeReused):
            made.extend(event.keys if isinstance(event, e.NodeReused) else [event.key])

    assert flownb.resume(run_id, decide=yes, listen=listen).status is RunStatus.COMPLETED
    assert done.isdisjoint(made)


@FIRST_ONLY
def test_what_they_did_runs_again_where_the_text_changed_and_the_plan_says_why(state_dir: Path) -> None:
    document = state_dir.parent / "sample.flow.md"
    document.write_text(document.read_text() + "\nProse.\n")
    prepared, plan = take_up("failed", RunSettings(state_dir=state_dir), {})
    prepared.journal.close()
    assert plan.again["numbers"] == "flownb 0.1.0 ran it, and text or inputs changed"
    assert "numbers" in plan.forget
    assert not plan.reuse


@FIRST_ONLY
def test_what_they_did_runs_again_where_an_input_changed(state_dir: Path) -> None:
    prepared, plan = take_up("failed", RunSettings(state_dir=state_dir), {"n": 5})
    prepared.journal.close()
    assert plan.again["numbers"] == "flownb 0.1.0 ran it, and text or inputs changed"


@FIRST_ONLY
@pytest.mark.parametrize("n, taken", [(4, {"numbers": "reused"}), (5, {})])
def test_a_new_run_takes_over_from_them_only_while_text_and_inputs_are_the_same(
    state_dir: Path, n: int, taken: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(state_dir.parent)
    Path("go").touch()
    run = flownb.run("sample.flow.md", {"n": n}, decide=yes, reuse="completed")
    assert run.status is RunStatus.COMPLETED
    assert (run.nodes["review"].taken, run.decisions["review"].input) == (None, "fine"), "a question is asked anew"
    assert {key: str(node.taken) for key, node in run.nodes.items() if node.taken and key == "numbers"} == taken
