"""Runs the units of one body: each as soon as what it waits for is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from flownb.engine.ledger import Ledger
from flownb.engine.outcome import LEFT, Done, Failed, Left, Outcome
from flownb.engine.stopping import StopScope
from flownb.model.node_state import NodeStatus
from flownb.plan.graph import Body, Unit


class Scheduler:
    """One execution of a body.

    A unit that is settled readies those that wait for it, in constant time each. The first of them goes on in the same
    task, so that a chain is one task however long it is; the others begin tasks of their own.
    """

    def __init__(
        self,
        body: Body,
        run_unit: Callable[[Unit], Awaitable[Outcome]],
        stop: StopScope,
        ledger: Ledger,
        *,
        prefix: str = "",
        quorum: int | None = None,
    ) -> None:
        """Prepare it.

        Args:
            body: What is run.
            run_unit: Runs one unit.
            stop: Whether nothing new starts here; told when a unit failed.
            ledger: Knows what became of a unit, and how many tasks are under way.
            prefix: What the units' keys begin with.
            quorum: How many units must succeed, the rest being cancelled then; None: all of them.
        """
        self._body, self._run_unit, self._stop, self._ledger = body, run_unit, stop, ledger
        self._prefix, self._quorum = prefix, quorum
        self._missing = [len(unit.waits) for unit in body.units]
        self._open = len(body.units)
        self._succeeded = 0
        self._failed: list[Failed] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._begun = 0

    async def run(self) -> Outcome:
        """Run all units. Cancelling it cancels those under way, and ends when they have."""
        try:
            async with asyncio.TaskGroup() as group:
                self._start(group, [unit for unit in self._body.units if not unit.waits])
        except BaseExceptionGroup as errors:  # A mistake of ours in one of them: it is raised as it is.
            raise errors.exceptions[0] from None
        finally:
            self._ledger.tasks -= self._begun  # Those that were cancelled before their first step.
        return self._outcome()

    def _start(self, group: asyncio.TaskGroup, units: list[Unit]) -> None:
        self._ledger.tasks += len(units)
        self._begun += len(units)
        self._tasks.update(group.create_task(self._drive(group, unit)) for unit in units)

    async def _drive(self, group: asyncio.TaskGroup, unit: Unit) -> None:
        """Run a unit, and then the one that waited for it last."""
        current: Unit | None = unit
        try:
            while current is not None and not self._stop.is_stopping:
                outcome = await self._run_unit(current)
                match outcome:
                    case Done():
                        ready = self._settle(current)
                        self._start(group, ready[1:])
                        current = ready[0] if ready else None
                    case Failed():
                        self._failed.append(outcome)
                        if self._quorum is None:
                            self._stop.stop()
                        current = None
                    case Left():
                        current = None
        finally:
            self._ledger.tasks -= 1
            self._begun -= 1

    def _settle(self, unit: Unit) -> list[Unit]:
        """Note that a unit is done, and return those that now wait for nothing."""
        self._open -= 1
        if self._quorum is not None:
            self._succeeded += self._ledger.state.status_of(self._prefix + unit.node.id) is NodeStatus.COMPLETED
            if self._succeeded == self._quorum:
                self._stop.stop_here()
                for task in self._tasks - {asyncio.current_task()}:
                    task.cancel()
                return []
        ready = []
        for follower in self._body.followers[unit.index]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                ready.append(self._body.units[follower])
        return ready

    def _outcome(self) -> Outcome:
        if self._quorum is not None and self._succeeded >= self._quorum:
            return Done()
        if self._failed:
            first = self._failed[0]
            failures = tuple(failure for failed in self._failed for failure in failed.failures)
            return Failed(failures, first.kinds, first.retry_after_s)
        return LEFT if self._open else Done()
