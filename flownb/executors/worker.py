"""What goes on inside a worker process: bodies come in, what they print and their outcomes go out."""

from __future__ import annotations

import io
import multiprocessing
import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Final, TextIO

from flownb.executors.payload import carry_out, pack_change, take_answer
from flownb.runtimes import warden
from flownb.runtimes.saved import CHANNEL

STDOUT, STDERR, OUTCOME, CHANGE = b"1", b"2", b"=", b"s"
"""The first byte of every message from here says what the rest is: text in UTF-8, an outcome, or a change of `saved`."""
BODY, ANSWER = b"b", b"a"
"""And of those that come: a body, or what became of a change."""
_LONGEST: Final = 8192
"""Characters after which a line is sent before its end."""


def serve(connection: Connection, runner: int, held: Connection | None) -> None:
    """Carry out what comes, one body at a time on the main thread, until nobody is at the other end.

    Then this process, and what its bodies started, is killed: also in the middle of a body. It is the child of the process
    that was started: that one is its warden, and is told by SIGTERM to kill everything.

    Args:
        connection: Where bodies come from.
        runner: The number of the process that started this one.
        held: Holds the run's lock, as long as anything of this lives; None: there is none.
    """
    os.setsid()
    _keep_watched(connection, runner, held)
    _stand_alone()
    sending = threading.Lock()
    outlets = _Outlet(connection, sending, STDOUT, sys.stdout), _Outlet(connection, sending, STDERR, sys.stderr)
    sys.stdout, sys.stderr = outlets
    payloads: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, payloads, answers), daemon=True).start()
    changing = threading.Lock()

    def change(name: str, value: object, is_gone: bool) -> None:  # noqa: FBT001 as flownb.runtimes.saved.Change
        data = pack_change(name, value, is_gone)
        with changing:
            with sending:
                connection.send_bytes(CHANGE + data)
            take_answer(answers.get())

    CHANNEL.set(change)
    while True:
        outcome = carry_out(payloads.get())
        for outlet in outlets:
            outlet.flush()
        with sending:
            connection.send_bytes(OUTCOME + outcome)
        del outcome  # It may be large.


def _keep_watched(connection: Connection, runner: int, held: Connection | None) -> None:
    """Return in a child of this process, which stays behind as its warden, without the pipe."""
    number = -1
    if held is not None:
        number = os.dup(held.fileno())
        held.close()
    warden.keep(runner, 0.0, number, connection.fileno())


def _stand_alone() -> None:
    """See to it that Ctrl-C is no business of this process's, and that bodies may use multiprocessing."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # One that came meanwhile was held back, and is dropped with this.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.current_process().daemon = False


def _receive(connection: Connection, payloads: queue.SimpleQueue[bytes], answers: queue.SimpleQueue[bytes]) -> None:
    try:
        while True:
            message = connection.recv_bytes()
            (answers if message[:1] == ANSWER else payloads).put(message[1:])
    except (EOFError, OSError):
        os.killpg(os.getpid(), signal.SIGKILL)


class _Outlet(io.TextIOBase):
    """Stands for sys.stdout or sys.stderr, in every thread: sends whole lines, and the rest when it is flushed."""

    def __init__(self, connection: Connection, sending: threading.Lock, tag: bytes, original: TextIO) -> None:
        super().__init__()
        self._connection = connection
        self._sending = sending
        self._tag = tag
        self._original = original
        self._held = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]  # The base's is a mere attribute.
        return "utf-8"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._original.fileno()

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._sending:
            self._held += text
            end = len(self._held) if len(self._held) > _LONGEST else self._held.rfind("\n") + 1
            self._send(end)
        return len(text)

    def flush(self) -> None:
        with self._sending:
            self._send(len(self._held))

    def _send(self, end: int) -> None:
        if end:
            text, self._held = self._held[:end], self._held[end:]
            self._connection.send_bytes(self._tag + text.encode("utf-8", "surrogatepass"))
