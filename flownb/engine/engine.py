"""Turns a workflow into events, one after the other: what is written down first is what happened."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from pydantic import JsonValue

from flownb.engine.body import BodyRun, program_outputs
from flownb.engine.names import Frame, Program
from flownb.engine.quiet import Quiet
from flownb.engine.results import Halted, Made, to_stored
from flownb.engine.services import Services
from flownb.errors import Failure, FlowError
from flownb.graph import TOP
from flownb.model import events as e
from flownb.model.events import Event, RunStatus, gathered
from flownb.model.state import NodeStatus, RunState
from flownb.store.storable import without_secrets


class Engine:
    """One run in one process. It owns no loop and no thread: whoever awaits `run` does.

    `decide` and `cancel` may be called from any thread; everything else belongs to the loop.
    """

    loop: asyncio.AbstractEventLoop
    """The loop of whoever awaits `run`."""
    stirred: asyncio.Future[None]
    """Done when something may no longer start; then there is a new one."""

    def __init__(self, program: Program, state: RunState, services: Services) -> None:
        """Prepare a run.

        Args:
            program: What is run, on which inputs.
            state: What happened up to now; changed in place as things happen.
            services: What the host gives.
        """
        self.program, self.state, self.services = program, state, services
        self.values: dict[str, object] = {}
        """Key → value, where it is not just the node's output."""
        self.tainted: set[str] = set()
        """Keys whose value holds something of a secret, whatever it looks like."""
        self.counts: dict[str, int] = {}
        """Key of a `foreach` → how many items it has, for whoever shows how far it is."""
        self.slots = asyncio.Semaphore(program.workflow.concurrency)
        """Most nodes at once."""
        self.earlier = frozenset(state.nodes)
        """Keys of what was begun before this process took the run up."""
        self.strands = 0
        """Tasks under way: units in a row, and the workers of a `foreach`."""
        self.is_stopping = False
        """Whether nothing new starts."""
        self.is_leaving = False
        """Whether the run is being put aside, so that what is under way is not marked as cancelled."""
        self.outputs: dict[str, object] | None = None
        """What the run returned, as it was made; None while it is not completed."""
        self.open: dict[str, asyncio.Event] = {}
        """Key of an open question → set when somebody may have answered."""
        self._rejected = self._cancelled = self._timed_out = False
        self._broken: BaseException | None = None
        self._root: asyncio.Task[RunStatus] | None = None
        self._pending: list[Event] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._is_flushing = False
        self._busy = self._activity = 0
        self.quiet = Quiet(self)
        """Looks whether only people are waited for."""
        limit_s = program.workflow.timeout
        self._left_s = None if limit_s is None else max(0.0, limit_s - (state.clock.seconds - state.clock.limit_from_s))
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0

    # What happened.

    def emit(self, event: Event) -> None:
        """Take an event in; it is written with all others of this moment, before anyone is told."""
        event = without_secrets(event, self.services.redactor)
        self.state.apply(event)
        self._pending.append(event)
        self._activity += 1
        if not self._is_flushing:
            self._is_flushing = True
            # Two turns of the loop: what this event lets start says so first, and is written with the same sync.
            self.loop.call_soon(self.loop.call_soon, self._flush)

    async def commit(self) -> None:
        """Return when all that was emitted before is written. Nothing may rely on an event before that."""
        if self._pending and self.strands <= 1:
            self._flush()  # Nobody else could have anything to write with it.
        elif self._pending:
            waiter = self.loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self._broken:
            raise Halted

    def _flush(self) -> None:
        if not self._pending:
            self._is_flushing = False
            return
        events, self._pending = self._pending, []
        waiters, self._waiters = self._waiters, []
        self._is_flushing = False
        if not self._broken:
            self._tell(events, self._append(events))
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _append(self, events: list[Event]) -> Sequence[Event]:
        """Write events; return them as they are stored, none where that fails: then the run breaks off."""
        try:
            return self.services.journal.append(events)
        except Exception as error:  # noqa: BLE001 whatever it is, the run must end and say so
            self.break_off(error)
            return ()

    def _tell(self, events: list[Event], stored: Sequence[Event]) -> None:
        for event, written in zip(events, stored, strict=False):
            if written is not event:
                self._take_as_written(event, written)
            self.services.watch(written, self.state)

    def _take_as_written(self, event: Event, written: Event) -> None:
        """Let the state say what the journal says, where that could not store a value as it was."""
        if isinstance(event, e.NodeCompleted) and isinstance(written, e.NodeCompleted):
            self.state.apply(written)
            if event.reusable and not written.reusable:
                self.values[event.key] = event.output

    def complete(self, key: str, made: Made, fallback: str | None = None) -> None:
        """Say that a node is done, with what it made."""
        if made.gather is None:
            stored = to_stored(made.value, self.services.redactor, is_tainted=made.is_tainted)
            self._mark(key, is_tainted=stored.is_tainted)
            event = e.NodeCompleted(
                at=self.now(), key=key, output=stored.output, reusable=stored.reusable, fallback=fallback
            )
            if stored.reusable:
                self.values.pop(key, None)
            else:
                self.values[key] = made.value
        else:
            event = e.NodeCompleted(
                at=self.now(),
                key=key,
                gather=made.gather,
                count=made.count,
                parts=dict(made.parts),
                fallback=fallback,
            )
            event = self._gather(event)
        self.emit(event)

    def _gather(self, event: e.NodeCompleted) -> e.NodeCompleted:
        """Keep a container's value where a part of it cannot be read back from the journal."""
        whole, is_tainted = True, False

        def value(key: str) -> object:
            nonlocal whole, is_tainted
            node = self.state.nodes.get(key)
            whole = whole and (node is None or node.reusable)
            is_tainted = is_tainted or key in self.tainted
            return self.value_of(key)

        together = gathered(event, value)
        self._mark(event.key, is_tainted=is_tainted)
        if whole:
            return event
        self.values[event.key] = together
        return event.model_copy(update={"reusable": False})

    def _mark(self, key: str, *, is_tainted: bool) -> None:
        if is_tainted:
            self.tainted.add(key)
        else:
            self.tainted.discard(key)

    def value_of(self, key: str) -> object:
        """Return the value of a node's key; None where it has none."""
        return self.values[key] if key in self.values else self.state.output_of(key)

    def is_done(self, key: str) -> bool:
        """Return whether a node need not run: it is done, and its value is at hand."""
        node = self.state.nodes.get(key)
        if node is None:
            return False
        if node.status is NodeStatus.COMPLETED:
            return node.reusable or key in self.values
        return node.is_settled

    def mark_cancelled(self, key: str) -> None:
        """Say that a node was stopped, where it was under way."""
        if not self.is_leaving and self.state.status_of(key) in (NodeStatus.RUNNING, NodeStatus.WAITING):
            self.emit(e.NodeCancelled(at=self.now(), key=key))

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self.services.clock()

    def stir(self) -> None:
        """Let whoever pauses look whether anything may still start."""
        stirred, self.stirred = self.stirred, self.loop.create_future()
        stirred.set_result(None)

    # Who is at work.

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark that something other than a person is waited for; the run's time limit counts only then."""
        self._busy += 1
        self._activity += 1
        if self._busy == 1 and self._left_s is not None:
            self._since = self.loop.time()
            self._timer = self.loop.call_later(self._left_s, self._time_over)
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._stop_timer()
                if self.open:
                    self.quiet.look()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._left_s is not None:
            self._timer.cancel()
            self._left_s = max(0.0, self._left_s - (self.loop.time() - self._since))

    def _time_over(self) -> None:
        self._timed_out = self.is_stopping = True
        self._left_s = None
        self._stop()

    @property
    def moment(self) -> int:
        """A number that grows with all that happens."""
        return self._activity

    @property
    def is_quiet(self) -> bool:
        """Whether only people are waited for, and all that happened is written."""
        return bool(self.open) and not (self._busy or self._pending or self.is_stopping)

    def leave(self) -> None:
        """Put the run aside."""
        self.is_leaving = self.is_stopping = True
        self._stop()

    # What others may say, from any thread.

    def wake(self, key: str) -> None:
        """Say that a question may have been answered; thread-safe."""
        self.loop.call_soon_threadsafe(self._wake, key)

    def look_for_quiet(self) -> None:
        """Say that a question was left open; thread-safe."""
        self.loop.call_soon_threadsafe(self.quiet.look)

    def _wake(self, key: str) -> None:
        if key in self.open:
            self.open[key].set()

    def cancel(self) -> None:
        """Stop the run; thread-safe. It ends as cancelled and can be resumed."""
        self._cancelled = self.is_stopping = True
        if self._root is not None:
            self.loop.call_soon_threadsafe(self._stop)

    def break_off(self, error: BaseException) -> None:
        """End the run because something of its own went wrong; nothing more of it is written. On the loop only."""
        self._broken = self._broken or error
        self.is_stopping = True
        self._stop()

    def _stop(self) -> None:
        if self._root is not None:
            self._root.cancel()

    def reject(self) -> None:
        """End the run as rejected, once what is under way is done."""
        self._rejected = self.is_stopping = True
        self.stir()

    # The run.

    async def run(self) -> RunStatus:
        """Run to the end, or to where only a person can go on. Cancelling it cancels the run.

        Raises:
            FlowStateError: Journal or state file could not be written; what the journal holds is what was done.
            BaseException: What else broke it off.
        """
        self.loop = asyncio.get_running_loop()
        self.stirred = self.loop.create_future()
        root = self._root = asyncio.current_task()
        assert root is not None, "run is awaited by a task"
        if self._cancelled:
            root.cancel()
        frame = Frame(self.program)
        body = BodyRun(self, self.program.graph.bodies[TOP], frame)
        failures = await self._unless_stopped(root, body.run_program())
        if failures is None and self._timed_out:
            late = [self._too_long()]
            failures = await self._unless_stopped(root, body.handled(late)) or late
        self._root = None
        self._stop_timer()
        self.quiet.close()
        if self._broken:
            raise self._broken
        return await self._finish(frame, failures or [])

    async def _unless_stopped(
        self, root: asyncio.Task[RunStatus], work: Awaitable[list[Failure]]
    ) -> list[Failure] | None:
        """Return what failed in some work; None where it was stopped."""
        try:
            return await work
        except Halted:
            return []
        except asyncio.CancelledError:
            if not (self._cancelled or self._timed_out or self.is_leaving or self._broken):
                self._cancelled = True
            root.uncancel()
            return None

    def _too_long(self) -> Failure:
        limit = self.program.workflow.timeout
        return Failure(node="", type="TimeoutError", message=f"the run took longer than {limit:g} s")

    async def _finish(self, frame: Frame, failures: list[Failure]) -> RunStatus:
        """Write down how the run ended, in the journal and in its state, before anyone sees that it has."""
        event: Event
        if self.is_leaving:
            event = e.RunWaiting(at=self.now())
        else:
            outputs: dict[str, JsonValue] = {}
            if failures:
                status = RunStatus.FAILED
            elif self._cancelled:
                status = RunStatus.CANCELLED
            elif self._rejected:
                status = RunStatus.REJECTED
            else:
                status, outputs, failures = self._outputs(frame)
            event = e.RunFinished(at=self.now(), status=status, outputs=outputs, failures=tuple(failures))
        events, self._pending = [*self._pending, event], []
        stored = self._append(events)
        self._tell(events[:-1], stored[:-1])
        if not self._broken:
            ended = self.state.copy()
            ended.apply(stored[-1])
            await self.services.keep(ended)
            self.state.apply(stored[-1])
            self.services.watch(stored[-1], self.state)
        if self._broken:
            raise self._broken
        return self.state.status

    def _outputs(self, frame: Frame) -> tuple[RunStatus, dict[str, JsonValue], list[Failure]]:
        try:
            made, tainted = program_outputs(self, frame)
        except FlowError as error:
            failure = Failure(node="", type=type(error).__name__, message=error.message, hint=error.hint)
            return RunStatus.FAILED, {}, [failure]
        self.outputs, redactor = made, self.services.redactor
        stored = {name: to_stored(value, redactor, is_tainted=name in tainted) for name, value in made.items()}
        return RunStatus.COMPLETED, {name: value.output for name, value in stored.items()}, []
