"""Runs a node at its place in a run: skipped or not, once, per item or in rounds, and all that is inside it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar, assert_never

from pydantic import JsonValue

from flownb.engine.attempts import retry
from flownb.engine.branches import chosen_of
from flownb.engine.checkpoints import ask, ask_again, question_of, was_before
from flownb.engine.context import RunContext
from flownb.engine.leaves import collected, run_leaf
from flownb.engine.namespace import Namespace, body_uses, uses_in
from flownb.engine.outcome import LEFT, Done, Failed, Left, NodeResult, Outcome, failed_by
from flownb.engine.outside import look_outside
from flownb.engine.reads import evidence_of, reads_of
from flownb.engine.repeat import Pace, each, items_of, rounds
from flownb.engine.reuse import can_be_taken, can_stand, is_same, is_same_inside, keys_inside
from flownb.engine.scheduler import Scheduler
from flownb.engine.stopping import StopScope
from flownb.engine.subflow import subprogram
from flownb.engine.taint import shown, tainted, worked_out
from flownb.errors import FlowError, NodeTimeoutError, RejectedError
from flownb.model import events as e
from flownb.model.decision import Action
from flownb.model.nodes import Branch, CheckpointNode, Container, FlowNode, Foreach, Leaf, Loop, Node, Parallel
from flownb.model.policy import Retry
from flownb.model.record import Record
from flownb.model.state import NodeStatus, fingerprint_of
from flownb.plan.graph import TOP, Unit, is_gate
from flownb.templates.expressions import render_apart

T = TypeVar("T")
_OVER: Final = (NodeStatus.FAILED, NodeStatus.CANCELLED)
"""How an earlier attempt of what holds a node may have left it."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs nodes at one place of a run."""

    context: RunContext
    """The run."""
    names: Namespace
    """What names mean here."""
    stop: StopScope
    """Whether nothing new starts here."""

    # A document.

    async def run_program(self) -> Outcome:
        """Run a document's nodes, and its `on_error` node where they failed."""
        return await self.handled(await self.scheduler(TOP).run())

    async def handled(self, outcome: Outcome) -> Outcome:
        """Run the document's `on_error` node where something failed; its own failures come after those."""
        handler = self.names.program.workflow.on_error
        if not isinstance(outcome, Failed) or not handler:
            return outcome
        names = self.names.inside({"error": Record(outcome.failures[0].as_json())})
        more = await self._answering(handler, names)
        return replace(outcome, failures=outcome.failures + more.failures) if isinstance(more, Failed) else outcome

    def outputs(self) -> tuple[dict[str, object], frozenset[str]]:
        """Return what the document returns, and which of it is tainted.

        It is its `outputs`, else the values of the nodes that no other one uses.

        Raises:
            ExpressionError: One of `outputs` cannot be worked out.
        """
        workflow, graph, ledger = self.names.program.workflow, self.names.program.graph, self.context.ledger
        if workflow.outputs is not None:
            uses = {
                name: [use for use in workflow.output_uses if use.field == f"outputs.{name}"]
                for name in workflow.outputs
            }
            made = {name: worked_out(self.names, source, uses[name], "") for name, source in workflow.outputs.items()}
            return made, frozenset(name for name in made if tainted(self.names, uses[name]))
        keys = {node: self.names.prefix + node for node in graph.unused()}
        hidden = frozenset(node for node, key in keys.items() if key in ledger.tainted)
        return {node: ledger.value_of(key) for node, key in keys.items()}, hidden

    # A unit of a body.

    async def run_unit(self, unit: Unit, *, is_chosen: bool = False) -> Outcome:
        """Run one unit of a body. With `is_chosen` a branch takes it now, though it may have passed it over before."""
        ledger, node = self.context.ledger, unit.node
        key = self.names.prefix + node.id
        if ledger.is_done(key) and not (is_chosen and ledger.state.status_of(key) is NodeStatus.SKIPPED):
            return Done()
        try:
            reason = self._skip_reason(unit, key, is_chosen=is_chosen)
        except FlowError as error:
            return self._failed(node, key, self._failed_by(error, node, key, 0))
        if reason is not None:
            self._skip(node, key, reason)
            return Done()
        try:
            if await self._is_same(node, key):
                return Done()
        except FlowError as error:
            return self._failed(node, key, self._failed_by(error, node, key, 0))
        is_new = key not in ledger.state.nodes
        if node.policy.delay and is_new and not await self.context.pause(node.policy.delay, self.stop):
            return LEFT
        if node.policy.cache and self._take_cached(node, key):
            return Done()
        return await (self.run_once(node, key) if node.repeat is None else self._repeated(node, key))

    def _skip_reason(self, unit: Unit, key: str, *, is_chosen: bool) -> str | None:
        """Return why a node is skipped; None: it is not (format.md, section 4.3).

        Of one that a branch chose the condition was looked at: a resume does not look again.
        """
        if unit.refers and all(self.names.was_skipped(target) for target in unit.refers):
            return "what it refers to was skipped"
        own = [unit.node.policy.when] if unit.node.policy.when and not is_chosen else []
        conditions = [*unit.whens, *own]
        readers = (unit.node, *self.names.groups_around(unit.node.id)) if conditions else ()
        uses = [use for reader in readers for use in uses_in(reader, "when")]
        return next((f"when: {each}" for each in conditions if not worked_out(self.names, each, uses, key)), None)

    def _skip(self, node: Node, key: str, reason: str) -> None:
        ledger, reads = self.context.ledger, reads_of(self.names, node, only="when")
        definition = self._definition(node, key)
        ledger.emit(e.NodeSkipped(at=ledger.now(), key=key, definition=definition, reads=reads, reason=reason))

    async def _is_same(self, node: Node, key: str, *, is_one: bool = False) -> bool:
        """Return whether a node was done before with the fingerprint that it has now: then it is done again."""
        ledger, services = self.context.ledger, self.context.services
        outside = await look_outside(self.names, node, key, is_one=is_one)
        if outside or key in self.context.outside:
            self.context.outside[key] = outside
        former, earlier = ledger.state.former.get(key), services.earlier.get(key)
        definition = self._definition(node, key)
        if former is not None and can_stand(former, node) and former.node.definition == definition:
            keys = keys_inside(self.names, node, key, is_one=is_one)
            reads = self._reads(node, key)
            if is_same(former.node, definition, reads) and await is_same_inside(self.names, node, keys, is_one=is_one):
                ledger.emit(e.NodeReused(at=ledger.now(), keys=keys))
                return True
        if earlier is None or (former is not None and former.is_void) or not can_be_taken(earlier, node, is_one=is_one):
            return False
        if not earlier.is_older and not is_same(earlier, definition, self._reads(node, key)):
            return False
        self._take_over(node, key, earlier.output, e.Taken.REUSED)
        return True

    def _take_over(self, node: Node, key: str, output: JsonValue, taken: e.Taken) -> None:
        """Take the value of an earlier run for this one's."""
        begun = self._begun(node, key, 1)
        self.context.ledger.complete(key, NodeResult(output, begun=begun, taken=taken))

    def _take_cached(self, node: Node, key: str) -> bool:
        """Use the value of an earlier run, where there is one."""
        age = node.policy.cache if isinstance(node.policy.cache, float) else None
        try:
            output = self.context.services.cached(key, self._fingerprint(node, key), age)
        except LookupError:
            return False
        self._take_over(node, key, output, e.Taken.CACHED)
        return True

    # Items and rounds.

    async def _repeated(self, node: Node, key: str) -> Outcome:
        """Run all items or rounds of a node."""
        try:
            work = self._rounds(node, key) if isinstance(node.repeat, Loop) else self._each(node, key)
            outcome = await self._attended(key, work)
        except FlowError as error:
            outcome = self._failed_by(error, node, key, 0)
        if isinstance(outcome, Failed):
            return self._failed(node, key, outcome)
        if isinstance(outcome, Done):
            self.context.ledger.complete(key, outcome.result)
        return outcome

    async def _each(self, node: Node, key: str) -> Outcome:
        repeat, ledger = node.repeat, self.context.ledger
        assert isinstance(repeat, Foreach)
        uses = uses_in(node, "foreach")
        items = items_of(repeat, worked_out(self.names, repeat.items, uses, key))
        hidden = (repeat.as_name, "item") if tainted(self.names, uses) else ()
        self._begin(node, key, 1, len(items))
        part = replace(self, stop=StopScope(self.stop))
        pace = Pace(repeat.rate, partial(self.context.pause, stop=part.stop))

        async def item(index: int) -> Outcome:
            item_key = f"{key}[{index}]"
            if ledger.is_done(item_key):
                return Done()
            if not await pace.wait():
                return LEFT
            value = items[index]
            own = {repeat.as_name: value, "item": value, "index": index}
            return await part.inside(own, f"{item_key}/", node, hidden).run_one(node, item_key)

        at_once = repeat.concurrency or self.names.program.workflow.concurrency
        return await each(len(items), at_once, item, part.stop, ledger)

    async def _rounds(self, node: Node, key: str) -> Outcome:
        repeat, ledger = node.repeat, self.context.ledger
        assert isinstance(repeat, Loop)
        self._begin(node, key, 1)

        def value_of(count: int) -> object:
            made = ledger.value_of(f"{key}{{{count}}}") if count >= 0 else None
            return Record(made) if isinstance(node, Container) and isinstance(made, dict) else made

        def hidden(count: int, name: str) -> tuple[str, ...]:
            return (name,) if f"{key}{{{count}}}" in ledger.tainted else ()

        def place(count: int) -> Runner:
            own = {"round": count, "previous": value_of(count - 1)}
            return self.inside(own, f"{key}{{{count}}}/", node, hidden(count - 1, "previous"))

        async def run(count: int) -> Outcome:
            return await place(count).run_one(node, f"{key}{{{count}}}")

        def holds(count: int) -> bool:
            last = count if repeat.until else count - 1
            names = place(count).names.inside({node.id: value_of(last)}, tainted=hidden(last, node.id))
            return bool(worked_out(names, repeat.condition, uses_in(node, "until" if repeat.until else "while"), key))

        return await rounds(
            repeat,
            run,
            holds,
            lambda count: ledger.is_done(f"{key}{{{count}}}"),
            self.stop,
            partial(self.context.pause, stop=self.stop),
        )

    def inside(self, own: dict[str, object], prefix: str, node: Node, hidden: tuple[str, ...]) -> Runner:
        """Return what runs one item or round of a node."""
        return replace(self, names=self.names.inside(own, prefix=prefix, scope=node.id, tainted=hidden))

    async def run_one(self, node: Node, key: str) -> Outcome:
        """Run one item or round of a node."""
        try:
            if await self._is_same(node, key, is_one=True) or (node.policy.cache and self._take_cached(node, key)):
                return Done()
        except FlowError as error:
            return self._failed(node, key, self._failed_by(error, node, key, 0))
        return await self.run_once(node, key)

    # A node, an item or a round, with its policy.

    async def run_once(self, node: Node, key: str) -> Outcome:
        """Run one node, item or round with its policy, and say how it ended."""
        if self.stop.is_stopping:
            return LEFT
        outcome = await self._attended(key, self._attempts(node, key))
        match outcome:
            case Done(result):
                self.context.ledger.complete(key, result)
                return Done()
            case Failed():
                return await self._attended(key, self._given_up(node, key, outcome))
            case Left():
                return outcome
            case _:
                assert_never(outcome)

    async def _attended(self, key: str, work: Awaitable[Outcome]) -> Outcome:
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
        policy = node.policy.retry
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
        decision = await ask_again(self.context, node, key, self._begun(node, key, 1), self.stop)
        if decision is None:
            return LEFT
        match decision.action:
            case Action.HAPPENED:
                former = self.context.ledger.state.former.get(key)
                output = former.node.output if former else None
                return Done(NodeResult(output if decision.input is None else decision.input))
            case Action.AGAIN:
                return None
            case _:
                error = RejectedError(f"`{key}` {was_before(self.context, key)}; {decision.by} let it fail")
                return self._failed_by(error, node, key, attempts)

    def _failed_by(self, error: Exception, node: Node, key: str, attempts: int) -> Failed:
        is_tainted = bool(tainted(self.names, body_uses(node)))
        return failed_by(error, node, key, attempts, self.context.services.redactor, is_tainted=is_tainted)

    async def _attempt(self, node: Node, key: str, first: int, number: int) -> Outcome:
        try:
            match node:
                case CheckpointNode():
                    return await self._ask(node, key)
                case Container() | FlowNode():
                    self._begin(node, key, number)
                    return await in_time(node.policy.timeout, self._content(node, key))
                case _:
                    return await self._leaf(node, key, number, is_new=number == first)
        except Exception as error:  # noqa: BLE001 a stranger's code
            return self._failed_by(error, node, key, number)

    async def _ask(self, node: CheckpointNode, key: str) -> Outcome:
        services = self.context.services
        hidden = tainted(self.names, body_uses(node))
        values = {source: shown(self.names, source, uses_in(node, "show"), key) for source in node.show}
        rendered = await render_apart(node.body, self.names.body_values(node, key), hidden=hidden)
        text = services.redactor.text(str(rendered).rstrip("\n"))
        question = question_of(node, key, text, values, services.clock(), services.redactor.text)
        begun = self._begun(node, key, 1, evidence_of(question, values, services.redactor.text))
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
        begun = self._begun(node, key, number)
        is_quick = node.IS_PURE and not node.policy.once
        if not is_quick:
            ledger.begin(key, begun)
        if not await ledger.commit():
            return LEFT
        try:
            result = await in_time(node.policy.timeout, run_leaf(node, key, self.names))
        except Exception:
            if is_quick:
                ledger.begin(key, begun)
            raise
        return Done(replace(result, begun=begun) if is_quick else result)

    async def _given_up(self, node: Node, key: str, failed: Failed) -> Outcome:
        """Run the fallback, or let the node be failed."""
        fallback = node.policy.fallback
        if not fallback:
            return self._failed(node, key, failed)
        graph = self.names.program.graph
        is_one_of_many = not key.endswith(node.id) or graph.is_shared(fallback)
        error = {"error": Record(failed.failures[0].as_json())}
        names = self.names.inside(error, prefix=f"{key}/" if is_one_of_many else None)
        more = await self._answering(fallback, names)
        match more:
            case Done():
                result = NodeResult(gather=e.Gather.ONE, parts={fallback: names.prefix + fallback})
                self.context.ledger.complete(key, result, fallback=fallback)
                return more
            case Failed():
                return self._failed(node, key, replace(failed, failures=failed.failures + more.failures))
            case Left():
                return more
            case _:
                assert_never(more)

    def _failed(self, node: Node, key: str, failed: Failed) -> Outcome:
        """Say that a node failed for good."""
        ledger, continued = self.context.ledger, node.policy.continue_on_error
        ledger.emit(e.NodeFailed(at=ledger.now(), key=key, failure=failed.failures[0], continued=continued))
        return Done() if continued else failed

    async def _answering(self, node: str, names: Namespace) -> Outcome:
        """Run a node that is reserved for failures; it starts although nothing else does."""
        unit = self.names.program.graph.reserved[node]
        return await Runner(self.context, names, StopScope(catches=True)).run_unit(unit)

    def _begin(self, node: Node, key: str, attempt: int, count: int | None = None) -> None:
        """Say that an attempt begins, on what the node reads now; `count` is how many items it has."""
        self.context.ledger.begin(key, self._begun(node, key, attempt), count)

    def _begun(self, node: Node, key: str, attempt: int, evidence: Mapping[str, str] | None = None) -> e.Begun:
        reads = self._reads(node, key) | dict(evidence or {})
        return e.Begun(
            at=self.context.ledger.now(),
            attempt=attempt,
            definition=self._definition(node, key),
            reads=reads,
            inside=self.names.holder_of(node.id, key),
        )

    def _reads(self, node: Node, key: str) -> dict[str, str]:
        return reads_of(self.names, node, is_one=key[-1] in "]}") | self.context.outside.get(key, {})

    def _definition(self, node: Node, key: str) -> str:
        """Return the digest of what a node, or one item or round of it, is."""
        return self.names.program.definitions.get(f"{node.id}[]" if key[-1] in "]}" else node.id, "")

    def _fingerprint(self, node: Node, key: str) -> str:
        begun = self._begun(node, key, 1)
        return fingerprint_of(begun.definition, begun.reads)

    # What is inside a container or a sub-flow.

    async def _content(self, node: Container | FlowNode, key: str) -> Outcome:
        """Run what is in a container or a sub-flow, once."""
        policy = node.policy
        if policy.once and self.context.services.earlier:  # Nothing in it is taken over either.
            services = replace(self.context.services, earlier={})
            self = replace(self, context=replace(self.context, services=services))  # noqa: PLW0642 from here on
        catches = bool(policy.retry or policy.fallback or policy.continue_on_error)
        match node:
            case FlowNode():
                return await self._subflow(node, key, catches=catches)
            case Branch():
                return await replace(self, stop=StopScope(self.stop, catches=catches)).run_branch(node)
            case Parallel():
                return await self._parallel(node, catches=catches)
            case _:
                outcome = await replace(self, stop=StopScope(self.stop, catches=catches)).scheduler(node.id).run()
        return self._collected(node, key) if isinstance(outcome, Done) else outcome

    def scheduler(self, owner: str, quorum: int | None = None) -> Scheduler:
        """Return what runs the body of a container, or of the document, here."""
        body, prefix = self.names.program.graph.bodies[owner], self.names.prefix
        return Scheduler(body, self.run_unit, self.stop, self.context.ledger, prefix=prefix, quorum=quorum)

    def _collected(self, node: Container, key: str) -> Done:
        """Return a group's value: of an item what `collect` says or its last node's, of a round all of them."""
        units, prefix = self.names.program.graph.bodies[node.id].units, self.names.prefix
        if isinstance(node.repeat, Foreach) and node.repeat.collect:
            return Done(collected(node, node.repeat.collect, key, self.names))
        if isinstance(node, Parallel) or isinstance(node.repeat, Loop):
            return Done(NodeResult(gather=e.Gather.EACH, parts={unit.node.id: prefix + unit.node.id for unit in units}))
        last = units[-1].node.id
        return Done(NodeResult(gather=e.Gather.ONE, parts={last: prefix + last}))

    async def _parallel(self, node: Parallel, *, catches: bool) -> Outcome:
        count = len(self.names.program.graph.bodies[node.id].units)
        quorum = {"all": None, "any": 1}.get(node.wait) if isinstance(node.wait, str) else min(node.wait, count)
        part = replace(self, stop=StopScope(self.stop, catches=catches or quorum is not None))
        outcome = await part.scheduler(node.id, quorum).run()
        return self._collected(node, "") if isinstance(outcome, Done) else outcome

    async def run_branch(self, node: Branch) -> Outcome:
        """Run the first child whose `when` is true, else the one without."""
        units, prefix, state = (
            self.names.program.graph.bodies[node.id].units,
            self.names.prefix,
            self.context.ledger.state,
        )

        def status_of(unit: Unit) -> NodeStatus | None:
            known = state.nodes.get(prefix + unit.node.id)
            return known.status if known else None

        def holds(unit: Unit) -> bool:
            key = prefix + unit.node.id
            return bool(worked_out(self.names, unit.node.policy.when or "", uses_in(unit.node, "when"), key))

        chosen = chosen_of(units, status_of, holds)
        for unit in units:
            if unit is not chosen and status_of(unit) is not NodeStatus.SKIPPED:
                self._skip(unit.node, prefix + unit.node.id, "another branch was taken")
        if chosen is None:
            return Done(NodeResult(None))
        outcome = await self.run_unit(chosen, is_chosen=True)
        result = NodeResult(gather=e.Gather.ONE, parts={chosen.node.id: prefix + chosen.node.id})
        return Done(result) if isinstance(outcome, Done) else outcome

    async def _subflow(self, node: FlowNode, key: str, *, catches: bool) -> Outcome:
        """Run another workflow under this node's key, with inputs and names of its own."""
        program = subprogram(self.names, node, key)
        part = Runner(self.context, Namespace(self.context, program, f"{key}/"), StopScope(self.stop, catches=catches))
        limit = program.workflow.timeout
        if any(is_gate(program.workflow, inner) for inner in program.workflow.nodes):
            limit = None  # Waiting for a person does not count, and only the run knows when it does.
        outcome = await in_time(limit, part.run_program())
        if not isinstance(outcome, Done):
            return outcome
        outputs, hidden = part.outputs()
        return Done(NodeResult(outputs, is_tainted=bool(hidden)))


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
