"""The files that hold a run's values: each named by its hash, whole or not there, and read only when they match it."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import RLock, Semaphore, Thread
from typing import BinaryIO, Final, cast

from flownb.artifacts.kind import Refused
from flownb.store.files import (
    DISK,
    MARK,
    PRIVATE,
    Disk,
    discard,
    keep_private,
    kind_of,
    make_folder,
    open_file,
    read_file,
    sync_folder,
    write_all,
    write_private,
)

LARGEST_BYTES: Final = 1 << 36
"""Of one file: 64 GiB. What is larger is not put, and not read."""

_NAME: Final = re.compile(r"([0-9a-f]{64})\.[a-z0-9]{1,16}", re.ASCII)
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,16}", re.ASCII)
_CHUNK: Final = 1 << 20
"""Bytes that are written, and hashed in another thread, at a time."""
_AHEAD: Final = 64
"""Chunks that may wait to be hashed."""
_SMALL: Final = 1 << 18
"""Bytes up to which hashing takes less time than to start a thread."""
_REMEDY: Final = "run the node that made it again, with `--from` and its name"


class ArtifactStore:
    """The artifacts of one run. Thread-safe; every call blocks while it reads or writes."""

    def __init__(self, folder: Path, disk: Disk = DISK) -> None:
        """Touch nothing: the folder is made when the first file is put.

        Args:
            folder: `artifacts` in the run's own folder.
            disk: What reads and writes.
        """
        self._folder, self._disk = folder, disk
        self._verified: dict[str, os.stat_result] = {}
        self._passing: dict[str, int] = {}
        self._lock = RLock()

    def put_passing(self, extension: str, writer: Callable[[BinaryIO], None]) -> str:
        """Do what `put` does, for a value that is to be dropped: `drop` takes away what only this put."""
        return self._put(extension, writer, is_passing=True)

    def put(self, extension: str, writer: Callable[[BinaryIO], None]) -> str:
        """Write a file and return its name, `<sha256>.<extension>`; on return it is on the disk under that name.

        What is there already is not written a second time. Where it cannot be written, nothing is left of it.

        Args:
            extension: 1 to 16 small letters or digits.
            writer: Writes the bytes, in order, and nothing else; what it raises is passed on.

        Raises:
            OSError: It cannot be written.
        """
        return self._put(extension, writer, is_passing=False)

    def _put(self, extension: str, writer: Callable[[BinaryIO], None], *, is_passing: bool) -> str:
        assert _EXTENSION.fullmatch(extension), extension
        make_folder(self._folder, self._disk)
        beside = self._folder / f".{secrets.token_hex(8)}{MARK}"
        descriptor = open_file(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, self._disk, PRIVATE)
        try:
            try:
                keep_private(descriptor)
                name, size, is_synced = self._filled(descriptor, extension, writer)
                if not is_synced:
                    self._disk.sync(descriptor)
                self._name(beside, name, size, is_passing=is_passing)
            finally:
                os.close(descriptor)
        except BaseException:
            discard(beside, self._disk)
            raise
        sync_folder(self._folder, self._disk)
        return name

    def _name(self, beside: Path, name: str, size: int, *, is_passing: bool) -> None:
        """Give a written file its name, or take it away where a whole one stands there."""
        with self._lock:
            if is_new := not self._stands(name, size):
                self._disk.move(beside, self._folder / name)
            if not is_passing:
                self._passing.pop(name, None)
            elif is_new or name in self._passing:
                self._passing[name] = self._passing.get(name, 0) + 1
        if not is_new:
            discard(beside, self._disk)

    def _filled(self, descriptor: int, extension: str, writer: Callable[[BinaryIO], None]) -> tuple[str, int, bool]:
        """Write a file, and return its name, its bytes, and whether they are on the disk."""
        sink = _Sink(descriptor, self._disk)
        is_synced = False
        try:
            writer(cast("BinaryIO", sink))  # As far as anybody can write to one.
            if sink.is_hashing:  # Meanwhile the disk has something to do.
                self._disk.sync(descriptor)
                is_synced = True
        finally:
            digest = sink.finish()
        return f"{digest}.{extension}", sink.size, is_synced

    def open(self, name: str) -> Path:
        """Return where a file is, once it was seen to match its name; it is read for that once in a process.

        Args:
            name: As `put` returned it.

        Raises:
            Refused: It is missing, damaged, too large, or no such name.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise Refused(f"{str(name)[:80]!r} is no name of a stored value", _REMEDY)
        path = self._folder / name
        if (kind := kind_of(self._folder, self._disk)) not in ("a folder", ""):
            raise Refused(f"the stored value {name} cannot be read: {kind} stands in place of its folder", _REMEDY)
        try:
            found = self._disk.stat(path)
            seen = self._verified.get(name)
            if seen is None or not _same(seen, found):
                self._verify(path, match[1], name)
        except OSError as error:
            kind = _kind(path)
            why = f"{kind} stands in its place" if kind not in ("", "a file") else error.strerror or str(error)
            raise Refused(f"the stored value {name} cannot be read: {why}", _REMEDY) from error
        return path

    @property
    def passing(self) -> set[str]:
        """The names of files that were only put to pass."""
        with self._lock:
            return set(self._passing)

    def expect(self, names: Iterable[str]) -> None:
        """Learn of files that an earlier process only put to pass; one that several values name comes as often."""
        with self._lock:
            for name in names:
                self._passing[name] = self._passing.get(name, 0) + 1

    def adopt(self, other: ArtifactStore, name: str) -> None:
        """Take over a file of another run: by a second name of it where that can be, else by a copy.

        Raises:
            OSError: It is not there, or damaged, or it cannot be kept.
        """
        try:
            path = other.open(name)
        except Refused as error:
            raise OSError(errno.ENOENT, error.message) from error
        make_folder(self._folder, self._disk)
        if not self._stands(name, self._disk.stat(path).st_size):
            try:
                self._disk.link(path, self._folder / name)
            except OSError:
                write_private(self._folder / name, read_file(path, self._disk), self._disk)
        sync_folder(self._folder, self._disk)
        with self._lock:
            self._passing.pop(name, None)

    def drop(self, name: str, *, for_good: bool = False) -> None:
        """Take away a file that was put to pass, once it was dropped as often as it was put; one that `put` named stays.

        Args:
            name: The file.
            for_good: Whether nobody needs it any more, however often it was put.
        """
        with self._lock:
            left = self._passing.get(name, 0) - 1
            if left > 0 and not for_good:
                self._passing[name] = left
            elif self._passing.pop(name, 0):
                discard(self._folder / name, self._disk)

    def _stands(self, name: str, size: int) -> bool:
        """Return whether there is a file of that name already that matches it; another in its place is put away by a move."""
        path = self._folder / name
        if kind_of(path, self._disk) != "a file" or self._disk.stat(path).st_size != size:
            return False
        try:
            self.open(name)
        except Refused:
            return False
        return True

    def _verify(self, path: Path, digest: str, name: str) -> None:
        descriptor = open_file(path, os.O_RDONLY, self._disk)
        try:
            found = os.fstat(descriptor)
            if found.st_size > LARGEST_BYTES:
                raise Refused(f"the stored value {name} is too large: {found.st_size:,} bytes", _REMEDY)
            seen, size = hashlib.sha256(), 0
            while chunk := self._disk.read(descriptor, _CHUNK):
                seen.update(chunk)
                size += len(chunk)
            if seen.hexdigest() != digest:
                raise Refused(f"the stored value {name} is damaged: its {size:,} bytes do not match its name", _REMEDY)
        finally:
            os.close(descriptor)
        with self._lock:
            self._verified[name] = found


def _kind(path: Path) -> str:
    try:
        return kind_of(path)
    except OSError:
        return ""


def _same(seen: os.stat_result, found: os.stat_result) -> bool:
    """Return whether a file is the one that was seen, and was not written to since."""
    names = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode")
    return all(getattr(seen, name) == getattr(found, name) for name in names)


class _Sink(io.RawIOBase):
    """A file that is only written, in order; its hash is worked out meanwhile, in another thread where that pays."""

    def __init__(self, descriptor: int, disk: Disk) -> None:
        super().__init__()
        self._descriptor, self._disk = descriptor, disk
        self._hash = hashlib.sha256()
        self._thread: Thread | None = None
        self._chunks: SimpleQueue[memoryview | None] = SimpleQueue()
        self._ahead = Semaphore(_AHEAD)
        self.size = 0
        """Bytes that were written."""

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override] # bytes of any kind
        """Write all of the bytes. Until `finish` they must stay as they are, or the file does not match its name."""
        view = memoryview(data).cast("B")  # No copy: it would cost as much as the hash.
        for start in range(0, len(view), _CHUNK):
            chunk = view[start : start + _CHUNK]
            self._feed(chunk)
            write_all(self._descriptor, chunk, self._disk)
            self.size += len(chunk)
            if self.size > LARGEST_BYTES:
                raise OSError(errno.EFBIG, f"a value is larger than {LARGEST_BYTES:,} bytes")
        return len(view)

    def finish(self) -> str:
        """Return the hash of all that was written."""
        if self._thread is not None:
            self._chunks.put(None)
            self._thread.join()
            self._thread = None
        return self._hash.hexdigest()

    @property
    def is_hashing(self) -> bool:
        """Whether there was so much that another thread hashes it."""
        return self._thread is not None

    def _feed(self, chunk: memoryview) -> None:
        if self._thread is None and self.size + len(chunk) <= _SMALL:
            self._hash.update(chunk)
            return
        if self._thread is None:
            self._thread = Thread(target=self._digest, daemon=True, name="flownb-hash")
            self._thread.start()
        self._ahead.acquire()
        self._chunks.put(chunk)

    def _digest(self) -> None:
        while (chunk := self._chunks.get()) is not None:
            self._hash.update(chunk)
            self._ahead.release()
