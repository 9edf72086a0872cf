"""Runs one node once: its attempts, with delay, timeout, retry and fallback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import RetryCallState, wait_exponential, wait_fixed, wait_incrementing
from tenacity.wait import wait_base

from flownb.engine.checkpoints import ask, ask_again
from flownb.engine.names import Frame, body_uses, body_values, uses_of
from flownb.engine.results import Halted, Made, PartsFailedError, own_copy, to_failure, to_stored
from flownb.engine.taint import tainted, worked_out
from flownb.errors import Failure, NodeTimeoutError, RejectedError
from flownb.model import events as e
from flownb.model.nodes import BodyKind, CheckpointNode, Container, FlowNode, Foreach, Leaf, Node
from flownb.model.policy import Backoff, ExecutorName, Jitter, Retry
from flownb.model.record import Record
from flownb.model.state import NodeStatus
from flownb.plan.graph import TOP
from flownb.runtimes.base import Scope

if TYPE_CHECKING:
    from flownb.engine.body import BodyRun
    from flownb.engine.engine import Engine

T = TypeVar("T")

Work = Callable[["BodyRun", Node, str, Frame], Awaitable[Made]]
"""What is inside a container or a sub-flow."""
_OVER: Final = (NodeStatus.FAILED, NodeStatus.CANCELLED)
"""How an earlier attempt of what holds a node may have left it."""
_HOPELESS: Final = (SyntaxError, NameError, ImportError, RejectedError)
"""Errors that another attempt would only meet again."""


async def run_once(body: BodyRun, node: Node, key: str, frame: Frame, work: Work) -> list[Failure]:
    """Run one node, item or round with its policy, and say how it ended; return what failed and was not caught.

    Raises:
        Halted: It was left, because the run starts nothing new.
    """
    engine = body.engine
    if body.is_stopping:
        raise Halted
    try:
        known = engine.state.nodes.get(key)
        if node.policy.once and (key in engine.state.former or (known is not None and known.attempts)):
            try:
                made = await ask_again(body, node, key, frame)
            except RejectedError as error:
                attempts = known.attempts if known else 1
                return await _give_up(body, node, key, frame, _failures(engine, error, node, key, attempts, frame))
            if made is not None:
                engine.complete(key, made)
                return []
        return await _attempts(body, node, key, frame, work)
    except (asyncio.CancelledError, Halted):
        engine.mark_cancelled(key)
        raise


async def _attempts(body: BodyRun, node: Node, key: str, frame: Frame, work: Work) -> list[Failure]:
    engine = body.engine
    before = engine.state.nodes.get(key)
    # Where it failed or was stopped in an earlier attempt of what holds it, it begins anew (format.md, section 4.4).
    failed = before.failed_attempts if before and before.status not in _OVER else 0
    is_new = True
    while True:
        try:
            engine.complete(key, await _attempt(body, node, key, frame, work, failed + 1, is_new=is_new))
        except Halted:
            raise
        except Exception as error:  # noqa: BLE001 a stranger's code
            failures = _failures(engine, error, node, key, failed + 1, frame)
            # What answers a failure has one attempt (format.md, section 4.5).
            is_last = node.policy.once or node.id in frame.program.graph.reserved
            wait = None if is_last else _next_wait(engine, node, error, failed)
            failed += 1
            is_new = False
            if wait is None:
                return await _give_up(body, node, key, frame, failures)
            engine.emit(e.AttemptFailed(at=engine.now(), key=key, failure=failures[0], wait_s=wait))
            with engine.working():
                await engine.services.sleep(wait)
        else:
            return []


async def _attempt(
    body: BodyRun, node: Node, key: str, frame: Frame, work: Work, attempt: int, *, is_new: bool
) -> Made:
    engine, policy = body.engine, node.policy
    if isinstance(node, CheckpointNode):
        return await ask(body, node, key, frame)
    if isinstance(node, Container | FlowNode):
        begin(engine, frame, node, key, attempt)
        return await in_time(policy.timeout, work(body, node, key, frame))
    with engine.working():
        async with engine.slots:
            if is_new and body.is_stopping:
                raise Halted
            begin(engine, frame, node, key, attempt)
            await engine.commit()
            return await in_time(policy.timeout, _run_leaf(engine, node, key, frame))


def begin(engine: Engine, frame: Frame, node: Node, key: str, attempt: int = 1) -> None:
    """Say that an attempt begins."""
    definition = frame.program.fingerprints.get(node.id, "")
    inside = frame.holder_of(node.id, key)
    engine.emit(e.NodeStarted(at=engine.now(), key=key, attempt=attempt, definition=definition, inside=inside))


async def _run_leaf(engine: Engine, node: Leaf, key: str, frame: Frame) -> Made:
    services = engine.services
    hidden = tainted(engine, frame, body_uses(node))
    scope = Scope(
        key=key,
        values=_own_values(engine, frame, node, key),
        folder=frame.program.folder,
        caller=services.callers[node.policy.executor or ExecutorName.MAIN],
        printed=lambda printed: services.printed(key, printed),
        redactor=services.redactor,
        environment=services.environment,
        secrets=frozenset(services.secrets),
        tainted=hidden,
        held=services.held,
    )
    value = await services.runtime(node.TITLE).run(node, scope)
    is_tainted = bool(hidden) and node.TELLS
    if isinstance(node.repeat, Foreach) and node.repeat.collect:
        is_tainted = to_stored(value, services.redactor, is_tainted=is_tainted).is_tainted
        inside = frame.inside({node.id: value}, tainted=(node.id,) if is_tainted else ())
        return collected(engine, inside, node, node.repeat.collect, key)
    return Made(value, is_tainted=is_tainted)


def collected(engine: Engine, frame: Frame, node: Node, source: str, key: str) -> Made:
    """Return what an item's `collect` gives."""
    uses = uses_of(node, "collect")
    value = worked_out(engine, frame, source, uses, key)
    return Made(value, is_tainted=bool(tainted(engine, frame, uses)))


def _own_values(engine: Engine, frame: Frame, node: Leaf, key: str) -> dict[str, object]:
    """Return name → value; a python body gets copies of data, so that it cannot change what others read.

    The items of a `foreach` share what they read from outside: a copy for each would cost too much.
    """
    values = body_values(engine, frame, node, key)
    if node.BODY is not BodyKind.PYTHON:
        return values
    is_alone = node.repeat is None and frame.scope == TOP
    return {name: own_copy(value) if is_alone or name in frame.names else value for name, value in values.items()}


async def in_time(limit: float | None, work: Awaitable[T]) -> T:
    """Await some work; past the limit it is cancelled, and ends before NodeTimeoutError is raised."""
    if limit is None:
        return await work
    timer = asyncio.timeout(limit)
    try:
        async with timer:
            return await work
    except TimeoutError:
        if timer.expired():
            raise NodeTimeoutError(f"it took longer than {limit:g} s and was stopped") from None
        raise


def _failures(engine: Engine, error: Exception, node: Node, key: str, attempts: int, frame: Frame) -> list[Failure]:
    if isinstance(error, PartsFailedError):
        return error.failures
    is_tainted = bool(tainted(engine, frame, body_uses(node)))
    return [to_failure(error, node, key, attempts, engine.services.redactor, is_tainted=is_tainted)]


async def _give_up(body: BodyRun, node: Node, key: str, frame: Frame, failures: list[Failure]) -> list[Failure]:
    """Run the fallback, or let the node be failed."""
    engine, policy = body.engine, node.policy
    if policy.fallback:
        unit = frame.program.graph.reserved[policy.fallback]
        is_one_of_many = not key.endswith(node.id) or frame.program.graph.is_shared(policy.fallback)
        inside = frame.inside({"error": Record(failures[0].as_json())}, prefix=f"{key}/" if is_one_of_many else None)
        more = await body.run_apart(unit, inside)
        if not more:
            stand_in = inside.prefix + policy.fallback
            made = Made(gather=e.Gather.ONE, parts={policy.fallback: stand_in})
            engine.complete(key, made, fallback=policy.fallback)
            return []
        failures = failures + more
    engine.emit(e.NodeFailed(at=engine.now(), key=key, failure=failures[0], continued=policy.continue_on_error))
    return [] if policy.continue_on_error else failures


def _next_wait(engine: Engine, node: Node, error: Exception, failed: int) -> float | None:
    """Return how many seconds to wait for the next attempt after `failed` ones and this; None: there is none."""
    retry = node.policy.retry
    if retry is None or failed >= retry.max or not _is_covered(retry, node, error):
        return None
    asked_for = getattr(error, "retry_after_s", None)
    if isinstance(asked_for, int | float):
        return min(float(asked_for), retry.cap)
    return with_jitter(retry, plain_wait(retry, failed), engine)


def plain_wait(retry: Retry, failed: int) -> float:
    """Return the seconds to wait after `failed` + 1 failures, before jitter: tenacity's own policies."""
    policy: wait_base
    match retry.backoff:
        case Backoff.EXPONENTIAL:
            policy = wait_exponential(multiplier=retry.base, max=retry.cap, exp_base=2)
        case Backoff.LINEAR:
            policy = wait_incrementing(start=retry.base, increment=retry.base, max=retry.cap)
        case Backoff.FIXED:
            policy = wait_fixed(min(retry.base, retry.cap))
    state = RetryCallState(retry_object=None, fn=None, args=(), kwargs={})  # type: ignore[arg-type] # as tenacity's tests do
    state.attempt_number = failed + 1
    return policy(state)


def with_jitter(retry: Retry, wait: float, engine: Engine) -> float:
    """Leave a part of a wait to chance."""
    match retry.jitter:
        case Jitter.FULL:
            return engine.services.uniform(0.0, wait)
        case Jitter.EQUAL:
            return wait / 2 + engine.services.uniform(0.0, wait / 2)
        case Jitter.NONE:
            return wait


def _is_covered(retry: Retry, node: Node, error: Exception) -> bool:
    """Return whether a failure is one that is tried again (format.md, section 4.4)."""
    wanted = retry.on
    if wanted is None:
        kind_default = node.DEFAULT_RETRY_ON if isinstance(node, Leaf) else ()
        if not kind_default:
            return not isinstance(error, _HOPELESS)
        wanted = kind_default
    return not set(names_of(error)).isdisjoint(wanted)


def names_of(error: BaseException) -> Iterator[str]:
    """Yield every word of `on` that covers an error."""
    for kind in type(error).__mro__:
        yield kind.__name__
        package = kind.__module__
        while package:  # A class is known by the packages above its module too: `json.JSONDecodeError`.
            yield f"{package}.{kind.__qualname__}"
            package = package.rpartition(".")[0]
    if isinstance(error, TimeoutError):
        yield "timeout"
    status = getattr(error, "status", None)
    if isinstance(status, int):
        yield str(status)
        yield f"{status // 100}xx"
