"""Processes: watched by a warden, read to the end, and gone when they are done."""

from __future__ import annotations

import asyncio
import codecs
import os
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from flownb.runtimes import warden
from flownb.runtimes.base import Printed

PIPE_GRACE: Final = 0.25
"""Seconds that are waited for the rest of the output once the process has ended, where something else holds the pipe."""
_CHUNK: Final = 1 << 16
_NO_ANSWER: Final = 2 * warden.GIVE_UP
"""Seconds more than a warden takes for everything, after which it is killed itself: somebody has stopped it."""


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
        self._is_shown = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._line = ""

    def take(self, data: bytes) -> None:
        """Take the next bytes; none: the stream is at its end. Raises nothing: what cannot be shown is shown no more."""
        self._bytes += data
        text = self._line + self._decoder.decode(data, final=not data)
        end = max(text.rfind("\n"), text.rfind("\r")) + 1 if data and len(text) < _CHUNK else len(text)
        self._line = text[end:]
        if end and self._is_shown:
            try:
                self._show(Printed(self._mime, self._changed(text[:end])))
            except Exception:  # noqa: BLE001 A stranger's function: the script does not depend on who looks at it.
                self._is_shown = False
                traceback.print_exc()

    def whole(self) -> str:
        """Return all of it."""
        return self._bytes.decode("utf-8", "replace")

    def last_line(self) -> str:
        """Return the last line that is not blank; empty where there is none."""
        whole = self._bytes.rstrip()  # Cut before secrets are taken out it could begin with half of one.
        return self._changed(whole[whole.rfind(b"\n") + 1 :].decode("utf-8", "replace")).strip()

    def _changed(self, text: str) -> str:
        return self._change(text) if self._change else text


def start(
    arguments: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    files: Sequence[int],
    kill_after: float,
    held: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start a command in a session and a group of its own, with an empty standard input; return its warden.

    The warden ends as the command does, once all of the command's group has ended; SIGTERM has it end everything that came
    of the command, also what left the group. When this process is gone, however it ended, the warden kills all of that.

    Args:
        arguments: The program, found on the environment's PATH, and its arguments.
        folder: Where it runs.
        environment: All of its variables.
        files: Open files that it shares, under the same numbers.
        kill_after: Seconds from SIGTERM to SIGKILL.
        held: A descriptor that the warden keeps open to its end: the run's lock; None: nothing.

    Raises:
        FileNotFoundError: There is no such program.
    """
    if shutil.which(arguments[0], path=environment.get("PATH", os.defpath)) is None:
        raise FileNotFoundError(arguments[0])
    code = os.open(warden.__file__, os.O_RDONLY)
    try:
        return subprocess.Popen(
            # Not by its path: whoever kills all that is called flownb would kill the warden before its charges.
            (
                sys.executable,
                "-I",
                "-S",
                f"/dev/fd/{code}",
                *map(str, (os.getpid(), kill_after, -1 if held is None else held)),
                *arguments,
            ),
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=folder,
            env=environment,
            pass_fds=(*files, code) if held is None else (*files, code, held),
            start_new_session=True,
        )
    finally:
        os.close(code)


async def finish(process: subprocess.Popen[bytes], stdout: Output, stderr: Output, kill_after: float) -> int:
    """Read what a command prints, wait for its end and that of its group, and return its exit code.

    When this is cancelled everything that came of it gets SIGTERM, and SIGKILL `kill_after` seconds later or when this is
    cancelled again; CancelledError goes on when it is gone.

    Args:
        process: The command's warden, as `start` returned it.
        stdout: Takes the standard output.
        stderr: Takes the standard error.
        kill_after: As given to `start`.
    """
    running = _Running(process, stdout, stderr)
    try:
        await asyncio.wait({running.exited})  # Cancelling this does not cancel that: `end` still waits for it.
        await asyncio.wait(running.streams, timeout=PIPE_GRACE)
    finally:
        if process.poll() is None:
            process.terminate()
            await _through(running.end(kill_after), process.terminate)
        running.close()
    return process.returncode


class _Running:
    """A process, and the readers of its pipes on this loop."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Output, stderr: Output) -> None:
        self._loop = asyncio.get_running_loop()
        self._process = process
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

    async def end(self, kill_after: float) -> None:
        """Wait until the warden has ended everything; kill it where it does not."""
        await asyncio.wait({self.exited}, timeout=kill_after + _NO_ANSWER)
        if self._process.poll() is None:
            self._process.kill()
            await self.exited
            self._process.wait()

    def close(self) -> None:
        for number, pipe in self._pipes.items():
            self._loop.remove_reader(number)
            pipe.close()
        self._pipes.clear()
        if self._pidfd is not None:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)


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
