"""Serves one run at the terminal, and says there what became of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from rich.console import Console

from flownb.errors import FlowError
from flownb.model.decision import Action, Decision, Request
from flownb.model.events import RunStatus
from flownb.render.log import write_log
from flownb.runs.hooks import Hooks
from flownb.runs.run import Run, run_error
from flownb.runs.session import default_decision
from flownb.store.naming import short_path, state_option
from flownb.store.paths import RunPaths
from flownb.terminal.output import leave_closed_terminal, print_result, say, tell
from flownb.terminal.progress import ProgressDisplay, error_console
from flownb.terminal.prompt import TerminalAsker, can_answer
from flownb.text.logsection import find_log

EXIT_CODES: Final[Mapping[RunStatus, int]] = {
    RunStatus.COMPLETED: 0,
    RunStatus.FAILED: 1,
    RunStatus.REJECTED: 3,
    RunStatus.WAITING: 75,
    RunStatus.CANCELLED: 130,
}
"""Status of a run → exit code (interfaces.md, section 2)."""
_SIGNALLED: Final = 128
"""What is added to the number of the signal that cancelled a run."""


def serve_here(paths: RunPaths, serve: Callable[[Hooks], Run], *, suspend: bool) -> Run:
    """Run on this thread, with questions and progress on standard error."""
    console = error_console()
    progress = ProgressDisplay(console)
    say(f"run {paths.run_id} of {paths.workflow}, kept in {short_path(paths.root)}")
    hooks = Hooks(
        decide=_decider(console, progress, suspend=suspend),
        watch=lambda event, state: _drawn(partial(progress.watch, event, state)),
        printed=lambda key, printed: _drawn(partial(progress.printed, key, printed)),
    )
    try:
        return serve(hooks)
    finally:
        leave_closed_terminal()
        progress.close()


def _drawn(draw: Callable[[], None]) -> None:
    """Draw; a run does not end because its terminal was closed."""
    try:
        draw()
    except OSError:
        leave_closed_terminal()


def _decider(console: Console, progress: ProgressDisplay, *, suspend: bool) -> Callable[[Request], Decision | None]:
    if suspend:
        return lambda _request: None
    if can_answer():
        return TerminalAsker(console, progress.paused).decide
    return _nobody


def _nobody(request: Request) -> Decision | None:
    """Take the default; a node that may have happened stays open, for no default is safe."""
    return default_decision(request.question) if Action.REJECT in request.question.actions else None


def finish(made: Run, *, as_json: bool) -> int:
    """Print what became of a run, and return its exit code."""
    print_result(made.as_json() if as_json else made.log)
    option = state_option(made.paths)
    go_on = f"flownb resume {made.id}{option}"
    match made.status:
        case RunStatus.COMPLETED:
            pass
        case RunStatus.WAITING:
            for question in made.state.open_questions:
                choices = "|".join(question.actions)
                say(
                    f"waiting for {question.key}: flownb decide {made.id} {shlex.quote(question.key)} {choices}{option}"
                )
            say(f"then go on with: {go_on}")
        case RunStatus.REJECTED:
            rejected = [key for key, decision in made.decisions.items() if decision.action == Action.REJECT]
            tell(
                run_error(made).message,
                f"to ask again: {go_on} --from {shlex.quote(rejected[-1]) if rejected else 'NODE'}",
            )
        case RunStatus.FAILED if made.errors and made.errors[0].hint:
            tell(run_error(made).message, f"{made.errors[0].hint}\nthen go on with: {go_on}")
        case _:
            tell(run_error(made).message, f"go on with: {go_on}")
    if made.status is RunStatus.CANCELLED and made.session is not None and made.session.ended_by:
        return _SIGNALLED + made.session.ended_by
    return EXIT_CODES.get(made.status, 1)


def keep_log(document: Path, made: Run) -> None:
    """Write a run's log at the end of its document; where that fails the run is what it is, and a line says so."""
    try:
        write_log(document, made.log)
    except (FlowError, OSError) as error:
        say(f"warning: the log is not in {document}: {error}")


def shows_log_of(document: Path, made: Run) -> bool:
    """Return whether a document's log is this run's: a resume then brings it up to date."""
    try:
        text = document.read_text(encoding="utf-8", errors="surrogateescape") if document.is_file() else ""
    except OSError:
        return False
    found = find_log(text)
    return found is not None and f"`{made.id}`" in text[slice(*found)]
