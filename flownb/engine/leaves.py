"""Gives one node to its runtime."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from flownb.engine.context import Services
from flownb.engine.namespace import Namespace, body_uses, uses_in
from flownb.engine.outcome import NodeResult
from flownb.engine.taint import tainted, worked_out
from flownb.engine.values import Stored, holds_secret, own_copy
from flownb.model.events import Begun
from flownb.model.nodes import BodyKind, Foreach, Leaf, NodeBase
from flownb.model.policy import ExecutorName
from flownb.plan.graph import TOP
from flownb.runtimes.base import PutValue, Runtime, Scope
from flownb.runtimes.registry import needs_extra
from flownb.runtimes.saved import Saved


async def run_leaf(
    node: Leaf, key: str, names: Namespace, begun: Begun | None = None, saved: Saved | None = None
) -> NodeResult:
    """Return what a node's runtime makes of it; of an item what `collect` says. `begun` goes into the result."""
    services, ledger = names.context.services, names.context.ledger
    known = ledger.state.nodes.get(key)
    hidden, wrote = tainted(names, body_uses(node)), dict[str, str]()
    collects = isinstance(node.repeat, Foreach) and node.repeat.collect is not None
    scope = Scope(
        key=key,
        values=_own_values(node, key, names) | ({} if saved is None else {"saved": saved}),
        folder=names.program.folder,
        caller=services.callers[node.policy.executor or ExecutorName.MAIN],
        printed=lambda printed: services.printed(key, printed),
        redactor=services.redactor,
        environment=services.environment,
        secrets=frozenset(services.secrets),
        tainted=hidden,
        secret_values=services.secrets,
        failed=known.error if known else None,
        used=lambda model, usage: ledger.used(key, model, usage),
        held=services.held,
        allowed=names.program.workflow.allow_paths,
        document=names.program.workflow.path,
        wrote=wrote.__setitem__,
        resources=services.resources,
        idempotency_key=names.idempotency_key(key),
        put=None if collects else services.kept.put,
    )
    value = await (await _runtime(services, node.TITLE)).run(node, scope)
    if isinstance(value, PutValue):
        return NodeResult(begun=begun, stored=Stored(value.output, reusable=True, tagged=True))
    is_tainted = bool(hidden) and node.TELLS
    if isinstance(node.repeat, Foreach) and node.repeat.collect:
        is_tainted = is_tainted or holds_secret(value, services.redactor)
        inside = names.inside({node.id: value}, tainted=(node.id,) if is_tainted else ())
        return replace(collected(node, node.repeat.collect, key, inside, begun), wrote=wrote)
    return NodeResult(value, begun=begun, is_tainted=is_tainted, wrote=wrote)


async def _runtime(services: Services, title: str) -> Runtime:
    """Return what carries out a kind of node; an optional library is imported on a thread: that may take half a second."""
    if title in services.imported or not needs_extra(title):
        return services.runtime(title)
    made = await asyncio.to_thread(services.runtime, title)
    services.imported.add(title)
    return made


def collected(node: NodeBase, source: str, key: str, names: Namespace, begun: Begun | None = None) -> NodeResult:
    """Return what an item's `collect` gives."""
    uses = uses_in(node, "collect")
    value = worked_out(names, source, uses, key)
    return NodeResult(value, begun=begun, is_tainted=bool(tainted(names, uses)))


def _own_values(node: Leaf, key: str, names: Namespace) -> dict[str, object]:
    """Return name → value; a python body gets copies of data, so that it cannot change what others read.

    The items of a `foreach` share what they read from outside: a copy for each would cost too much.
    """
    values = names.body_values(node, key)
    if node.BODY is not BodyKind.PYTHON:
        return values
    is_alone = node.repeat is None and names.scope == TOP
    return {name: own_copy(value) if is_alone or name in names.names else value for name, value in values.items()}
