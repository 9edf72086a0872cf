"""The journal of a run: what happened, one event a line, on the disk before anything relies on it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError
from pydantic_core import from_json

from flownb.errors import FlowStateError
from flownb.model.events import EVENTS, FORMAT, Event, RunResumed, RunStarted, RunStatus
from flownb.model.state import RunState
from flownb.secrets import Redactor
from flownb.store.files import TO_WRITE, Sync, sync_folder
from flownb.store.lock import RunLock, holder
from flownb.store.paths import RunPaths
from flownb.store.storable import storable

_GOES_ON: Final = b" "
"""Ends each line of a batch but its last. What a power cut made of a batch on its way to the disk can so be told from a
journal that someone damaged: only the former ends in the last batch."""


class Journal:
    """The one writer of a run's journal. It holds the run's lock until `close`; not for two threads at once."""

    def __init__(self, paths: RunPaths, lock: RunLock, size: int, sync: Sync, redactor: Redactor) -> None:
        """Use `create` or `open_for_append`."""
        self._paths = paths
        self._lock = lock
        self._size = size
        self._sync = sync
        self._redactor = redactor
        self._broken = False
        self._file = os.open(paths.journal, os.O_WRONLY | os.O_APPEND)

    @classmethod
    def create(cls, paths: RunPaths, *, sync: Sync = os.fsync, redactor: Redactor | None = None) -> Self:
        """Begin the journal of a new run.

        Args:
            paths: The run, as `create_run` made it.
            sync: What brings a descriptor to the disk.
            redactor: Knows the secrets; None: there are none.

        Raises:
            FlowStateError: It has a journal, is held by someone, or nothing can be written.
        """
        lock = RunLock(paths)
        with _given_back_on_error(lock, f"cannot make the journal {paths.journal}"):
            _refuse_begun(paths)
            paths.journal.write_bytes(b"")
            sync_folder(paths.folder, sync)
            return cls(paths, lock, 0, sync, redactor or Redactor())

    @classmethod
    def open_for_append(cls, paths: RunPaths, *, sync: Sync = os.fsync, redactor: Redactor | None = None) -> Self:
        """Go on with a run's journal; what of its end is torn is cut off.

        Args:
            paths: The run.
            sync: What brings a descriptor to the disk.
            redactor: Knows the secrets; None: there are none.

        Raises:
            FlowStateError: Someone holds the run (it says who), there is no journal, or it cannot be read or written.
        """
        if not paths.journal.exists():
            raise _missing(paths.journal)
        lock = RunLock(paths)
        with _given_back_on_error(lock, f"cannot write the journal {paths.journal}"):
            size = _scan(_content(paths.journal), paths.journal)[1]
            if size < paths.journal.stat().st_size:
                os.truncate(paths.journal, size)
            return cls(paths, lock, size, sync, redactor or Redactor())

    @property
    def held(self) -> int | None:
        """The descriptor that holds the run's lock: a process that shares it holds the lock too. None: it is given back."""
        return self._lock.descriptor

    def append(self, events: Sequence[Event]) -> Sequence[Event]:
        """Store events, all with one write and one sync, and return them as they are stored.

        It blocks until they are on the disk. When it raises, none of them happened: the journal is as before.

        Args:
            events: What happened, in order.

        Returns:
            What to fold into the state, so that it equals the journal's: the same events, but for those with a value
            that holds a secret or cannot be stored (see `storable`).

        Raises:
            FlowStateError: They cannot be written, as on a full disk.
        """
        if not events:
            return events
        stored = [storable(event, self._redactor) for event in events]
        self._write((_GOES_ON + b"\n").join([line for _, line in stored]) + b"\n")
        return [event for event, _ in stored]

    def close(self) -> None:
        """Close the journal and give the run's lock back; harmless when it was closed before."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
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
            written = os.write(self._file, data)
            while written < len(data):
                written += os.write(self._file, data[written:])
            try:
                self._sync(self._file)
            except OSError:
                self._broken = True  # Nobody knows what is on the disk now, and asking again gives no answer.
                raise
        except BaseException as error:
            # Also an interrupt: whoever gets it believes that nothing was stored.
            self._take_back()
            if isinstance(error, OSError):
                raise FlowStateError(
                    f"cannot write the journal {self._paths.journal}: {error}",
                    f"nothing that was done is lost; when it can be written again: flownb resume {self._paths.run_id}",
                ) from error
            raise
        self._size += len(data)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._broken = True  # Readers drop a torn end, but nothing may follow it.
        with suppress(OSError):
            os.fsync(self._file)


def read_journal(path: Path) -> list[Event]:
    """Return the events of a journal; what of its end is torn is left out.

    Args:
        path: The journal.

    Raises:
        FlowStateError: It is missing, damaged before its end, or of a newer format than this flownb knows.
    """
    return _scan(_content(path), path)[0]


def fold(events: Iterable[Event]) -> RunState:
    """Return what events add up to.

    Args:
        events: From a run's first on.
    """
    state = RunState()
    for event in events:
        state.apply(event)
    return state


def load_state(paths: RunPaths) -> RunState:
    """Return the state of a run, from its journal; `interrupted` where it says running and nobody holds it.

    A run that died before its first event has no `started_at`.

    Args:
        paths: The run.

    Raises:
        FlowStateError: As `read_journal`.
    """
    if not paths.journal.exists() and not paths.snapshot.exists() and paths.folder.is_dir():
        return RunState(paths.run_id, paths.workflow, RunStatus.INTERRUPTED)
    state = fold(read_journal(paths.journal))
    if state.status is RunStatus.RUNNING and holder(paths) is None:
        state = fold(read_journal(paths.journal))  # It may have ended in between.
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


def _refuse_begun(paths: RunPaths) -> None:
    if paths.journal.exists() and read_journal(paths.journal):
        raise FlowStateError(
            f"run '{paths.run_id}' has a journal already: {paths.journal}",
            f"go on with it: flownb resume {paths.run_id}",
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise _missing(path) from error
    except OSError as error:
        raise FlowStateError(f"cannot read the journal {path}: {error}", "make it readable") from error


def _missing(path: Path) -> FlowStateError:
    return FlowStateError(
        f"the journal {path} is missing", "without it only the state file tells of the run: start a new one"
    )


def _scan(data: bytes, path: Path) -> tuple[list[Event], int]:
    """Return a journal's events and how many bytes hold them."""
    events: list[Event] = []
    size = 0
    lines = data.split(b"\n")
    lines.pop()  # After the last line break: nothing, or a torn line.
    for index, line in enumerate(lines):
        try:
            event = EVENTS.validate_json(line)
        except ValidationError as error:
            content = _object(line)
            if content is None and all(later.endswith(_GOES_ON) for later in lines[index:-1]):
                break
            raise _unreadable(path, index + 1, content, error) from error
        if isinstance(event, RunStarted | RunResumed) and event.format > FORMAT:
            raise _newer(path, index + 1, event.format)
        events.append(event)
        size += len(line) + 1
    return events, size


def _object(line: bytes) -> dict[str, object] | None:
    """Return what a line holds; None: no JSON object."""
    try:
        content = from_json(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _unreadable(path: Path, line: int, content: dict[str, object] | None, error: ValidationError) -> FlowStateError:
    """Return the error for a line that was written whole and is no event."""
    written = content.get("format") if content else None
    if isinstance(written, int) and written > FORMAT:
        return _newer(path, line, written)
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return FlowStateError(
        f"{path}:{line}: not an event: {where + ': ' if where else ''}{first['msg']}",
        "it was not written by flownb, or was damaged; restore the file, or start a new run",
    )


def _newer(path: Path, line: int, written: int) -> FlowStateError:
    return FlowStateError(
        f"{path}:{line}: the journal has format {written}, this flownb reads up to format {FORMAT}",
        "use the flownb that wrote it, or a newer one",
    )
