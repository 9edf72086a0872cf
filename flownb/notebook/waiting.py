"""How a cell waits on this kernel: its thread serves the run, and the buttons work meanwhile.

The cell blocks, so the kernel's loop stands still, and the socket that the main thread's messages arrive on is read
by nobody else: the pump reads it. Widget messages are handled at once, everything else is kept as it came and given
back in order when the cell ends. Tried on ipykernel 6.29 to 7.4 (design/jupyter.md).
"""

from __future__ import annotations

import inspect
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Final

from flownb.errors import FlowError
from flownb.executors.interrupt import MainInterrupts

_SERVED: Final = frozenset({"comm_open", "comm_msg", "comm_close", "comm_info_request", "kernel_info_request"})
"""What is answered during a wait. Not completion: the first one holds the thread for a second."""

_LOOK_MS: Final = 1000
"""Longest time without looking at `until`, should whoever changed it have forgotten to wake the pump."""

_TURN: Final = 100
"""Most messages taken before calls have their turn."""

_WIDGETS: Final = object()
"""The key of widget callbacks: the person can interrupt one, `Pump.stop` never means one."""

_SERVING: Final = threading.Lock()
"""Held by the pump that serves: a process has one kernel, and its kernel one main thread."""


@dataclass(frozen=True, slots=True)
class _Channel:
    """The private parts of ipykernel that the pump stands on. All are `Any`: no types say what they are."""

    stream: Any
    """The ZMQStream on which the main thread's shell messages arrive."""
    replies: Any
    """The socket that the main thread's replies go to."""


def _find_channel(kernel: Any) -> _Channel | None:  # Any: every kernel differs; what is missing is found here
    """Return the main thread's channel; None where something is missing or this is not the main thread."""
    if threading.current_thread() is not threading.main_thread():
        return None
    try:
        thread = getattr(kernel, "shell_channel_thread", None)
        if thread is None:  # ipykernel 6, or 7 without subshells
            stream = kernel.shell_stream
            replies = stream.socket
        else:
            stream = thread.manager._shell_channel_to_main.to_stream  # noqa: SLF001
            replies = thread.manager.get_subshell_to_shell_channel_socket(None)
        found = (
            stream.socket.recv_multipart,
            stream.io_loop.add_callback,
            stream._recv_callback,  # noqa: SLF001
            stream._run_callback,  # noqa: SLF001
            stream._rebuild_io_state,  # noqa: SLF001
            kernel.session.feed_identities,
            kernel.session.deserialize,
            kernel._publish_status,  # noqa: SLF001
            getattr(kernel, "_shell_parent_ident", None) or kernel._parents,  # noqa: SLF001
            kernel.shell_handlers["comm_msg"],
        )
    except (AttributeError, KeyError, TypeError):
        return None
    return None if any(part is None for part in found) else _Channel(stream, replies)


class Pump:
    """Serves the kernel's own thread while a cell waits: takes widget messages, runs what it is handed, hears Ctrl-C.

    May serve several times, one after the other.
    """

    def __init__(self, kernel: object) -> None:
        """Take the kernel that the cell runs on.

        Args:
            kernel: The shell's `kernel`.

        Raises:
            FlowError: The kernel cannot be served: ask `available` first.
        """
        channel = _find_channel(kernel)
        if channel is None:
            raise FlowError(
                f"the kernel {type(kernel).__name__} cannot wait with its buttons alive",
                "answer with %flow_decide, or use ipykernel 7.4 or later",
            )
        self._kernel: Any = kernel  # Any: see _Channel
        self._channel = channel
        self._calls: deque[Callable[[], None]] = deque()
        self._kept: list[Any] = []  # raw frames, as they came
        self._errors: list[Exception] = []
        self._bell: socket.socket | None = None
        self._on_interrupt: Callable[[], None] = self.wake
        self._interrupts = MainInterrupts(self._interrupted, even_ignored=True)

    @classmethod
    def available(cls, kernel: object) -> bool:
        """Return whether this thread of this kernel can be served; if not, return from the cell, or ask with `input`."""
        return _find_channel(kernel) is not None

    def wake(self) -> None:
        """Make the pump look at `until` again. Thread-safe, and safe in a signal handler; does nothing when idle."""
        bell = self._bell
        if bell is not None:
            with suppress(OSError):  # Full: it will wake anyhow. Closed: it is over.
                bell.send(b"\0")

    def call(self, function: Callable[[], None]) -> None:
        """Run `function` on the main thread, after all that was handed in before. Thread-safe; does not wait for it.

        Nothing interrupts it, except what runs inside `body`. What it raises is raised by `serve` at the end.
        """
        self._calls.append(function)
        self.wake()

    def stop(self, error: BaseException, key: object = None) -> None:
        """Raise `error` in the body that `call` runs inside `body(key)`; see `MainInterrupts.stop`."""
        self._interrupts.stop(error, key)

    def body(self, key: object = None) -> AbstractContextManager[None]:
        """Return a context in which an interrupt and `stop` raise; see `MainInterrupts.body`."""
        return self._interrupts.body(key)

    def serve(self, until: Callable[[], bool], on_interrupt: Callable[[], None]) -> None:
        """Block the main thread until `until` is true, and serve meanwhile; then run what is still handed in.

        Args:
            until: Looked at after every message, call and `wake`.
            on_interrupt: Called for every SIGINT, in the signal handler: see `MainInterrupts`.

        Raises:
            FlowError: A cell of this kernel waits already.
            Exception: The first error of a handed-in function, when all is over.
        """
        if not _SERVING.acquire(blocking=False):
            raise FlowError("a run already waits in this kernel", "start a run after the other one, not inside it")
        self._on_interrupt = on_interrupt
        try:
            with self._interrupts:
                try:
                    self._serve(until)
                finally:
                    self._bell = None
                    self._give_back()
        finally:
            _SERVING.release()
        if self._errors:
            error, self._errors = self._errors[0], []
            raise error

    def _serve(self, until: Callable[[], bool]) -> None:
        import zmq  # noqa: PLC0415  comes with ipykernel; terminal IPython has none

        ear, bell = socket.socketpair()
        with ear, bell:
            ear.setblocking(False)
            bell.setblocking(False)
            self._bell = bell
            poller = zmq.Poller()
            poller.register(self._channel.stream.socket, zmq.POLLIN)
            poller.register(ear.fileno(), zmq.POLLIN)
            self._run_calls()
            while not until() or self._calls:
                poller.poll(_LOOK_MS)
                with suppress(BlockingIOError):
                    ear.recv(4096)
                with suppress(zmq.Again):
                    self._take_some(zmq.NOBLOCK)
                self._run_calls()

    def _take_some(self, flags: int) -> None:
        for _ in range(_TURN):
            self._take(self._channel.stream.socket.recv_multipart(flags, copy=False))

    def _run_calls(self) -> None:
        while self._calls:
            function = self._calls.popleft()
            try:
                function()
            except KeyboardInterrupt:
                pass  # on_interrupt was called for it.
            except Exception as error:  # noqa: BLE001  drawing must not end a run; `serve` raises it
                self._errors.append(error)

    def _take(self, frames: Any) -> None:
        """Handle one message, or keep it."""
        session = self._kernel.session
        try:
            idents, rest = session.feed_identities(frames, copy=False)
            kind = session.deserialize(rest, content=False, copy=False)["header"]["msg_type"]
            # Only the second reading notes the signature: one that is kept is read again, by the kernel.
            message = session.deserialize(rest, copy=False) if kind in _SERVED else None
        except (ValueError, KeyError, TypeError, IndexError):
            message, idents = None, []  # No message of the protocol, as ipykernel's own "stop aborting"
        if message is None:
            self._kept.append(frames)
        else:
            self._answer(idents, message)

    def _answer(self, idents: list[bytes], message: dict[str, Any]) -> None:
        kernel = self._kernel
        # The front end sends what is typed next only when it hears that this one was dealt with.
        kernel._publish_status("busy", "shell", parent=message)  # noqa: SLF001
        handler = kernel.shell_handlers[message["header"]["msg_type"]]
        try:
            with self._interrupts.body(_WIDGETS):
                self._as_parent(idents, message, lambda: _finish(handler(self._channel.replies, idents, message)))
        except KeyboardInterrupt:
            pass  # on_interrupt was called for it.
        except Exception:
            kernel.log.exception("Exception in message handler")  # as the kernel does
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        kernel._publish_status("idle", "shell", parent=message)  # noqa: SLF001
        kernel._publish_status("busy", "shell")  # noqa: SLF001  the cell still runs

    def _as_parent(self, idents: list[bytes], message: dict[str, Any], function: Callable[[], None]) -> None:
        """Call `function` so that what widgets send is an answer to `message`.

        Not by `set_parent`, which is for all threads and for print: what a callback prints stays with the cell.
        """
        kernel = self._kernel
        if hasattr(kernel, "_shell_parent_ident"):  # ipykernel 7: context variables
            context = copy_context()
            context.run(kernel._shell_parent.set, message)  # noqa: SLF001
            context.run(kernel._shell_parent_ident.set, idents)  # noqa: SLF001
            context.run(function)
            return
        parents = kernel._parents  # noqa: SLF001  ipykernel 6
        cell = parents.get("shell")
        parents["shell"] = message
        try:
            function()
        finally:
            parents["shell"] = cell

    def _give_back(self) -> None:
        """Give the kernel what was kept, in order, and let its loop look at the socket again."""
        stream = self._channel.stream
        kept, self._kept = self._kept, []
        for frames in kept:
            stream._run_callback(stream._recv_callback, frames)  # noqa: SLF001
        # Reading the socket used up the edge that the loop waits for.
        stream.io_loop.add_callback(stream._rebuild_io_state)  # noqa: SLF001

    def _interrupted(self) -> None:
        self._on_interrupt()
        self.wake()


def _finish(result: object) -> None:
    """Run a handler's coroutine to its end: none of those served waits for anything."""
    if not inspect.iscoroutine(result):
        return
    try:
        result.send(None)
    except StopIteration:
        return
    result.close()  # It wants the loop, which stands still: the kernel would answer late, the pump not at all.
