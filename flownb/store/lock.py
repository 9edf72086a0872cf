"""The lock of a run: one process runs it, and others can ask which.

The kernel gives it back when its holder has died, and with it the wardens that share its descriptor (`runtimes/warden.py`):
so when nothing is left of what the holder started.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from filelock import FileLock, Timeout

from flownb.errors import FlowStateError
from flownb.model.state import stamp
from flownb.store.files import PRIVATE, kind_of
from flownb.store.paths import RunPaths, found_at

_PATIENCE_S: Final = 0.1
"""How long to try: one that only looks who holds it has it for some microseconds."""
_PATIENCE_AFTER_DEATH_S: Final = 30.0
"""How long to try where the holder is dead: what it started is being killed, in milliseconds on a machine that is not busy."""
_LOOK_AFTER_DEATH_S: Final = 1.0
"""The same for one that only looks."""


class RunLock:
    """The lock of one run, held until `release`; any thread may release it."""

    def __init__(self, paths: RunPaths) -> None:
        """Take the lock of a run.

        Args:
            paths: The run; its folder exists.

        Raises:
            FlowStateError: Another process holds it, or this one does elsewhere; or it cannot be locked.
        """
        self._path = paths.lock
        self.descriptor: int | None = None
        """What holds it; None: it was given back."""
        self._lock = FileLock(
            paths.lock, mode=PRIVATE, thread_local=False, fallback_to_soft=False, on_acquired=self._note
        )
        try:
            _refuse_strange(paths)
            _acquire(self._lock, paths.lock, _PATIENCE_S, _PATIENCE_AFTER_DEATH_S)
        except Timeout:
            raise _held_by_another(paths) from None
        except OSError as error:
            raise FlowStateError(
                f"cannot lock run '{paths.run_id}' ({paths.lock}): {error}",
                "make its folder writable, or copy it to one",
            ) from error
        with suppress(OSError):  # On a full disk the run is held all the same, only not by name.
            self._path.write_text(f"{os.getpid()} {os.uname().nodename}\n", encoding="utf-8")

    def release(self) -> None:
        """Give the lock back; harmless when it was given back before."""
        if self._lock.is_locked:
            with suppress(OSError):
                os.truncate(self._path, 0)
            self.descriptor = None
            self._lock.release()

    def _note(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give the lock back."""
        self.release()


def holder(paths: RunPaths) -> str | None:
    """Return who runs a run, as `process 4711 on crane, since 2026-11-23T10:15:02.114Z`; None: nobody.

    Args:
        paths: The run; it need not exist.
    """
    match found_at(paths.lock, paths.disk):
        case "":
            return None
        case "a file":
            pass
        case _:
            return "another process"  # Nobody knows; whoever would run it is told what stands there.
    lock = _os_lock(paths.lock)
    try:
        _acquire(lock, paths.lock, 0.0, _LOOK_AFTER_DEATH_S)
    except Timeout:
        return _told(paths.lock)
    except OSError:  # Another user's: only what stands in it can tell.
        return _told(paths.lock) if paths.lock.stat().st_size else None
    lock.release()
    return None


def _refuse_strange(paths: RunPaths) -> None:
    found = kind_of(paths.lock, paths.disk)
    if found not in ("", "a file"):
        raise OSError(errno.EINVAL, f"{found} stands in place of a file")


def _acquire(lock: FileLock, path: Path, patience_s: float, after_death_s: float) -> None:
    """Take a lock; where its holder was killed, wait until what that had started is gone."""
    try:
        lock.acquire(timeout=patience_s, poll_interval=0.005)
    except Timeout:
        if _lives(path):
            raise
        lock.acquire(timeout=after_death_s, poll_interval=0.005)


def _held_by_another(paths: RunPaths) -> FlowStateError:
    if _lives(paths.lock):
        return FlowStateError(
            f"run '{paths.run_id}' is being run by {_told(paths.lock)}", "wait until it ends, or stop it there"
        )
    return FlowStateError(
        f"run '{paths.run_id}' was run by {_told(paths.lock)}, which is gone, but something that it started does not end",
        "wait until it has, or restart the machine: the run must not go on beside it",
    )


def _os_lock(path: Path) -> FileLock:
    # A lock that is a file's existence outlives its holder, so there is no falling back to one.
    return FileLock(path, mode=PRIVATE, thread_local=False, fallback_to_soft=False)


def _lives(path: Path) -> bool:
    """Return False where the process that a lock names is known to be gone."""
    try:
        pid, _, host = path.read_text(encoding="utf-8").strip().partition(" ")
        if host == os.uname().nodename:
            os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except (OSError, ValueError, OverflowError):
        return True
    return True


def _told(path: Path) -> str:
    """Return what the holder wrote about itself."""
    try:
        pid, _, host = path.read_text(encoding="utf-8").strip().partition(" ")
        since = stamp(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    except (OSError, UnicodeDecodeError):
        return "another process"
    if not pid:
        return "another process"
    own = pid == str(os.getpid()) and host == os.uname().nodename
    return f"{'this process,' if own else 'process'} {pid} on {host}, since {since}"
