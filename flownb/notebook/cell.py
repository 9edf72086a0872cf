"""Runs a workflow from a cell: the cell serves the run, waits as it was told to, and raises what went wrong."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.console import Console

from flownb.api import serve
from flownb.errors import FlowError
from flownb.executors.capture import capturing
from flownb.handle import Run, run_error
from flownb.host import Hooks, Prepared, Session
from flownb.model.events import Event, RunStatus
from flownb.model.state import RunState
from flownb.notebook.cards import Cards
from flownb.notebook.main_thread import MainThread
from flownb.notebook.origin import Surface, surface
from flownb.notebook.shown import is_readable
from flownb.notebook.view import View
from flownb.progress import Progress, error_console
from flownb.terminal import TerminalAsker


class Waiting(StrEnum):
    """How long a cell stays busy with its run."""

    UNTIL_ASKED = "until_asked"
    """Until the run has ended, or only people are waited for."""
    TO_THE_END = "to_the_end"
    """Until the run has ended (`--wait`)."""
    NOT = "not"
    """It returns at once (`--no-wait`)."""


@dataclass(frozen=True, slots=True)
class Live:
    """A run of this kernel with what shows it."""

    run: Run
    """The run."""
    view: View
    """Its display."""
    cards: Cards | None
    """Its questions; None: nobody can answer here."""

    def move_here(self) -> None:
        """Show it below the cell that runs now."""
        self.view.move_here()
        if self.cards is not None:
            self.cards.move_here()


def conduct(
    shell: Any, main: MainThread, prepared: Prepared, waiting: Waiting, began: Callable[[Live | Run], None]
) -> Run:
    """Run what is prepared, from the cell that runs now, and return the run. Blocks as `waiting` says.

    Args:
        shell: IPython's shell (Any: kernels and terminals differ).
        main: The kernel's main thread.
        prepared: The run.
        waiting: How long the cell stays busy.
        began: Told of the run before the cell waits for it.

    Raises:
        FlowRunError: The run failed, was rejected or was cancelled while the cell waited.
        FlowError: The run itself broke off.
    """
    who = surface(shell)
    if getattr(shell, "kernel", None) is None:
        return _on_terminal(prepared, who, began)
    live, session = _begin(shell, main, prepared, who)
    began(live)
    _wait(session, live, waiting if main.has_buttons or who is Surface.NOBODY else _without_buttons(main, waiting))
    if session.is_finished:
        live.view.join()
        raise_ended(live.run)
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


def _begin(shell: Any, main: MainThread, prepared: Prepared, who: Surface) -> tuple[Live, Session]:
    """Start a run on its own thread, with its display below the cell."""
    publisher = shell.display_pub

    def total_of(key: str) -> int | None:
        return session.engine.counts.get(key)

    def shown_as(value: object) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = shell.display_formatter.format(value)
        hidden = {kind: prepared.redactor.json(part) if is_readable(kind) else part for kind, part in data.items()}
        return hidden, metadata

    view = View(publisher, prepared.state, prepared.redactor.json, total_of)
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
    interrupts = main.interrupts_for()
    session = interrupts.session = Session(prepared, hooks, main.post, interrupts)
    if cards is not None:
        cards.decide = session.decide
    live = Live(Run(session.paths, session.state, session), view, cards)
    session.waiter = _Waiter(main, session, live, is_quiet)
    streams = ExitStack()
    streams.enter_context(capturing())

    def finished() -> None:
        streams.close()
        if cards is not None:
            cards.finish()
        view.finish(f"{type(session.error).__name__}: {session.error}" if session.error else "")
        main.wake()

    session.when_finished(finished)
    view.start()
    session.start()
    return live, session


class _Waiter:
    """Waits for a run in a cell, its own or a later one, so that buttons and bodies go on meanwhile."""

    def __init__(self, main: MainThread, session: Session, live: Live, is_quiet: threading.Event) -> None:
        self._main, self._session, self._live, self.is_quiet = main, session, live, is_quiet

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
            self._live.view.join()
            if self._session.was_interrupted:
                raise_ended(self._live.run)
        return self._session.is_finished

    def serve(self, until: Callable[[], bool]) -> None:
        """Serve the main thread."""
        self._main.serve(self._session, until)


def _wait(session: Session, live: Live, waiting: Waiting) -> None:
    waiter = session.waiter
    assert isinstance(waiter, _Waiter), "_begin set it"
    match waiting:
        case Waiting.TO_THE_END:
            waiter.serve(lambda: session.is_finished)
        case Waiting.UNTIL_ASKED:
            is_quiet = waiter.is_quiet
            waiter.serve(lambda: session.is_finished or (is_quiet.is_set() and not session.was_interrupted))
        case Waiting.NOT:
            if live.cards is not None:
                live.cards.reserve()
    if not session.is_finished:
        live.view.leave_cell()


def _without_buttons(main: MainThread, waiting: Waiting) -> Waiting:
    """Return how a cell waits on a kernel whose buttons are dead while it is busy."""
    if not main.goes_on_alone or waiting is Waiting.NOT:
        return waiting
    if waiting is Waiting.TO_THE_END:
        print("This kernel's buttons are dead while a cell waits, so the cell returns and the run goes on.")  # noqa: T201
    return Waiting.NOT


def _on_terminal(prepared: Prepared, who: Surface, began: Callable[[Live | Run], None]) -> Run:
    """Run in terminal IPython: ask and show progress on the terminal."""
    console: Console = error_console()
    progress = Progress(console)
    asker = TerminalAsker(console, progress.paused)
    hooks = Hooks(
        decide=asker.decide if who is Surface.TERMINAL else None,
        watch=lambda event, _state: progress.listen(event),
        printed=progress.printed,
    )
    try:
        run = serve(prepared, hooks)
    finally:
        progress.close()
    began(run)
    raise_ended(run)
    return run
