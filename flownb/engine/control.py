"""Runs a node in its place: skipped or not, once, per item or in rounds; and what is inside a container."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from pydantic import JsonValue

from flownb.engine.attempts import begin, collected, in_time, run_once
from flownb.engine.names import Frame, Program, body_uses, body_values, uses_of
from flownb.engine.results import Halted, Made, PartsFailedError, to_failure
from flownb.engine.taint import tainted, worked_out
from flownb.errors import Failure, FlowError, NodeError
from flownb.expressions import Key, render, template_names
from flownb.fingerprints import fingerprints
from flownb.graph import TOP, Unit, build_graph, is_gate
from flownb.model import events as e
from flownb.model.nodes import Branch, Container, FlowNode, Foreach, Loop, Node, Parallel, Rate, Use
from flownb.model.record import Record
from flownb.model.state import NodeStatus
from flownb.model.workflow import bind_inputs

if TYPE_CHECKING:
    from flownb.engine.body import BodyRun
    from flownb.engine.engine import Engine


class LoopError(NodeError):
    """An `until` was still false after its last round."""


async def run_node(body: BodyRun, unit: Unit, frame: Frame, *, is_chosen: bool = False) -> list[Failure]:
    """Run one unit of a body; return what failed and was not caught.

    With `is_chosen` a branch takes it now, though it may have passed it over before.

    Raises:
        Halted: It was left, because the run starts nothing new.
    """
    engine, node = body.engine, unit.node
    key = frame.prefix + node.id
    if engine.is_done(key) and not (is_chosen and engine.state.status_of(key) is NodeStatus.SKIPPED):
        return []
    try:
        reason = _skip_reason(engine, body, unit, frame, key)
    except FlowError as error:
        return _failed(engine, node, key, error)
    if reason is not None:
        definition = frame.program.fingerprints.get(node.id, "")
        engine.emit(e.NodeSkipped(at=engine.now(), key=key, definition=definition, reason=reason))
        return []
    fresh = key not in engine.state.nodes
    if node.policy.delay and fresh:
        with engine.working():
            await engine.services.sleep(node.policy.delay)
        if body.is_stopping:
            raise Halted
    if node.policy.cache and _take_cached(engine, node, key, frame):
        return []
    match node.repeat:
        case Foreach():
            return await _run_repeated(body, node, key, frame, partial(_each, node.repeat))
        case Loop():
            return await _run_repeated(body, node, key, frame, partial(_rounds, node.repeat))
        case None:
            return await run_once(body, node, key, frame, run_inside)


def _failed(engine: Engine, node: Node, key: str, error: Exception) -> list[Failure]:
    """Say that a node failed before an attempt of it could begin."""
    failure = to_failure(error, node, key, 0, engine.services.redactor)
    engine.emit(e.NodeFailed(at=engine.now(), key=key, failure=failure, continued=node.policy.continue_on_error))
    return [] if node.policy.continue_on_error else [failure]


def _skip_reason(engine: Engine, body: BodyRun, unit: Unit, frame: Frame, key: str) -> str | None:
    """Return why a node is skipped; None: it is not (format.md, section 4.3)."""
    if unit.refers and all(_was_skipped(engine, frame, target) for target in unit.refers):
        return "what it refers to was skipped"
    conditions = list(unit.whens)
    if unit.node.policy.when:
        conditions.append(unit.node.policy.when)
    for condition in conditions:
        if not worked_out(engine, frame, condition, _condition_uses(body, unit), key):
            return f"when: {condition}"
    return None


def _was_skipped(engine: Engine, frame: Frame, node: str) -> bool:
    """Return whether a node was skipped, by itself or with what holds it."""
    home, key = frame.program.graph.home, frame.key_of(node)
    while key not in engine.state.nodes and home[node] != TOP:
        node = home[node]
        key = frame.key_of(node)
    return engine.state.status_of(key) is NodeStatus.SKIPPED


def _condition_uses(body: BodyRun, unit: Unit) -> list[Use]:
    around = (unit.node, *body.groups_around(unit))
    return [use for node in around for use in node.uses if use.field == "when"]


def _take_cached(engine: Engine, node: Node, key: str, frame: Frame) -> bool:
    """Use the value of an earlier run, where there is one."""
    definition = frame.program.fingerprints.get(node.id, "")
    age = node.policy.cache if isinstance(node.policy.cache, float) else None
    try:
        output = engine.services.cached(node.id, definition, age)
    except LookupError:
        return False
    begin(engine, frame, node, key)
    engine.emit(e.NodeCompleted(at=engine.now(), key=key, output=output))
    return True


async def _run_repeated(body: BodyRun, node: Node, key: str, frame: Frame, work: object) -> list[Failure]:
    """Run all items or rounds of a node; return what failed."""
    engine = body.engine
    begin(engine, frame, node, key)
    try:
        failures = await work(body, node, key, frame)  # type: ignore[operator] # one of the two below
    except (Halted, asyncio.CancelledError):
        engine.mark_cancelled(key)
        raise
    except FlowError as error:
        return _failed(engine, node, key, error)
    if failures:
        continued = node.policy.continue_on_error
        engine.emit(e.NodeFailed(at=engine.now(), key=key, failure=failures[0], continued=continued))
        return [] if continued else list(failures)
    return []


async def _each(repeat: Foreach, body: BodyRun, node: Node, key: str, frame: Frame) -> list[Failure]:
    """Run a node once per item, some of them at once."""
    engine = body.engine
    items = _items(engine, repeat, node, key, frame)
    is_tainted = bool(tainted(engine, frame, uses_of(node, "foreach")))
    engine.counts[key] = len(items)
    failures: list[Failure] = []
    indices = iter(range(len(items)))
    pace = _Pace(engine, repeat.rate)
    stopped = False

    async def work() -> None:
        nonlocal stopped
        for index in indices:
            item_key = f"{key}[{index}]"
            if engine.is_done(item_key):
                continue
            if stopped or body.is_stopping:
                stopped = True
                return
            await pace.wait()
            names = {repeat.as_name: items[index], "item": items[index], "index": index}
            hidden = (repeat.as_name, "item") if is_tainted else ()
            place = frame.inside(names, prefix=f"{item_key}/", scope=node.id, tainted=hidden)
            more = await run_once(body, node, item_key, place, run_inside)
            if more:
                failures.extend(more)
                stopped = True

    limit = repeat.concurrency or frame.program.workflow.concurrency
    workers = min(limit, len(items))
    engine.strands += workers - 1  # This one only waits for them.
    try:
        await _together(work, workers)
    finally:
        engine.strands -= workers - 1
    if failures:
        return failures
    if stopped:
        raise Halted
    engine.complete(key, Made(gather=e.Gather.ITEMS, count=len(items)))
    return []


async def _together(work: object, count: int) -> None:
    """Run some workers at once; when one of them breaks off, the others are cancelled."""
    tasks = [asyncio.ensure_future(work()) for _ in range(count)]  # type: ignore[operator] # a coroutine function
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

    def __init__(self, engine: Engine, rate: Rate | None) -> None:
        self._engine, self._rate = engine, rate
        self._starts: list[float] = []
        self._lock = asyncio.Lock()

    async def wait(self) -> None:
        """Return when the next item may start."""
        if self._rate is None:
            return
        async with self._lock:
            clock = self._engine.loop.time
            self._starts = [start for start in self._starts if start > clock() - self._rate.period]
            if len(self._starts) >= self._rate.count:
                with self._engine.working():
                    await self._engine.services.sleep(self._starts[0] + self._rate.period - clock())
                self._starts.pop(0)
            self._starts.append(clock())


async def _rounds(repeat: Loop, body: BodyRun, node: Node, key: str, frame: Frame) -> list[Failure]:
    """Repeat a node until its condition says so."""
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
        failures = await _round(repeat, body, node, round_key, place)
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


async def _round(repeat: Loop, body: BodyRun, node: Node, key: str, place: Frame) -> list[Failure]:
    engine = body.engine
    if engine.is_done(key):
        return []
    if body.is_stopping:
        raise Halted
    if place.names["round"] and repeat.every:
        with engine.working():
            await engine.services.sleep(repeat.every)
    return await run_once(body, node, key, place, run_inside)


def _holds(engine: Engine, repeat: Loop, node: Node, key: str, place: Frame) -> bool:
    field = "until" if repeat.until else "while"
    return bool(worked_out(engine, place, repeat.condition, uses_of(node, field), key))


async def run_inside(body: BodyRun, node: Node, key: str, frame: Frame) -> Made:
    """Run what is in a container or a sub-flow, once.

    Raises:
        PartsFailedError: Something in it failed.
        Halted: Something in it was left.
    """
    if isinstance(node, FlowNode):
        return await _run_flow(body, node, key, frame)
    assert isinstance(node, Container), "leaves are run by their runtime"
    graph = frame.program.graph
    inner = graph.bodies[node.id]
    policy = node.policy
    catches = bool(policy.retry or policy.fallback or policy.continue_on_error)
    if isinstance(node, Branch):
        return await _run_branch(body.inside(inner, frame, catches=catches))
    enough = _enough(node, len(inner.units)) if isinstance(node, Parallel) else None
    part = body.inside(inner, frame, catches=catches or enough is not None, enough=enough)
    _raise_failures(await part.run())
    keys = {unit.node.id: frame.prefix + unit.node.id for unit in inner.units}
    if isinstance(node.repeat, Foreach) and node.repeat.collect:
        return collected(body.engine, frame, node, node.repeat.collect, key)
    if isinstance(node, Parallel) or isinstance(node.repeat, Loop):
        return Made(gather=e.Gather.EACH, parts=keys)
    last = inner.units[-1].node.id
    return Made(gather=e.Gather.ONE, parts={last: keys[last]})


def _enough(node: Parallel, count: int) -> int | None:
    if node.wait == "all":
        return None
    return 1 if node.wait == "any" else min(node.wait, count)


def _raise_failures(failures: list[Failure]) -> None:
    if failures:
        raise PartsFailedError(failures)


async def _run_branch(part: BodyRun) -> Made:
    """Run the first child whose `when` is true, else the one without."""
    engine, frame = part.engine, part.frame
    chosen = _chosen(part)
    for unit in part.body.units:
        key = frame.prefix + unit.node.id
        if unit is not chosen and engine.state.status_of(key) is not NodeStatus.SKIPPED:
            definition = frame.program.fingerprints.get(unit.node.id, "")
            engine.emit(
                e.NodeSkipped(at=engine.now(), key=key, definition=definition, reason="another branch was taken")
            )
    if chosen is None:
        return Made(None)
    _raise_failures(await run_node(part, chosen, frame, is_chosen=True))
    return Made(gather=e.Gather.ONE, parts={chosen.node.id: frame.prefix + chosen.node.id})


def _chosen(part: BodyRun) -> Unit | None:
    """Return the child that a branch runs.

    One that was begun before a crash is not chosen anew, unless what was passed over before it changed since.
    """
    engine, frame = part.engine, part.frame
    units = sorted(part.body.units, key=lambda unit: unit.node.policy.when is None)  # The default comes last.
    keys = {unit.index: frame.prefix + unit.node.id for unit in units}
    passed = {index for index, key in keys.items() if engine.state.status_of(key) is NodeStatus.SKIPPED}
    begun = {index for index, key in keys.items() if key in engine.state.nodes} - passed
    for unit in units:
        when, key = unit.node.policy.when, keys[unit.index]
        if unit.index in begun or when is None:
            return unit
        if begun and unit.index in passed:
            continue
        if worked_out(engine, frame, when, uses_of(unit.node, "when"), key):
            return unit
    return None


async def _run_flow(body: BodyRun, node: FlowNode, key: str, frame: Frame) -> Made:
    """Run another workflow under this node's key, with inputs and names of its own."""
    engine = body.engine
    workflow = frame.program.workflow.subflows[node.id]
    values = body_values(engine, frame, node, key)
    given = {name: _rendered(value, values) for name, value in node.inputs.items()}
    inputs = bind_inputs(workflow, given)
    hidden = tainted(engine, frame, body_uses(node))
    tainted_inputs = frozenset(name for name, value in node.inputs.items() if _reads(value, hidden))
    graph = build_graph(workflow)
    folder = workflow.path.parent if workflow.path else frame.program.folder
    prints = fingerprints(graph, {}, engine.services.redactor.text)
    program = Program(workflow, graph, Record(inputs), prints, folder, tainted=tainted_inputs)
    policy = node.policy
    catches = bool(policy.retry or policy.fallback or policy.continue_on_error)
    part = body.inside(graph.bodies[TOP], Frame(program, prefix=f"{key}/"), catches=catches)
    limit = workflow.timeout
    if any(is_gate(workflow, inner) for inner in workflow.nodes):
        limit = None  # Waiting for a person does not count, and only the run knows when it does.
    _raise_failures(await in_time(limit, part.run_program()))
    outputs, hidden_outputs = part.outputs()
    return Made(outputs, is_tainted=bool(hidden_outputs))


def _reads(value: JsonValue, keys: frozenset[Key]) -> bool:
    """Return whether a text in some data reads one of some names."""
    match value:
        case str():
            return any((name.name, name.attribute) in keys for name in template_names(value))
        case list():
            return any(_reads(item, keys) for item in value)
        case dict():
            return any(_reads(item, keys) for item in value.values())
        case _:
            return False


def _rendered(value: JsonValue, values: Mapping[str, object]) -> object:
    """Return data with every text in it rendered."""
    match value:
        case str():
            return render(value, values)
        case list():
            return [_rendered(item, values) for item in value]
        case dict():
            return {name: _rendered(item, values) for name, item in value.items()}
        case _:
            return value
