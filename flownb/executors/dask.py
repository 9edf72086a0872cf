"""A Dask cluster for bodies: the notebook's own Client takes them there, or one for the address in FLOWNB_DASK."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar, cast
from uuid import uuid4

from flownb.errors import NodeError
from flownb.executors.base import GRACE, Job, Returns, Stopped, returns_here
from flownb.executors.capture import capture_into, capturing
from flownb.executors.interrupt import ThreadInterrupt
from flownb.executors.process import missing_extra
from flownb.runtimes.base import Printed
from flownb.runtimes.saved import CHANNEL, Change, Saved

T = TypeVar("T")
Client = Any
"""distributed.Client: an optional extra, so that there is no type where it is not installed."""

ADDRESS: Final = "FLOWNB_DASK"
"""The environment variable with a scheduler's address, as `tcp://127.0.0.1:8786`."""
_CONNECT: Final = "10s"
_ANSWERS_S: Final = 5.0
"""Seconds within which a Client's loop must answer."""
_LOOK: Final = "200ms"
"""Between looks whether a body that uses `saved` has ended."""
_QUEUES: Final = ("-changes", "-answers")
"""How the names of the queues end through which `saved` goes."""
_LARGE: Final = 1 << 20
"""Bytes above which a body goes to a worker and not through the scheduler."""


class DaskExecutor:
    """Runs each body as a task of a Dask cluster, once: where its worker dies it has failed and is not moved to another.

    What it prints comes back when it ends. A body that is stopped is interrupted between two bytecodes, as on a thread:
    its worker has other tasks and cannot be killed.
    """

    def __init__(self, grace: float = GRACE) -> None:
        """Begin unconnected.

        Args:
            grace: Seconds that a stopped body is waited for.
        """
        self._grace = grace
        self._context = copy_context()  # `with client.as_current():` is a context variable.
        self._lock = threading.Lock()
        self._own: Client | None = None
        self._returns: Returns | None = None

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        """Return what the function returns on a worker; what it raises is raised. Cancelling stops it.

        Raises:
            NodeError: Something cannot be sent, there is no cluster, a worker died, or the extra `dask` is not installed.
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
        task = _Task()
        job = Job(partial(self._carry_out, task, function, printed, is_async), printed, self._returns)

        def make() -> None:
            job.perform(task)
            job.hand_back()

        threading.Thread(target=self._context.copy().run, args=(make,), name=task.key, daemon=True).start()
        return await job.result(self._grace)

    def close(self) -> None:
        """Close the connection, if it is our own; harmless when called twice."""
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            own.close(timeout=1)

    def _carry_out(
        self,
        task: _Task,
        function: Callable[[], object],
        printed: Callable[[Printed], None],
        is_async: bool,  # noqa: FBT001 Handed to partial.
    ) -> object:
        try:
            import distributed  # noqa: F401, PLC0415 An optional extra.

            from flownb.executors import payload  # noqa: PLC0415 It needs the extra.
        except ImportError as error:
            raise missing_extra("dask", error) from error
        data = payload.pack_body(function, is_async=is_async)
        shown, outcome = task.result(self._client(), data, payload.saved_of(function))
        for output in shown:
            printed(output)
        return payload.open_outcome(outcome)

    def _client(self) -> Client:
        """Return the Client that is current here, else our own for FLOWNB_DASK."""
        import distributed  # noqa: PLC0415 An optional extra.

        with suppress(ValueError):
            client = distributed.get_client()
            _check_answers(client)
            return client
        address = os.environ.get(ADDRESS)
        if not address:
            raise NodeError(
                "`executor: dask` finds no Dask cluster",
                f"start one before: `from distributed import Client; client = Client()`, or set {ADDRESS} to a scheduler's address",
            )
        with self._lock:
            if self._own is None:
                try:
                    self._own = distributed.Client(address, set_as_default=False, timeout=_CONNECT)
                except (OSError, ValueError) as error:
                    hint = f"{ADDRESS} is to be the address of a running scheduler, as `tcp://127.0.0.1:8786`"
                    raise NodeError(f"no Dask scheduler answers at {address!r}: {error}", hint) from error
            return self._own


def _check_answers(client: Client) -> None:
    """Raise where a Client would wait for a loop that waits for this run: the notebook's own, while a cell runs."""
    answered = threading.Event()
    client.loop.add_callback(answered.set)
    if not answered.wait(_ANSWERS_S):
        raise NodeError(
            f"the current Dask Client's event loop did not answer within {_ANSWERS_S:g} s",
            "with `asynchronous=True` it is the notebook's own, which waits for this run: make the Client without that",
        )


class _Task:
    """One body on the cluster. Stops it there (Interrupts)."""

    def __init__(self) -> None:
        self.key = f"flownb-{uuid4()}"
        self._client: Client | None = None
        self._future: Any = None  # A distributed.Future.
        self._stopped = False
        self._ended = False

    def result(self, client: Client, data: bytes, saved: Saved | None) -> tuple[list[Printed], bytes]:
        """Submit a body and wait for what it showed and its outcome; meanwhile keep what it puts into `saved`."""
        from distributed import Event  # noqa: PLC0415 An optional extra.

        self._client = client
        begun = Event(self.key, client=client)
        payload = client.scatter(data, hash=False) if len(data) > _LARGE else data
        try:
            self._future = client.submit(perform, payload, self.key, key=self.key, pure=False)
            if self._stopped:
                self._stop_there()
            if saved is not None:
                self._keep(client, saved)
            shown, outcome = self._future.result()
        except (Exception, asyncio.CancelledError) as error:  # A cancelled future's is one of these.
            if self._stopped:
                raise Stopped from error
            hint = "its workers need flownb, and what the body imports, as here"
            raise NodeError(f"Dask did not carry out the body: {type(error).__name__}: {error}", hint) from error
        finally:
            self._ended = True
            with suppress(Exception):  # The cluster may be gone, and the mark with it.
                begun.clear()
        return shown, outcome

    def _keep(self, client: Client, saved: Saved) -> None:
        """Keep the changes of `saved` until the body has ended."""
        from distributed import Queue  # noqa: PLC0415 An optional extra.

        from flownb.executors import payload  # noqa: PLC0415 It needs the extra.

        changes, answers = (Queue(f"{self.key}{name}", client=client) for name in _QUEUES)
        while not self._future.done():
            try:
                change = changes.get(timeout=_LOOK)
            except TimeoutError:
                continue
            answers.put(payload.keep_change(saved, change))
        changes.close()
        answers.close()

    @contextmanager
    def body(self, key: object = None) -> Iterator[None]:  # noqa: ARG002 There is only this one.
        yield

    def stop(self, error: BaseException, key: object = None) -> None:  # noqa: ARG002 The same.
        """Stop the body there; does not wait for it."""
        self._stopped = True
        if self._future is not None:
            threading.Thread(target=self._stop_there, name=f"{self.key}-stop", daemon=True).start()

    def _stop_there(self) -> None:
        from distributed import Event  # noqa: PLC0415 An optional extra.

        assert self._client is not None, "it was submitted"
        with suppress(Exception):  # The cluster may be gone, and the body with it.
            begun = Event(self.key, client=self._client)
            begun.set()  # It begins no more, where it has not begun.
            found = self._client.run(stop_here, self.key, on_error="ignore")
            if True not in found.values():
                self._future.cancel()
            if self._ended:  # Perhaps before it was marked here.
                begun.clear()


# On a worker.

_here: Final[dict[str, _Body]] = {}
"""Key → body that runs in this worker process: `stop_here` finds it there."""


class _Body:
    """A body that runs on a thread of this worker."""

    def __init__(self) -> None:
        self.stopped = False
        self.interrupt = ThreadInterrupt()
        self.shown: list[Printed] = []
        self._cancel: Callable[[], None] | None = None

    def stop(self) -> None:
        cancel, self._cancel = self._cancel, None
        self.stopped = True
        if cancel is not None:  # The first time: it may end as a cancelled task does.
            with suppress(RuntimeError):  # Its loop is closed.
                cancel()
        else:
            self.interrupt.stop(Stopped(), self)

    def take_loop(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[object]) -> None:
        """Learn which task awaits the body; called on its loop."""

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        self._cancel = cancel

    def _show(self, printed: Printed) -> None:
        last = self.shown[-1] if self.shown else None
        if last is not None and last.mime == printed.mime and isinstance(printed.data, str):
            self.shown[-1] = Printed(last.mime, f"{last.data}{printed.data}")
        else:
            self.shown.append(printed)

    def run(self, function: Callable[[], T]) -> T:
        with capturing(), capture_into(self._show):
            return self.interrupt.run(function, self)


def perform(data: bytes, key: str) -> tuple[list[Printed], bytes]:
    """Carry out a body on this worker, unless it was begun before; return what it showed, and its outcome."""
    from distributed import Event  # noqa: PLC0415 An optional extra.

    from flownb.executors import payload  # noqa: PLC0415 It needs the extra.

    body = _here[key] = _Body()
    try:
        begun = Event(key)
        if begun.is_set():
            return [], payload.pack_error(NodeError("the Dask worker that ran the body died", "`retry` tries again"))
        begun.set()
        if body.stopped:
            return [], payload.pack_error(Stopped())
        CHANNEL.set(_changing(key))
        try:
            outcome = body.run(partial(payload.carry_out, data, body.take_loop))
        except Stopped as stopped:
            outcome = payload.pack_error(stopped)
        return body.shown, outcome
    finally:
        del _here[key]


def _changing(key: str) -> Change:
    """Return what has a change of `saved` kept by the client."""

    def change(name: str, value: object, is_gone: bool) -> None:  # noqa: FBT001 as flownb.runtimes.saved.Change
        from distributed import Queue  # noqa: PLC0415 An optional extra.

        from flownb.executors import payload  # noqa: PLC0415 It needs the extra.

        changes, answers = (Queue(f"{key}{end}") for end in _QUEUES)
        changes.put(payload.pack_change(name, value, is_gone))
        payload.take_answer(answers.get())

    return change


def stop_here(key: str) -> bool:
    """Stop a body where it runs on this worker; return whether it does."""
    body = _here.get(key)
    if body is not None:
        body.stop()
    return body is not None
