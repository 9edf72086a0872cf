"""The public functions: parse, validate, run, resume and look at runs. They wire; what they do is done below."""

from __future__ import annotations

import asyncio
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from flownb.errors import Diagnostic, Failure, FlowStateError, FlowSyntaxError
from flownb.executors.capture import capturing
from flownb.executors.interrupt import MainInterrupts
from flownb.executors.local import MainQueue
from flownb.model.decision import Decision, Request
from flownb.model.events import Event, PlannedNode, RunStatus
from flownb.model.state import RunState
from flownb.model.workflow import Workflow
from flownb.parse.notebook import flow_cells
from flownb.parse.workflow import diagnose, parse_workflow
from flownb.plan.fingerprint import define
from flownb.plan.graph import build_graph
from flownb.plan.plan import plan_nodes
from flownb.plan.resume import ResumePlan
from flownb.render.inert import visible
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import (
    RunSettings,
    check_begun,
    load,
    load_again,
    prepare_resume,
    read_text,
)
from flownb.runs.run import Run
from flownb.runs.session import Prepared, Session, report
from flownb.runs.start import start
from flownb.runs.stop import Stop
from flownb.runtimes.base import Printed
from flownb.store import decisions
from flownb.store.journal import load_state
from flownb.store.paths import LAST, find_run, list_runs, state_folder_in
from flownb.store.snapshot import RunSummary, stored_state, summary

Decide = Callable[[Request], Decision | None]
"""Answers a checkpoint; None: leave it waiting."""
OnError = Callable[[Failure, Run], None]
"""Called once when a run failed, after its state is saved."""
Listen = Callable[[Event], None]
"""Told of every event after it is stored, on the run's own thread."""


def parse(text: str, name: str | None = None, path: str | Path | None = None) -> Workflow:
    """Return the workflow that a text describes. Does not block for long and runs nothing.

    Args:
        text: A document as format.md describes it.
        name: The workflow's name where the text sets none; None: from its title or path.
        path: The file that it came from: sub-flows and relative paths are looked for beside it; None: a text only.

    Raises:
        FlowSyntaxError: It is none; `problems` lists everything that is wrong.
    """
    where = Path(path) if path is not None else None
    source = str(path) if path is not None else "<text>"
    return parse_workflow(text, name=name, path=where, source=source, kinds=RunSettings().kinds().kinds)


def validate(workflow: Workflow | str | Path) -> list[Diagnostic]:
    """Return everything that is wrong or doubtful in a workflow or a file, in the text's order; runs nothing.

    A notebook (`nb.ipynb`) is looked through with every `%%flow` cell, or with the one that is named (`nb.ipynb#name`).

    Raises:
        FlowInputError: There is no such file, or it is no text.
    """
    kinds = RunSettings().kinds().kinds
    if isinstance(workflow, Workflow):
        return diagnose(
            workflow.text, path=workflow.path, source=workflow.source, first_line=workflow.first_line, kinds=kinds
        )[1]
    name, _, part = str(workflow).partition("#")
    if name.endswith(".ipynb"):
        return _problems_of_cells(name, part)
    path = Path(workflow)
    return diagnose(read_text(path), path=path, source=str(workflow), kinds=kinds)[1]


def _problems_of_cells(notebook: str, part: str) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    cells = [f"{notebook}#{cell.index}" for cell in flow_cells(Path(notebook))]
    for cell in cells if cells and not part else [f"{notebook}#{part}" if part else notebook]:
        try:
            found += validate(load(cell))
        except FlowSyntaxError as error:
            found += error.problems
    return found


def plan(workflow: Workflow) -> tuple[PlannedNode, ...]:
    """Return every node of a workflow with its wave and what it waits for, in the document's order."""
    graph = build_graph(workflow)
    return plan_nodes(graph, define(graph))


def run(
    workflow: Workflow | str | Path,
    inputs: Mapping[str, object] | None = None,
    state_dir: str | Path | None = None,
    decide: Decide | None = None,
    on_error: OnError | None = None,
    listen: Listen | None = None,
    *,
    run_id: str | None = None,
    reuse: str | bool = False,
) -> Run:
    """Run a workflow to its end, or to where only a person can go on, and return the run.

    Blocks. Bodies with `executor: main` run on the calling thread. It does not raise when the run fails: look at
    `status` and `errors`, or call `raise_for_status()`. SIGTERM and SIGHUP cancel the run before they end the program, where
    that has no handler of its own for them and calls this on its main thread.

    Args:
        workflow: A workflow, or the path of a `.flow.md` or a notebook.
        inputs: Input → value.
        state_dir: The state folder; None: `.flownb` beside the document, else in the working directory.
        decide: Answers checkpoints, on the calling thread; None: each takes its default at once.
        on_error: Called once when the run failed, after its state is saved.
        listen: Told of every event after it is stored, on the run's own thread.
        run_id: The run's id; that of a run that exists, or `last`, resumes it with this text. None: a new one.
        reuse: The earlier run to take over from: its id or the beginning of it; True: the last one of this workflow.

    Raises:
        FlowSyntaxError: The document is no workflow.
        FlowInputError: Inputs or secrets are missing, unknown or of the wrong type.
        FlowStateError: The state cannot be read or written, or another process holds the run.
        KeyboardInterrupt: Ctrl-C was pressed; the run is cancelled and can be resumed.
    """
    settings = RunSettings(state_dir=_path(state_dir))
    prepared = start(load(workflow), inputs or {}, settings, run_id, reuse=LAST if reuse is True else reuse or None)[0]
    return _serve_api(prepared, decide, on_error, listen)


async def run_async(
    workflow: Workflow | str | Path,
    inputs: Mapping[str, object] | None = None,
    state_dir: str | Path | None = None,
    decide: Decide | None = None,
    on_error: OnError | None = None,
    listen: Listen | None = None,
    *,
    run_id: str | None = None,
    reuse: str | bool = False,
) -> Run:
    """Do what `run` does without blocking the event loop; cancelling it cancels the run.

    Bodies with `executor: main` run on the loop's thread, between its other work.
    """
    settings = RunSettings(state_dir=_path(state_dir))
    prepared = start(load(workflow), inputs or {}, settings, run_id, reuse=LAST if reuse is True else reuse or None)[0]
    loop = asyncio.get_running_loop()
    hooks = Hooks(decide=decide, watch=_watcher(listen), printed=_printer())

    def post(call: Callable[[], None]) -> None:
        loop.call_soon_threadsafe(call)

    stop = Stop()
    with capturing(), MainInterrupts(stop, stop.end) as interrupts:
        session = stop.at(Session(prepared, hooks, post, interrupts))
        made = Run(session.paths, session.state, session)
        session.start()
        try:
            await made
        except asyncio.CancelledError:
            session.cancel()
            await made
            raise
    return _ended(made, on_error)


def resume(
    run_id: str,
    state_dir: str | Path | None = None,
    inputs: Mapping[str, object] | None = None,
    decide: Decide | None = None,
    on_error: OnError | None = None,
    listen: Listen | None = None,
    *,
    from_node: str | None = None,
) -> Run:
    """Go on with a run that failed, was cancelled, was interrupted or waits; nothing that was done is done again.

    Blocks, as `run` does. The document is read where it was, as it is now; where it is gone, as it was stored.

    Args:
        run_id: The run's id, a unique prefix of it, or `last`.
        state_dir: The state folder; None: `.flownb` in the working directory.
        inputs: Inputs that change; the others stay as they were.
        decide: As in `run`.
        on_error: As in `run`.
        listen: As in `run`.
        from_node: The node that runs again, with all below it; needed for a run that completed or was rejected.

    Raises:
        FlowStateError: There is no such run, it has ended, or another process holds it.
        FlowSyntaxError: The document, as it is now, is no workflow.
        FlowInputError: Inputs or secrets are missing, unknown or of the wrong type.
    """
    settings = RunSettings(state_dir=_path(state_dir))
    prepared, _ = take_up(run_id, settings, inputs or {}, from_node=from_node)
    return _serve_api(prepared, decide, on_error, listen)


def runs(workflow: str | None = None, state_dir: str | Path | None = None) -> list[RunSummary]:
    """Return the runs that are kept, newest first. One that cannot be read is left out, with a warning that says why.

    Args:
        workflow: Only those of this workflow; None: all.
        state_dir: The state folder; None: `.flownb` in the working directory.
    """
    found, unread = survey(workflow, state_dir)
    for error in unread:
        warnings.warn(visible(error.message), stacklevel=2)
    return found


def show(run_id: str, state_dir: str | Path | None = None) -> Run:
    """Return a run from what is stored of it alone.

    Args:
        run_id: The run's id, a unique prefix of it, or `last`.
        state_dir: The state folder; None: `.flownb` in the working directory.

    Raises:
        FlowStateError: There is no such run, or it cannot be read.
    """
    paths = find_run(_root(state_dir), run_id)
    return Run(paths, stored_state(paths))


def decide(run_id: str, node: str, decision: Decision, state_dir: str | Path | None = None) -> Decision:
    """Answer a question of a run, in whatever process it goes on, and return the decision that stands.

    Args:
        run_id: The run's id, a unique prefix of it, or `last`.
        node: The checkpoint's key.
        decision: The answer, with its `at` set.
        state_dir: The state folder; None: `.flownb` in the working directory.

    Raises:
        FlowStateError: There is no such run or question, its time is over, or somebody has decided before; it says who.
        FlowInputError: It is no answer to the question.
    """
    paths = find_run(_root(state_dir), run_id)
    standing = decisions.answer(paths, load_state(paths), node, decision)
    if (standing.at, standing.by, standing.via) != (decision.at, decision.by, decision.via):
        raise too_late(node, standing)
    return standing


def too_late(node: str, standing: Decision) -> FlowStateError:
    """Return the error that says who decided what before."""
    who = f"{standing.by or 'nobody'} ({standing.via})"
    when = f" at {standing.at:%Y-%m-%d %H:%M:%S} UTC" if standing.at else ""
    return FlowStateError(f"`{node}` was decided already: {standing.action} by {who}{when}")


# For hosts: the command line and the notebook.


def survey(
    workflow: str | None = None, state_dir: str | Path | None = None
) -> tuple[list[RunSummary], list[FlowStateError]]:
    """Return what `runs` does, and why others cannot be read: damaged, or of a newer flownb."""
    found, unread = [], []
    for paths in list_runs(_root(state_dir), workflow):
        try:
            found.append(summary(paths))
        except FlowStateError as error:
            unread.append(error)
    return found, unread


def take_up(
    run_id: str,
    settings: RunSettings,
    inputs: Mapping[str, object],
    *,
    from_node: str | None = None,
    as_was: bool = False,
) -> tuple[Prepared, ResumePlan]:
    """Write down that a run goes on, with its document as it is now, or as it was stored."""
    root = _root(settings.state_dir)
    paths = find_run(root, run_id, disk=settings.disk)
    state = load_state(paths)
    check_begun(paths, state)
    workflow, settings = load_again(paths, state, settings, as_was=as_was)
    return prepare_resume(paths, workflow, inputs, replace(settings, state_dir=root), from_node)


def serve(prepared: Prepared, hooks: Hooks) -> Run:
    """Run on the calling thread until the run has ended or is put aside; Ctrl-C, SIGTERM and SIGHUP cancel it. Blocks."""
    queue = MainQueue()
    stop = Stop()
    with capturing(), MainInterrupts(stop, stop.end) as interrupts:
        session = stop.at(Session(prepared, hooks, queue.post, interrupts))
        made = Run(session.paths, session.state, session)
        session.when_finished(queue.wake)
        session.start()
        while not session.is_finished:
            try:
                queue.serve(lambda: session.is_finished)
            except BaseException as error:  # noqa: BLE001 raised when nothing of the run is under way any more
                session.error = session.error or error
                session.cancel()
    if session.error is not None:
        raise session.error
    return made


def _serve_api(prepared: Prepared, decide: Decide | None, on_error: OnError | None, listen: Listen | None) -> Run:
    return _ended(serve(prepared, Hooks(decide=decide, watch=_watcher(listen), printed=_printer())), on_error)


def _ended(made: Run, on_error: OnError | None) -> Run:
    assert made.session is not None, "it was just served"
    if made.session.error is not None:
        raise made.session.error
    if made.session.ended_by:
        signal.raise_signal(
            made.session.ended_by
        )  # What it does is as before again: nobody had set anything, so it ends this.
    if made.session.was_interrupted:
        raise KeyboardInterrupt(f"run {made.id} was cancelled; to go on: flownb resume {made.id}")
    if on_error is not None and made.status is RunStatus.FAILED:
        try:
            on_error(made.errors[0], made)
        except Exception:  # noqa: BLE001 a stranger's function; its error never replaces the run's own
            report(f"run {made.id}: on_error raised an error")
    return made


def _printer() -> Callable[[str, Printed], None]:
    """Return what shows a node's output where the program's own goes, without secrets."""
    streams = {"stdout": sys.stdout, "stderr": sys.stderr}  # As they are before bodies are captured.

    def show(_key: str, printed: Printed) -> None:
        stream = streams.get(printed.mime)
        if stream is not None:
            stream.write(str(printed.data))

    return show


def _watcher(listen: Listen | None) -> Callable[[Event, RunState], None]:
    if listen is None:
        return lambda _event, _state: None
    return lambda event, _state: listen(event)


def _path(path: str | Path | None) -> Path | None:
    return Path(path) if path is not None else None


def _root(state_dir: str | Path | None) -> Path:
    return Path(state_dir) if state_dir is not None else state_folder_in()
