"""The command line: run, resume, look at and answer runs; check and draw workflows."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from pydantic import JsonValue

from flownb import api
from flownb.cli.attend import finish, keep_log, serve_here, shows_log_of
from flownb.cli.care import doctor, gc, schema
from flownb.cli.inputs import read_given, read_inputs, read_yaml_value
from flownb.cli.listing import show_runtimes
from flownb.cli.options import ignoring_state, with_inputs, with_json, with_state, with_suspend
from flownb.cli.values import show_value
from flownb.errors import Diagnostic, FlowError, FlowInputError, FlowStateError, FlowSyntaxError, Severity
from flownb.model.decision import Action, Decision, Via, user_name
from flownb.model.events import PlannedNode, RunStatus
from flownb.model.nodes import walk
from flownb.model.state import stamp
from flownb.model.workflow import Workflow, bind_inputs
from flownb.plan.resume import ResumePlan
from flownb.render.diagram import mermaid, text_tree
from flownb.render.log import describe_decision, seconds
from flownb.render.problems import problems_json
from flownb.runs.prepare import RunSettings, load, state_root
from flownb.runs.session import Prepared, utc_now
from flownb.runs.start import start
from flownb.store.decisions import asked
from flownb.store.journal import has_begun
from flownb.store.naming import state_option
from flownb.store.paths import LAST, RunPaths, find_run, state_folder_in
from flownb.terminal.output import draw_problems, print_result, say, tell
from flownb.terminal.prompt import ask_secret, can_answer
from flownb.terminal.reuse_option import with_reuse_said

USAGE: Final = 2
"""Exit code: bad usage, an invalid workflow, inputs or secrets."""
INTERRUPTED: Final = 130
"""Exit code: Ctrl-C."""
_DOCUMENT: Final = ".flow.md"


def main() -> None:
    """Run the command line and leave with its exit code; no traceback is ever shown."""
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Carry out one command and return its exit code; every error is one message on standard error."""
    try:
        code = commands.main(with_reuse_said(arguments), prog_name="flownb", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe: nothing more may be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 whoever raised it: the person is told, in one message
        return _told(error)
    return code if isinstance(code, int) else 0


def _told(error: BaseException) -> int:
    """Say what went wrong and return the exit code for it."""
    match error:
        case click.exceptions.NoArgsIsHelpError():
            say(error.format_message())
        case click.UsageError():
            tell(error.format_message(), f"see `{error.ctx.command_path if error.ctx else 'flownb'} --help`")
        case click.ClickException():
            tell(error.format_message())
        case FlowSyntaxError():
            say(draw_problems(error.problems))
        case FlowInputError():
            tell(error.message, error.hint)
        case FlowError():
            tell(error.message, error.hint)
            return 1
        case KeyboardInterrupt() | click.Abort():
            tell("interrupted")
            return INTERRUPTED
        case _:
            tell(f"{type(error).__name__}: {error}", "this is a fault of flownb or of a plug-in: please report it")
            return 1
    return USAGE


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="flownb")
def commands() -> None:
    """Run workflows that are written as Markdown."""


for _command in (gc, doctor, schema):
    commands.add_command(_command)
commands.add_command(show_runtimes)


@commands.command("run")
@click.argument("file")
@with_inputs
@click.option("--inputs", "inputs_file", type=click.Path(path_type=Path), help="A YAML or JSON file: input → value.")
@click.option("--dry-run", is_flag=True, help="Show what would run and what would be asked.")
@click.option("--run-id", metavar="ID", help="The run's id; that of a run that exists resumes it with this text.")
@click.option(
    "--reuse", metavar="[ID]", help="Take over what an earlier run did: the last of this workflow, or this one."
)
@click.option(
    "--from", "from_node", metavar="NODE", help="With --run-id or --reuse: run this node and all below it again."
)
@click.option("--no-cache", is_flag=True, help="Make the values of nodes with `cache` anew.")
@click.option("--no-log", is_flag=True, help="Do not write the execution log at the end of the file.")
@with_suspend
@with_json
@with_state
def run_workflow(  # noqa: PLR0913, PLR0917 click hands over one for each option
    file: str,
    given: tuple[str, ...],
    inputs_file: Path | None,
    dry_run: bool,
    run_id: str | None,
    reuse: str | None,
    from_node: str | None,
    no_cache: bool,
    no_log: bool,
    suspend: bool,
    as_json: bool,
    state: Path | None,
) -> int:
    """Run FILE: a .flow.md, a notebook, or nb.ipynb#name where it holds several %%flow cells.

    As in: flownb run weekly.flow.md -i topic=wind
    """
    workflow = load(file)
    inputs = (read_inputs(inputs_file) if inputs_file else {}) | read_given(given)
    if dry_run:
        bind_inputs(workflow, inputs)
        plan = api.plan(workflow)
        print_result(_graph_json(workflow, plan) if as_json else text_tree(plan))
        return 0
    prepared, plan_of_resume = _start(
        workflow, inputs, replace(_settings(state), takes_cached=not no_cache), run_id, reuse, from_node
    )
    if plan_of_resume is not None:
        if plan_of_resume.is_new:
            say(f"takes over from {prepared.state.reuses or 'no earlier run: there is none'}")
        say(str(plan_of_resume))
    made = serve_here(prepared.paths, lambda hooks: api.serve(prepared, hooks), suspend=suspend)
    if not no_log and workflow.path is not None and workflow.path.name.endswith(_DOCUMENT):
        keep_log(workflow.path, made)
    return finish(made, as_json=as_json)


@commands.command("resume")
@click.argument("run_id")
@click.option("--from", "from_node", metavar="NODE", help="Run this node and all below it again.")
@click.option("--as-was", is_flag=True, help="Go by the stored text, not by the document as it is now.")
@click.option("--no-cache", is_flag=True, help="Make the values of nodes with `cache` anew.")
@with_inputs
@with_suspend
@with_json
@with_state
def resume_run(
    run_id: str,
    from_node: str | None,
    as_was: bool,
    no_cache: bool,
    given: tuple[str, ...],
    suspend: bool,
    as_json: bool,
    state: Path | None,
) -> int:
    """Go on with a run that failed, was cancelled, was interrupted or waits. RUN_ID may be a unique prefix, or `last`."""
    paths = _find(run_id, state)
    settings = replace(_settings(state), takes_cached=not no_cache)
    inputs = read_given(given)
    with _as_usage():
        prepared, plan = api.take_up(str(paths), settings, inputs, from_node=from_node, as_was=as_was)
    _name_document(prepared, as_was=as_was)
    say(str(plan))
    made = serve_here(prepared.paths, lambda hooks: api.serve(prepared, hooks), suspend=suspend)
    document = prepared.program.workflow.path
    if document is not None and document.name.endswith(_DOCUMENT) and shows_log_of(document, made):
        keep_log(document, made)
    return finish(made, as_json=as_json)


@commands.command("runs")
@click.argument("workflow", required=False)
@with_json
@with_state
def list_runs(workflow: str | None, as_json: bool, state: Path | None) -> int:
    """List the runs that are kept, newest first."""
    found, unread = api.survey(workflow, state)
    for error in unread:
        say(f"warning: left out: {error}")
    if as_json:
        print_result(
            [
                {
                    "run_id": run.run_id,
                    "workflow": run.workflow,
                    "status": str(run.status),
                    "started_at": stamp(run.started_at),
                    "duration": run.duration_s,
                }
                for run in found
            ]
        )
        return 0
    rows = [
        (run.run_id, run.workflow, str(run.status), stamp(run.started_at) or "-", seconds(run.duration_s))
        for run in found
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)] if rows else []
    for row in rows:
        print_result("  ".join([cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)] + [row[4]]))
    if not rows and not unread:
        say("no runs are kept here")
    return 0


@commands.command("show")
@click.argument("run_id")
@click.option("--value", metavar="NODE", help="Print this node's value: text, JSON, or the first rows of a table.")
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="With --value: write all of it to a file.")
@with_json
@with_state
def show_run(run_id: str, value: str | None, out: Path | None, as_json: bool, state: Path | None) -> int:
    """Show a run's log, from what is stored of it; or one value.

    As in: flownb show last --value scores --out scores.parquet
    """
    made = api.show(str(_find(run_id, state)), state)
    if value is not None:
        show_value(made, value, out)
        return 0
    if out is not None:
        raise click.UsageError("`--out` needs the node: --value NODE")
    print_result(made.as_json() if as_json else made.log)
    return 0


@commands.command("decide")
@click.argument("run_id")
@click.argument("node")
@click.argument("action", type=click.Choice([str(action) for action in Action]))
@click.argument("text", required=False)
@with_state
def decide(run_id: str, node: str, action: str, text: str | None, state: Path | None) -> int:
    """Answer a checkpoint of a run, also of one that another process runs.

    TEXT is the input: as it is where the checkpoint asks for text, else YAML.
    """
    paths = _find(run_id, state)
    if action == Action.INPUT and text is None:
        raise click.UsageError(f"`input` needs the input itself, as `flownb decide {run_id} {node} input TEXT`")
    known = api.show(str(paths), state).state
    with _as_usage():
        question = asked(known, node)
    value = text if text is None or question.input in ("text", None) else read_yaml_value(text, "TEXT")
    answer = Decision(action=action, input=value, by=user_name(), at=utc_now(), via=Via.COMMAND)
    standing = api.decide(str(paths), node, answer, state)
    print_result(f"{node}: {describe_decision(standing)}")
    if api.show(str(paths), state).state.status is not RunStatus.RUNNING:
        say(f"go on with: flownb resume {paths.run_id}{state_option(paths)}")
    return 0


@commands.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@with_json
@ignoring_state
def validate(files: tuple[str, ...], as_json: bool) -> int:
    """Show everything that is wrong with workflows; exit with 2 where any cannot run."""
    problems: list[Diagnostic] = []
    unread = 0
    for file in files:
        try:
            problems += api.validate(file)
        except FlowInputError as error:
            tell(error.message, error.hint)
            unread += 1
    if as_json:
        print_result([dict(record) for record in problems_json(problems)])
    elif problems:
        print_result(draw_problems(problems))
    elif not unread:
        say(f"no problems in {', '.join(files)}")
    return USAGE if unread or any(problem.severity is Severity.ERROR for problem in problems) else 0


@commands.command("graph")
@click.argument("file")
@click.option("--format", "form", type=click.Choice(["mermaid", "text", "json"]), default="mermaid", show_default=True)
@ignoring_state
def draw_graph(file: str, form: str) -> int:
    """Draw what FILE would run: as a Mermaid flowchart, as text by waves, or as JSON."""
    workflow = load(file)
    plan = api.plan(workflow)
    print_result(
        _graph_json(workflow, plan) if form == "json" else mermaid(plan) if form == "mermaid" else text_tree(plan)
    )
    return 0


def _settings(state: Path | None) -> RunSettings:
    return RunSettings(state_dir=state, ask_secret=ask_secret if can_answer() else None)


def _find(run_id: str, state: Path | None) -> RunPaths:
    """Return the run that is meant; one that is not there is bad usage, where other troubles with it are failures."""
    with _as_usage():
        return find_run(state or state_folder_in(), run_id)


@contextmanager
def _as_usage() -> Iterator[None]:
    """Take what is not possible for bad usage (interfaces.md, section 2): exit code 2."""
    try:
        yield
    except FlowStateError as error:
        raise FlowInputError(error.message, error.hint) from error


def _start(
    workflow: Workflow,
    inputs: dict[str, JsonValue],
    settings: RunSettings,
    run_id: str | None,
    reuse: str | None,
    from_node: str | None,
) -> tuple[Prepared, ResumePlan | None]:
    """Begin a run; where the one that is named cannot be resumed, or is not there, that is bad usage."""
    root = state_root(workflow, settings)
    is_there = run_id == LAST or (run_id is not None and has_begun(RunPaths(root, workflow.name, run_id)))
    with _as_usage() if is_there or from_node is not None else nullcontext():
        return start(workflow, inputs, settings, run_id, reuse=reuse, from_node=from_node)


def _name_document(prepared: Prepared, *, as_was: bool) -> None:
    """Say what is about to run, where it lies elsewhere than the state folder would let one think."""
    path, beside = prepared.program.workflow.path, prepared.paths.root.resolve().parent
    if path is not None and not as_was and not path.resolve().is_relative_to(beside):
        say(
            f"warning: this run is of {path.resolve()}, which lies outside {beside}; to go by the stored text: --as-was"
        )


def _graph_json(workflow: Workflow, plan: Sequence[PlannedNode]) -> dict[str, JsonValue]:
    lines = {node.id: node.span.line for node in walk(workflow.nodes)}
    nodes: list[JsonValue] = [
        {
            "id": node.id,
            "type": node.type,
            "wave": node.wave,
            "waits_for": list(node.waits_for),
            "line": lines.get(node.id),
        }
        for node in plan
    ]
    return {"workflow": workflow.name, "nodes": nodes}
