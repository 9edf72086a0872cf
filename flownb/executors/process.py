"""Processes for bodies: each has one to itself while it runs, and that one can be killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from flownb.errors import NodeError
from flownb.executors.base import GRACE, Job, Returns, Stopped, returns_here
from flownb.executors.pool import Pool, Task
from flownb.runtimes.base import Printed

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

T = TypeVar("T")

IDLE: Final = 30.0
"""Seconds after which a process that nobody needs ends."""
_LOOK: Final = 1.0
"""Seconds between looks whether a process is there: what it started may hold its pipe open."""
_CLOSE: Final = 1.0
"""Seconds that the end of all processes is waited for when they are closed."""
_REAP: Final = 5.0
"""Seconds that the end of a killed process is waited for."""


class ProcessExecutor:
    """Runs each body in a process that no other body uses meanwhile; processes are kept a while for the next ones.

    Bodies and values go by cloudpickle through pipes. A body that is stopped is killed, with all that it started; so are
    all of them when this process is gone, however it ended.
    """

    def __init__(self, grace: float = GRACE, idle: float = IDLE, held: int | None = None) -> None:
        """Begin without processes.

        Args:
            grace: Seconds that a stopped body is waited for; only sending its values can take any.
            idle: Seconds after which a process that nobody needs ends.
            held: A descriptor that is kept open as long as anything of the processes lives: the run's lock; None: none.
        """
        self._grace = grace
        self._pool = Pool(partial(_Process, held), "flownb-process", idle)
        self._returns: Returns | None = None

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        """Return what the function returns in a process; what it raises is raised. Cancelling kills the process.

        Raises:
            NodeError: Something cannot be sent, the process died, or the extra `process` is not installed.
        """
        return cast("T", await self._send(function, printed, is_async=False))  # It comes back as it was sent.

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        """Do the same for a coroutine function, on a loop of its own there."""
        return cast("T", await self._send(function, printed, is_async=True))  # The same.

    async def _send(
        self, function: Callable[[], object], printed: Callable[[Printed], None], *, is_async: bool
    ) -> object:
        self._returns = returns_here(self._returns)
        thread = self._pool.take()
        carry_out = partial(thread.worker.carry_out, function, printed, is_async=is_async)
        job = Job(carry_out, printed, self._returns)
        thread.jobs.put(job)
        return await job.result(self._grace)

    def close(self) -> None:
        """Kill all processes, also those whose bodies still run, and wait at most a second for their end."""
        threads = self._pool.close()
        for thread in threads:
            thread.worker.kill()
            thread.jobs.put(None)
        deadline = time.monotonic() + _CLOSE
        for thread in threads:  # Killing takes milliseconds, and the run's lock is given back after this.
            thread.join(max(0.0, deadline - time.monotonic()))


class _Process:
    """One process, for a thread of this one that talks to it. Stops bodies (Interrupts) by killing the process."""

    def __init__(self, held: int | None, name: str) -> None:
        self._held, self._name = held, name
        self._lock = threading.Lock()
        self._key: object = None
        self._killed = False
        self._process: BaseProcess | None = None
        self._connection: Connection | None = None

    def perform(self, job: Task) -> bool:
        job.perform(self)
        return not self._killed

    @contextmanager
    def body(self, key: object = None) -> Iterator[None]:
        with self._lock:
            self._key = key
        try:
            yield
        finally:
            with self._lock:
                self._key = None

    def stop(self, error: BaseException, key: object = None) -> None:  # noqa: ARG002 Nothing is raised in a killed process.
        with self._lock:
            if key is self._key:  # Else the body has ended, and the process may have another one.
                self._kill()

    def kill(self) -> None:
        """Kill the process with all that it started, now or as soon as it is there; thread-safe."""
        with self._lock:
            self._kill()

    def carry_out(
        self, function: Callable[[], object], printed: Callable[[Printed], None], *, is_async: bool
    ) -> object:
        """Have a body carried out there; blocks this thread."""
        payload, worker = _modules()
        data = payload.pack_body(function, is_async=is_async)
        self._start()
        message = self._exchange(worker.BODY + data)
        while message[:1] != worker.OUTCOME:
            answer = None
            try:
                if message[:1] == worker.CHANGE:
                    answer = worker.ANSWER + payload.keep_change(payload.saved_of(function), message[1:])
                else:
                    mime = "stdout" if message[:1] == worker.STDOUT else "stderr"
                    printed(Printed(mime, message[1:].decode("utf-8", "surrogatepass")))
            except BaseException:
                self.kill()  # It is not done with the body, and must not be given another.
                raise
            message = self._exchange(answer)
        return payload.open_outcome(message[1:])

    def _start(self) -> None:
        """See to it that the process is there: it is started for the first body, and when it died between two."""
        if not self._is_ready():
            self.end()
            process, connection = _spawn(self._name, self._held)
            with self._lock:
                self._process, self._connection = process, connection
                if self._killed:
                    self._kill()
        if self._killed:
            raise Stopped

    def _is_ready(self) -> bool:
        """Return whether there is a process that waits for a body; what threads of the last one said since is dropped."""
        if self._process is None or self._connection is None:
            return False
        try:
            while self._connection.poll(0):
                self._connection.recv_bytes()
        except (EOFError, OSError):
            return False
        return self._process.is_alive()

    def _exchange(self, data: bytes | None) -> bytes:
        """Send a body or an answer, if there is one, and return the next message."""
        connection, process = self._connection, self._process
        assert connection is not None and process is not None, "it was started"  # noqa: PT018 One thing.
        try:
            if data is not None:
                connection.send_bytes(data)
            return _received(connection, process)
        except (EOFError, OSError) as error:
            with self._lock:
                was_killed = self._killed
                self._kill()
            process.join(_REAP)  # Until its warden has ended, and with it everything.
            if was_killed:
                raise Stopped from error
            code = process.exitcode
            raise NodeError(f"the process of the body died: {_ending(code)}", _advice(code)) from None

    def _kill(self) -> None:
        self._killed = True
        if self._process is not None and self._process.is_alive():
            self._process.terminate()  # It is the warden, and kills everything; before it is one, it just ends.

    def end(self) -> None:
        """Let go of the process: it kills itself, and all that it started, when its pipe is closed."""
        with self._lock:
            process, connection = self._process, self._connection
            self._process = self._connection = None
        if connection is not None:
            connection.close()
        if process is not None:
            process.join(_REAP)


def _modules() -> tuple[Any, Any]:  # Any: modules.
    """Import what needs the extra."""
    try:
        import loky  # noqa: F401, PLC0415 An optional extra.

        from flownb.executors import payload, worker  # noqa: PLC0415 They need it.
    except ImportError as error:
        raise missing_extra("process", error) from error
    return payload, worker


def missing_extra(name: str, error: ImportError) -> NodeError:
    """Return what says that an executor's extra is not installed."""
    hint = f"pip install 'flownb[{name}]', or set `executor: thread`"
    return NodeError(f"`executor: {name}` needs {error.name}, which is not installed", hint)


def _spawn(name: str, held: int | None) -> tuple[BaseProcess, Connection]:
    """Start a process that serves the other end of a pipe; it imports what it needs, and never the person's script."""
    from multiprocessing import resource_tracker  # noqa: PLC0415 For the optional extra.
    from multiprocessing.connection import Connection  # noqa: PLC0415 The same.

    from loky.backend import get_context  # noqa: PLC0415 An optional extra.
    from loky.backend import resource_tracker as loky_tracker  # noqa: PLC0415 The same.

    from flownb.executors.worker import serve  # noqa: PLC0415 It needs the extra.

    resource_tracker.ensure_running()  # These let SIGINT through when they start: not between the next lines.
    loky_tracker.ensure_running()
    context = get_context("loky")
    ours, theirs = context.Pipe()
    lock = None if held is None else Connection(os.dup(held))  # In this form loky gives a descriptor to the process.
    process = context.Process(target=serve, args=(theirs, os.getpid(), lock), name=name, daemon=True)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Inherited: Ctrl-C does not hit one that begins.
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        if lock is not None:
            lock.close()
    return process, ours


def _received(connection: Connection, process: BaseProcess) -> bytes:
    """Return the next message; EOFError where none will come."""
    while not connection.poll(_LOOK):
        if not process.is_alive() and not connection.poll(0):
            raise EOFError
    return connection.recv_bytes()


def _ending(code: int | None) -> str:
    if code is None or code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was killed by signal {-code}"


def _advice(code: int | None) -> str:
    if code is not None and code == -signal.SIGKILL:
        return "perhaps the machine ran out of memory; `retry` tries again"
    return "the body, or a library that it calls, ended it; `retry` tries again"
