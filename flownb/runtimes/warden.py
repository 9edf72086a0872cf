"""Keeps watch over one command: when the process that wanted it is gone, so is everything that the command started.

Run as a program, `python warden.py RUNNER KILL_AFTER HELD COMMAND…`, it starts the command; `keep` does the same to a Python
process. It imports little, for one is started for every command.

Linux tells it of its parent's death (`PR_SET_PDEATHSIG`, prctl(2)) and gives it the orphans among its descendants
(`PR_SET_CHILD_SUBREAPER`), those too that left the group or the session: so it finds all of them. Elsewhere it looks whether
its parent is there, and finds the command's group.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress

_PDEATHSIG, _DUMPABLE, _NAME, _SUBREAPER = 1, 4, 15, 36
"""What `prctl` sets (linux/prctl.h)."""
_EXITING = 0x4
"""PF_EXITING (linux/sched.h), one of the flags in /proc/…/stat."""
_END = frozenset({signal.SIGTERM, signal.SIGHUP})
"""Tell it to end everything; the second one to kill it at once."""
_ORPHANED = signal.SIGUSR1
"""Comes when the runner's thread that started this has ended; the runner may live on."""
_HEARD = {*_END, _ORPHANED, signal.SIGCHLD}
LINGER = 0.25
"""Seconds that the rest of the command's group has to end by itself."""
GIVE_UP = 3.0
"""Seconds after SIGKILL after which a process is left to the system, while the runner lives: it hangs in a system call."""
_LOOK, _LOOK_ENDING = 0.5, 0.005
"""Seconds between two looks, should nothing be heard."""


def keep(runner: int, kill_after: float, held: int, given: int = -1) -> None:
    """Return in a new process, with a group of its own; this one watches it, ends as it does, and never returns.

    Call it while there is one thread only. The signals SIGTERM and SIGHUP end everything that comes of the new process.

    Args:
        runner: The number of this process's parent; when it is gone, everything is killed at once.
        kill_after: Seconds from SIGTERM to SIGKILL.
        held: A descriptor that stays open here until everything has ended, and is closed in the new process; -1: none.
        given: A descriptor that is closed here, and stays open in the new process; -1: none.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    _prctl(_PDEATHSIG, _ORPHANED)
    if os.getppid() != runner:  # It ended before it could be seen to.
        os._exit(1)
    _prctl(_SUBREAPER, 1)
    own = os.getpid()
    child = os.fork()
    if child:
        with suppress(PermissionError):  # Both do it, whoever comes first; it is too late where that runs the command.
            os.setpgid(child, child)
        if given >= 0:
            os.close(given)
        _Watch(child, runner, kill_after).go_on()
    os.setpgid(0, 0)
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != own:
        os._exit(1)
    if held >= 0:
        os.close(held)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Watch:
    """What is known of the command, and when what is left of it is to end."""

    def __init__(self, child: int, runner: int, kill_after: float) -> None:
        self._child, self._runner, self._kill_after = child, runner, kill_after
        self._status: int | None = None
        self._everything = False
        """Whether those are meant that left the command's group, too: a daemon of a command that went well is let be."""
        self._is_orphaned = self._is_told = False
        self._end_at = self._kill_at = float("inf")

    def go_on(self) -> None:
        _prctl(_NAME, b"flow-warden")
        while self._status is None or self._is_any_left():
            ending = self._end_at < float("inf")
            self._hear(_LOOK_ENDING if ending else _LOOK)
            if not self._act(time.monotonic()):
                break
        _end_like(self._status)

    def _hear(self, pause: float) -> None:
        number = _next_signal(pause)
        now = time.monotonic()
        if number in _END:
            self._kill_at = now if self._everything else now + self._kill_after
            self._end_at = now
            self._everything, self._is_told = True, False
        self._reap()
        # After the reaping: of a command that ended because the runner does, nothing is let be.
        if not self._is_orphaned and self._is_runner_gone():
            self._is_orphaned = self._everything = True
            self._end_at = self._kill_at = now

    def _is_runner_gone(self) -> bool:
        """Return whether the runner is gone or going: its pipes are closed before its children have another parent."""
        if os.getppid() != self._runner or sys.platform != "linux":
            return os.getppid() != self._runner
        runner = _fields(self._runner)
        return runner is None or runner[0] in b"ZX" or bool(int(runner[6]) & _EXITING)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                if ended[0] == self._child:
                    self._status = ended[1]

    def _act(self, now: float) -> bool:
        """End what is to end by now; return whether to go on."""
        if self._status is not None and self._end_at == float("inf"):
            self._end_at, self._kill_at = now + LINGER, now + LINGER + self._kill_after
        if now >= self._kill_at:
            self._send(signal.SIGKILL)
        elif now >= self._end_at and not self._is_told:
            self._is_told = True
            self._send(signal.SIGTERM)
        return self._is_orphaned or now < self._kill_at + GIVE_UP

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._child, number)
        for each in _descendants() if self._everything else ():
            if each.group != self._child:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(each.number, number)

    def _is_any_left(self) -> bool:
        if self._everything and sys.platform == "linux":
            return bool(_descendants())
        try:
            os.killpg(self._child, 0)
        except (ProcessLookupError, PermissionError):  # None left, or none that is its to end.
            return False
        return sys.platform != "linux" or any(each.group == self._child for each in _descendants())


class _Process:
    """A process that lives."""

    def __init__(self, number: int, parent: int, group: int) -> None:
        self.number, self.parent, self.group = number, parent, group


def _descendants() -> list[_Process]:
    """Return every process that came of this one, parents first, but for zombies; none where the system does not tell."""
    children: dict[int, list[_Process]] = {}
    for name in os.listdir("/proc") if sys.platform == "linux" else ():  # noqa: PTH208 As below.
        if name.isdigit() and (process := _read(int(name))) is not None:
            children.setdefault(process.parent, []).append(process)
    found = children.get(os.getpid(), [])[:]
    for process in found:  # It grows meanwhile.
        found += children.get(process.number, [])
    return found


def _read(number: int) -> _Process | None:
    fields = _fields(number)
    # A zombie's children are those of another by now.
    return None if fields is None or fields[0] in b"ZX" else _Process(number, int(fields[1]), int(fields[2]))


def _fields(number: int) -> list[bytes] | None:
    """Return what proc(5) tells of a process: state, ppid, pgrp, session, tty_nr, tpgid, flags, …; None: it is gone."""
    try:
        with open(f"/proc/{number}/stat", "rb") as file:  # noqa: PTH123 pathlib takes too long to import.
            return file.read().rpartition(b")")[2].split()  # What stands before may hold anything.
    except OSError:
        return None


def _next_signal(pause: float) -> int | None:
    if hasattr(signal, "sigtimedwait"):
        heard = signal.sigtimedwait(_HEARD, pause)
        return heard.si_signo if heard else None
    time.sleep(_LOOK_ENDING)  # macOS
    waiting = signal.sigpending() & _HEARD
    return signal.sigwait(waiting) if waiting else None


def _end_like(status: int | None) -> None:
    """End this process as another ended."""
    if status is None:
        os._exit(1)
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        _prctl(_DUMPABLE, 0)  # The other one wrote its core.
        number = -code
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(code)


def _prctl(option: int, value: int | bytes) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value if isinstance(value, bytes) else ctypes.c_ulong(value), 0, 0, 0)


def main() -> None:
    """Start the command that the arguments name, and watch it."""
    held = int(sys.argv[3])
    if held >= 0:
        os.set_inheritable(held, False)
    keep(int(sys.argv[1]), float(sys.argv[2]), held)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what it starts would.
        signal.signal(number, signal.SIG_DFL)
    os.execvp(sys.argv[4], sys.argv[4:])  # noqa: S606 The person's command.


if __name__ == "__main__":
    main()
