"""Runs a node in its place: skipped or not, once, per item or in rounds; and what is inside a container."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from flownb.engine.attempts import begin, collected, in_time, run_once
from flownb.engine.checkpoints import holds
from flownb.engine.names import Frame, Program, body_uses, body_values, uses_of
from flownb.engine.repeat import each, rounds
from flownb.engine.results import Halted, Made, PartsFailedError, to_failure
from flownb.engine.taint import tainted, worked_out
from flownb.errors import Failure, FlowError
from flownb.model import events as e
from flownb.model.nodes import Branch, CheckpointNode, Container, FlowNode, Foreach, Loop, Node, Parallel, Use
from flownb.model.record import Record
from flownb.model.state import NodeStatus
from flownb.model.workflow import bind_inputs
from flownb.plan.fingerprint import fingerprints
from flownb.plan.graph import TOP, Unit, build_graph, is_gate
from flownb.templates.expressions import Key, render, template_names

if TYPE_CHECKING:
    from flownb.engine.body import BodyRun
    from flownb.engine.engine import Engine


async def run_node(body: BodyRun, unit: Unit, frame: Frame, *, is_chosen: bool = False) -> list[Failure]:
    """Run one unit of a body; return what failed and was not caught.

    With `is_chosen` a branch takes it now, though it may have passed it over before.

    Raises:
        Halted: It was left, because the run starts nothing new.
    """
    engine, node = body.engine, unit.node
    key = frame.prefix + node.id
    if await _stands(engine, node, key, frame) and not (
        is_chosen and engine.state.status_of(key) is NodeStatus.SKIPPED
    ):
        return []
    try:
        reason = _skip_reason(engine, body, unit, frame, key, is_chosen=is_chosen)
    except FlowError as error:
        return _failed(engine, node, key, error)
    if reason is not None:
        definition = frame.program.fingerprints.get(node.id, "")
        engine.emit(e.NodeSkipped(at=engine.now(), key=key, definition=definition, reason=reason))
        return []
    fresh = key not in engine.state.nodes
    if node.policy.delay and fresh:
        await body.pause(node.policy.delay)
    if node.policy.cache and _take_cached(engine, node, key, frame):
        return []
    match node.repeat:
        case Foreach():
            return await _run_repeated(body, node, key, frame, partial(each, node.repeat, _run_one))
        case Loop():
            return await _run_repeated(body, node, key, frame, partial(rounds, node.repeat, _run_one))
        case None:
            return await run_once(body, node, key, frame, run_inside)


async def _stands(engine: Engine, node: Node, key: str, frame: Frame) -> bool:
    """Return whether a node is done, and what a person decided there need not be asked again."""
    if not engine.is_done(key):
        return False
    if isinstance(node, CheckpointNode) and node.repeat is not None and key in engine.earlier:
        return False  # Each of its items or rounds is looked at.
    return await holds(engine, node, key, frame)


def _failed(engine: Engine, node: Node, key: str, error: Exception) -> list[Failure]:
    """Say that a node failed before an attempt of it could begin."""
    failure = to_failure(error, node, key, 0, engine.services.redactor)
    engine.emit(e.NodeFailed(at=engine.now(), key=key, failure=failure, continued=node.policy.continue_on_error))
    return [] if node.policy.continue_on_error else [failure]


def _skip_reason(engine: Engine, body: BodyRun, unit: Unit, frame: Frame, key: str, *, is_chosen: bool) -> str | None:
    """Return why a node is skipped; None: it is not (format.md, section 4.3).

    Of one that a branch chose the condition was looked at: a resume does not look again.
    """
    if unit.refers and all(_was_skipped(engine, frame, target) for target in unit.refers):
        return "what it refers to was skipped"
    conditions = list(unit.whens)
    if unit.node.policy.when and not is_chosen:
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
        output = engine.services.cached(key, definition, age)
    except LookupError:
        return False
    begin(engine, frame, node, key)
    engine.emit(e.NodeCompleted(at=engine.now(), key=key, output=output, taken=e.Taken.CACHED))
    return True


async def _run_one(body: BodyRun, node: Node, key: str, frame: Frame) -> list[Failure]:
    """Run one item or round of a node."""
    if node.policy.cache and _take_cached(body.engine, node, key, frame):
        return []
    return await run_once(body, node, key, frame, run_inside)


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
    prints = fingerprints(graph, to_jsonable_python(inputs), engine.services.redactor.text)
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
