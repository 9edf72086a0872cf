"""Runs a workflow from a cell: the cell serves the run, waits as it was told to, and raises what went wrong."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from enum import StrEnum
from typing import Any

from flownb.api import serve
from flownb.errors import FlowError, FlowRunError
from flownb.executors.capture import capturing
from flownb.executors.interrupt import MainInterrupts
from flownb.model.events import Event, RunStatus
from flownb.model.state import RunState
from flownb.notebook.begun import Live
from flownb.notebook.cards import Cards
from flownb.notebook.console import ConsoleLines
from flownb.notebook.main_thread import MainThread
from flownb.notebook.origin import Surface, surface
from flownb.notebook.publishing import Display, formatted, hidden, publish_markdown
from flownb.notebook.view import View
from flownb.runs.hooks import Hooks
from flownb.runs.run import Run, run_error
from flownb.runs.session import Prepared, Session
from flownb.runs.stop import Stop
from flownb.terminal.progress import ProgressDisplay, error_console
from flownb.terminal.prompt import TerminalAsker


class Waiting(StrEnum):
    """How long a cell stays busy with its run."""

    TO_THE_END = "to_the_end"
    """Until the run has ended (`--wait`, the default)."""
    UNTIL_ASKED = "until_asked"
    """Until the run has ended, or only people are waited for (`--until-asked`)."""
    NOT = "not"
    """It returns at once (`--no-wait`)."""


def conduct(shell: Any, main: MainThread, prepared: Prepared, waiting: Waiting, began: Callable[[Live], None]) -> Run:
    """Run what is prepared, from the cell that runs now, and return the run. Blocks as `waiting` says.

    Args:
        shell: IPython's shell (Any: kernels and terminals differ).
        main: The kernel's main thread.
        prepared: The run.
        waiting: How long the cell stays busy.
        began: Told of the run before the cell waits for it.

    Raises:
        FlowRunError: The run failed, was rejected or was cancelled while the cell waited, or waits where nobody can answer.
        FlowError: The run itself broke off, or the kernel cannot wait for an answer.
    """
    who = surface(shell)
    if getattr(shell, "kernel", None) is None or who is Surface.CONSOLE:
        return _on_terminal(shell, prepared, who, began)
    stop = Stop()
    with MainInterrupts(
        stop, even_ignored=True
    ):  # Until the thread is served, and after it was: a run that began is stopped.
        live = _begin(shell, main, prepared, who)
        session = stop.at(live.session)
        began(live)
        if who is Surface.NOBODY:
            waiting = Waiting.TO_THE_END  # Who returned at once would end the kernel, and the run with it.
        _wait(session, live, waiting, is_deaf=who is Surface.BUTTONS and not main.has_buttons)
    if session.is_finished:
        live.close_view()
        raise_ended(live.run)
    elif waiting is Waiting.TO_THE_END:
        hint = f"use the buttons, or: {answers_to(session)}; the run then goes on"
        raise FlowError(f"run {session.paths.run_id} waits for an answer, and this kernel cannot wait with it", hint)
    return live.run


def raise_ended(run: Run) -> None:
    """Raise what a cell raises for a run that has ended otherwise than it should; nothing while it goes on."""
    session = run.session
    if session is not None and session.error is not None:
        broken = session.error
        if isinstance(broken, FlowError):
            raise broken
        message = f"run {run.id} broke off: {type(broken).__name__}: {broken}"
        raise FlowError(message, f"to go on: %flow_resume {run.id}") from broken
    if run.state.status in (RunStatus.FAILED, RunStatus.REJECTED, RunStatus.CANCELLED):
        raise run_error(run)
    if run.state.status is RunStatus.WAITING and session is not None and session.is_finished:
        keys = ", ".join(f"`{question.key}`" for question in run.state.open_questions)
        hint = f"answer it: {answers_to(session)}\nthen go on with: %flow_resume {run.id}"
        raise FlowRunError(f"run {run.id} waits for an answer at {keys}, and nobody can answer here", hint)


def answers_to(session: Session) -> str:
    """Return the commands that answer what a run asks."""
    return ", ".join(
        f"%flow_decide {session.paths.run_id} {question.key} {'|'.join(question.actions)}"
        for question in session.state.open_questions
    )


def _begin(shell: Any, main: MainThread, prepared: Prepared, who: Surface) -> Live:
    """Start a run on its own thread, with its display below the cell."""
    publisher, redact = shell.display_pub, prepared.redactor.json

    def shown_as(value: object) -> list[Display]:
        return [hidden(display, redact) for display in formatted(shell, value)]

    view = View(publisher, prepared.state, redact)
    cards = Cards(view, publisher, prepared.paths.run_id, shown_as) if who is Surface.BUTTONS else None
    is_quiet = threading.Event()

    def watch(event: Event, state: RunState) -> None:
        view.watch(event, state)
        if cards is not None:
            cards.watch(event, state)

    def quiet() -> bool:
        is_quiet.set()
        main.wake()
        return False

    hooks = Hooks(ask=cards.ask if cards else None, watch=watch, printed=view.printed, quiet=quiet if cards else None)
    thread = main.for_run()
    session = thread.session = Session(prepared, hooks, thread.post, thread)
    if cards is not None:
        cards.decide = session.decide
    live = Live(session, view, cards)
    session.waiter = _Waiter(main, live, is_quiet)
    streams = ExitStack()
    streams.enter_context(capturing())

    def finished() -> None:
        with ExitStack() as last:  # Whatever fails of this, the cell hears of the end.
            last.callback(main.wake)
            last.callback(view.finish, f"{type(session.error).__name__}: {session.error}" if session.error else "")
            if cards is not None:
                last.callback(cards.finish, f"run {session.paths.run_id}: {session.state.status}")
            last.callback(streams.close)

    session.when_finished(finished)
    view.start()
    session.start()
    return live


class _Waiter:
    """Waits for a run in a cell, its own or a later one, so that buttons and bodies go on meanwhile."""

    def __init__(self, main: MainThread, live: Live, is_quiet: threading.Event) -> None:
        self._main, self._session, self._live, self.is_quiet = main, live.session, live, is_quiet

    def __call__(self, timeout_s: float | None) -> bool | None:
        """Wait as `run.wait` and `await run` do; None where this thread cannot be served."""
        if not self._main.has_buttons:
            return None
        deadline = math.inf if timeout_s is None else time.monotonic() + timeout_s
        timer = threading.Timer(timeout_s or 0.0, self._main.wake)
        if timeout_s is not None:
            timer.start()
        self.serve(lambda: self._session.is_finished or time.monotonic() >= deadline)
        timer.cancel()
        if self._session.is_finished:
            self._live.close_view()
            if self._session.was_interrupted:
                raise_ended(self._live.run)
        return self._session.is_finished

    def serve(self, until: Callable[[], bool]) -> None:
        """Serve the main thread."""
        self._main.serve(self._session, until)


def _wait(session: Session, live: Live, waiting: Waiting, *, is_deaf: bool) -> None:
    """Serve the run for as long as the cell waits; deaf: no click is heard meanwhile, so not while people are waited for."""
    waiter = session.waiter
    assert isinstance(waiter, _Waiter), "_begin set it"
    if waiting is Waiting.NOT:
        if live.cards is not None:
            live.cards.reserve()
    elif waiting is Waiting.UNTIL_ASKED or is_deaf:
        is_quiet = waiter.is_quiet
        waiter.serve(lambda: session.is_finished or (is_quiet.is_set() and not session.was_interrupted))
    else:
        waiter.serve(lambda: session.is_finished)
    if not session.is_finished and live.view is not None:
        live.view.leave_cell()


def _on_terminal(shell: Any, prepared: Prepared, who: Surface, began: Callable[[Live], None]) -> Run:
    """Run where only text is shown: ask and show progress by text."""
    console = error_console()
    progress = ProgressDisplay(console)
    lines = ConsoleLines(shell.kernel) if who is Surface.CONSOLE else None
    asker = TerminalAsker(console, progress.paused, lines=lines)
    hooks = Hooks(
        decide=None if who is Surface.NOBODY else asker.decide,
        watch=progress.watch,
        printed=progress.printed,
    )
    try:
        run = serve(prepared, hooks)
    finally:
        progress.close()
    assert run.session is not None, "it was just served"
    live = Live(run.session, None, None)
    live.handles.add(run)
    began(live)
    if run.state.status is not RunStatus.COMPLETED:
        publish_markdown(run.log)
    raise_ended(run)
    return run
