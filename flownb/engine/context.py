"""What every part of one run shares: its record, its clock, its slots and what the session gives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from flownb.engine.clock import WorkClock
from flownb.engine.ledger import Journal, Ledger, Values
from flownb.engine.stopping import StopScope
from flownb.engine.values import Stored, is_small, to_stored
from flownb.errors import FlowStateError
from flownb.model.decision import Decision, Question
from flownb.model.events import Event
from flownb.model.node_state import NodeState
from flownb.model.policy import ExecutorName
from flownb.model.state import RunState
from flownb.runtimes.base import Caller, Printed, Runtime
from flownb.runtimes.resources import Resources
from flownb.secrets import Redactor


@dataclass(frozen=True, slots=True)
class Services:
    """What a run needs from its session."""

    journal: Journal
    """Keeps what happened."""
    offer: Callable[[str, Decision], Decision]
    """Stores a decision on a key, and returns the one that stands: the first."""
    stored: Callable[[str], Decision | None]
    """Returns the decision that stands on a key; None: there is none."""
    runtime: Callable[[str], Runtime]
    """Kind of node → what carries it out."""
    callers: Mapping[ExecutorName, Caller]
    """Executor → where Python bodies run."""
    redactor: Redactor
    """Takes secrets out of what is written."""
    secrets: Mapping[str, str]
    """Secret → value."""
    environment: Mapping[str, str]
    """The process environment."""
    ask: Callable[[Question, Mapping[str, object]], Decision | None]
    """Takes a question with the values to show; returns an answer at once, or None: it comes through `decide`."""
    leaves: Callable[[], bool]
    """Called when only people are waited for, and that is kept; True: put the run aside."""
    keep: Callable[[RunState], Awaitable[None]]
    """Writes a state down for those who look at it from outside; raises FlowStateError where that fails."""
    watch: Callable[[Event, RunState], None]
    """Told of every event after it is written. Must not raise."""
    printed: Callable[[str, Printed], None]
    """Takes what the node of a key shows; thread-safe."""
    withdraw: Callable[[str], None]
    """Takes back what stands on a key, so that it is asked again; raises FlowStateError where that fails."""
    kept: Values
    """Keeps values that are large or no JSON."""
    cached: Callable[[str, str, float | None], tuple[str, NodeState]]
    """Key, fingerprint, most seconds ago → an earlier run and the node there; raises LookupError where there is none. Blocks."""
    note: Callable[[str, NodeState], None]
    """Lets later runs find the value of a node with `cache`."""
    clock: Callable[[], datetime]
    """The time, in UTC."""
    sleep: Callable[[float], Awaitable[None]]
    """Waits some seconds."""
    uniform: Callable[[float, float], float]
    """Chance between two numbers."""
    earlier: Mapping[str, NodeState] = field(default_factory=dict)
    """Key → what became of it in the run that this one takes over from."""
    held: int | None = None
    """The descriptor of the run's lock, for the wardens of what is started; None: there is none."""
    resources: Resources = field(default_factory=Resources)
    """What runtimes keep open for the whole run."""
    imported: set[str] = field(default_factory=set)
    """The kinds of node whose optional library is imported."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """One run, as its parts see it."""

    services: Services
    """What the session gives."""
    ledger: Ledger
    """What happened."""
    clock: WorkClock
    """What is waited for."""
    slots: asyncio.Semaphore
    """Most nodes at once."""
    stop: StopScope
    """Whether nothing new starts in the run."""
    reject: Callable[[], None]
    """Ends the run as rejected, once what is under way is done."""
    at_work: set[asyncio.Task[Any]]
    """The tasks in which a runtime is under way: being cancelled again tells it to end at once."""
    outside: dict[str, dict[str, str]] = field(default_factory=dict)
    """Key → what the node reads from files, as it was when it was about to start."""

    async def stored(self, value: object, *, is_tainted: bool = False) -> Stored | None:
        """Return a value as the journal holds it; what takes time goes on a thread. None: its files cannot be written.

        Then the run breaks off, as where the journal cannot be written.
        """
        put, redactor = self.services.kept.put, self.services.redactor
        try:
            if is_tainted or is_small(value):
                return to_stored(value, redactor, put, is_tainted=is_tainted)
            if type(value).__module__.startswith("matplotlib."):  # Drawing is for the thread that drew it.
                draw = partial(to_stored, value, redactor, put)
                return await self.services.callers[ExecutorName.MAIN].run(draw, lambda _printed: None)
            return await asyncio.to_thread(to_stored, value, redactor, put)
        except OSError as error:
            hint = f"make room, then go on: flownb resume {self.ledger.state.run_id}"
            self.ledger.break_off(FlowStateError(f"cannot store a value: {error}", hint))
            return None

    async def pause(self, seconds: float, stop: StopScope) -> bool:
        """Wait, which counts as work; return whether something may still start: a stop ends the wait."""
        sleeping = asyncio.ensure_future(self.services.sleep(seconds))
        try:
            with self.clock.working():
                return await stop.wait(sleeping)
        finally:
            sleeping.cancel()
