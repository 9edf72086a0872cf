"""Gives a run its thread, its loop and its services, and lets other threads talk to it."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, ParamSpec, TypeVar

from flownb.engine.context import Services
from flownb.engine.engine import Engine
from flownb.engine.namespace import Program
from flownb.errors import FlowError, FlowInputError, FlowStateError
from flownb.executors.base import Interrupts
from flownb.executors.local import MainExecutor
from flownb.executors.lookup import Executors
from flownb.model.decision import Decision, Question, Request, Via, check_answer
from flownb.model.events import Event
from flownb.model.node_state import NodeState
from flownb.model.state import RunState
from flownb.render.inert import visible
from flownb.render.printed import Tapes
from flownb.runs.hooks import Hooks
from flownb.runs.kept import KeptValues, class_finder
from flownb.runtimes.base import Printed
from flownb.runtimes.python import see_modules_in
from flownb.runtimes.registry import Registry
from flownb.runtimes.resources import Resources
from flownb.secrets import Redactor
from flownb.store import decisions
from flownb.store.cache import CacheIndex
from flownb.store.journal import Journal, load_state
from flownb.store.paths import RunPaths
from flownb.store.snapshot import write_snapshot

P = ParamSpec("P")
T = TypeVar("T")
_CLOSING_S: Final = 5.0
"""The longest that is waited for what a run held open to be closed, in seconds."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run that is written down and ready to go on."""

    paths: RunPaths
    """Where it lives."""
    journal: Journal
    """Its journal, held by this process."""
    state: RunState
    """What happened up to now."""
    program: Program
    """What is run."""
    secrets: Mapping[str, str]
    """Secret → value."""
    redactor: Redactor
    """Takes them out of what is written."""
    registry: Registry
    """What carries out which kind of node."""
    earlier: Mapping[str, NodeState] = field(default_factory=dict)
    """Key → what became of it in the run that this one takes over from."""
    takes_cached: bool = True
    """Whether nodes with `cache` take values of earlier runs."""


class Session:
    """One run under way in this process: its engine on a thread and a loop of its own.

    Bodies with `executor: main` run on the thread that serves `post`. All methods are thread-safe.
    """

    def __init__(
        self, prepared: Prepared, hooks: Hooks, post: Callable[[Callable[[], None]], None], interrupts: Interrupts
    ) -> None:
        """Prepare the thread.

        Args:
            prepared: The run.
            hooks: What its caller takes part in.
            post: Gets a call to the thread that serves the run.
            interrupts: Stops bodies on that thread.
        """
        self.paths, self.state, self.program = prepared.paths, prepared.state, prepared.program
        self.main = MainExecutor(post, interrupts)
        """Runs bodies on the serving thread; its `post` and `interrupts` may be replaced."""
        self.error: BaseException | None = None
        """What broke the run itself, as a full disk; None: nothing."""
        self._journal, self._redactor, self._hooks = prepared.journal, prepared.redactor, hooks
        self._executors = Executors(self.main, prepared.journal.held)
        self.waiter: Callable[[float | None], bool | None] | None = None
        """Waits in place of `wait`, so that its thread can be served meanwhile; returns None where it cannot."""
        self.was_interrupted = False
        """Whether a person pressed Ctrl-C or the stop button."""
        self.ended_by = 0
        """The number of the signal that told this process to end, SIGTERM or SIGHUP; 0: none."""
        self._left_open: set[str] = set()
        self._finished = threading.Event()
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()
        self._tapes = Tapes(prepared.redactor.text)
        self._numbers, self._written, self._writing = itertools.count(1), 0, threading.Lock()
        self._told: set[str] = set()
        self._cache, self._caching, self._takes_cached = CacheIndex(self.paths), threading.Lock(), prepared.takes_cached
        self.kept = KeptValues(
            self.paths, class_finder(prepared.program.workflow, prepared.program.variables), self._tell
        )
        """Keeps values that are no line of the journal."""
        self.kept.begin(self.state)
        self._resources = Resources()
        self.engine = Engine(prepared.program, prepared.state, self._services(prepared))
        self._thread = threading.Thread(target=self._work, name=f"flownb-{self.paths.run_id}", daemon=True)

    def start(self) -> None:
        """Let the run begin."""
        self._thread.start()

    @property
    def is_finished(self) -> bool:
        """Whether the run has ended or was put aside, and everything of it is written."""
        return self._finished.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until the run is finished; return whether it is."""
        waited = self.waiter(timeout_s) if self.waiter is not None else None
        return self._finished.wait(timeout_s) if waited is None else waited

    def serve_until_finished(self) -> bool:
        """Return True when the run is finished and the caller could wait for it on this thread; else False, at once."""
        return self.waiter is not None and bool(self.waiter(None))

    def when_finished(self, callback: Callable[[], None]) -> None:
        """Have something called when the run is finished, on its own thread; at once where it is."""
        with self._lock:
            if not self._finished.is_set():
                self._callbacks.append(callback)
                return
        callback()

    def cancel(self) -> None:
        """Stop the run; it ends as cancelled and can be resumed. Returns at once."""
        with suppress(RuntimeError):  # its loop is closed: it has ended
            self.engine.cancel()

    def interrupt(self) -> None:
        """Stop the run because a person pressed Ctrl-C or the stop button; fit for a signal handler."""
        self.was_interrupted = True
        self.cancel()

    def end(self, number: int) -> None:
        """Stop the run because a signal told this process to end; fit for a signal handler."""
        self.ended_by = self.ended_by or number
        self.cancel()

    def decide(self, key: str, decision: Decision) -> Decision:
        """Answer an open question; return the decision that stands.

        Raises:
            FlowInputError: It is no answer to the question.
            FlowStateError: It cannot be stored.
        """
        question = self.state.questions.get(key)
        checked = check_answer(question, decision) if question else decision
        standing = decisions.offer(self.paths, key, checked, redactor=self._redactor)
        with suppress(RuntimeError):  # its loop is closed: the decision waits for a resume
            self.engine.wake(key)
        return standing

    def value_of(self, key: str) -> object:
        """Return a node's value, as it was made."""
        return self.engine.ledger.value_of(key)

    @property
    def printed(self) -> str:
        """What its nodes printed, folded a node, as Markdown; empty where they did not."""
        with self._lock:
            return self._tapes.folded()

    @property
    def outputs(self) -> dict[str, object] | None:
        """Output → value, as it was made; None while the run is not completed."""
        return self.engine.outputs

    def release(self) -> None:
        """Let go of all that the finished run keeps in memory; nobody may use the session afterwards.

        Its parts refer to each other in circles, which Python's collector may not get to for a long time.
        """
        vars(self.engine).clear()
        vars(self).clear()

    # On the run's own thread.

    def _work(self) -> None:
        see_modules_in(str(self.program.folder.absolute()))  # Values may be of classes in there.
        broken: BaseException | None = None
        try:
            asyncio.run(self._run())
        except BaseException as error:  # noqa: BLE001 handed to whoever asks for the run
            broken = error
        self._safely("an executor", self._executors.close)
        if broken is None:  # Else what is known here may be more than the journal says.
            saved = [value for values in self.state.saved.values() for value in values.values()]
            self._safely("what it keeps", self.kept.close, saved)
        self._safely("the journal", self._journal.close)
        if broken is not None:
            self.error = self.error or self._as_told(broken)
            with suppress(FlowStateError):  # What was not stored has not happened.
                self.state.become(load_state(self.paths))
        with self._lock:
            self._finished.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._safely("what waited for the run", callback)

    async def _run(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._on_trouble)
        try:
            await self.engine.run()
        finally:
            await self._let_go()

    async def _let_go(self) -> None:
        """Close what runtimes held open for the run; what goes wrong is reported, and is nothing to it."""
        try:
            async with asyncio.timeout(_CLOSING_S):
                await self._resources.close()
        except Exception:  # noqa: BLE001 the run has ended, whatever a library makes of its connections
            report(f"run {self.paths.run_id}: something that it held open could not be closed:")

    def _on_trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """End the run where a callback of its loop raised: whatever waits for that would wait for ever."""
        error = context.get("exception")
        if "handle" in context and isinstance(error, BaseException):
            self.engine.ledger.break_off(error)
        else:
            loop.default_exception_handler(context)

    def _as_told(self, error: BaseException) -> BaseException:
        """Return the one error that a run that broke off ends with."""
        if isinstance(error, FlowError) or not isinstance(error, Exception | asyncio.CancelledError):
            return error
        told = FlowStateError(
            f"run {self.paths.run_id} broke off: {type(error).__name__}: {error}",
            f"this is a fault of flownb or of a plug-in: please report it; to go on: flownb resume {self.paths.run_id}",
        )
        told.__cause__ = error
        return told

    def _safely(self, what: str, function: Callable[P, T], *arguments: P.args, **more: P.kwargs) -> T | None:
        """Call a stranger's function, or one that no run may hang by; report what it raises, the first time, and go on."""
        try:
            return function(*arguments, **more)
        except Exception:  # noqa: BLE001 the run does not depend on it
            if what not in self._told:
                self._told.add(what)
                report(f"run {self.paths.run_id}: {what} raised an error, which is nothing to the run:")
            return None

    def _services(self, prepared: Prepared) -> Services:
        paths, redactor = self.paths, prepared.redactor
        return Services(
            journal=prepared.journal,
            offer=partial(decisions.offer, paths, redactor=redactor),
            stored=partial(decisions.stored, paths, redactor=redactor),
            withdraw=lambda key: decisions.withdraw(paths, (key,)),
            runtime=prepared.registry.runtime,
            callers=self._executors,
            redactor=redactor,
            secrets=prepared.secrets,
            environment=dict(os.environ),
            ask=self._ask,
            leaves=self._leaves,
            keep=self._keep,
            watch=self._watch,
            printed=self._printed,
            kept=self.kept,
            cached=self._cached,
            note=self._cache.note,
            clock=utc_now,
            sleep=asyncio.sleep,
            uniform=random.uniform,  # noqa: S311 it spreads retries, it guards nothing
            earlier=prepared.earlier,
            held=prepared.journal.held,
            resources=self._resources,
        )

    def _printed(self, key: str, printed: Printed) -> None:
        if printed.mime in ("stdout", "stderr"):
            with self._lock:
                self._tapes.take(key, str(printed.data))
        self._safely("what shows its output", self._hooks.printed, key, printed)

    def _watch(self, event: Event, state: RunState) -> None:
        self._safely("what watches it", self._hooks.watch, event, state)

    def _cached(self, key: str, fingerprint: str, age_s: float | None) -> tuple[str, NodeState]:
        with self._caching:
            if not self._takes_cached:
                raise LookupError(key)
            return self._cache.find(key, fingerprint, age_s, utc_now())

    def _tell(self, key: str, note: str) -> None:
        self._printed(key, Printed("stderr", f"flownb: {self._redactor.text(note)}\n"))

    def _leaves(self) -> bool:
        if self._hooks.quiet is not None and self._safely("what waits for it", self._hooks.quiet):
            return True
        return {question.key for question in self.state.open_questions} <= self._left_open

    async def _keep(self, state: RunState) -> None:
        """Write the state file, on another thread: for a large run that takes its time."""
        await asyncio.to_thread(self._write_state, next(self._numbers), state.copy())

    def _write_state(self, number: int, state: RunState) -> None:
        """Write the state file, unless a later state was written meanwhile."""
        with self._writing:
            if number > self._written:
                write_snapshot(self.paths, state, redactor=self._redactor)
                self._written = number

    def _ask(self, question: Question, values: Mapping[str, object]) -> Decision | None:
        request = Request(question, values, partial(self._is_settled, question), self._redactor.text)
        if self._hooks.ask is not None:
            self._safely("what shows its questions", self._hooks.ask, request)
        elif self._hooks.decide is None:
            if question.default not in question.actions:  # A node with `once`: nobody may answer in a person's place.
                self._left_open.add(question.key)
                return None
            return default_decision(question)
        else:
            self.main.post(partial(self._ask_serving, request))
        return None

    def _ask_serving(self, request: Request) -> None:
        """Let `decide` answer, on the thread that serves the run."""
        assert self._hooks.decide is not None, "asked for only then"
        try:
            with self.main.interrupts.body(request):
                self._let_decide(request, self._hooks.decide)
        except BaseException as error:  # noqa: BLE001 a stranger's function: it ends the run, and then is raised by who serves it
            if not (self.was_interrupted or self.ended_by):
                self.error = error
            self.cancel()

    def _let_decide(self, request: Request, decide: Callable[[Request], Decision | None]) -> None:
        decision = None if request.is_settled() else decide(request)
        if decision is not None:
            _check_decision(request, decision)
            stamped = decision if decision.at else decision.model_copy(update={"at": utc_now()})
            self.decide(request.node, stamped)
            return
        with suppress(RuntimeError):  # its loop is closed: it has ended
            if request.is_settled():  # Answered elsewhere while `decide` looked on: nothing is left open.
                self.engine.wake(request.node)
                return
            self._left_open.add(request.node)
            self.engine.look_for_quiet()

    def _is_settled(self, question: Question) -> bool:
        if self.is_finished or self.ended_by or question.key in self.state.decisions:
            return True
        over = question.deadline is not None and utc_now() >= question.deadline
        return over or decisions.stored(self.paths, question.key) is not None


def _check_decision(request: Request, decision: object) -> None:
    if not isinstance(decision, Decision):
        raise FlowInputError(f"decide answered `{request.node}` with {decision!r}", "return a flownb.Decision, or None")


def report(what: str) -> None:
    """Say on standard error what was just raised; where even that fails, nobody can be told."""
    with suppress(Exception):
        sys.stderr.write(visible(f"{what}\n{traceback.format_exc()}"))


def default_decision(question: Question) -> Decision:
    """Return what is taken where no one can answer."""
    return Decision(action=question.default, at=utc_now(), via=Via.DEFAULT)


def utc_now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)
