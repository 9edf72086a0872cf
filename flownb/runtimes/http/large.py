"""A body that goes to the disk while it comes: no more of it is held than a few stretches."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, Full, Queue
from typing import BinaryIO, Final

from flownb.artifacts.kind import Put
from flownb.artifacts.scalars import BYTES_SHOWN, bytes_fields
from flownb.errors import NodeError
from flownb.runtimes.base import PutValue
from flownb.secrets import Redactor

_AHEAD: Final = 8
"""Stretches that may wait to be written."""
_WAIT_S: Final = 0.002
_WIDEST: Final = 12
"""Bytes that one character of a secret may take, escaped or encoded."""


class _Dropped(Exception):  # noqa: N818 it is raised and caught here
    """The body will not come to its end: nothing is to be left of its file."""


class Spill:
    """One body on its way into the run's store. Used on the loop; a thread of its own writes."""

    def __init__(self, put: Put, redactor: Redactor) -> None:
        """Begin a file.

        Args:
            put: Puts a file into the store.
            redactor: Knows the secrets, which are kept in no file.
        """
        self._redactor, self._tail, self._first, self._size = redactor, b"", b"", 0
        self._queue: Queue[bytes | None] = Queue(_AHEAD)
        self._is_dropped = False
        self._pool = ThreadPoolExecutor(1, "flownb-body")
        self._written = asyncio.get_running_loop().run_in_executor(self._pool, put, "bin", self._write)

    async def take(self, chunk: bytes) -> None:
        """Take the next stretch; wait while too many are not written yet.

        Raises:
            NodeError: A secret stands in it.
            OSError: It cannot be written.
        """
        if self._redactor:
            seen = self._tail + chunk
            if self._redactor.holds(seen):
                raise NodeError(
                    "the answer holds a secret and is too large to be kept without it",
                    "`output: text` holds it in memory, where secrets are taken out",
                )
            self._tail = seen[-self._redactor.longest * _WIDEST :]
        if len(self._first) < BYTES_SHOWN:
            self._first += chunk[:BYTES_SHOWN]
        self._size += len(chunk)
        await self._hand_over(chunk)

    async def end(self) -> PutValue:
        """Return what stands for the value, once all of it is on the disk.

        Raises:
            OSError: It cannot be written.
        """
        await self._hand_over(None)
        name = await self._written
        self._pool.shutdown(wait=False)
        return PutValue({"type": "bytes", **bytes_fields(name, self._size, self._first)})

    async def drop(self) -> None:
        """Leave nothing of it. Harmless where it has ended."""
        self._is_dropped = True
        while not self._written.done():
            try:
                self._queue.put_nowait(None)
            except Full:
                try:
                    self._queue.get_nowait()
                except Empty:
                    continue
            await asyncio.wait({self._written}, timeout=_WAIT_S)
        self._written.cancelled() or self._written.exception()
        self._pool.shutdown(wait=False)

    async def _hand_over(self, chunk: bytes | None) -> None:
        while True:
            try:
                return self._queue.put_nowait(chunk)
            except Full:
                await asyncio.wait({self._written}, timeout=_WAIT_S)
                if self._written.done():
                    await self._written  # Raises what went wrong.

    def _write(self, file: BinaryIO) -> None:
        """Write what comes, on the thread."""
        while (chunk := self._queue.get()) is not None and not self._is_dropped:
            file.write(chunk)
        if self._is_dropped:
            raise _Dropped
