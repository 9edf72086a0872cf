"""A run as a person holds it: its values, its log, and a way to answer and to wait."""

from __future__ import annotations

import asyncio
import difflib
import warnings
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import Final

from pydantic import JsonValue

from flownb.errors import Failure, FlowRunError, FlowStateError, NoSuchNodeError
from flownb.model.decision import Action, Decision, Via, user_name
from flownb.model.events import RunStatus
from flownb.model.node_state import NodeState, NodeStatus, StoredValue
from flownb.model.nodes import CheckpointNode
from flownb.model.record import Record
from flownb.model.state import RunState
from flownb.model.state_file import state_json
from flownb.plan.imports import imported
from flownb.render.diagram import mermaid
from flownb.render.log import render_log
from flownb.runs.kept import KeptValues, find_loaded
from flownb.runs.session import Session, utc_now
from flownb.runs.source import read_source
from flownb.store import decisions
from flownb.store.journal import load_state
from flownb.store.paths import RunPaths
from flownb.store.snapshot import stored_state

_SHOWN: Final = 10


class Run:
    """One execution of a workflow: `run["score"]` is a node's value.

    It shows itself as its log. It is thread-safe. Without a process that works on it, it tells what is stored.
    """

    def __init__(self, paths: RunPaths, state: RunState | None = None, session: Session | None = None) -> None:
        """Hold a run; use `flownb.run`, `flownb.resume` or `flownb.show`.

        Args:
            paths: Where it lives.
            state: What became of it; changes while a session works on it. None: it is read when somebody asks.
            session: What works on it in this process; None: nothing does.
        """
        self.paths = paths
        """Where it lives."""
        self._state = state
        self.session = session
        """What works on it in this process; None: nothing does."""

    @property
    def state(self) -> RunState:
        """What became of it."""
        if self._state is None:
            self._state = stored_state(self.paths)
        return self._state

    @property
    def id(self) -> str:
        """The run's id."""
        return self.paths.run_id

    @property
    def workflow(self) -> str:
        """The workflow's name."""
        return self.paths.workflow

    @property
    def status(self) -> RunStatus:
        """What became of it; `waiting` also while only a person's answer is missing."""
        return self.state.seen_status

    @property
    def nodes(self) -> Mapping[str, NodeState]:
        """Key → what became of a node, item or round; nodes that never began come last.

        One that holds only what waits for an answer waits too.
        """
        nodes = dict(list(self.state.nodes.items()))
        for key in self.state.clock.waiting_holders():
            nodes[key] = replace(nodes[key], status=NodeStatus.WAITING)
        for planned in self.state.plan:
            if not planned.inside:
                nodes.setdefault(planned.id, NodeState(definition=planned.definition))
        return MappingProxyType(nodes)

    @property
    def outputs(self) -> dict[str, object]:
        """Output → value, as it was made; empty until the run is completed. Blocks where it must be read from files.

        Raises:
            FlowError: A stored value is missing or damaged.
        """
        if self.session is not None and (made := self.session.outputs) is not None:
            return made
        state = self.state
        return {name: self._kept.load(name, StoredValue(value, state.tagged)) for name, value in state.outputs.items()}

    @property
    def decisions(self) -> Mapping[str, Decision]:
        """Key → what was decided, by whom, when and how."""
        return MappingProxyType(dict(self.state.decisions))

    @property
    def errors(self) -> list[Failure]:
        """Everything that made it fail, the first first; then the items that failed and that it went on after."""
        return self.state.errors

    @property
    def log(self) -> str:
        """The execution log, as Markdown."""
        printed = self.session.printed if self.session is not None else ""
        return render_log(self.state, mermaid(self.state.plan, self.state) if self.state.plan else None, printed)

    def __getitem__(self, key: str) -> object:
        """Return a node's value as a Python object.

        Raises:
            NoSuchNodeError: There is no such node; it is a `KeyError` too.
            FlowStateError: It has no value (yet), or one that could not be kept after its process ended.
            FlowError: What is stored of it is missing or damaged.
        """
        node = self.nodes.get(key)
        if node is None:
            near = difflib.get_close_matches(key, self.nodes, n=3) or list(self.nodes)[:_SHOWN]
            raise NoSuchNodeError(f"run {self.id} has no node `{key}`", f"there is {', '.join(near) or 'none'}")
        if node.status not in (NodeStatus.COMPLETED, NodeStatus.SKIPPED) and not node.continued:
            raise FlowStateError(
                f"node `{key}` of run {self.id} has no value: it is {node.status}", "the run's log says why: `run.log`"
            )
        if self.session is not None:
            value = self.session.value_of(key)
        elif node.reusable:
            value = self._kept.load(key, node.value)
        else:
            hint = f"to make it again, and all below it: %flow_resume {self.id} --from {key}"
            raise FlowStateError(f"the value of node `{key}` of run {self.id} is not kept: {_why_not(node)}", hint)
        planned = {item.id: item.type for item in self.state.plan}
        if isinstance(value, dict) and planned.get(key) == CheckpointNode.TITLE:
            return Record(value)
        return value

    @cached_property
    def _kept(self) -> KeptValues:
        return KeptValues(self.paths, self._find_class, _warn)

    def _find_class(self, name: str) -> type | None:
        """Return a class that a value is of, where the text of the run imports it and this process has it; imports nothing."""
        return find_loaded(name, imported(read_source(self.paths)))

    def as_json(self) -> dict[str, JsonValue]:
        """Return the run's state as its file holds it (interfaces.md, section 4)."""
        return state_json(self.state)

    # While it goes on.

    def wait(self, timeout_s: float | None = None) -> Run:
        """Block until the run has ended or was put aside, and return it.

        In a notebook the buttons work meanwhile.

        Args:
            timeout_s: Most seconds to wait; None: for ever.

        Raises:
            TimeoutError: It still goes on.
        """
        if self.session is not None and not self.session.wait(timeout_s):
            raise TimeoutError(f"run {self.id} is still {self.status} after {timeout_s} s")
        return self

    def __await__(self) -> Generator[object, None, Run]:
        """Wait for the run's end without blocking the event loop; return the run."""
        return self._finish().__await__()

    async def _finish(self) -> Run:
        if self.session is not None and not self.session.serve_until_finished():
            loop = asyncio.get_running_loop()
            done = loop.create_future()

            def settle() -> None:
                if not done.done():
                    done.set_result(None)

            def tell() -> None:
                loop.call_soon_threadsafe(settle)

            self.session.when_finished(tell)
            await done
        return self

    def decide(self, node: str, action: str = Action.APPROVE, value: JsonValue = None, by: str = "") -> Decision:
        """Answer an open question, and return the decision that stands: the first one.

        Args:
            node: The checkpoint's key.
            action: `approve`, `reject` or `input`.
            value: What is submitted with `input`.
            by: Who decides; empty: the login name.

        Raises:
            FlowInputError: It is no answer to the question.
            FlowStateError: The run does not ask there, or the time to answer is over.
        """
        decision = Decision(action=action, input=value, by=by or user_name(), at=utc_now(), via=Via.API)
        if self.session is not None and not self.session.is_finished:
            decisions.asked(self.state, node)
            return self.session.decide(node, decision)
        return decisions.answer(self.paths, load_state(self.paths), node, decision)

    def cancel(self) -> None:
        """Stop the run. It ends as `cancelled` and can be resumed; returns at once."""
        if self.session is not None:
            self.session.cancel()

    def raise_for_status(self) -> Run:
        """Return the run where it completed or waits.

        Raises:
            FlowRunError: It failed, was rejected or was cancelled.
        """
        status = self.status
        if status in (RunStatus.COMPLETED, RunStatus.RUNNING, RunStatus.WAITING):
            return self
        raise run_error(self)

    def __repr__(self) -> str:
        """Return one line: the workflow, the id and the status."""
        return f"<Run {self.workflow} {self.id} {self.status}>"

    def _repr_markdown_(self) -> str:
        return self.log


def run_error(run: Run) -> FlowRunError:
    """Return the error that says how a run ended: message, node, place and what to do."""
    go_on = f"to go on with the same text: %flow_resume {run.id}; with the cell put right: %%flow --run-id {run.id}"
    match run.status:
        case RunStatus.REJECTED:
            last = [(key, decision) for key, decision in run.decisions.items() if decision.action == Action.REJECT]
            key, decision = last[-1] if last else ("", None)
            who = (decision.by or "nobody; the default was taken") if decision else "nobody"
            hint = f"to ask again: %flow_resume {run.id} --from {key or 'NODE'}"
            return FlowRunError(f"run {run.id} was rejected at `{key}` by {who}", hint)
        case RunStatus.CANCELLED:
            return FlowRunError(f"run {run.id} was cancelled", f"to go on: %flow_resume {run.id}")
        case _:
            failures = run.state.failures
            first = failures[0] if failures else None
            if first is None:
                return FlowRunError(f"run {run.id} is {run.status}", go_on)
            place = f"{first.place}: " if first.place else ""
            node = f"node `{first.node}` failed: " if first.node else ""
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            message = f"{place}{node}{first.type}: {first.message}{more}"
            return FlowRunError(message, f"{first.hint}\n{go_on}" if first.hint else go_on, failures)


def _why_not(node: NodeState) -> str:
    why = node.output.get("why") if isinstance(node.output, dict) else None
    return str(why) if why else "it holds a secret"


def _warn(key: str, note: str) -> None:
    warnings.warn(f"{key}: {note}", stacklevel=2)
