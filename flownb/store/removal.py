"""Taking runs away: after a crash at any moment each is whole or gone, for every reader.

A run has two names, its folder and its state file, and no system takes two names away at once. So what the readers do
not need goes first: with a journal, that is the state file, which they write anew from it; without one, as in a clone,
it is the folder. Then the other name goes, and with it the run. What is in the folder is deleted under a name that
nobody lists; where that breaks off, it is waste, which `waste_in` finds.
"""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flownb.store.files import MARK, found_below, kind_of, read_file, sync_folder
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths, check_folders, found_at

_ARTIFACT: Final = re.compile(r"([0-9a-f]{64}\.)[A-Za-z0-9._-]{1,60}")
_NAMED: Final = re.compile(rb"[0-9a-f]{64}\.")
"""How artifacts are named, whatever the event, and however deep in its values."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much stands somewhere."""

    files: int = 0
    """How many files."""
    size_bytes: int = 0
    """Their bytes."""

    def __add__(self, other: Size) -> Size:
        return Size(self.files + other.files, self.size_bytes + other.size_bytes)


def is_unfinished(path: Path) -> bool:
    """Return whether a name is that of a file that is not whole yet, or of a folder that is being deleted."""
    return path.name.startswith(".") and path.name.endswith(MARK)


def size_at(path: Path) -> Size:
    """Return the size of a file, or of all in a folder; no link is followed, and what is gone has none."""
    try:
        found = path.lstat()
    except OSError:
        return Size()
    if not stat.S_ISDIR(found.st_mode):
        return Size(1, found.st_size)
    inside = [inner.st_size for _, inner in found_below(path) if not stat.S_ISDIR(inner.st_mode)]
    return Size(len(inside), sum(inside))


def size_of(paths: RunPaths) -> Size:
    """Return the size of a run: of its folder and its state file."""
    return size_at(paths.folder) + size_at(paths.snapshot)


def waste_in(paths: RunPaths) -> list[Path]:
    """Return the files in a run's folder that nobody needs: those not whole, and artifacts that no event names.

    They are waste only where no process works on the run, and it has ended.

    Args:
        paths: The run.

    Raises:
        OSError: The journal cannot be read.
    """
    return [*_unfinished(paths), *_unnamed(paths)]


def _unfinished(paths: RunPaths) -> Iterator[Path]:
    for folder in (paths.folder, paths.decisions, paths.artifacts):
        if kind_of(folder, paths.disk) == "a folder":
            yield from (path for path in sorted(folder.glob(f".*{MARK}")) if kind_of(path, paths.disk) == "a file")


def _unnamed(paths: RunPaths) -> Iterator[Path]:
    """Give the artifacts that no event names; without a journal nobody knows, and none is given."""
    if kind_of(paths.artifacts, paths.disk) != "a folder" or kind_of(paths.journal, paths.disk) != "a file":
        return
    kept = {
        path: found[1].encode()
        for path in sorted(paths.artifacts.iterdir())
        if (found := _ARTIFACT.fullmatch(path.name))
    }
    if kept:
        named = set(_NAMED.findall(read_file(paths.journal, paths.disk)))
        yield from (
            path for path, digest in kept.items() if digest not in named and kind_of(path, paths.disk) == "a file"
        )


def remove_run(paths: RunPaths, is_still_over: Callable[[], bool]) -> bool:
    """Take a run away; return whether it was.

    It blocks until the run is gone for good, also after a power cut; `kill -9` leaves it whole or gone.

    Args:
        paths: The run.
        is_still_over: Asked when nobody else can go on with it any more; False: it is left as it is.

    Raises:
        FlowStateError: A process holds the run, or something else stands in place of its folders.
        OSError: It cannot be taken away.
    """
    check_folders(paths)
    disk = paths.disk
    if not found_at(paths.folder, disk):
        if not is_still_over():
            return False
        disk.remove(paths.snapshot)
        sync_folder(paths.snapshot.parent, disk)
        return True
    beside = paths.folder.with_name(f".{paths.run_id}.{secrets.token_hex(6)}{MARK}")
    with RunLock(paths):
        if not is_still_over():
            return False
        has_journal = bool(kind_of(paths.journal, disk))
        if has_journal:
            _remove_state_file(paths)
        disk.move(paths.folder, beside)
        sync_folder(paths.folder.parent, disk)
        # Also with a journal: one that only looked at the run may have written it anew.
        _remove_state_file(paths)
    remove_all(beside, paths)
    return True


def is_shell(paths: RunPaths) -> bool:
    """Return whether a run's folder holds nothing but a lock: one that asked who holds it made it anew, when it was gone.

    A run that is about to begin is none: its folder holds that of its decisions first.
    """
    try:
        names = {path.name for path in paths.folder.iterdir()}
    except OSError:
        return False
    return names == {paths.lock.name} and not kind_of(paths.snapshot, paths.disk)


def _remove_state_file(paths: RunPaths) -> None:
    if kind_of(paths.snapshot, paths.disk):
        with suppress(FileNotFoundError):
            paths.disk.remove(paths.snapshot)
        sync_folder(paths.snapshot.parent, paths.disk)


def remove_all(path: Path, paths: RunPaths) -> None:
    """Take a file away, or a folder with all in it, also where another process does the same.

    Args:
        path: What is no longer needed; a link is taken away itself.
        paths: Any run beside it: what takes it away is its disk.

    Raises:
        OSError: It cannot be taken away.
    """
    while found := kind_of(path, paths.disk):
        with suppress(FileNotFoundError):
            if found == "a folder":
                paths.disk.remove_folder(path)
            else:
                paths.disk.remove(path)
