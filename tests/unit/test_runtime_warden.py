"""Wardens, with real processes that are really killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from flownb.errors import FlowStateError
from flownb.model.nodes import ShellNode
from flownb.runtimes import warden
from flownb.runtimes.shell import ShellRuntime
from flownb.store import lock as lock_module
from flownb.store.lock import RunLock, holder
from flownb.store.paths import create_run
from tests.nodes import node_of, scope_of
from tests.runs import line_of, process

DAEMON = "setsid sleep 600 & echo $! > pid; "


def is_running(number: int) -> bool:
    try:
        return str(psutil.Process(number).status()) != str(psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def ends(number: int) -> bool:
    """Return whether a process that was killed is gone: the system may take its time on a busy machine."""
    until = time.monotonic() + 20
    while is_running(number) and time.monotonic() < until:
        time.sleep(0.005)
    return not is_running(number)


def number_in(path: Path) -> int:
    while not path.exists() or not path.read_text().endswith("\n"):
        time.sleep(0.005)
    return int(path.read_text())


def stopped(folder: Path, body: str, *, kill_after: float = 0.2) -> int:
    """Cancel a script that has written a process's number to the file `pid`, and return that."""

    async def main() -> int:
        task = asyncio.create_task(ShellRuntime(kill_after).run(node_of(ShellNode, body), scope_of(folder=folder)))
        number = await asyncio.to_thread(number_in, folder / "pid")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return number

    return asyncio.run(main())


@pytest.mark.parametrize(
    "body",
    [
        DAEMON + "sleep 600",
        "(setsid bash -c 'echo $$ > pid; trap \"\" TERM HUP; while :; do sleep 0.1; done' &) ; sleep 600",
        "setsid setsid bash -c '(trap \"\" TERM; echo $BASHPID > pid; exec sleep 600) &' & sleep 600",
    ],
    ids=["setsid", "stubborn", "forked twice"],
)
def test_what_left_the_group_of_a_stopped_script_ends_with_it(tmp_path: Path, body: str) -> None:
    assert not is_running(stopped(tmp_path, body))


RUNNER = """
import asyncio, os, sys
from pathlib import Path
from flownb.model.nodes import ShellNode
from flownb.runtimes.shell import ShellRuntime
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths
from tests.nodes import node_of, scope_of
import dataclasses
folder = Path(sys.argv[1])
lock = RunLock(RunPaths(folder, "flow", "r1"))
scope = dataclasses.replace(scope_of(folder=folder), held=lock.descriptor)
print(asyncio.run(ShellRuntime().run(node_of(ShellNode, sys.argv[2]), scope)), flush=True)
sys.stdin.read()
"""

GOING = """
import ctypes, threading
def run():
    exec(RUNNER)
threading.Thread(target=run).start()
sys.stdin.readline()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[os.uname().machine], 0)  # exit(2): of this thread alone.
"""


def test_a_lock_is_free_when_nothing_of_a_killed_runners_script_is_left(tmp_path: Path) -> None:
    paths = create_run(tmp_path, "flow", "r1")
    with process(RUNNER, tmp_path, DAEMON + "sleep 600") as child:
        number = number_in(tmp_path / "pid")
        child.send_signal(signal.SIGKILL)
        with RunLock(paths):
            assert not is_running(number)


def test_a_script_that_ends_while_its_runner_does_leaves_nothing(tmp_path: Path) -> None:
    """A runner's pipes are closed, and so its scripts end, before they have another parent: it is a zombie, or will be."""
    create_run(tmp_path, "flow", "r1")
    body = DAEMON + "until test -e go; do sleep 0.01; done"
    with process(f"import os, sys\nRUNNER = {RUNNER!r}\n{GOING}", tmp_path, body) as child:
        number = number_in(tmp_path / "pid")
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.005)
        (tmp_path / "go").touch()
        psutil.wait_procs([psutil.Process(number)], timeout=20)
        assert not is_running(number)


def test_a_daemon_of_a_script_that_went_well_lives_and_holds_no_lock(tmp_path: Path) -> None:
    paths = create_run(tmp_path, "flow", "r1")
    with process(RUNNER, tmp_path, DAEMON + "echo done") as child:
        assert line_of(child) == "done"
        number = number_in(tmp_path / "pid")
        child.send_signal(signal.SIGKILL)
        child.wait()
        try:
            assert holder(paths) is None
            RunLock(paths).release()
            assert is_running(number)
        finally:
            os.kill(number, signal.SIGKILL)


def test_while_something_of_a_killed_runner_does_not_end_the_lock_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_module, "_PATIENCE_AFTER_DEATH_S", 0.05)
    paths = create_run(tmp_path, "flow", "r1")
    with process(RUNNER, tmp_path, "echo $PPID > pid; sleep 600") as child:
        number = number_in(tmp_path / "pid")
        os.kill(number, signal.SIGSTOP)  # The warden itself.
        child.send_signal(signal.SIGKILL)
        child.wait()
        with pytest.raises(FlowStateError) as caught:
            RunLock(paths)
        assert f"was run by process {child.pid} on" in caught.value.message
        assert caught.value.message.endswith("which is gone, but something that it started does not end")
        assert (holder(paths) or "").startswith(f"process {child.pid} on")
        os.kill(number, signal.SIGCONT)
        monkeypatch.undo()
        RunLock(paths).release()


def test_nothing_is_started_for_a_runner_that_is_gone(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", "-S", warden.__file__, "1", "0", "-1", "touch", tmp_path / "effect"], check=False
    )
    assert ended.returncode == 1
    assert not (tmp_path / "effect").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_warden_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    arguments = [str(os.getpid()), "0.1", "-1", "bash", "-c", DAEMON + "trap '' TERM; while :; do sleep 0.1; done"]
    with subprocess.Popen([sys.executable, "-I", "-S", warden.__file__, *arguments], cwd=tmp_path) as child:
        daemon = number_in(tmp_path / "pid")
        child.send_signal(number)
        assert child.wait() == -signal.SIGKILL
    assert not is_running(daemon)


def test_a_command_dies_with_its_warden(tmp_path: Path) -> None:
    arguments = [str(os.getpid()), "2", "-1", "bash", "-c", "echo $$ > pid; while :; do sleep 0.1; done"]
    with subprocess.Popen([sys.executable, "-I", "-S", warden.__file__, *arguments], cwd=tmp_path) as child:
        number = number_in(tmp_path / "pid")
        child.kill()
    assert ends(number)


def test_a_warden_that_answers_nothing_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flownb.runtimes.process._NO_ANSWER", 0.1)
    assert ends(stopped(tmp_path, "kill -STOP $PPID; echo $$ > pid; exec sleep 600", kill_after=0.1))
