"""Repeats a node: once per item of a list, some of them at once, or in rounds that follow from each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from flownb.engine.checkpoints import holds
from flownb.engine.names import Frame, uses_of
from flownb.engine.results import Halted, Made
from flownb.engine.taint import tainted, worked_out
from flownb.errors import Failure, NodeError
from flownb.model import events as e
from flownb.model.nodes import Container, Foreach, Loop, Node, Rate
from flownb.model.record import Record

if TYPE_CHECKING:
    from flownb.engine.body import BodyRun
    from flownb.engine.engine import Engine

RunOne = Callable[["BodyRun", Node, str, Frame], Awaitable[list[Failure]]]
"""Runs one item or round of a node at a key, and returns what failed."""


class LoopError(NodeError):
    """An `until` was still false after its last round."""


async def each(repeat: Foreach, run_one: RunOne, body: BodyRun, node: Node, key: str, frame: Frame) -> list[Failure]:
    """Run a node once per item, some of them at once; return what failed.

    When one fails, here or elsewhere, no other starts, and those under way are let finish (format.md, section 4.5).

    Raises:
        Halted: Some item was left, and none failed.
    """
    engine = body.engine
    items = _items(engine, repeat, node, key, frame)
    engine.counts[key] = len(items)
    hidden = (repeat.as_name, "item") if tainted(engine, frame, uses_of(node, "foreach")) else ()
    failures: list[Failure] = []
    indices = iter(range(len(items)))
    part = body.beside(frame)
    pace = _Pace(part, repeat.rate)
    is_left = False

    async def work() -> None:
        nonlocal is_left
        for index in indices:
            item_key = f"{key}[{index}]"
            names = {repeat.as_name: items[index], "item": items[index], "index": index}
            place = frame.inside(names, prefix=f"{item_key}/", scope=node.id, tainted=hidden)
            if engine.is_done(item_key) and await holds(engine, node, item_key, place):
                continue
            try:
                await pace.wait()
                more = await run_one(part, node, item_key, place)
            except Halted:
                is_left = True
                return
            if more:
                failures.extend(more)
                part.stop()

    limit = repeat.concurrency or frame.program.workflow.concurrency
    workers = min(limit, len(items))
    engine.strands += workers - 1  # This one only waits for them.
    try:
        await _together(work, workers)
    finally:
        engine.strands -= workers - 1
    if failures:
        return failures
    if is_left:
        raise Halted
    engine.complete(key, Made(gather=e.Gather.ITEMS, count=len(items)))
    return []


async def _together(work: Callable[[], Awaitable[None]], count: int) -> None:
    """Run some workers at once; when one of them breaks off, or this is cancelled, the others are cancelled."""
    tasks = [asyncio.ensure_future(work()) for _ in range(count)]
    try:
        for task in tasks:
            await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _items(engine: Engine, repeat: Foreach, node: Node, key: str, frame: Frame) -> Sequence[object]:
    value = worked_out(engine, frame, repeat.items, uses_of(node, "foreach"), key)
    if isinstance(value, Mapping | str | bytes) or value is None:
        kind = "an object" if isinstance(value, Mapping) else type(value).__name__
        hint = "to go through an object's pairs write `| items | list`" if isinstance(value, Mapping) else ""
        raise NodeError(f"`foreach: {repeat.items}` gives {kind}, not a list", hint)
    try:
        return value if isinstance(value, Sequence) else list(value)  # type: ignore[call-overload] # else it raises
    except TypeError:
        raise NodeError(f"`foreach: {repeat.items}` gives {type(value).__name__}, not a list") from None


class _Pace:
    """Lets no more than so many items start in a period (a sliding window)."""

    def __init__(self, body: BodyRun, rate: Rate | None) -> None:
        self._body, self._rate = body, rate
        self._starts: list[float] = []
        self._lock = asyncio.Lock()

    async def wait(self) -> None:
        """Return when the next item may start; raises Halted when nothing new starts any more."""
        if self._body.is_stopping:
            raise Halted
        if self._rate is None:
            return
        async with self._lock:
            clock = self._body.engine.loop.time
            self._starts = [start for start in self._starts if start > clock() - self._rate.period]
            if len(self._starts) >= self._rate.count:
                await self._body.pause(self._starts[0] + self._rate.period - clock())
                self._starts.pop(0)
            self._starts.append(clock())


async def rounds(repeat: Loop, run_one: RunOne, body: BodyRun, node: Node, key: str, frame: Frame) -> list[Failure]:
    """Repeat a node until its condition says so; return what failed.

    Raises:
        Halted: It was left between two rounds.
        LoopError: Its `until` was still false after the last round.
    """
    engine = body.engine
    previous: object = None
    hidden: tuple[str, ...] = ()
    count = 0
    while count < repeat.max:
        round_key = f"{key}{{{count}}}"
        names = {"round": count, "previous": previous}
        place = frame.inside(names, prefix=f"{round_key}/", scope=node.id, tainted=hidden)
        if not repeat.until and not _holds(
            engine, repeat, node, key, place.inside({node.id: previous}, tainted=hidden)
        ):
            break
        failures = await _round(repeat, run_one, body, node, round_key, place)
        if failures:
            return failures
        made = engine.value_of(round_key)
        previous = Record(made) if isinstance(node, Container) and isinstance(made, dict) else made
        hidden = ("previous", node.id) if round_key in engine.tainted else ()
        count += 1
        if repeat.until and _holds(engine, repeat, node, key, place.inside({node.id: previous}, tainted=hidden)):
            break
    else:
        if repeat.until:
            message = f"`until: {repeat.condition}` was still false after {repeat.max} rounds"
            raise LoopError(message, "raise `max`, or look at why it never becomes true")
    engine.complete(key, Made(gather=e.Gather.LAST, count=count) if count else Made(None))
    return []


async def _round(repeat: Loop, run_one: RunOne, body: BodyRun, node: Node, key: str, place: Frame) -> list[Failure]:
    if body.engine.is_done(key) and await holds(body.engine, node, key, place):
        return []
    if place.names["round"] and repeat.every:
        await body.pause(repeat.every)
    return await run_one(body, node, key, place)


def _holds(engine: Engine, repeat: Loop, node: Node, key: str, place: Frame) -> bool:
    field = "until" if repeat.until else "while"
    return bool(worked_out(engine, place, repeat.condition, uses_of(node, field), key))
