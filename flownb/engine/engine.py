"""One run: its start, its end and its status."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine

from flownb.engine.clock import WorkClock
from flownb.engine.context import RunContext, Services
from flownb.engine.ledger import Ledger
from flownb.engine.namespace import Namespace, Program
from flownb.engine.outcome import LEFT, Failed, Outcome
from flownb.engine.runner import Runner
from flownb.engine.stopping import StopScope
from flownb.engine.values import Stored
from flownb.errors import Failure, FlowError
from flownb.model import events as e
from flownb.model.events import RunStatus
from flownb.model.node_state import NodeState
from flownb.model.state import RunState


class Engine:
    """One run in one process. It owns no loop and no thread: whoever awaits `run` does.

    `wake`, `look_for_quiet` and `cancel` may be called from any thread; everything else belongs to the loop.
    """

    def __init__(self, program: Program, state: RunState, services: Services) -> None:
        """Prepare a run.

        Args:
            program: What is run, on which inputs.
            state: What happened up to now; changed in place as things happen.
            services: What the session gives.
        """
        self.program, self._services = program, services
        self.ledger = Ledger(
            state,
            services.journal,
            services.redactor,
            services.kept,
            services.clock,
            services.watch,
            self._break_off,
        )
        """What happened, and what it made."""
        self._stop = StopScope()
        limit_s = program.workflow.timeout
        left_s = None if limit_s is None else max(0.0, limit_s - (state.clock.seconds - state.clock.limit_from_s))
        self._clock = WorkClock(left_s, self.ledger, self._stop, self._time_over, services.keep, self._quiet)
        slots = asyncio.Semaphore(program.workflow.concurrency)
        self._context = RunContext(services, self.ledger, self._clock, slots, self._stop, self._reject, set())
        self._made: dict[str, object] = {}
        self._output_keys: dict[str, str] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self._is_rejected = self._is_cancelled = self._is_timed_out = self._is_breaking_off = False

    @property
    def outputs(self) -> dict[str, object] | None:
        """What the run returned, as it was made; None while it is not completed. Blocks where it must be read from files.

        Raises:
            FlowError: A value that was stored is damaged.
        """
        if self._output_keys is None:
            return None
        return self._made | {name: self.ledger.value_of(key) for name, key in self._output_keys.items()}

    # What others may say, from any thread.

    def wake(self, key: str) -> None:
        """Say that a question may have been answered; thread-safe."""
        self._call(self._clock.wake, key)

    def look_for_quiet(self) -> None:
        """Say that a question was left open; thread-safe."""
        self._call(self._clock.look)

    def cancel(self) -> None:
        """Stop the run; thread-safe. It ends as cancelled and can be resumed."""
        self._is_cancelled = True
        self._call(self._break_off)

    def _call(self, function: object, *arguments: object) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type] # one of the three above

    # What ends it, on the loop.

    def _break_off(self) -> None:
        """Let nothing new start, and stop what is under way."""
        is_again, self._is_breaking_off = self._is_breaking_off, True
        self._stop.stop()
        if self._task is not None:
            self._task.cancel()
        for task in tuple(self._context.at_work) if is_again else ():
            task.cancel()  # The groups that hold it have passed on the first one, and pass on no other.

    def _time_over(self) -> None:
        self._is_timed_out = True
        self._break_off()

    def _quiet(self) -> None:
        """Put the run aside where the session wants that: only people are waited for."""
        if self._services.leaves():
            self.ledger.is_leaving = True
            self._break_off()

    def _reject(self) -> None:
        """End the run as rejected, once what is under way is done."""
        self._is_rejected = True
        self._stop.stop()

    # The run.

    async def run(self) -> RunStatus:
        """Run to the end, or to where only a person can go on.

        Raises:
            FlowStateError: Journal or state file could not be written; what the journal holds is what was done.
            BaseException: What else broke it off.
        """
        self._loop = asyncio.get_running_loop()
        runner = Runner(self._context, Namespace(self._context, self.program), self._stop)
        outcome = await self._to_its_end(runner.run_program())
        if self._is_timed_out:
            limit = self.program.workflow.timeout
            late = Failed((Failure(node="", type="TimeoutError", message=f"the run took longer than {limit:g} s"),))
            outcome = await self._to_its_end(runner.handled(late))
            outcome = outcome if isinstance(outcome, Failed) else late
        self._clock.close()
        last = await self._end(runner, outcome) if self.ledger.broken is None else None
        if last is not None and self.ledger.broken is None:
            await self.ledger.conclude(last, self._services.keep)
        if self.ledger.broken is not None:
            raise self.ledger.broken
        return self.ledger.state.status

    async def _to_its_end(self, work: Coroutine[object, object, Outcome]) -> Outcome:
        """Return how some work ended; it was left where it was cancelled."""
        self._task = asyncio.create_task(work)
        if self._is_cancelled:
            self._task.cancel()
        await asyncio.wait({self._task})
        task, self._task = self._task, None
        return LEFT if task.cancelled() else task.result()

    async def _end(self, runner: Runner, outcome: Outcome) -> e.Event:
        """Return the event that says how the run ended."""
        if self.ledger.is_leaving:
            return e.RunWaiting(at=self.ledger.now())
        failures = outcome.failures if isinstance(outcome, Failed) else ()
        if failures:
            status = RunStatus.FAILED
        elif self._is_cancelled:
            status = RunStatus.CANCELLED
        elif self._is_rejected:
            status = RunStatus.REJECTED
        else:
            return await self._completed(runner)
        return e.RunFinished(at=self.ledger.now(), status=status, failures=failures)

    async def _completed(self, runner: Runner) -> e.Event:
        """Return the event that says what the run returned, or why it cannot."""
        keys, nodes = runner.output_keys(), self.ledger.state.nodes
        stored: dict[str, Stored | None]
        if keys is not None:
            known = {name: nodes.get(key, NodeState()) for name, key in keys.items()}
            stored = {name: Stored(node.output, node.reusable, tagged=node.tagged) for name, node in known.items()}
        else:
            try:
                self._made, hidden = await runner.outputs()
            except FlowError as error:
                failure = Failure(node="", type=type(error).__name__, message=error.message, hint=error.hint)
                return e.RunFinished(at=self.ledger.now(), status=RunStatus.FAILED, failures=(failure,))
            store = self._context.stored
            stored = {name: await store(value, is_tainted=name in hidden) for name, value in self._made.items()}
        self._output_keys = keys or {}
        return e.RunFinished(
            at=self.ledger.now(),
            status=RunStatus.COMPLETED,
            outputs={name: value.output for name, value in stored.items() if value is not None},
            tagged=any(value is not None and value.tagged for value in stored.values()),
        )
