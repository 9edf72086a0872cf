"""The journal of a run: what happened, one event a line, on the disk before anything relies on it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from flownb.errors import FlowStateError
from flownb.model.events import Event, RunFinished, RunStatus, RunWaiting
from flownb.model.state import RunState
from flownb.store.files import DISK, TO_WRITE, Disk, keep_private, kind_of, open_file, read_file, sync_folder, write_all
from flownb.store.folding import fold_run
from flownb.store.lines import join, scan
from flownb.store.lock import RunLock, holder
from flownb.store.paths import RunPaths, check_folders, exists_already, found_at
from flownb.store.storable import Entry

_TO_GO_ON: Final = "nothing that was done is lost; when it can be written again: flownb resume"
_ROOM: Final = 1 << 16
"""Bytes that are made room for at a time."""


class Journal:
    """The one writer of a run's journal. It holds the run's lock until `close`; not for two threads at once."""

    def __init__(self, paths: RunPaths, lock: RunLock, descriptor: int, size: int) -> None:
        """Use `create` or `open_for_append`."""
        self._paths = paths
        self._lock = lock
        self._path = paths.journal
        self._file = descriptor
        self._is = _identity(os.fstat(descriptor))
        self._size = size
        self._room: int | None = size
        os.lseek(descriptor, size, os.SEEK_SET)
        self._broken = False
        self.before: Sequence[Event] = ()
        """What it held when it was opened; whoever has folded it lets it go."""

    @classmethod
    def create(cls, paths: RunPaths) -> Self:
        """Begin the journal of a new run. What is left of one that died before its first event is taken over.

        Args:
            paths: The run, as `create_run` made it.

        Raises:
            FlowStateError: It has begun, is held by someone, or nothing can be written.
        """
        lock = RunLock(paths)
        with _given_back_on_error(lock, f"cannot make the journal {paths.journal}"):
            if kind_of(paths.journal, paths.disk) and read_journal(paths.journal, paths.disk):
                raise exists_already(paths)
            with _closed_on_error(open_file(paths.journal, os.O_WRONLY | os.O_CREAT, paths.disk)) as file:
                keep_private(file)
                paths.disk.truncate(file, 0)
                sync_folder(paths.folder, paths.disk)
                return cls(paths, lock, file, 0)

    @classmethod
    def open_for_append(cls, paths: RunPaths) -> Self:
        """Go on with a run's journal; what of its end is torn is cut off.

        Args:
            paths: The run.

        Raises:
            FlowStateError: Someone holds the run (it says who), there is no journal, or it cannot be read or written.
        """
        check_folders(paths)
        if not found_at(paths.journal, paths.disk):
            raise _missing(paths.journal)
        lock = RunLock(paths)
        with _given_back_on_error(lock, f"cannot write the journal {paths.journal}"):
            before, size = scan(_content(paths.journal, paths.disk), paths.journal)
            with _closed_on_error(open_file(paths.journal, os.O_WRONLY, paths.disk)) as file:
                keep_private(file)
                if size < os.fstat(file).st_size:
                    paths.disk.truncate(file, size)
                made = cls(paths, lock, file, size)
                made.before = before
                return made

    @property
    def held(self) -> int | None:
        """The descriptor that holds the run's lock: a process that shares it holds the lock too. None: it is given back."""
        return self._lock.descriptor

    def append(self, entries: Sequence[Entry]) -> None:
        """Store events, all with one write and one sync.

        It blocks until they are on the disk. When it raises, none of them happened: the journal is as before.

        Args:
            entries: What happened, in order, as `storable` made it.

        Raises:
            FlowStateError: They cannot be written, as on a full disk.
        """
        if entries:
            self._write(join([entry.line for entry in entries]))
            if isinstance(entries[-1].event, RunWaiting | RunFinished):
                self._give_room_back()  # Before the state file is written: the journal is not to look newer.

    def close(self) -> None:
        """Close the journal and give the run's lock back; harmless when it was closed before."""
        if self._file >= 0:
            self._give_room_back()
            descriptor, self._file = self._file, -1
            try:
                os.close(descriptor)
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _write(self, data: bytes) -> None:
        if self._broken or self._file < 0:
            why = "an earlier write failed" if self._broken else "it is closed"
            raise FlowStateError(
                f"cannot write the journal {self._paths.journal}: {why}",
                f"go on with: flownb resume {self._paths.run_id}",
            )
        try:
            self._make_room(len(data))
            write_all(self._file, data, self._paths.disk)
            try:
                self._paths.disk.sync_data(self._file)
            except OSError:
                self._broken = True  # Nobody knows what is on the disk now, and asking again gives no answer.
                raise
            self._refuse_lost()
        except BaseException as error:
            # Also an interrupt: whoever gets it believes that nothing was stored.
            self._take_back()
            if isinstance(error, OSError):
                raise FlowStateError(
                    f"cannot write the journal {self._paths.journal}: {error}", f"{_TO_GO_ON} {self._paths.run_id}"
                ) from error
            raise
        self._size += len(data)

    def _make_room(self, size: int) -> None:
        """Let the file be large enough for what is to be written: then a sync need not tell of its growth.

        What is not written yet are zeros, which readers take for the end. Where no room can be made, the file grows
        with each write; whether the disk is full is said by the write.
        """
        if self._room is not None and self._size + size > self._room:
            missing = self._size + size - self._room
            step = missing + -missing % _ROOM
            try:
                self._paths.disk.allocate(self._file, self._room, step)
                self._room += step
            except OSError:
                self._room = None

    def _give_room_back(self) -> None:
        """Let the file end where its last line does; where it cannot, the zeros behind that do no harm."""
        if not self._broken and self._size < os.fstat(self._file).st_size:
            with suppress(OSError):
                self._paths.disk.truncate(self._file, self._size)
                self._room = self._size

    def _refuse_lost(self) -> None:
        """Raise where the journal no longer is the file of its name: what is written there is lost."""
        try:
            found = _identity(self._paths.disk.stat(self._path))
        except (FileNotFoundError, NotADirectoryError):
            found = None
        if found != self._is:
            self._broken = True
            raise FlowStateError(
                f"the journal {self._paths.journal} was removed or replaced while the run went on",
                "put the state folder back and resume the run, or start a new one",
            )

    def _take_back(self) -> None:
        try:
            self._paths.disk.truncate(self._file, self._size)
            os.lseek(self._file, self._size, os.SEEK_SET)
            self._room = None if self._room is None else self._size
        except OSError:
            self._broken = True  # Readers drop a torn end, but nothing may follow it.
        with suppress(OSError):
            self._paths.disk.sync_data(self._file)


def read_journal(path: Path, disk: Disk = DISK) -> list[Event]:
    """Return the events of a journal; what of its end is torn is left out.

    Args:
        path: The journal.
        disk: What reads it.

    Raises:
        FlowStateError: It is missing, damaged before its end, or of a newer format than this flownb knows.
    """
    return scan(_content(path, disk), path)[0]


def fold(events: Iterable[Event]) -> RunState:
    """Return what events add up to.

    Args:
        events: From a run's first on.
    """
    state = RunState()
    for event in events:
        state.apply(event)
    return state


def read_state(paths: RunPaths) -> RunState:
    """Return what a run's journal says, whoever holds the run.

    Raises:
        FlowStateError: As `read_journal`; or it is another run's, or says what cannot be.
    """
    return fold_run(read_journal(paths.journal, paths.disk), paths)


def has_begun(paths: RunPaths) -> bool:
    """Return whether a first event of a run was stored.

    Raises:
        FlowStateError: As `read_journal`, where there is a journal.
    """
    check_folders(paths)
    return bool(found_at(paths.journal, paths.disk) and read_journal(paths.journal, paths.disk))


def load_state(paths: RunPaths) -> RunState:
    """Return the state of a run, from its journal; `interrupted` where it says running and nobody holds it.

    A run that died before its first event has no `started_at`.

    Args:
        paths: The run.

    Raises:
        FlowStateError: As `read_journal`.
    """
    check_folders(paths)
    disk = paths.disk
    if not found_at(paths.journal, disk) and not found_at(paths.snapshot, disk) and found_at(paths.folder, disk):
        return RunState(paths.run_id, paths.workflow, RunStatus.INTERRUPTED)
    state = read_state(paths)
    if state.status is RunStatus.RUNNING and holder(paths) is None:
        state = read_state(paths)  # It may have ended in between.
        if state.status is RunStatus.RUNNING:
            state.status = RunStatus.INTERRUPTED
    if not state.run_id:
        state.run_id, state.workflow = paths.run_id, paths.workflow
    return state


@contextmanager
def _given_back_on_error(lock: RunLock, trouble: str) -> Iterator[None]:
    """Give a lock back when what follows fails, and say what the trouble was."""
    try:
        yield
    except OSError as error:
        lock.release()
        raise FlowStateError(f"{trouble}: {error}", TO_WRITE) from error
    except BaseException:
        lock.release()
        raise


@contextmanager
def _closed_on_error(descriptor: int) -> Iterator[int]:
    """Close a file when what follows fails."""
    try:
        yield descriptor
    except BaseException:
        os.close(descriptor)
        raise


def _content(path: Path, disk: Disk) -> bytes:
    try:
        return read_file(path, disk)
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, MemoryError) as error:
        raise FlowStateError(
            f"cannot read the journal {path}: {str(error) or 'it is too large'}", "make it readable"
        ) from error


def _identity(found: os.stat_result) -> tuple[int, int]:
    """Return what tells a file from every other, whatever its name."""
    return found.st_dev, found.st_ino


def _missing(path: Path) -> FlowStateError:
    return FlowStateError(
        f"the journal {path} is missing", "without it only the state file tells of the run: start a new one"
    )
