"""Repeats one piece of work: once per item of a list, or in rounds until a condition says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from flownb.engine.ledger import Ledger
from flownb.engine.outcome import LEFT, Done, Failed, Left, NodeResult, Outcome
from flownb.engine.stopping import StopScope
from flownb.errors import NodeError
from flownb.model.events import Gather
from flownb.model.nodes import Foreach, Loop, Rate

Work = Callable[[int], Awaitable[Outcome]]
"""Runs the item or round of a number, counted from 0."""
Pause = Callable[[float], Awaitable[bool]]
"""Waits some seconds; returns whether something may still start."""


class LoopError(NodeError):
    """An `until` was still false after its last round."""


def items_of(repeat: Foreach, value: object) -> Sequence[object]:
    """Return the items that a `foreach` goes through.

    Raises:
        NodeError: The value is no list.
    """
    if isinstance(value, Mapping | str | bytes) or value is None:
        kind = "an object" if isinstance(value, Mapping) else type(value).__name__
        hint = "to go through an object's pairs write `| items | list`" if isinstance(value, Mapping) else ""
        raise NodeError(f"`foreach: {repeat.items}` gives {kind}, not a list", hint)
    try:
        return value if isinstance(value, Sequence) else list(value)  # type: ignore[call-overload] # else it raises
    except TypeError:
        raise NodeError(f"`foreach: {repeat.items}` gives {type(value).__name__}, not a list") from None


async def each(count: int, at_once: int, work: Work, stop: StopScope, ledger: Ledger) -> Outcome:
    """Do some work once per item, some of them at once; what is under way when one fails is let finish.

    Args:
        count: How many items.
        at_once: Most items at once.
        work: Runs one; what is done already it says is done.
        stop: Whether no further item starts; told when one failed.
        ledger: Told how many are under way.
    """
    outcomes: list[Outcome] = []
    indices = iter(range(count))

    async def serve() -> None:
        for index in indices:
            outcome = LEFT if stop.is_stopping else await work(index)
            if isinstance(outcome, Failed):
                stop.stop()
            if not isinstance(outcome, Done):
                outcomes.append(outcome)
            if isinstance(outcome, Left):
                return

    workers = min(at_once, count)
    ledger.tasks += workers - 1  # The one that waits for them does nothing meanwhile.
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(serve())
    except BaseExceptionGroup as errors:  # A mistake of ours in one of them: it is raised as it is.
        raise errors.exceptions[0] from None
    finally:
        ledger.tasks -= workers - 1
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if failed:
        failures = tuple(failure for one in failed for failure in one.failures)
        return Failed(failures, failed[0].kinds, failed[0].retry_after_s)
    return LEFT if outcomes else Done(NodeResult(gather=Gather.ITEMS, count=count))


async def rounds(
    repeat: Loop,
    work: Work,
    holds: Callable[[int], bool],
    has_run: Callable[[int], bool],
    stop: StopScope,
    pause: Pause,
) -> Outcome:
    """Do some work in rounds.

    Args:
        repeat: How often.
        work: Runs one round.
        holds: Whether the condition is true: of `until` after the round of a number, of `while` before it.
        has_run: Whether a round is done already.
        stop: Whether no further round starts.
        pause: Waits between rounds.

    Raises:
        LoopError: An `until` was still false after the last round.
    """
    for count in range(repeat.max):
        if not repeat.until and not holds(count):
            return _last(count)
        if not has_run(count):
            if stop.is_stopping:
                return LEFT
            if count and repeat.every and not await pause(repeat.every):
                return LEFT
            outcome = await work(count)
            if not isinstance(outcome, Done):
                return outcome
        if repeat.until and holds(count):
            return _last(count + 1)
    if repeat.until:
        message = f"`until: {repeat.condition}` was still false after {repeat.max} rounds"
        raise LoopError(message, "raise `max`, or look at why it never becomes true")
    return _last(repeat.max)


def _last(count: int) -> Done:
    return Done(NodeResult(gather=Gather.LAST, count=count) if count else NodeResult(None))


class Pace:
    """Lets no more than so many items start in a period (a sliding window)."""

    def __init__(self, rate: Rate | None, pause: Pause) -> None:
        """Set it; without a rate nothing is waited for."""
        self._rate, self._pause = rate, pause
        self._starts: list[float] = []
        self._lock = asyncio.Lock()

    async def wait(self) -> bool:
        """Return when the next item may start; False: nothing new starts any more."""
        if self._rate is None:
            return True
        async with self._lock:
            clock = asyncio.get_running_loop().time
            self._starts = [start for start in self._starts if start > clock() - self._rate.period]
            if len(self._starts) >= self._rate.count:
                if not await self._pause(self._starts[0] + self._rate.period - clock()):
                    return False
                self._starts.pop(0)
            self._starts.append(clock())
            return True
