"""The journal: one write and one sync, a torn end, a full disk, a newer format."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flownb.errors import FlowStateError
from flownb.model import events as e
from flownb.secrets import Redactor
from flownb.store.files import Disk
from flownb.store.journal import Journal, fold, load_state, read_journal
from flownb.store.lines import seal
from flownb.store.paths import RunPaths, create_run
from flownb.store.storable import storable
from tests.runs import AT, append, completed, finished, later, line_of, make_run, process, started, unsealed

FULL = """
import resource, signal, sys
from pathlib import Path
from flownb.errors import FlowStateError
from flownb.store.journal import Journal
from flownb.store.paths import RunPaths
from tests.runs import append, completed
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
with Journal.open_for_append(RunPaths(Path(sys.argv[1]), "flow", "r1")) as journal:
    stored = 0
    while True:
        try:
            append(journal, [completed(f"a{stored}", "x" * 700), completed(f"b{stored}", "x" * 700)])
        except FlowStateError as error:
            print(type(error.__cause__).__name__)
            break
        stored += 1
    append(journal, [completed("small", 1)])
print(stored)
"""


def unsynced(descriptor: int) -> None:
    raise OSError(errno.EIO, "the disk is gone")


def on(paths: RunPaths, **functions: Any) -> RunPaths:  # Any: each as its field in Disk
    return replace(paths, disk=Disk(**functions))


@pytest.fixture
def paths(state_dir: Path) -> RunPaths:
    return create_run(state_dir, "flow", "r1")


def test_each_event_is_a_line_of_json_with_its_kind_first(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()], [completed("a", [1]), completed("b")])
    lines = paths.journal.read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["run_started", "node_completed", "node_completed"]
    assert [line.partition('"kind":')[0] for line in lines] == ["{", "{", " {"]


def test_the_format_is_written_though_it_is_the_default(state_dir: Path) -> None:
    resumed = e.RunResumed(at=later(1), definition="abc")
    first, second = make_run(state_dir, [started()], [resumed]).journal.read_text().splitlines()
    assert (json.loads(first)["format"], json.loads(second)["format"]) == (e.FORMAT, e.FORMAT)


def test_events_that_are_ready_together_are_written_with_one_sync(paths: RunPaths) -> None:
    synced: list[int] = []
    with Journal.create(on(paths, sync_data=lambda fd: synced.append(os.lseek(fd, 0, os.SEEK_CUR)))) as journal:
        synced.clear()
        append(journal, [started(), completed("a"), completed("b")])
    assert synced == [paths.journal.stat().st_size]


def test_no_events_are_not_written(paths: RunPaths) -> None:
    synced: list[int] = []
    with Journal.create(on(paths, sync_data=synced.append)) as journal:
        synced.clear()
        append(journal, [])
    assert synced == []


def test_the_folder_is_synced_when_the_journal_is_made(paths: RunPaths) -> None:
    synced: list[int] = []
    Journal.create(on(paths, sync=lambda fd: synced.append(os.fstat(fd).st_ino))).close()
    assert paths.folder.stat().st_ino in synced


def test_a_run_has_one_journal(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with pytest.raises(FlowStateError, match=r"run 'r1' of 'flow' exists already.*\n.*flownb resume r1"):
        Journal.create(paths)
    assert read_journal(paths.journal) == [started()]
    Journal.open_for_append(paths).close()  # The lock was given back.


@pytest.mark.parametrize("torn", [b"", b'{"kind":"run_sta', b"\0" * 512, b"\0\0\0\n", b'\0\0\0\n {"kind":"plan'])
def test_a_run_that_died_before_its_first_event_is_begun_anew(state_dir: Path, torn: bytes) -> None:
    paths = make_run(state_dir)
    paths.journal.write_bytes(torn)
    paths = make_run(state_dir, [started()])
    assert read_journal(paths.journal) == [started()]


@pytest.mark.parametrize("torn", [b'{"kind":"node_comp', b"\0\0\0\0", b"\0\0\0\0\n", b'{"ki\0\0\0\0"}\n'])
def test_a_torn_end_is_dropped_and_cut_off_by_the_next_writer(state_dir: Path, torn: bytes) -> None:
    paths = make_run(state_dir, [started()])
    with paths.journal.open("ab") as file:
        file.write(torn)
    assert read_journal(paths.journal) == [started()]
    with Journal.open_for_append(paths) as journal:
        append(journal, [completed("a")])
    assert read_journal(paths.journal) == [started(), completed("a")]


def test_a_batch_whose_first_line_never_reached_the_disk_is_dropped(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()], [completed("a"), completed("b"), completed("c")])
    lines = paths.journal.read_bytes().split(b"\n")
    lines[1] = bytes(len(lines[1]))
    paths.journal.write_bytes(b"\n".join(lines))
    assert read_journal(paths.journal) == [started()]


def test_damage_before_the_end_is_an_error_that_names_the_line(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()], [completed("a")], [completed("b")])
    lines = paths.journal.read_bytes().split(b"\n")
    lines[1] = lines[1][:-5]
    paths.journal.write_bytes(b"\n".join(lines))
    with pytest.raises(FlowStateError, match=r"journal\.jsonl:2: the journal is damaged: it has no checksum"):
        read_journal(paths.journal)
    with pytest.raises(FlowStateError, match=r"journal\.jsonl:2"):
        Journal.open_for_append(paths)
    assert load_state_error(paths).startswith(str(paths.journal))


def load_state_error(paths: RunPaths) -> str:
    with pytest.raises(FlowStateError) as caught:
        load_state(paths)
    return caught.value.message


def test_an_unknown_field_is_an_error_also_in_the_last_line(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with paths.journal.open("ab") as file:
        line = seal(b'{"kind":"node_cancelled","at":"2026-11-23T10:15:02Z","key":"a","colour":"red"}')
        file.write(line + b"\n")
    with pytest.raises(FlowStateError, match=r"jsonl:2: the journal is damaged: not an event: node_cancelled\.colour"):
        read_journal(paths.journal)


@pytest.mark.parametrize("extra", [b"", b',"colour":"red"'])
@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_newer_format_is_refused_by_name(state_dir: Path, extra: bytes, is_sealed: bool) -> None:  # noqa: FBT001 a parameter of the test
    paths = make_run(state_dir)
    line = unsealed(storable(started(), Redactor()).line).replace(b'"format":3', b'"format":4' + extra)
    paths.journal.write_bytes((seal(line) if is_sealed else line) + b"\n")
    with pytest.raises(FlowStateError, match="has format 4, this flownb reads up to format 3") as caught:
        read_journal(paths.journal)
    assert "newer" in caught.value.hint


def test_a_full_disk_takes_nothing_that_was_stored_before(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with process(FULL, state_dir) as child:
        cause, stored = line_of(child), int(line_of(child))
    keys = [event.key for event in read_journal(paths.journal)[1:] if isinstance(event, e.NodeCompleted)]
    assert cause == "OSError"
    assert stored > 0
    assert keys == [f"{letter}{i}" for i in range(stored) for letter in "ab"] + ["small"]


def test_events_that_could_not_be_synced_did_not_happen_and_nothing_may_follow(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(on(paths, sync_data=unsynced)) as journal:
        with pytest.raises(FlowStateError, match="the disk is gone") as caught:
            append(journal, [completed("a")])
        with pytest.raises(FlowStateError, match="an earlier write failed"):
            append(journal, [completed("b")])
    assert isinstance(caught.value.__cause__, OSError)
    assert "flownb resume r1" in caught.value.hint
    assert read_journal(paths.journal) == [started()]


def test_an_interrupt_while_writing_leaves_nothing_of_the_events(state_dir: Path) -> None:
    pressed = iter([True, False, False])

    def interrupted(descriptor: int) -> None:
        if next(pressed):
            raise KeyboardInterrupt

    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(on(paths, sync_data=interrupted)) as journal:
        with pytest.raises(KeyboardInterrupt):
            append(journal, [completed("a")])
        assert read_journal(paths.journal) == [started()]
        append(journal, [completed("b")])
    assert read_journal(paths.journal) == [started(), completed("b")]


def test_what_the_disk_takes_in_pieces_is_stored_whole(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(on(paths, write=lambda fd, data: os.write(fd, data[:7]))) as journal:
        append(journal, [completed("a", "x" * 50), completed("b")])
    assert read_journal(paths.journal) == [started(), completed("a", "x" * 50), completed("b")]


def test_room_is_made_ahead_and_given_back_when_the_journal_is_closed(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    written = paths.journal.stat().st_size
    with Journal.open_for_append(paths) as journal:
        append(journal, [completed("a")])
        content = paths.journal.read_bytes()
        assert len(content) > len(content.rstrip(b"\0")) > written
        assert read_journal(paths.journal) == [started(), completed("a")]
    assert paths.journal.read_bytes() == content.rstrip(b"\0")


@pytest.mark.parametrize("last", [finished(), e.RunWaiting(at=AT)], ids=lambda event: event.kind)
def test_a_run_that_ends_gives_the_room_back_at_once_and_may_go_on(state_dir: Path, last: e.Event) -> None:
    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(paths) as journal:
        append(journal, [completed("a"), last])
        assert b"\0" not in paths.journal.read_bytes()
        written = paths.journal.stat().st_mtime_ns
        append(journal, [])
    assert paths.journal.stat().st_mtime_ns == written  # Else its state file would not be the last word.
    with Journal.open_for_append(paths) as journal:
        append(journal, [completed("b")])
    assert read_journal(paths.journal) == [started(), completed("a"), last, completed("b")]


def test_a_writer_goes_on_where_the_last_one_died_in_the_room_it_had_made(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    with paths.journal.open("ab") as file:
        file.write(bytes(70_000))
    with Journal.open_for_append(paths) as journal:
        append(journal, [completed("a")])
    assert read_journal(paths.journal) == [started(), completed("a")]
    assert b"\0" not in paths.journal.read_bytes()


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.ENOSPC, errno.EFBIG])
def test_where_no_room_can_be_made_the_journal_grows_as_it_is_written(state_dir: Path, code: int) -> None:
    asked: list[int] = []

    def refused(descriptor: int, offset: int, size: int) -> None:
        asked.append(size)
        os.ftruncate(descriptor, offset + 100)  # A part of it was there.
        raise OSError(code, os.strerror(code))

    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(on(paths, allocate=refused)) as journal:
        append(journal, [completed("a")])
        append(journal, [completed("b")])
    assert len(asked) == 1
    assert read_journal(paths.journal) == [started(), completed("a"), completed("b")]
    assert b"\0" not in paths.journal.read_bytes()


def test_a_value_larger_than_the_room_is_stored_whole(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()], [completed("a", "x" * 200_000)], [completed("b")])
    assert read_journal(paths.journal) == [started(), completed("a", "x" * 200_000), completed("b")]


def test_where_even_taking_back_fails_the_journal_still_loads(state_dir: Path) -> None:
    def torn(descriptor: int, data: bytes) -> int:
        if len(data) < 40:
            raise OSError(errno.ENOSPC, "full")
        return os.write(descriptor, data[:40])

    def stuck(descriptor: int, size: int) -> None:
        raise OSError(errno.EIO, "stuck")

    paths = make_run(state_dir, [started()])
    with Journal.open_for_append(on(paths, write=torn, truncate=stuck)) as journal:
        with pytest.raises(FlowStateError, match="full"):
            append(journal, [completed("a", "x")])
        with pytest.raises(FlowStateError, match="an earlier write failed"):
            append(journal, [completed("b")])
    assert read_journal(paths.journal) == [started()]


def test_a_closed_journal_takes_nothing_and_may_be_closed_again(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    journal = Journal.open_for_append(paths)
    journal.close()
    journal.close()
    with pytest.raises(FlowStateError, match="it is closed"):
        append(journal, [completed("a")])


def test_a_missing_journal_is_named(state_dir: Path) -> None:
    paths = RunPaths(state_dir, "flow", "r1")
    for attempt in (lambda: read_journal(paths.journal), lambda: Journal.open_for_append(paths)):
        with pytest.raises(FlowStateError, match=f"the journal {paths.journal} is missing"):
            attempt()


def test_a_journal_that_cannot_be_read_is_named(paths: RunPaths) -> None:
    paths.journal.mkdir()
    with pytest.raises(FlowStateError, match=f"cannot read the journal {paths.journal}"):
        read_journal(paths.journal)


def test_a_journal_that_cannot_be_made_gives_the_lock_back(paths: RunPaths) -> None:
    with pytest.raises(FlowStateError, match=r"cannot make the journal .*the disk is gone"):
        Journal.create(on(paths, sync=unsynced))
    Journal.create(paths).close()


def test_a_running_run_is_interrupted_unless_someone_holds_it(state_dir: Path) -> None:
    paths = make_run(state_dir, [started()])
    assert load_state(paths).status is e.RunStatus.INTERRUPTED
    with Journal.open_for_append(paths):
        assert load_state(paths).status is e.RunStatus.RUNNING


def test_a_run_that_ended_or_waits_is_not_interrupted(state_dir: Path) -> None:
    ended = make_run(state_dir, [started()], [finished(e.RunStatus.FAILED)])
    waiting = make_run(state_dir, [started("r2")], [e.RunWaiting(at=AT)], run_id="r2")
    assert load_state(ended).status is e.RunStatus.FAILED
    assert load_state(waiting).status is e.RunStatus.WAITING


def test_a_run_that_ends_while_it_is_looked_at_is_not_interrupted(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(state_dir, [started()])

    def ended(paths: RunPaths) -> None:
        with paths.journal.open("ab") as file:
            file.write(storable(finished(), Redactor()).line + b"\n")

    monkeypatch.setattr("flownb.store.journal.holder", ended)
    assert load_state(paths).status is e.RunStatus.COMPLETED


@pytest.mark.parametrize("journal", [True, False], ids=["empty journal", "no journal"])
def test_a_run_without_events_loads_as_interrupted(state_dir: Path, journal: bool) -> None:  # noqa: FBT001 a parameter of the test
    paths = make_run(state_dir)
    if not journal:
        paths.journal.unlink()
    state = load_state(paths)
    assert (state.run_id, state.workflow, state.status, state.started_at) == (
        "r1",
        "flow",
        e.RunStatus.INTERRUPTED,
        None,
    )


def test_folding_gives_what_events_add_up_to(state_dir: Path) -> None:
    state = fold([started(), completed("a", 3), finished()])
    assert (state.run_id, state.status, state.output_of("a")) == ("r1", e.RunStatus.COMPLETED, 3)
