"""Runs a node at its place in a run: skipped or not, once, per item or in rounds, and all that is inside it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial

from flownb.engine.branches import chosen_of
from flownb.engine.context import RunContext
from flownb.engine.leaves import collected
from flownb.engine.namespace import Namespace, uses_in
from flownb.engine.outcome import LEFT, Done, Failed, NodeResult, Outcome
from flownb.engine.outside import look_outside
from flownb.engine.reads import reads_of
from flownb.engine.repeat import Pace, each, items_of, rounds
from flownb.engine.reuse import can_be_taken, can_stand, is_as_written, is_same, is_same_inside, keys_inside
from flownb.engine.scheduler import Scheduler
from flownb.engine.stopping import StopScope
from flownb.engine.subflow import subprogram
from flownb.engine.taint import tainted, worked_out
from flownb.engine.values import Stored
from flownb.engine.work import Work, in_time
from flownb.errors import FlowError
from flownb.model import events as e
from flownb.model.key import item_key, prefix_in, round_key
from flownb.model.node_state import NodeState, NodeStatus, fingerprint_of
from flownb.model.nodes import Branch, Container, FlowNode, Foreach, Loop, Node, Parallel, walk
from flownb.model.record import Record
from flownb.plan.graph import TOP, Unit, is_gate


@dataclass(frozen=True, slots=True)
class Runner:
    """Runs nodes at one place of a run."""

    context: RunContext
    """The run."""
    names: Namespace
    """What names mean here."""
    stop: StopScope
    """Whether nothing new starts here."""

    @property
    def work(self) -> Work:
        """What does one node, item or round here."""
        return Work(self.context, self.names, self.stop, self._content, self._answering)

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

    def output_keys(self) -> dict[str, str] | None:
        """Return id → key of the nodes that no other one uses: what a document without `outputs` returns; None: it has some."""
        if self.names.program.workflow.outputs is not None:
            return None
        return {node: self.names.prefix + node for node in self.names.program.graph.unused()}

    async def outputs(self) -> tuple[dict[str, object], frozenset[str]]:
        """Return what the document returns, and which of it is tainted.

        Raises:
            ExpressionError: One of `outputs` cannot be worked out.
            FlowError: A value that was stored is damaged.
        """
        workflow, ledger, keys = self.names.program.workflow, self.context.ledger, self.output_keys()
        if keys is not None:
            await ledger.load(keys.values())
            hidden = frozenset(node for node, key in keys.items() if key in ledger.tainted)
            return {node: ledger.value_of(key) for node, key in keys.items()}, hidden
        await ledger.load(self.names.keys_read(workflow.output_uses))
        sources = workflow.outputs or {}
        uses = {name: [use for use in workflow.output_uses if use.field == f"outputs.{name}"] for name in sources}
        made = {name: worked_out(self.names, source, uses[name], "") for name, source in sources.items()}
        return made, frozenset(name for name in made if tainted(self.names, uses[name]))

    # A unit of a body.

    async def run_unit(self, unit: Unit, *, is_chosen: bool = False) -> Outcome:
        """Run one unit of a body. With `is_chosen` a branch takes it now, though it may have passed it over before."""
        ledger, node = self.context.ledger, unit.node
        key = self.names.prefix + node.id
        if ledger.is_done(key) and not (is_chosen and ledger.state.status_of(key) is NodeStatus.SKIPPED):
            return Done()
        try:
            await self._load(node, frozenset({"when", "files"}) | node.READS)
            reason = self._skip_reason(unit, key, is_chosen=is_chosen)
        except FlowError as error:
            return self.work.failed(node, key, self.work.failed_by(error, node, key, 0))
        if reason is not None:
            self._skip(node, key, reason)
            return Done()
        try:
            if await self._is_same(node, key):
                return Done()
            await self._load(node)
        except FlowError as error:
            return self.work.failed(node, key, self.work.failed_by(error, node, key, 0))
        is_new = key not in ledger.state.nodes
        if node.policy.delay and is_new and not await self.context.pause(node.policy.delay, self.stop):
            return LEFT
        if node.policy.cache and await self._take_cached(node, key):
            return Done()
        return await (self.work.run_once(node, key) if node.repeat is None else self._repeated(node, key))

    def _skip_reason(self, unit: Unit, key: str, *, is_chosen: bool) -> str | None:
        """Return why a node is skipped; None: it is not (format.md, section 4.3).

        Of one that a branch chose the condition was looked at: a resume does not look again.
        """
        if unit.refers and all(self.names.was_skipped(target) for target in unit.refers):
            return "what it refers to was skipped"
        own = [unit.node.policy.when] if unit.node.policy.when and not is_chosen else []
        conditions = [*unit.whens, *own]
        if not conditions:
            return None
        readers = (unit.node, *self.names.enclosing(unit.node.id))
        uses = [use for reader in readers for use in uses_in(reader, "when")]
        return next((f"when: {each}" for each in conditions if not worked_out(self.names, each, uses, key)), None)

    def _skip(self, node: Node, key: str, reason: str) -> None:
        ledger, reads = self.context.ledger, reads_of(self.names, node, only="when")
        definition = self.work.definition(node, key)
        ledger.emit(e.NodeSkipped(at=ledger.now(), key=key, definition=definition, reads=reads, reason=reason))

    async def _is_same(self, node: Node, key: str, *, is_one: bool = False) -> bool:
        """Return whether a node was done before with the fingerprint that it has now: then it is done again."""
        ledger, services = self.context.ledger, self.context.services
        outside = await look_outside(self.names, node, key, is_one=is_one)
        if outside or key in self.context.outside:
            self.context.outside[key] = outside
        former, earlier = ledger.state.former.get(key), services.earlier.get(key)
        definition = self.work.definition(node, key)
        if former is not None and can_stand(former, node) and former.node.definition == definition:
            keys = keys_inside(self.names, node, key, is_one=is_one)
            reads = self.work.reads(node, key)
            if (
                is_same(former.node, definition, reads)
                and await is_as_written(self.names, former.node)
                and await is_same_inside(self.names, node, keys, is_one=is_one)
            ):
                ledger.emit(e.NodeReused(at=ledger.now(), keys=keys))
                return True
        if earlier is None or (former is not None and former.is_void) or not can_be_taken(earlier, node, is_one=is_one):
            return False
        if not earlier.is_older and not is_same(earlier, definition, self.work.reads(node, key)):
            return False
        return await self._take_over(node, key, ledger.state.reuses or "", earlier, e.Taken.REUSED)

    async def _take_over(self, node: Node, key: str, run_id: str, known: NodeState, taken: e.Taken) -> bool:
        """Take the value of an earlier run for this one's; return whether it, and what it wrote, is still there."""
        value = known.value
        if not await is_as_written(self.names, known):
            return False
        if value.tagged:
            try:
                await asyncio.to_thread(self.context.services.kept.adopt, run_id, value)
            except OSError:
                return False
        begun = self.work.begun(node, key, 1)
        self.context.ledger.complete(
            key, NodeResult(begun=begun, taken=taken, stored=Stored.of(value), wrote=known.wrote)
        )
        return True

    async def _load(self, node: Node, fields: frozenset[str] = frozenset()) -> None:
        """Bring back the values that a node, or only some of its properties, read: nothing after it waits for a disk."""
        if self.context.ledger.unloaded:
            nodes = (*walk((node,)), *self.names.enclosing(node.id))
            uses = [use for each in nodes for use in each.uses if use.field != "needs"]
            keys = self.names.keys_read(use for use in uses if not fields or use.field in fields)
            await self.context.ledger.load(keys)

    async def _take_cached(self, node: Node, key: str) -> bool:
        """Use the value of an earlier run, where there is one and nobody is to be asked."""
        if is_gate(self.names.program.workflow, node):
            return False
        age = node.policy.cache if isinstance(node.policy.cache, float) else None
        try:
            run_id, known = await asyncio.to_thread(
                self.context.services.cached, key, self._fingerprint(node, key), age
            )
        except LookupError:
            return False
        return await self._take_over(node, key, run_id, known, e.Taken.CACHED)

    # Items and rounds.

    async def _repeated(self, node: Node, key: str) -> Outcome:
        """Run all items or rounds of a node."""
        try:
            work = self._rounds(node, key) if isinstance(node.repeat, Loop) else self._each(node, key)
            outcome = await self.work.attended(key, work)
        except FlowError as error:
            outcome = self.work.failed_by(error, node, key, 0)
        if isinstance(outcome, Failed):
            return self.work.failed(node, key, outcome)
        if isinstance(outcome, Done):
            self.work.complete(node, key, outcome.result)
        return outcome

    async def _each(self, node: Node, key: str) -> Outcome:
        repeat, ledger = node.repeat, self.context.ledger
        assert isinstance(repeat, Foreach)
        uses = uses_in(node, "foreach")
        items = items_of(repeat, worked_out(self.names, repeat.items, uses, key))
        hidden = (repeat.as_name, "item") if tainted(self.names, uses) else ()
        self.work.begin(node, key, 1, len(items))
        part = replace(self, stop=StopScope(self.stop))
        pace = Pace(repeat.rate, partial(self.context.pause, stop=part.stop))

        async def item(index: int) -> Outcome:
            own_key = item_key(key, index)
            if ledger.is_done(own_key):
                return Done()
            if not await pace.wait():
                return LEFT
            value = items[index]
            own = {repeat.as_name: value, "item": value, "index": index}
            return await part.inside(own, prefix_in(own_key), node, hidden).run_one(node, own_key)

        at_once = repeat.concurrency or self.names.program.workflow.concurrency
        return await each(len(items), at_once, item, part.stop, ledger)

    async def _rounds(self, node: Node, key: str) -> Outcome:
        repeat, ledger = node.repeat, self.context.ledger
        assert isinstance(repeat, Loop)
        self.work.begin(node, key, 1)

        def value_of(count: int) -> object:
            made = ledger.value_of(round_key(key, count)) if count >= 0 else None
            return Record(made) if isinstance(node, Container) and isinstance(made, dict) else made

        def hidden(count: int, name: str) -> tuple[str, ...]:
            return (name,) if round_key(key, count) in ledger.tainted else ()

        def place(count: int) -> Runner:
            own = {"round": count, "previous": value_of(count - 1)}
            return self.inside(own, prefix_in(round_key(key, count)), node, hidden(count - 1, "previous"))

        async def run(count: int) -> Outcome:
            return await place(count).run_one(node, round_key(key, count))

        def holds(count: int) -> bool:
            last = count if repeat.until else count - 1
            names = place(count).names.inside({node.id: value_of(last)}, tainted=hidden(last, node.id))
            return bool(worked_out(names, repeat.condition, uses_in(node, "until" if repeat.until else "while"), key))

        return await rounds(
            repeat,
            run,
            holds,
            lambda count: ledger.is_done(round_key(key, count)),
            self.stop,
            partial(self.context.pause, stop=self.stop),
        )

    def inside(self, own: dict[str, object], prefix: str, node: Node, hidden: tuple[str, ...]) -> Runner:
        """Return what runs one item or round of a node."""
        return replace(self, names=self.names.inside(own, prefix=prefix, scope=node.id, tainted=hidden))

    async def run_one(self, node: Node, key: str) -> Outcome:
        """Run one item or round of a node."""
        try:
            if await self._is_same(node, key, is_one=True) or (
                node.policy.cache and await self._take_cached(node, key)
            ):
                return Done()
        except FlowError as error:
            return self.work.failed(node, key, self.work.failed_by(error, node, key, 0))
        return await self.work.run_once(node, key)

    async def _answering(self, node: str, names: Namespace) -> Outcome:
        """Run a node that is reserved for failures; it starts although nothing else does."""
        unit = self.names.program.graph.reserved[node]
        return await Runner(self.context, names, StopScope(answers=self.stop)).run_unit(unit)

    def _fingerprint(self, node: Node, key: str) -> str:
        begun = self.work.begun(node, key, 1)
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
        part = Runner(
            self.context, Namespace(self.context, program, prefix_in(key)), StopScope(self.stop, catches=catches)
        )
        limit = program.workflow.timeout
        if any(is_gate(program.workflow, inner) for inner in program.workflow.nodes):
            limit = None  # Waiting for a person does not count, and only the run knows when it does.
        outcome = await in_time(limit, part.run_program())
        if not isinstance(outcome, Done):
            return outcome
        outputs, hidden = await part.outputs()
        return Done(NodeResult(outputs, is_tainted=bool(hidden)))
