"""Processes: started in a session of their own, read to the end, and gone when they are done."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import subprocess
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from flownb.runtimes.base import Printed

PIPE_GRACE: Final = 0.25
"""Seconds that are waited for the rest of the output once the process has ended, where something else holds the pipe."""
_CHUNK: Final = 1 << 16
_LOOK: Final = 0.02
_GIVE_UP: Final = 3.0
"""Seconds after SIGKILL after which a process is left to the system: it hangs in a system call."""


class Output:
    """One stream of a process: kept whole, and shown line by line while it comes. UTF-8; other bytes become U+FFFD."""

    def __init__(self, mime: str, show: Callable[[Printed], None], change: Callable[[str], str] | None = None) -> None:
        """Say where it goes.

        Args:
            mime: `stdout` or `stderr`.
            show: Takes whole lines, as soon as they are there; the last one also without its end.
            change: Applied to whole lines before they are shown.
        """
        self._mime = mime
        self._show = show
        self._change = change
        self._bytes = bytearray()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def take(self, data: bytes) -> None:
        """Take the next bytes; none: the stream is at its end."""
        self._bytes += data
        text = self._line + self._decoder.decode(data, final=not data)
        end = max(text.rfind("\n"), text.rfind("\r")) + 1 if data and len(text) < _CHUNK else len(text)
        self._line = text[end:]
        if end:
            self._show(Printed(self._mime, self._changed(text[:end])))

    def whole(self) -> str:
        """Return all of it."""
        return self._bytes.decode("utf-8", "replace")

    def last_line(self) -> str:
        """Return the last line that is not blank; empty where there is none."""
        tail = self._bytes[-_CHUNK:].decode("utf-8", "replace").rstrip()
        return self._changed(tail[tail.rfind("\n") + 1 :]).strip()

    def _changed(self, text: str) -> str:
        return self._change(text) if self._change else text


def start(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], *files: int
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, with an empty standard input.

    Args:
        arguments: The program, found on the environment's PATH, and its arguments.
        folder: Where it runs.
        environment: All of its variables.
        files: Open files that it shares, under the same numbers.
    """
    return subprocess.Popen(
        arguments,
        bufsize=0,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        pass_fds=files,
        start_new_session=True,
    )


async def finish(process: subprocess.Popen[bytes], stdout: Output, stderr: Output, kill_after: float) -> int:
    """Read what a process prints, wait for its end, end what it left in its group, and return its exit code.

    When this is cancelled the whole group gets SIGTERM, and SIGKILL `kill_after` seconds later or when this is
    cancelled again; CancelledError goes on when it is gone.
    """
    running = _Running(process, stdout, stderr)
    try:
        await running.exited
        await asyncio.wait(running.streams, timeout=PIPE_GRACE)
    finally:
        if not running.is_gone_after(signal.SIGTERM):
            await _through(running.end(kill_after), running.hurry)
        running.close()
    return process.returncode


class _Running:
    """A process, and the readers of its pipes on this loop."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Output, stderr: Output) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._hurry = False
        self._pipes: dict[int, IO[bytes]] = {}
        self.streams: list[asyncio.Future[None]] = []
        self.exited: asyncio.Future[None] = self._loop.create_future()
        for pipe, output in ((process.stdout, stdout), (process.stderr, stderr)):
            if pipe is not None:
                self._read(pipe, output)
        self._pidfd = self._watch()

    def _read(self, pipe: IO[bytes], output: Output) -> None:
        number, ended = pipe.fileno(), self._loop.create_future()
        os.set_blocking(number, False)
        self._pipes[number] = pipe
        self.streams.append(ended)

        def take() -> None:
            try:
                data = os.read(number, _CHUNK)
            except BlockingIOError:
                return
            output.take(data)
            if not data:
                self._loop.remove_reader(number)
                self._pipes.pop(number).close()
                if not ended.done():
                    ended.set_result(None)

        self._loop.add_reader(number, take)

    def _watch(self) -> int | None:
        """Have `exited` set when the process ends, without reaping it: its number stays its own."""
        if hasattr(os, "pidfd_open"):
            number = os.pidfd_open(self._process.pid)
            self._loop.add_reader(number, self._exit)
            return number
        wait = self._loop.run_in_executor(None, os.waitid, os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        wait.add_done_callback(lambda _: self._exit())
        return None

    def _exit(self) -> None:
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
        if not self.exited.done():
            self.exited.set_result(None)

    def hurry(self) -> None:
        self._hurry = True

    def is_gone_after(self, number: signal.Signals) -> bool:
        """Send a signal to all of the group and return whether nothing is left of it."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
        return self._is_gone()

    def _is_gone(self) -> bool:
        if self._process.poll() is None:
            return False
        try:
            os.killpg(self._process.pid, 0)
        except (ProcessLookupError, PermissionError):  # None left, or none that is ours to end.
            return True
        return not _is_alive(self._process.pid)

    async def end(self, kill_after: float) -> None:
        """Wait until the group is gone; kill it when the time is over."""
        time = self._loop.time
        kill, give_up = time() + kill_after, time() + kill_after + _GIVE_UP
        while not self._is_gone() and time() < give_up:
            if self._hurry or time() >= kill:
                self.is_gone_after(signal.SIGKILL)
            await asyncio.sleep(_LOOK)

    def close(self) -> None:
        for number, pipe in self._pipes.items():
            self._loop.remove_reader(number)
            pipe.close()
        self._pipes.clear()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)


def _is_alive(group: int) -> bool:
    """Return whether a group has a member that is more than a zombie nobody reaps (containers without an init have those)."""
    if not Path("/proc/self/stat").exists():
        return True
    numbers = [entry.name for entry in os.scandir("/proc") if entry.name.isdigit()]
    return any(_is_living_member(number, group) for number in numbers)


def _is_living_member(number: str, group: int) -> bool:
    try:
        text = Path("/proc", number, "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:  # It has ended meanwhile.
        return False
    # proc(5): pid (comm) state ppid pgrp …, and comm may hold anything.
    state, _, member_of = text.rpartition(")")[2].split()[:3]
    return int(member_of) == group and state not in "ZX"


async def _through(work: Coroutine[None, None, None], hurry: Callable[[], None]) -> None:
    """Await work to its end even when this is cancelled meanwhile: then `hurry` is called, and the cancelling goes on after it."""
    task = asyncio.ensure_future(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
            hurry()
    if cancelled:
        raise asyncio.CancelledError
    task.result()
