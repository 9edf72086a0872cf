"""Runs one node, item or round with its policy: attempts, questions, fallback."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar, assert_never

from flownb.engine.attempts import retry
from flownb.engine.checkpoints import ask, ask_again, question_of, was_before
from flownb.engine.context import RunContext
from flownb.engine.leaves import run_leaf
from flownb.engine.namespace import Namespace, body_uses, uses_in
from flownb.engine.outcome import LEFT, Done, Failed, Left, NodeResult, Outcome, failed_by
from flownb.engine.reads import evidence_of, reads_of
from flownb.engine.reuse import is_same
from flownb.engine.saving import Saving
from flownb.engine.stopping import StopScope
from flownb.engine.taint import shown, tainted
from flownb.engine.values import Stored, is_small
from flownb.errors import NodeTimeoutError, RejectedError
from flownb.model import events as e
from flownb.model.decision import Action
from flownb.model.key import is_part, prefix_in
from flownb.model.node_state import NodeStatus
from flownb.model.nodes import CheckpointNode, Container, FlowNode, Leaf, Node
from flownb.model.policy import Retry
from flownb.model.record import Record
from flownb.templates.expressions import render_apart

T = TypeVar("T")
_OVER: Final = (NodeStatus.FAILED, NodeStatus.CANCELLED)
"""How an earlier attempt of what holds a node may have left it."""


@dataclass(frozen=True, slots=True)
class Work:
    """Does what one node, item or round says, at one place of a run."""

    context: RunContext
    """The run."""
    names: Namespace
    """What names mean here."""
    stop: StopScope
    """Whether nothing new starts here."""
    content: Callable[[Container | FlowNode, str], Awaitable[Outcome]]
    """Runs what is in a container or a sub-flow, once."""
    answering: Callable[[str, Namespace], Awaitable[Outcome]]
    """Runs a node that is reserved for failures."""

    async def run_once(self, node: Node, key: str) -> Outcome:
        """Run one node, item or round with its policy, and say how it ended."""
        if self.stop.is_stopping:
            return LEFT
        outcome = await self.attended(key, self._attempts(node, key))
        match outcome:
            case Done(result):
                self.complete(node, key, result)
                return Done()
            case Failed():
                return await self.attended(key, self._given_up(node, key, outcome))
            case Left():
                return outcome
            case _:
                assert_never(outcome)

    def complete(self, node: Node, key: str, result: NodeResult) -> None:
        """Say that a node is done, with what it made; where it says `cache`, later runs find it."""
        ledger = self.context.ledger
        ledger.complete(key, result)
        if node.policy.cache and result.taken is None:
            self.context.services.note(key, ledger.state.nodes[key])

    async def attended(self, key: str, work: Awaitable[Outcome]) -> Outcome:
        """Return how some work of a key ended; where it was left or stopped, the record says so."""
        try:
            outcome = await work
        except asyncio.CancelledError:
            self.context.ledger.cancelled(key)
            raise
        if isinstance(outcome, Left):
            self.context.ledger.cancelled(key)
        return outcome

    async def _attempts(self, node: Node, key: str) -> Outcome:
        state = self.context.ledger.state
        known = state.nodes.get(key)
        if node.policy.once and (key in state.former or (known is not None and known.attempts)):
            outcome = await self._asked_again(node, key, known.attempts if known else 1)
            if outcome is not None:
                return outcome
            known = state.nodes.get(key)
        # Where it failed or was stopped in an earlier attempt of what holds it, it begins anew (format.md, section 4.4).
        failed = known.failed_attempts if known and known.status not in _OVER else 0
        work, again = partial(self._attempt, node, key, failed + 1), partial(self._tried_again, key)
        return await retry(self._retry_of(node), failed, work, again, self.context.services.uniform)

    def _retry_of(self, node: Node) -> Retry | None:
        """Return what is tried again; what answers a failure has one attempt (format.md, section 4.5), as has `once`."""
        policy = node.policy.retry or (node.DEFAULT_RETRY if isinstance(node, Leaf) else None)
        if policy is None or node.policy.once or node.id in self.names.program.graph.reserved:
            return None
        if policy.on is None and isinstance(node, Leaf) and node.DEFAULT_RETRY_ON:
            return policy.model_copy(update={"on": node.DEFAULT_RETRY_ON})
        return policy

    async def _tried_again(self, key: str, failed: Failed, wait_s: float) -> None:
        ledger = self.context.ledger
        ledger.emit(e.AttemptFailed(at=ledger.now(), key=key, failure=failed.failures[0], wait_s=wait_s))
        with self.context.clock.working():
            await self.context.services.sleep(wait_s)

    async def _asked_again(self, node: Node, key: str, attempts: int) -> Outcome | None:
        """Ask what became of a node that is never repeated without asking; None: it runs again."""
        decision = await ask_again(self.context, node, key, self.begun(node, key, 1), self.stop)
        if decision is None:
            return LEFT
        match decision.action:
            case Action.HAPPENED:
                former = self.context.ledger.state.former.get(key)
                if decision.input is None and former is not None and former.node.reusable:
                    return Done(NodeResult(former.node.output, stored=Stored.of(former.node.value)))
                return Done(NodeResult(decision.input))
            case Action.AGAIN:
                return None
            case _:
                error = RejectedError(f"`{key}` {was_before(self.context, key)}; {decision.by} let it fail")
                return self.failed_by(error, node, key, attempts)

    def failed_by(self, error: Exception, node: Node, key: str, attempts: int) -> Failed:
        """Return a failure as data; where the node reads something of a secret, without what it may show of it."""
        is_tainted = bool(tainted(self.names, body_uses(node)))
        return failed_by(error, node, key, attempts, self.context.services.redactor, is_tainted=is_tainted)

    async def _attempt(self, node: Node, key: str, first: int, number: int) -> Outcome:
        try:
            match node:
                case CheckpointNode():
                    return await self._ask(node, key)
                case Container() | FlowNode():
                    self.begin(node, key, number)
                    outcome = await in_time(node.policy.timeout, self.content(node, key))
                    return await self._kept(outcome.result) if isinstance(outcome, Done) else outcome
                case _:
                    return await self._leaf(node, key, number, is_new=number == first)
        except Exception as error:  # noqa: BLE001 a stranger's code
            return self.failed_by(error, node, key, number)

    async def _ask(self, node: CheckpointNode, key: str) -> Outcome:
        services = self.context.services
        hidden = tainted(self.names, body_uses(node))
        values = {source: shown(self.names, source, uses_in(node, "show"), key) for source in node.show}
        rendered = await render_apart(node.body, self.names.body_values(node, key), hidden=hidden)
        text = services.redactor.text(str(rendered).rstrip("\n"))
        question = question_of(node, key, text, values, services.clock(), services.redactor.text)
        begun = self.begun(node, key, 1, evidence_of(question, values, services.redactor.text))
        result = await ask(self.context, node, question, values, begun, self.stop)
        return LEFT if result is None else Done(result)

    async def _leaf(self, node: Leaf, key: str, number: int, *, is_new: bool) -> Outcome:
        with self.context.clock.working():
            async with self.context.slots:
                if is_new and self.stop.is_stopping:
                    return LEFT
                return await self._at_work(node, key, number)

    async def _at_work(self, node: Leaf, key: str, number: int) -> Outcome:
        """Make one attempt; of what only works something out the beginning is written with its end."""
        ledger = self.context.ledger
        begun = self.begun(node, key, number)
        is_quick = node.IS_PURE and not node.policy.once
        quick = begun if is_quick else None
        if not is_quick:
            self._drop_stale(key, begun)
            ledger.begin(key, begun)
        if not await ledger.commit():
            return LEFT
        task = asyncio.current_task()
        assert task is not None, "nodes are run by tasks"
        self.context.at_work.add(task)
        try:
            work = self._leaf_with_saved(node, key) if node.uses_saved else run_leaf(node, key, self.names, quick)
            return await self._kept(await in_time(node.policy.timeout, work))
        except Exception:
            if is_quick:
                ledger.begin(key, begun)
            raise
        finally:
            self.context.at_work.discard(task)

    async def _kept(self, result: NodeResult) -> Outcome:
        """Store the value of a result where that takes time; where it cannot be stored, the run breaks off."""
        if result.gather is None and result.stored is None and not is_small(result.value):
            stored = await self.context.stored(result.value, is_tainted=result.is_tainted)
            return LEFT if stored is None else Done(replace(result, stored=stored))
        return Done(result)

    def _drop_stale(self, key: str, begun: e.Begun) -> None:
        """Let go of what the body saved when it was another one, or read something else."""
        state = self.context.ledger.state
        if not state.saved.get(key):
            return
        known = state.nodes[key] if key in state.nodes else state.former[key].node
        if not is_same(known, begun.definition, begun.reads):
            self.context.ledger.emit(e.SavedDropped(at=begun.at, key=key))

    async def _leaf_with_saved(self, node: Leaf, key: str) -> NodeResult:
        """Run a node whose body uses `saved`."""
        saving = Saving(self.context, key)
        try:
            return await run_leaf(node, key, self.names, saved=await saving.open())
        finally:
            saving.close()

    async def _given_up(self, node: Node, key: str, failed: Failed) -> Outcome:
        """Run the fallback, or let the node be failed."""
        fallback = node.policy.fallback
        if not fallback:
            return self.failed(node, key, failed)
        graph = self.names.program.graph
        is_one_of_many = is_part(key) or graph.is_shared(fallback)
        error = {"error": Record(failed.failures[0].as_json())}
        names = self.names.inside(error, prefix=prefix_in(key) if is_one_of_many else None)
        more = await self.answering(fallback, names)
        match more:
            case Done():
                result = NodeResult(gather=e.Gather.ONE, parts={fallback: names.prefix + fallback})
                self.context.ledger.complete(key, result, fallback=fallback)
                return more
            case Failed():
                return self.failed(node, key, replace(failed, failures=failed.failures + more.failures))
            case Left():
                return more
            case _:
                assert_never(more)

    def failed(self, node: Node, key: str, failed: Failed) -> Outcome:
        """Say that a node failed for good."""
        ledger, continued = self.context.ledger, node.policy.continue_on_error
        ledger.emit(e.NodeFailed(at=ledger.now(), key=key, failure=failed.failures[0], continued=continued))
        return Done() if continued else failed

    def begin(self, node: Node, key: str, attempt: int, count: int | None = None) -> None:
        """Say that an attempt begins, on what the node reads now; `count` is how many items it has."""
        self.context.ledger.begin(key, self.begun(node, key, attempt), count)

    def begun(self, node: Node, key: str, attempt: int, evidence: Mapping[str, str] | None = None) -> e.Begun:
        """Return the beginning of an attempt: what the node is, and what it reads now."""
        reads = self.reads(node, key) | dict(evidence or {})
        return e.Begun(
            at=self.context.ledger.now(),
            attempt=attempt,
            definition=self.definition(node, key),
            reads=reads,
            inside=self.names.holder_of(node.id, key),
        )

    def reads(self, node: Node, key: str) -> dict[str, str]:
        """Return what a node reads now → the digest of the value, from files too."""
        return reads_of(self.names, node, is_one=is_part(key)) | self.context.outside.get(key, {})

    def definition(self, node: Node, key: str) -> str:
        """Return the digest of what a node, or one item or round of it, is."""
        return self.names.program.definitions.get(f"{node.id}[]" if is_part(key) else node.id, "")


async def in_time(limit_s: float | None, work: Awaitable[T]) -> T:
    """Await some work; past the limit it is cancelled, and ends before NodeTimeoutError is raised."""
    if limit_s is None:
        return await work
    timer = asyncio.timeout(limit_s)
    try:
        async with timer:
            return await work
    except TimeoutError:
        if timer.expired():
            raise NodeTimeoutError(f"it took longer than {limit_s:g} s and was stopped") from None
        raise
