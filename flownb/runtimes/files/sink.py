"""A file that is written from front to back: every byte counted and hashed, packed where it is gzip, until it is to end."""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, Final, cast

from flownb.runtimes.files.halting import Halt
from flownb.store.files import Disk, write_all

_CHUNK: Final = 1 << 20


class Sink(io.RawIOBase):
    """Writes to a descriptor, which stays open."""

    def __init__(self, descriptor: int, disk: Disk, halt: Halt) -> None:
        """Begin.

        Args:
            descriptor: Where to.
            disk: What writes.
            halt: Ends the writing.
        """
        super().__init__()
        self._descriptor, self._disk, self._halt = descriptor, disk, halt
        self._hash = hashlib.sha256()
        self.size = 0
        """Bytes that were written."""

    @property
    def digest(self) -> str:
        """The sha256 of what was written, in hexadecimal."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self.size

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override] # bytes of any kind
        """Write all of the bytes.

        Raises:
            Halted: The node was cancelled.
            OSError: They cannot be written.
        """
        view = memoryview(data).cast("B")
        for start in range(0, len(view), _CHUNK):
            self._halt.check()
            part = view[start : start + _CHUNK]
            self._hash.update(part)
            write_all(self._descriptor, part, self._disk)
        self.size += len(view)
        return len(view)


@contextmanager
def packing(sink: Sink, *, packed: bool) -> Iterator[BinaryIO]:
    """Yield what takes the content of a file, and packs it as gzip where that is wanted; equal content gives equal bytes."""
    file: Any = (
        gzip.GzipFile("", "wb", 6, cast("BinaryIO", sink), mtime=0) if packed else io.BufferedWriter(sink, _CHUNK)
    )
    try:
        yield file
        file.flush()
        file.close() if packed else file.detach()
    except BaseException:
        with suppress(Exception):  # What is left in it would be written, and fail, where nobody looks.
            file.close() if packed else file.detach()
        raise
