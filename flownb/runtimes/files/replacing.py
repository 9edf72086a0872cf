"""Files of the person's own, written whole or not at all, with those that a killed writer left beside them cleared away."""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from flownb.runtimes.files.halting import Halt
from flownb.runtimes.files.sink import Sink, packing
from flownb.store.files import MARK, Disk, discard, kind_of, open_file, replacing, sync_folder

_FOLDER_MODE: Final = 0o777
_FILE_MODE: Final = 0o666
_POLL_S: Final = 0.01
_STALE_S: Final = 60.0
"""Seconds after which a half-written file without an owner is cleared away: a new one gets its lock a moment after its name."""
_CHUNK: Final = 1 << 20


class Leftovers:
    """What killed writers left in folders, which are looked through once. Thread-safe."""

    def __init__(self) -> None:
        self._names: dict[Path, tuple[str, ...]] = {}

    def clear(self, path: Path, disk: Disk) -> None:
        """Take away what a killed writer of a file left beside it; what is being written has its owner's lock. Blocks."""
        names = self._names.get(path.parent)
        if names is None:
            with suppress(OSError):
                names = tuple(each.name for each in path.parent.iterdir() if each.name.endswith(MARK))
            names = self._names.setdefault(path.parent, names or ())
        pattern = re.compile(rf"\.{re.escape(path.name[:200])}\.[0-9a-f]{{12}}{re.escape(MARK)}") if names else None
        for name in filter(pattern.fullmatch, names) if pattern else ():
            _clear_one(path.with_name(name), disk)


@dataclass(frozen=True, slots=True)
class Written:
    """What was written."""

    size: int
    """Bytes of the file as it is now."""
    offset: int
    """Where what was written begins, in bytes."""
    digest: str
    """The sha256 of what was written, in hexadecimal."""


def write_file(
    path: Path,
    fill: Callable[[BinaryIO], None],
    disk: Disk,
    halt: Halt,
    left: Leftovers,
    *,
    packed: bool = False,
    append: bool = False,
) -> Written:
    """Write a whole file: whoever reads it, also after a crash, sees the old one or the new one. Blocks.

    The mode is the old one's, else what the umask leaves; folders that are missing are made. With `append` what is there stays, a
    line break is put behind it where there is none, and nobody else of flownb adds to a file of that folder meanwhile.

    Args:
        path: The file, symbolic links resolved.
        fill: Writes the content.
        disk: What writes.
        halt: Ends the writing; the old file is still there then.
        left: What killed writers left.
        packed: Whether the content is packed as gzip.
        append: Whether the content comes behind what is there.

    Raises:
        OSError: It cannot be written; the old one is still there.
        Halted: The node was cancelled; likewise.
    """
    _make_folder(path.parent, disk)
    left.clear(path, disk)
    with _held(path.parent, halt) if append else nullcontext():
        found = kind_of(path, disk)
        if found not in ("", "a file"):
            raise OSError(f"{found} stands in its place")
        with replacing(path, disk, _FILE_MODE) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # Whoever clears away sees that it has an owner.
            if found:
                os.fchmod(descriptor, stat.S_IMODE(disk.stat(path).st_mode))
            offset = _copy(path, descriptor, disk, halt, packed=packed) if append and found else 0
            sink = Sink(descriptor, disk, halt)
            with packing(sink, packed=packed) as file:
                fill(file)
            halt.check()
            written = Written(offset + sink.size, offset, sink.digest)
    return written


def _copy(path: Path, descriptor: int, disk: Disk, halt: Halt, *, packed: bool) -> int:
    """Copy what a file holds, with a line break at its end; return how many bytes that is."""
    sink, last = Sink(descriptor, disk, halt), b"\n"
    source = open_file(path, os.O_RDONLY, disk)
    try:
        while chunk := disk.read(source, _CHUNK):
            sink.write(chunk)
            last = chunk[-1:]
    finally:
        os.close(source)
    if last != b"\n" and not packed:
        sink.write(b"\n")
    return sink.size


def _make_folder(folder: Path, disk: Disk) -> None:
    """Make a folder and those above it that are missing; each name is on the disk on return."""
    if folder.is_dir():
        return
    _make_folder(folder.parent, disk)
    with suppress(FileExistsError):
        disk.make(folder, _FOLDER_MODE)
    sync_folder(folder.parent, disk)


@contextmanager
def _held(folder: Path, halt: Halt) -> Iterator[None]:
    """Hold a folder, so that only one adds to a file in it at a time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                halt.check()
                time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _clear_one(beside: Path, disk: Disk) -> None:
    with suppress(OSError):
        descriptor = open_file(beside, os.O_RDONLY, disk)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.time() - os.fstat(descriptor).st_mtime > _STALE_S:
                discard(beside, disk)
        finally:
            os.close(descriptor)
