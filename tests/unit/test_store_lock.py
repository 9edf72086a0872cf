"""The lock of a run: one holder, who is named, and none once it is dead."""

from __future__ import annotations

import errno
import os
import signal
import stat
import threading
from pathlib import Path

import pytest
from filelock import FileLock

from flownb.errors import FlowStateError
from flownb.store.lock import RunLock, holder
from flownb.store.paths import RunPaths, create_run
from tests.runs import line_of, process

HOLD = """
import sys
from pathlib import Path
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths
with RunLock(RunPaths(Path(sys.argv[1]), "flow", "r1")):
    print("held", flush=True)
    sys.stdin.readline()
"""

FIGHT = """
import sys
from pathlib import Path
from flownb.errors import FlowStateError
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths
print("ready", flush=True)
sys.stdin.readline()
try:
    lock = RunLock(RunPaths(Path(sys.argv[1]), "flow", "r1"))
except FlowStateError:
    print("told", flush=True)
else:
    print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def paths(state_dir: Path) -> RunPaths:
    return create_run(state_dir, "flow", "r1")


def test_the_second_process_is_told_who_holds_the_run(paths: RunPaths) -> None:
    with process(HOLD, paths.root) as child:
        assert line_of(child) == "held"
        who = rf"process {child.pid} on {os.uname().nodename}, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z"
        with pytest.raises(FlowStateError, match=f"run 'r1' is being run by {who}"):
            RunLock(paths)
        told = holder(paths)
    assert told is not None
    assert told.startswith(f"process {child.pid} on ")


def test_of_two_processes_one_gets_the_run(paths: RunPaths) -> None:
    with process(FIGHT, paths.root) as one, process(FIGHT, paths.root) as two:
        both = (one, two)
        assert [line_of(child) for child in both] == ["ready", "ready"]
        for child in both:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        assert sorted(line_of(child) for child in both) == ["held", "told"]


def test_the_kernel_gives_back_the_lock_of_a_killed_process(paths: RunPaths) -> None:
    with process(HOLD, paths.root) as child:
        assert line_of(child) == "held"
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert holder(paths) is None
        RunLock(paths).release()


def test_a_run_is_held_once_also_within_one_process(paths: RunPaths) -> None:
    with RunLock(paths), pytest.raises(FlowStateError, match=f"is being run by this process, {os.getpid()} on"):
        RunLock(paths)


def test_a_lock_can_be_taken_again_and_given_back_twice(paths: RunPaths) -> None:
    first = RunLock(paths)
    first.release()
    first.release()
    with RunLock(paths):
        assert holder(paths) is not None
    assert holder(paths) is None


def test_any_thread_may_give_a_lock_back_and_no_name_is_left_in_it(paths: RunPaths) -> None:
    lock = RunLock(paths)
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert holder(paths) is None
    assert paths.lock.read_text() == ""


def test_nobody_holds_a_run_that_was_never_locked(paths: RunPaths) -> None:
    assert holder(paths) is None
    assert not paths.lock.exists()


def test_looking_leaves_the_lock_to_others(paths: RunPaths) -> None:
    RunLock(paths).release()
    assert holder(paths) is None
    RunLock(paths).release()


@pytest.mark.parametrize("written", ["", b"\xff"])
def test_a_holder_that_left_no_name_is_another_process(paths: RunPaths, written: str | bytes) -> None:
    with RunLock(paths):
        paths.lock.write_bytes(written if isinstance(written, bytes) else written.encode())
        assert holder(paths) == "another process"


def test_where_nothing_can_be_locked_that_is_said(paths: RunPaths) -> None:
    paths.lock.mkdir()
    with pytest.raises(FlowStateError, match=f"cannot lock run 'r1' .{paths.lock}"):
        RunLock(paths)


def test_of_a_lock_that_cannot_be_opened_its_text_tells(paths: RunPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "another user's")  # Which root, who runs the tests, never sees.

    monkeypatch.setattr(FileLock, "acquire", refuse)
    paths.lock.write_text("4711 crane")
    told = holder(paths)
    assert told is not None
    assert told.startswith("process 4711 on crane, since ")
    paths.lock.write_text("")
    assert holder(paths) is None


def test_what_stands_in_place_of_the_lock_is_refused_by_name_and_not_written_to(paths: RunPaths) -> None:
    target = paths.folder / "elsewhere"
    target.write_text("mine")
    paths.lock.symlink_to(target)
    with pytest.raises(FlowStateError, match=f"cannot lock run 'r1' .{paths.lock}.*a symbolic link stands in place"):
        RunLock(paths)
    assert (holder(paths), target.read_text()) == ("another process", "mine")
    paths.lock.unlink()
    os.mkfifo(paths.lock)
    with pytest.raises(FlowStateError, match="a pipe stands in place of a file"):
        RunLock(paths)
    assert holder(paths) == "another process"


def test_only_its_owner_reads_the_lock(paths: RunPaths) -> None:
    with RunLock(paths):
        assert stat.S_IMODE(paths.lock.stat().st_mode) == 0o600


FORKS = """
import ctypes, os, sys, time
from pathlib import Path
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths
lock = RunLock(RunPaths(Path(sys.argv[1]), "flow", "r1"))
own = os.getpid()
if ctypes.CDLL(None).fork():  # As subprocess does it: without telling Python, and so filelock, of it.
    os.kill(own, 9)
while os.getppid() == own:
    time.sleep(0.001)
time.sleep(0.05)
os._exit(0)
"""


def test_what_a_killed_holder_had_just_begun_does_not_count_as_one(state_dir: Path) -> None:
    paths = create_run(state_dir, "flow", "r1")
    with process(FORKS, state_dir) as child:
        child.wait()
        assert paths.lock.read_text().startswith(f"{child.pid} ")
        assert holder(paths) is None
