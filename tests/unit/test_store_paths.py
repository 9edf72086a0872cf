"""Where runs live: made, listed, and found by what a person says."""

from __future__ import annotations

import errno
import itertools
import os
import re
import secrets
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from flownb.errors import FlowInputError, FlowStateError
from flownb.store.files import Disk
from flownb.store.paths import RunPaths, check_run_id, create_run, find_run, list_runs, new_run_id
from tests.runs import AT, make_run, started


def ids(runs: list[RunPaths]) -> list[str]:
    return [str(run) for run in runs]


def failure(state_dir: Path, text: str, workflow: str | None = None) -> FlowStateError:
    with pytest.raises(FlowStateError) as caught:
        find_run(state_dir, text, workflow)
    return caught.value


def test_a_run_id_is_the_start_in_utc_and_four_letters() -> None:
    here = AT.astimezone(timezone(timedelta(hours=5)))
    assert re.fullmatch(r"20261123T101502-[a-z2-9]{4}", new_run_id(here, secrets.choice))


def test_the_last_letters_of_a_run_id_are_chosen_one_by_one() -> None:
    letters = iter("qd")
    assert new_run_id(AT, lambda _: next(letters)).endswith("qd")


@pytest.mark.parametrize("chosen", ["2", "z"])
def test_run_ids_of_one_second_sort_by_time(chosen: str) -> None:
    second = AT.replace(microsecond=0)
    moments = [second + timedelta(milliseconds=milliseconds) for milliseconds in (0, 1, 30, 31, 500, 998, 999, 1000)]
    other = "z" if chosen == "2" else "2"
    turns = itertools.cycle((chosen, other))
    made = []
    for at in moments:
        letter = next(turns)
        made.append(new_run_id(at, lambda _, letter=letter: letter))  # type: ignore[misc] # a default binds it now
    assert sorted(made) == made


@pytest.mark.parametrize("text", ["a", "20261123T101502-k7qd", "2.0_rc-1", "x" * 64])
def test_a_run_id_by_hand_may_name_a_folder(text: str) -> None:
    check_run_id(text)


@pytest.mark.parametrize("text", ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "a b", "ä", "a\n", "x" * 65])
def test_a_run_id_that_cannot_name_a_folder_is_refused(text: str) -> None:
    with pytest.raises(FlowInputError, match="cannot name a folder") as caught:
        check_run_id(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize("text, why", [("last", "means the newest run"), ("a.json", "names of state files")])
def test_a_run_id_that_means_something_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(FlowInputError, match=why):
        check_run_id(text)


@pytest.mark.parametrize("workflow", ["..", "../.flownb/flow", "", "nothing"])
def test_what_is_no_workflows_name_has_no_runs(state_dir: Path, workflow: str) -> None:
    make_run(state_dir, [started()])
    assert list_runs(state_dir, workflow) == []


def test_everything_of_a_run_lies_in_its_folder_but_the_state(tmp_path: Path) -> None:
    paths = RunPaths(tmp_path, "flow", "r1")
    folder = tmp_path / "flow" / "r1"
    assert paths.folder == folder
    assert paths.journal == folder / "journal.jsonl"
    assert paths.source == folder / "source.flow.md"
    assert paths.decisions == folder / "decisions"
    assert paths.artifacts == folder / "artifacts"
    assert paths.lock == folder / "lock"
    assert paths.snapshot == tmp_path / "flow" / "r1.json"


def test_git_keeps_states_texts_and_answers_and_nothing_else(state_dir: Path) -> None:
    paths = create_run(state_dir, "flow", "r1")
    paths.artifacts.mkdir()
    answer = paths.decisions / "review.json"
    kept = [paths.snapshot, paths.source, answer]
    ignored = [paths.journal, paths.lock, paths.artifacts / "a.json", paths.snapshot.with_name(".r1.json.0a.tmp")]
    ignored.append(paths.decisions / ".lock")
    for path in kept + ignored:
        path.touch()
    git = ["git", "-C", str(state_dir)]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run(
        [*git, "ls-files", "--others", "--exclude-standard"], check=True, capture_output=True, text=True
    )
    assert sorted(listed.stdout.split()) == sorted([".gitignore", *(str(path.relative_to(state_dir)) for path in kept)])


def test_what_a_person_wrote_into_gitignore_stays(state_dir: Path) -> None:
    create_run(state_dir, "flow", "r1")
    (state_dir / ".gitignore").write_text("*\n")
    create_run(state_dir, "flow", "r2")
    assert (state_dir / ".gitignore").read_text() == "*\n"


def test_the_folders_of_a_new_run_are_synced(state_dir: Path) -> None:
    synced: list[int] = []
    paths = create_run(state_dir, "flow", "r1", Disk(sync=lambda fd: synced.append(os.fstat(fd).st_ino)))
    made = (state_dir.parent, state_dir, paths.folder.parent, paths.folder)
    assert {folder.stat().st_ino for folder in made} <= set(synced)
    synced.clear()  # Whoever made the state folder may have died before it was synced.
    create_run(state_dir, "flow", "r2", Disk(sync=lambda fd: synced.append(os.fstat(fd).st_ino)))
    assert state_dir.parent.stat().st_ino in synced


def test_a_run_of_which_only_the_state_is_left_is_not_made_again(state_dir: Path) -> None:
    paths = create_run(state_dir, "flow", "r1")
    paths.snapshot.touch()
    with pytest.raises(FlowStateError, match="exists already"):
        create_run(state_dir, "flow", "r1")


def test_a_run_that_died_before_its_first_event_is_made_again(state_dir: Path) -> None:
    paths = create_run(state_dir, "flow", "r1")
    paths.journal.write_bytes(b'{"kind":"run_st')
    assert create_run(state_dir, "flow", "r1") == paths


def test_folders_that_cannot_be_made_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FlowStateError, match=f"cannot make the run's folder {tmp_path}/file/.flownb/flow/r1"):
        create_run(tmp_path / "file" / ".flownb", "flow", "r1")


def test_folders_that_cannot_be_synced_are_an_error(state_dir: Path) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    with pytest.raises(FlowStateError, match="the disk is gone"):
        create_run(state_dir, "flow", "r1", Disk(sync=broken))


def test_runs_are_listed_newest_first_across_workflows(state_dir: Path) -> None:
    for workflow, run_id in [
        ("b", "20260101T000000-aaaa"),
        ("a", "20260102T000000-aaaa"),
        ("b", "20260103T000000-aa22"),
    ]:
        create_run(state_dir, workflow, run_id)
    assert ids(list_runs(state_dir)) == ["b/20260103T000000-aa22", "a/20260102T000000-aaaa", "b/20260101T000000-aaaa"]
    assert ids(list_runs(state_dir, "a")) == ["a/20260102T000000-aaaa"]


def test_a_run_with_an_id_by_hand_stands_where_its_folder_says(state_dir: Path) -> None:
    create_run(state_dir, "flow", "20260101T000000-aaaa")
    create_run(state_dir, "flow", "20260103T000000-aaaa")
    paths = create_run(state_dir, "flow", "by-hand")
    os.utime(paths.folder, (0, datetime.fromisoformat("2026-01-02T00:00:00Z").timestamp()))
    assert [run.run_id for run in list_runs(state_dir)] == ["20260103T000000-aaaa", "by-hand", "20260101T000000-aaaa"]


def test_a_run_of_which_only_the_state_is_left_is_listed_once(state_dir: Path) -> None:
    create_run(state_dir, "flow", "20260101T000000-aaaa").snapshot.touch()
    (state_dir / "flow" / "by-hand.json").touch()
    (state_dir / "flow" / ".by-hand.json.0a.tmp").touch()
    assert sorted(run.run_id for run in list_runs(state_dir)) == ["20260101T000000-aaaa", "by-hand"]


def test_where_nothing_is_kept_nothing_is_listed(state_dir: Path) -> None:
    assert list_runs(state_dir) == []
    assert list_runs(state_dir, "flow") == []


def test_a_run_is_found_by_its_id_a_unique_beginning_or_last(state_dir: Path) -> None:
    old = create_run(state_dir, "flow", "20260101T000000-aaaa")
    new = create_run(state_dir, "flow", "20260102T000000-aaaa")
    assert find_run(state_dir, "20260101T000000-aaaa") == old
    assert find_run(state_dir, "20260101") == old
    assert find_run(state_dir, "flow/20260102") == new
    assert find_run(state_dir, "last") == new


def test_a_whole_id_is_meant_before_a_beginning(state_dir: Path) -> None:
    create_run(state_dir, "flow", "test-2")
    create_run(state_dir, "flow", "test-22")
    assert find_run(state_dir, "test-2").run_id == "test-2"


def test_last_means_the_last_of_the_workflow_that_is_named(state_dir: Path) -> None:
    create_run(state_dir, "a", "20260101T000000-aaaa")
    create_run(state_dir, "b", "20260102T000000-aaaa")
    assert str(find_run(state_dir, "last", "a")) == "a/20260101T000000-aaaa"


def test_a_beginning_of_several_names_them_and_counts_the_rest(state_dir: Path) -> None:
    for second in range(7):
        create_run(state_dir, "flow", f"20260101T00000{second}-aaaa")
    message = failure(state_dir, "2026").message
    assert message.startswith("'2026' may be any of flow/20260101T000006-aaaa, flow/20260101T000005-aaaa, ")
    assert message.endswith(" and 2 more")


def test_the_same_id_in_two_workflows_must_be_told_apart(state_dir: Path) -> None:
    create_run(state_dir, "a", "r1")
    create_run(state_dir, "b", "r1")
    error = failure(state_dir, "r1")
    assert "a/r1" in error.message
    assert "b/r1" in error.message
    assert str(find_run(state_dir, "b/r1")) == "b/r1"


def test_a_run_that_is_not_there_names_the_nearest(state_dir: Path) -> None:
    create_run(state_dir, "flow", "nightly")
    assert failure(state_dir, "nightli").hint == "did you mean flow/nightly?"
    assert failure(state_dir, "zzz").hint == "there is flow/nightly"
    assert failure(state_dir, "").message == f"no run '' is kept in {state_dir}"


def test_where_nothing_is_kept_that_is_said(state_dir: Path) -> None:
    assert failure(state_dir, "last").message == f"no run is kept in {state_dir}"
    assert failure(state_dir, "last", "flow").message == f"no run of 'flow' is kept in {state_dir}"
