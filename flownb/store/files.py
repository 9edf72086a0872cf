"""Whole files and folders: on the disk or not, whenever the power goes; no link or pipe is taken for one."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MARK: Final = ".tmp"
"""How the names of files end that are not whole yet."""

TO_WRITE: Final = "make room there, or make it writable, and try again"
"""What to do where something cannot be written."""

PRIVATE: Final = 0o600
"""The mode of every file that is kept of a run, whatever the umask."""
_PRIVATE_FOLDER: Final = 0o700
_SHARED: Final = 0o666
_CAREFUL: Final = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
"""No link is followed, and no pipe waited for."""
_CHUNK: Final = 1 << 20
_KINDS: Final = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def _no_allocation(_descriptor: int, _offset: int, _size: int) -> None:
    raise OSError(errno.EOPNOTSUPP, "this system makes no room in advance")


# macOS has neither.
_SYNC_DATA: Final[Callable[[int], None]] = getattr(os, "fdatasync", os.fsync)
_ALLOCATE: Final[Callable[[int, int, int], None]] = getattr(os, "posix_fallocate", _no_allocation)


@dataclass(frozen=True, slots=True)
class Disk:
    """What the store asks of the operating system, one function a call: a test lets the n-th of them fail."""

    open: Callable[[Path, int, int], int] = os.open
    """Path, flags, mode → descriptor."""
    read: Callable[[int, int], bytes] = os.read
    """Descriptor, most bytes → the next bytes."""
    write: Callable[[int, bytes | memoryview], int] = os.write
    """Writes some of the bytes, and returns how many."""
    sync: Callable[[int], None] = os.fsync
    """Returns when what was written is on the disk."""
    sync_data: Callable[[int], None] = _SYNC_DATA
    """The same, for a file whose name is there already; of what is told about it, only its size."""
    allocate: Callable[[int, int, int], None] = _ALLOCATE
    """Descriptor, offset, bytes: makes room there, filled with zeros. Not every file system can."""
    truncate: Callable[[int, int], None] = os.ftruncate
    """Cuts a file off at a size."""
    stat: Callable[[Path], os.stat_result] = os.lstat
    """Tells what stands at a path; follows no link."""
    scan: Callable[[Path], AbstractContextManager[Iterator[os.DirEntry[str]]]] = os.scandir
    """Lists what is in a folder."""
    make: Callable[[Path, int], None] = os.mkdir
    """Makes a folder."""
    link: Callable[[Path, Path], None] = os.link
    """Gives a file a second name, which must be free."""
    move: Callable[[Path, Path], None] = os.replace
    """Gives a file another name, in place of what has it."""
    remove: Callable[[Path], None] = os.unlink
    """Takes a name away."""
    remove_folder: Callable[[Path], None] = shutil.rmtree
    """Takes a folder away, and all that is in it; follows no link."""


DISK: Final = Disk()
"""The disk itself."""


def kind_of(path: Path, disk: Disk = DISK) -> str:
    """Return what stands at a path, as `a file`; empty where nothing does. Links are not followed."""
    try:
        mode = disk.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return _named(mode)


def _named(mode: int) -> str:
    return next((name for is_it, name in _KINDS if is_it(mode)), "a device")


def names_in(folder: Path, disk: Disk = DISK) -> set[str]:
    """Return the names in a folder; none where it is missing.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with disk.scan(folder) as entries:
            return {entry.name for entry in entries}
    except FileNotFoundError:
        return set()


def open_file(path: Path, flags: int, disk: Disk = DISK, mode: int = PRIVATE) -> int:
    """Open a regular file, and nothing that stands in its place; return its descriptor. Never waits.

    Args:
        path: The file.
        flags: As `os.open`.
        disk: What opens it.
        mode: Its mode, where it is made.

    Raises:
        OSError: It cannot be opened, or is a link, a pipe or the like.
    """
    try:
        descriptor = disk.open(path, flags | _CAREFUL, mode)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # A link; a pipe or a socket.
            raise OSError(error.errno, f"{kind_of(path) or 'something else'} stands in place of a file") from error
        raise
    found = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(found):
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"{_named(found)} stands in place of a file")
    return descriptor


def found_below(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give everything in a folder and in those in it, with what the system tells of it; no link is followed.

    A folder comes before what is in it. What cannot be looked at, or is gone by now, is left out.

    Args:
        folder: The folder; where there is none, nothing is given.
    """
    try:
        with os.scandir(folder) as entries:
            paths = sorted(Path(entry) for entry in entries)
    except OSError:
        return
    for path in paths:
        try:
            found = path.lstat()
        except OSError:
            continue
        yield path, found
        if stat.S_ISDIR(found.st_mode):
            yield from found_below(path)


def read_file(path: Path, disk: Disk = DISK, limit: int | None = None) -> bytes:
    """Return what is in a regular file.

    Args:
        path: The file.
        disk: What reads it.
        limit: Most bytes, from its beginning on; None: all.

    Raises:
        OSError: There is none, it cannot be read, or something else stands in its place.
    """
    descriptor = open_file(path, os.O_RDONLY, disk)
    try:
        parts = []
        left = os.fstat(descriptor).st_size if limit is None else limit
        # One file is read as it was when it was opened: what others append meanwhile is theirs.
        while left > 0 and (part := disk.read(descriptor, min(left, _CHUNK))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | memoryview, disk: Disk = DISK) -> None:
    """Write bytes, all of them, although the system may take them in pieces."""
    view = memoryview(data)
    while view:
        view = view[disk.write(descriptor, view) :]


def keep_private(descriptor: int) -> None:
    """Let nobody but its owner read or write a file, whatever the umask was; where there are no modes, do nothing."""
    with suppress(OSError):
        os.fchmod(descriptor, PRIVATE)


def make_folder(folder: Path, disk: Disk = DISK) -> None:
    """Make a folder that only its owner sees, and those above it that are missing; each name is on the disk on return.

    Raises:
        OSError: It cannot be made, or something else stands in its place.
    """
    found = kind_of(folder, disk)
    if found == "a folder":
        return
    if found:
        raise OSError(errno.ENOTDIR, f"{found} stands in place of a folder: {folder}")
    if not folder.parent.is_dir():  # What lies above the state folder may be a link.
        make_folder(folder.parent, disk)
    with suppress(FileExistsError):
        disk.make(folder, _PRIVATE_FOLDER)
        with suppress(OSError):
            folder.chmod(_PRIVATE_FOLDER)
    sync_folder(folder.parent, disk)


def sync_folder(folder: Path, disk: Disk = DISK) -> None:
    """Return when the names in a folder are on the disk.

    Args:
        folder: The folder; not those inside it.
        disk: What brings it there.
    """
    descriptor = disk.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, 0)
    try:
        disk.sync(descriptor)
    finally:
        os.close(descriptor)


def write_beside(path: Path, data: bytes, disk: Disk = DISK, mode: int = _SHARED) -> Path:
    """Write a file that is to become `path`, and return where it is.

    It is on the disk and whole; its name is nobody else's. Where it cannot be written, nothing is left of it.

    Args:
        path: What it is to become.
        data: What is in it.
        disk: What writes it.
        mode: Its mode; `PRIVATE` whatever the umask, else what the umask leaves of it.

    Raises:
        OSError: It cannot be written.
    """
    with _beside(path, disk, mode) as (beside, descriptor):
        write_all(descriptor, data, disk)
    return beside


@contextmanager
def replacing(path: Path, disk: Disk = DISK, mode: int = _SHARED) -> Iterator[int]:
    """Yield the descriptor of a file that takes a name when the block ends: whoever reads it sees the old one or the new one.

    Args:
        path: The file; its folder exists.
        disk: What writes it.
        mode: As for `write_beside`.

    Raises:
        OSError: It cannot be written; as after any error in the block, the old one is still there.
    """
    with _beside(path, disk, mode) as (beside, descriptor):
        yield descriptor
    _move(beside, path, disk)


@contextmanager
def _beside(path: Path, disk: Disk, mode: int) -> Iterator[tuple[Path, int]]:
    """Yield a new file and its descriptor; it is on the disk when the block ends, and gone where that fails."""
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}{MARK}")
    descriptor = open_file(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, disk, mode)
    try:
        try:
            if mode == PRIVATE:
                keep_private(descriptor)
            yield beside, descriptor
            disk.sync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        discard(beside, disk)
        raise


def write_atomically(path: Path, data: bytes, disk: Disk = DISK, mode: int = _SHARED) -> None:
    """Write a whole file: whoever reads it, also after a crash, sees the old one or the new one.

    Args:
        path: The file; its folder exists.
        data: What is in it.
        disk: What writes it.
        mode: As for `write_beside`.

    Raises:
        OSError: It cannot be written; the old one is still there.
    """
    with replacing(path, disk, mode) as descriptor:
        write_all(descriptor, data, disk)


def _move(beside: Path, path: Path, disk: Disk) -> None:
    try:
        disk.move(beside, path)
    except BaseException:
        discard(beside, disk)
        raise
    sync_folder(path.parent, disk)


def write_private(path: Path, data: bytes, disk: Disk = DISK) -> None:
    """Write a whole file of a run, as `write_atomically`; a link or the like is not written over.

    Raises:
        OSError: It cannot be written, or something else stands in its place.
    """
    found = kind_of(path, disk)
    if found not in ("", "a file"):
        raise OSError(errno.EINVAL, f"{found} stands in place of a file")
    write_atomically(path, data, disk, PRIVATE)


def discard(path: Path, disk: Disk = DISK) -> None:
    """Take a file away that is of no use any more; where that fails, it is left, and does no harm."""
    with suppress(OSError):
        disk.remove(path)
