"""Runs the units of one body: each as soon as what it waits for is settled."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from flownb.engine.control import run_node
from flownb.engine.names import Frame
from flownb.engine.results import Halted
from flownb.engine.taint import tainted, worked_out
from flownb.model.record import Record
from flownb.model.state import NodeStatus
from flownb.plan.graph import Body, Unit

if TYPE_CHECKING:
    from flownb.engine.engine import Engine
    from flownb.errors import Failure
    from flownb.model.nodes import Node


class BodyRun:
    """One execution of a body at one place of a run."""

    def __init__(
        self,
        engine: Engine,
        body: Body,
        frame: Frame,
        around: BodyRun | None = None,
        *,
        catches: bool = False,
        enough: int | None = None,
        ignores_stop: bool = False,
    ) -> None:
        """Prepare it.

        Args:
            engine: The run.
            body: What is run.
            frame: Where.
            around: The body that holds it.
            catches: Whether a failure in here need not be the run's: something around it is ready for one.
            enough: How many units must succeed, the rest being cancelled then; None: all of them.
            ignores_stop: Whether it runs although nothing new starts, because it answers a failure.
        """
        self.engine, self.body, self.frame, self.around = engine, body, frame, around
        self.catches: bool = catches or (around is not None and around.catches)
        self.enough, self._ignores_stop = enough, ignores_stop
        self._missing = [len(unit.waits) for unit in body.units]
        self._tasks: set[asyncio.Task[None]] = set()
        self._left = len(body.units)
        self._succeeded = 0
        self._failures: list[Failure] = []
        self._is_stopped = False
        self._idle: asyncio.Future[None] | None = None
        self._bug: BaseException | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new starts here."""
        if self._is_stopped:
            return True
        if self.around is not None:
            return self.around.is_stopping
        return self.engine.is_stopping and not self._ignores_stop

    async def run(self) -> list[Failure]:
        """Run all units and return what failed and was not caught.

        Raises:
            Halted: Some unit was left undone, and nothing failed here.
        """
        for unit in self.body.units:
            if not unit.waits:
                self._start(unit)
        try:
            await self._until_idle()
        except asyncio.CancelledError:
            for task in self._tasks:
                task.cancel()
            await self._until_idle()
            raise
        if self._bug is not None:
            raise self._bug
        return self._result()

    async def _until_idle(self) -> None:
        if self._tasks:
            self._idle = self.engine.loop.create_future()
            await self._idle

    def inside(self, body: Body, frame: Frame, *, catches: bool, enough: int | None = None) -> BodyRun:
        """Prepare the body of something in this one."""
        return BodyRun(self.engine, body, frame, self, catches=catches, enough=enough)

    def beside(self, frame: Frame) -> BodyRun:
        """Return a place of its own to stop: what runs in it ends with this body, or alone."""
        return self.inside(Body(self.body.owner), frame, catches=False)

    def stop(self) -> None:
        """Let nothing new start here, nor in the run, where nothing around is ready for a failure."""
        self._is_stopped = True
        if not self.catches:
            self.engine.is_stopping = True
        self.engine.stir()

    async def pause(self, wait_s: float) -> None:
        """Wait some seconds before something starts.

        Raises:
            Halted: Nothing new starts any more.
        """
        engine = self.engine
        sleeping = asyncio.ensure_future(engine.services.sleep(wait_s))
        try:
            with engine.working():
                while not (self.is_stopping or sleeping.done()):
                    await asyncio.wait((sleeping, engine.stirred), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
        if self.is_stopping:
            raise Halted

    async def run_program(self) -> list[Failure]:
        """Run a document's nodes, and its `on_error` node where they failed; return what failed.

        Raises:
            Halted: Something was left undone, and nothing failed.
        """
        return await self.handled(await self.run())

    async def handled(self, failures: list[Failure]) -> list[Failure]:
        """Run the document's `on_error` node where something failed; return what failed, with its own failures."""
        program = self.frame.program
        handler = program.workflow.on_error
        if failures and handler:
            names = {"error": Record(failures[0].as_json())}
            failures = failures + await self.run_apart(program.graph.reserved[handler], self.frame.inside(names))
        return failures

    def outputs(self) -> tuple[dict[str, object], frozenset[str]]:
        """Return what the document returns, once it has run, and which of it is tainted."""
        return program_outputs(self.engine, self.frame)

    def groups_around(self, unit: Unit) -> Sequence[Node]:
        """Return the plain groups around a unit."""
        return self.frame.program.graph.around.get(unit.node.id, ())

    async def run_apart(self, unit: Unit, frame: Frame) -> list[Failure]:
        """Run a node that is reserved for failures; it starts although nothing else does."""
        body = BodyRun(self.engine, Body(self.body.owner), frame, catches=True, ignores_stop=True)
        return await run_node(body, unit, frame)

    def _result(self) -> list[Failure]:
        if self.enough is not None:
            if self._succeeded >= self.enough:
                return []
            if self._failures:
                return self._failures
        if self._failures:
            return self._failures
        if self._left:
            raise Halted
        return []

    def _start(self, unit: Unit) -> None:
        self.engine.strands += 1
        task = self.engine.loop.create_task(self._drive(unit))
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.engine.strands -= 1
        if not task.cancelled() and task.exception() is not None:
            self._bug, self._is_stopped = self._bug or task.exception(), True
        if not self._tasks and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _drive(self, unit: Unit) -> None:
        """Run a unit, and then the one that waited for it last; others that waited start beside it."""
        current: Unit | None = unit
        while current is not None:
            if self.is_stopping:
                return
            try:
                failures = await run_node(self, current, self.frame)
            except Halted:
                return
            current = self._settle(current, failures)

    def _settle(self, unit: Unit, failures: list[Failure]) -> Unit | None:
        """Note how a unit ended, start what waited for it, and return one of these to go on with."""
        if failures:
            self._failures += failures
            if self.enough is None:
                self.stop()
            return None
        self._left -= 1
        self._succeeded += self.engine.state.status_of(self.frame.prefix + unit.node.id) is NodeStatus.COMPLETED
        if self.enough is not None and self._succeeded == self.enough:
            self._is_stopped = True
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            return None
        ready = []
        for follower in self.body.followers[unit.index]:
            self._missing[follower] -= 1
            if not self._missing[follower]:
                ready.append(self.body.units[follower])
        for other in ready[1:]:
            self._start(other)
        return ready[0] if ready else None


def program_outputs(engine: Engine, frame: Frame) -> tuple[dict[str, object], frozenset[str]]:
    """Return what a document returns, and which of it is tainted.

    It is its `outputs`, else the values of the nodes that no other one uses.

    Raises:
        ExpressionError: One of `outputs` cannot be worked out.
    """
    workflow, graph = frame.program.workflow, frame.program.graph
    if workflow.outputs is not None:
        uses = {
            name: [use for use in workflow.output_uses if use.field == f"outputs.{name}"] for name in workflow.outputs
        }
        made = {name: worked_out(engine, frame, source, uses[name], "") for name, source in workflow.outputs.items()}
        return made, frozenset(name for name in made if tainted(engine, frame, uses[name]))
    keys = {node: frame.prefix + node for node in graph.unused()}
    hidden = frozenset(node for node, key in keys.items() if key in engine.tainted)
    return {node: engine.value_of(key) for node, key in keys.items()}, hidden
