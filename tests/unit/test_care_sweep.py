"""What `flownb gc` deletes, and what it never touches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import flownb
from flownb.care.sweep import Rule, Swept, sweep
from flownb.errors import FlowStateError
from flownb.model import events as e
from flownb.model.decision import Question
from flownb.model.events import RunStatus
from flownb.store.files import DISK, Disk
from flownb.store.journal import Journal, load_state
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths, list_runs
from flownb.store.removal import Size, is_shell, remove_run
from flownb.store.snapshot import stored_state, write_snapshot
from tests.runs import AT, append, completed, finished, later, line_of, make_run, names_in, process, started

NOW = AT + timedelta(days=10)
FINE = "# Fine\n\n## Word\n\n```text\nhello\n```\n"
DIGESTS = ["0a" * 32, "1b" * 32, "2c" * 32, "3d" * 32]


def swept(root: Path, keep: int | None = None, older_s: float | None = None, *, dry_run: bool = False) -> list[Swept]:
    return list(sweep(root, Rule(keep, older_s), NOW, dry_run=dry_run))


def ended(
    root: Path, run_id: str, workflow: str = "flow", status: RunStatus = RunStatus.COMPLETED, *more: e.Event
) -> RunPaths:
    """Keep a run that ended, with its state file."""
    paths = make_run(root, [started(run_id, workflow), *more, finished(status)], run_id=run_id, workflow=workflow)
    write_snapshot(paths, load_state(paths))
    return paths


def ids(root: Path) -> list[str]:
    return sorted(str(paths) for paths in list_runs(root))


def all_in(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def waiting(root: Path, run_id: str = "w1") -> RunPaths:
    question = Question(key="review", heading="Review", text="Go on?", asked_at=AT)
    return make_run(root, [started(run_id), e.Asked(at=AT, question=question), e.RunWaiting(at=AT)], run_id=run_id)


def artifact(paths: RunPaths, digest: str, size: int = 100, ending: str = "parquet") -> Path:
    paths.artifacts.mkdir(exist_ok=True)
    path = paths.artifacts / f"{digest}.{ending}"
    path.write_bytes(b"x" * size)
    return path


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED])
def test_a_run_that_ended_in_any_way_goes_whole(state_dir: Path, status: RunStatus) -> None:
    ended(state_dir, "r1", "flow", status)
    files = [path for path in (state_dir / "flow").rglob("*") if path.is_file()]
    size = Size(len(files), sum(path.stat().st_size for path in files))
    assert swept(state_dir, keep=0) == [Swept("flow/r1", f"{status} 2026-11-23", size, is_run=True)]
    assert names_in(state_dir / "flow") == []


def test_without_a_rule_no_run_goes(state_dir: Path) -> None:
    ended(state_dir, "r1")
    before = all_in(state_dir)
    assert swept(state_dir) == []
    assert all_in(state_dir) == before


def test_the_newest_of_each_workflow_stay(state_dir: Path) -> None:
    for day in range(1, 5):
        ended(state_dir, f"2026110{day}T101502-aaaa", "one")
    ended(state_dir, "20261101T101502-aaaa", "two")
    waiting(state_dir)
    gone = [item.place for item in swept(state_dir, keep=2)]
    assert gone == ["one/20261102T101502-aaaa", "one/20261101T101502-aaaa"]
    assert ids(state_dir) == [
        "flow/w1",
        "one/20261103T101502-aaaa",
        "one/20261104T101502-aaaa",
        "two/20261101T101502-aaaa",
    ]


def test_runs_that_can_go_on_do_not_count_among_those_kept(state_dir: Path) -> None:
    ended(state_dir, "20261101T101502-aaaa")
    waiting(state_dir, "20261102T101502-aaaa")
    assert swept(state_dir, keep=1) == []


def test_only_those_that_ended_longer_ago_go(state_dir: Path) -> None:
    ended(state_dir, "r1")
    exact = (NOW - later(3)).total_seconds()
    assert swept(state_dir, older_s=exact) == []
    assert [item.place for item in swept(state_dir, older_s=exact - 1)] == ["flow/r1"]


def test_an_age_beyond_all_time_deletes_nothing(state_dir: Path) -> None:
    ended(state_dir, "r1")
    assert swept(state_dir, older_s=1e300) == []


def test_number_and_age_must_both_say_so(state_dir: Path) -> None:
    ended(state_dir, "20261101T101502-aaaa")
    ended(state_dir, "20261102T101502-aaaa")
    assert [item.place for item in swept(state_dir, keep=1, older_s=60)] == ["flow/20261101T101502-aaaa"]
    assert swept(state_dir, keep=0, older_s=1e9) == []


def test_a_run_that_waits_or_was_interrupted_is_not_touched(state_dir: Path) -> None:
    made = [waiting(state_dir), make_run(state_dir, [started("i1")], run_id="i1")]
    died = RunPaths(state_dir, "flow", "d1")
    died.decisions.mkdir(parents=True)
    for paths in made:
        artifact(paths, DIGESTS[0])
        (paths.folder / ".x.0123456789ab.tmp").touch()
        (paths.folder.parent / f".{paths.run_id}.json.0123456789ab.tmp").touch()
    before = all_in(state_dir)
    assert swept(state_dir, keep=0, older_s=0) == []
    assert all_in(state_dir) == before
    assert ids(state_dir) == ["flow/d1", "flow/i1", "flow/w1"]


def test_a_run_that_goes_on_is_not_touched_and_not_named(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(paths) as journal:
        (paths.folder / ".x.tmp").touch()
        assert swept(state_dir, keep=0, older_s=0) == []
        append(journal, [finished()])
    assert [item.place for item in swept(state_dir, keep=0)] == ["flow/r1"]


@pytest.mark.parametrize("keep", [0, None])
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_run_that_ended_and_that_a_process_holds_is_left_and_named(
    state_dir: Path,
    keep: int | None,
    dry_run: bool,  # noqa: FBT001
) -> None:
    paths = ended(state_dir, "r1")
    artifact(paths, DIGESTS[0])
    code = (
        "import sys, pathlib; from flownb.store.lock import RunLock; from flownb.store.paths import RunPaths\n"
        "with RunLock(RunPaths(pathlib.Path(sys.argv[1]), 'flow', 'r1')): print('held', flush=True); input()"
    )
    with process(code, state_dir) as child:
        assert line_of(child) == "held"
        (left,) = swept(state_dir, keep=keep, dry_run=dry_run)
        assert f"run 'r1' is being run by process {child.pid}" in left.left
        assert not left.is_failure
        assert (paths.journal.exists(), len(list(paths.artifacts.iterdir()))) == (True, 1)


def test_a_run_that_is_resumed_in_between_stays(state_dir: Path) -> None:
    paths = ended(state_dir, "r1", "flow", RunStatus.FAILED)
    items = sweep(state_dir, Rule(0), NOW)
    ended(state_dir, "a", "a")  # Its workflow is read first, its run comes last.
    make_run(state_dir, [started("i1")], run_id="i1")

    def resume(path: Path) -> os.stat_result:
        if path == paths.folder and not resumed:
            resumed.append(1)
            with Journal.open_for_append(paths) as journal:
                append(journal, [e.RunResumed(at=later(9), definition="abc"), finished(RunStatus.FAILED)])
        return os.lstat(path)

    resumed: list[int] = []
    before = load_state(paths)
    assert (
        remove_run(RunPaths(state_dir, "flow", "r1", Disk(stat=resume)), lambda: load_state(paths) == before) is False
    )
    assert resumed == [1]
    assert paths.folder.exists()
    assert {item.place for item in items} == {"a/a", "flow/r1"}


def test_an_artifact_that_a_resume_names_in_between_stays(state_dir: Path) -> None:
    paths = ended(state_dir, "r1", "flow", RunStatus.FAILED)
    kept = artifact(paths, DIGESTS[0])
    calls: list[int] = []

    def resume(path: Path) -> os.stat_result:
        if path == paths.lock and not calls:  # Looked at right before it is taken.
            calls.append(1)
            with Journal.open_for_append(paths) as journal:
                append(journal, [e.RunResumed(at=later(9), definition="abc")])
        return os.lstat(path)

    assert list(sweep(state_dir, Rule(), NOW, disk=Disk(stat=resume))) == []
    assert calls == [1]
    assert kept.exists()


def test_a_link_that_takes_a_run_s_place_in_between_is_refused(state_dir: Path, tmp_path: Path) -> None:
    elsewhere = ended(tmp_path / "elsewhere", "r1")
    (state_dir / "flow").mkdir(parents=True)
    (state_dir / "flow" / "r1").symlink_to(elsewhere.folder)
    with pytest.raises(FlowStateError, match="a symbolic link stands in place of the folder"):
        remove_run(RunPaths(state_dir, "flow", "r1"), lambda: True)
    assert elsewhere.journal.exists()


def test_a_run_that_another_one_takes_over_from_stays_while_that_can_go_on(state_dir: Path) -> None:
    ended(state_dir, "r1")
    start = e.RunStarted(at=AT, run_id="r2", workflow="flow", definition="abc", reuses="r1")
    paths = make_run(state_dir, [start], run_id="r2")
    assert swept(state_dir, keep=0) == []
    with Journal.open_for_append(paths) as journal:
        append(journal, [finished()])
    assert {item.place for item in swept(state_dir, keep=0)} == {"flow/r1", "flow/r2"}


def test_a_damaged_run_is_named_and_left(state_dir: Path) -> None:
    paths = ended(state_dir, "r1")
    ended(state_dir, "r2")
    paths.journal.write_bytes(paths.journal.read_bytes().replace(b"wind", b"wine"))
    (paths.folder / ".x.tmp").touch()
    left, gone = swept(state_dir, keep=0)
    assert (left.place, "journal.jsonl:1: the journal is damaged" in left.left, left.is_failure) == (
        "flow/r1",
        True,
        False,
    )
    assert gone.place == "flow/r2"
    assert (paths.folder / ".x.tmp").exists()


def test_a_link_in_place_of_a_run_is_left_and_what_it_leads_to_too(state_dir: Path, tmp_path: Path) -> None:
    elsewhere = ended(tmp_path / "elsewhere", "r1")
    ended(state_dir, "r2")
    (state_dir / "flow" / "r1").symlink_to(elsewhere.folder)
    (elsewhere.folder / ".x.tmp").touch()
    left = next(item for item in swept(state_dir, keep=0) if item.left)
    assert "a symbolic link stands in place of the folder" in left.left
    assert (elsewhere.folder / ".x.tmp").exists()
    assert elsewhere.journal.exists()


def test_a_link_in_a_run_is_taken_away_and_not_followed(state_dir: Path, tmp_path: Path) -> None:
    paths = ended(state_dir, "r1")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").touch()
    (paths.folder / "artifacts").symlink_to(tmp_path / "kept")
    assert swept(state_dir) == []
    assert [item.place for item in swept(state_dir, keep=0)] == ["flow/r1"]
    assert names_in(tmp_path / "kept") == ["file"]


def test_artifacts_that_no_event_names_go_and_the_others_stay(state_dir: Path) -> None:
    deep = {"a": [{"b": {"$artifact": f"{DIGESTS[1]}.npy", "type": "numpy.ndarray", "preview": "…"}}]}
    named = {"$artifact": f"{DIGESTS[0]}.parquet", "type": "pandas.DataFrame", "preview": "…"}
    paths = ended(state_dir, "r1", "flow", RunStatus.FAILED, completed("a", named), completed("b", deep))
    stay = {artifact(paths, DIGESTS[0]), artifact(paths, DIGESTS[1], ending="npy"), paths.artifacts / "a-person's.txt"}
    (paths.artifacts / "a-person's.txt").touch()
    artifact(paths, DIGESTS[2], 70), artifact(paths, DIGESTS[3], 5, "torch.safetensors")
    (gone,) = swept(state_dir)
    assert (gone.place, gone.size, gone.is_run) == ("flow/r1", Size(2, 75), False)
    assert set(paths.artifacts.iterdir()) == stay
    assert swept(state_dir) == []
    assert load_state(paths).status is RunStatus.FAILED


def test_an_artifact_is_not_deleted_where_no_journal_says_what_is_named(state_dir: Path) -> None:
    paths = ended(state_dir, "r1")
    kept = artifact(paths, DIGESTS[0])
    paths.journal.unlink()
    assert swept(state_dir) == []
    assert kept.exists()


def test_files_that_are_not_whole_go_from_runs_that_ended(state_dir: Path) -> None:
    paths = ended(state_dir, "r1")
    places = [
        paths.folder / ".x.tmp",
        paths.decisions / ".review.json.0123456789ab.tmp",
        paths.folder.parent / ".r1.json.0123456789ab.tmp",
        paths.folder.parent / ".gone.json.0123456789ab.tmp",
        paths.folder.parent / ".another.tmp",
        artifact(paths, DIGESTS[0]).with_name(".y.tmp"),
    ]
    for place in places:
        place.write_bytes(b"half")
    assert sum((item.size for item in swept(state_dir, dry_run=True)), Size()) == Size(7, 124)
    assert all(place.exists() for place in places)
    assert sum((item.size for item in swept(state_dir)), Size()) == Size(7, 124)
    assert [place for place in places if place.exists()] == []
    assert swept(state_dir) == []


def test_a_file_in_the_state_folder_itself_goes_when_nobody_can_be_writing_it(state_dir: Path) -> None:
    ended(state_dir, "r1")
    young, old = state_dir / "..gitignore.0123456789ab.tmp", state_dir / "..gitignore.ab0123456789.tmp"
    for path in (young, old):
        path.touch()
    os.utime(young, (NOW.timestamp() - 1, NOW.timestamp() - 1))
    assert [item.place for item in swept(state_dir)] == [old.name]
    assert (young.exists(), old.exists()) == (True, False)


def test_a_folder_that_holds_no_runs_loses_nothing(tmp_path: Path) -> None:
    for name in ("docs/.draft.tmp", "docs/notes/.x.tmp", "docs/notes.json", ".own.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    before = all_in(tmp_path)
    assert [item for item in swept(tmp_path, keep=0) if not item.left] == []
    assert all_in(tmp_path) == before
    assert swept(tmp_path / "none", keep=0) == []


def test_a_dry_run_writes_nothing_and_says_the_same(state_dir: Path) -> None:
    for name in ("r1", "r2"):
        artifact(ended(state_dir, name), DIGESTS[0])
    stored_state(make_run(state_dir, [started("i1")], run_id="i1"))
    (state_dir / "flow" / ".old.0123456789ab.tmp").mkdir()
    (state_dir / "flow" / "r1.json").unlink()
    (state_dir / "flow" / ".r1.json.0123456789ab.tmp").touch()
    before = all_in(state_dir)
    told = swept(state_dir, keep=1, dry_run=True)
    assert all_in(state_dir) == before
    assert told == swept(state_dir, keep=1)


def test_what_is_left_of_a_deletion_that_broke_off_goes(state_dir: Path) -> None:
    paths = ended(state_dir, "r1")

    def breaks(_: Path) -> None:
        raise OSError(5, "the disk is gone")

    (left,) = list(sweep(state_dir, Rule(0), NOW, disk=Disk(remove_folder=breaks)))
    assert (left.left, left.is_failure) == ("cannot delete it: [Errno 5] the disk is gone", True)
    assert ids(state_dir) == []
    assert not paths.snapshot.exists()
    (gone,) = swept(state_dir)
    assert (gone.what, gone.size.files) == ("left behind by a process that died", 2)
    assert names_in(state_dir / "flow") == []


@pytest.mark.parametrize("has_journal", [True, False])
@pytest.mark.parametrize("call", ["move", "remove", "open", "sync"])
@pytest.mark.parametrize("number", range(4))
def test_whichever_call_fails_a_run_is_whole_or_gone(
    state_dir: Path,
    has_journal: bool,  # noqa: FBT001
    call: str,
    number: int,
) -> None:
    paths = ended(state_dir, "r1", "flow", RunStatus.COMPLETED, completed("a", 1))
    if not has_journal:
        paths.journal.unlink()
    before = stored_state(paths)
    calls: list[int] = []

    def broken(*arguments: object) -> object:
        calls.append(1)
        if len(calls) > number:
            raise OSError(5, "the disk is gone")
        return getattr(DISK, call)(*arguments)

    list(sweep(state_dir, Rule(0), NOW, disk=Disk(**{call: broken})))  # type: ignore[arg-type] # of every call's kind
    if ids(state_dir):
        assert paths.journal.exists() is has_journal
        found = stored_state(paths)
        assert (found.status, found.finished_at, found.nodes["a"].output) == (before.status, before.finished_at, 1)
    swept(state_dir, keep=0)
    assert names_in(state_dir / "flow") == []


@pytest.mark.parametrize("has_folder", [True, False])
def test_a_run_of_which_only_the_state_file_was_kept_goes_too(state_dir: Path, has_folder: bool) -> None:  # noqa: FBT001
    paths = ended(state_dir, "r1")
    paths.journal.unlink()
    if not has_folder:
        for path in (paths.lock, paths.decisions, paths.folder):
            path.rmdir() if path.is_dir() else path.unlink()
    assert [item.place for item in swept(state_dir, keep=0)] == ["flow/r1"]
    assert names_in(state_dir / "flow") == []


def test_a_folder_made_by_asking_who_holds_a_run_that_is_gone_is_taken_away(state_dir: Path) -> None:
    ended(state_dir, "r1")
    paths = RunPaths(state_dir, "flow", "r2")
    RunLock(paths).release()
    assert is_shell(paths)
    assert [item.place for item in swept(state_dir)] == ["flow/r2"]
    assert ids(state_dir) == ["flow/r1"]


def test_the_state_folder_as_a_link_is_refused(state_dir: Path, tmp_path: Path) -> None:
    ended(tmp_path / "elsewhere", "r1")
    state_dir.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FlowStateError, match="a symbolic link stands in place of the folder"):
        swept(state_dir, keep=0)


def test_a_deleted_run_is_no_longer_found_by_reuse_and_cache(tmp_path: Path) -> None:
    made = tmp_path / "made"
    text = f"# Fine\n\n## Made\n\n- cache: true\n\n```bash\nprintf x >> {made}\n```\n"
    (tmp_path / "fine.flow.md").write_text(text)
    for _ in range(2):
        flownb.run(tmp_path / "fine.flow.md")
    assert made.read_text() == "x"
    assert len(list(sweep(tmp_path / ".flownb", Rule(0), datetime.now(UTC)))) == 2
    run = flownb.run(tmp_path / "fine.flow.md", reuse=True)
    assert (run.status, run.state.reuses, made.read_text()) == (RunStatus.COMPLETED, None, "xx")


# The command.


def command(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flownb", *arguments],
        cwd=folder,
        env=os.environ | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    (tmp_path / "fine.flow.md").write_text(FINE)
    for _ in range(3):
        flownb.run(tmp_path / "fine.flow.md")
        time.sleep(0.002)
    return tmp_path


def lines_of(done: subprocess.CompletedProcess[str]) -> Sequence[str]:
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_command_says_what_it_would_free_and_then_what_it_freed(kept: Path) -> None:
    runs = [run.run_id for run in flownb.runs(state_dir=kept / ".flownb")]
    told = lines_of(command(kept, "gc", "--keep", "1", "--dry-run"))
    assert [line.split()[:2] for line in told[:2]] == [[f"fine/{run}", "completed"] for run in runs[1:]]
    assert told[2].startswith("would free in .flownb: 2 runs, 8 files, ")
    assert len(flownb.runs(state_dir=kept / ".flownb")) == 3
    assert lines_of(command(kept, "gc", "--keep", "1"))[2] == told[2].replace("would free", "freed")
    assert [run.run_id for run in flownb.runs(state_dir=kept / ".flownb")] == runs[:1]
    assert lines_of(command(kept, "gc", "--older", "30d")) == ["freed in .flownb: nothing"]
    assert lines_of(command(kept, "gc", "--older", "0s", FLOWNB_STATE_DIR="elsewhere")) == [
        "freed in elsewhere: nothing"
    ]
    assert len(lines_of(command(kept, "gc", "--older", "0s"))) == 2


@pytest.mark.parametrize("arguments", [["--older", "soon"], ["--keep", "-1"], ["--keep", "few"]])
def test_bad_options_are_bad_usage_and_delete_nothing(kept: Path, arguments: list[str]) -> None:
    done = command(kept, "gc", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(flownb.runs(state_dir=kept / ".flownb")) == 3


def test_the_command_names_what_it_leaves(state_dir: Path) -> None:
    paths = ended(state_dir, "r1")
    paths.journal.write_bytes(b"{}\n" * 2)
    done = command(state_dir.parent, "gc", "--keep", "0")
    assert done.returncode == 0
    assert done.stderr.startswith("warning: left: flow/r1: .flownb/flow/r1/journal.jsonl:1: the journal is damaged")
    assert done.stdout == "freed in .flownb: nothing\n"


def test_the_list_is_bounded(state_dir: Path) -> None:
    for number in range(53):
        ended(state_dir, f"r{number}")
    told = lines_of(command(state_dir.parent, "gc", "--keep", "0"))
    assert (len(told), told[50], told[51][:37]) == (52, "… and 3 more", "freed in .flownb: 53 runs, 159 files,")
