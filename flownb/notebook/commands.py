"""What the magics do: imported when the first of them is used, so that loading the extension costs nothing."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import wraps
from keyword import iskeyword
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

from IPython.core.magic_arguments import MagicArgumentParser
from IPython.display import display

from flownb import api
from flownb.care.sweep import read_rule, sweep
from flownb.care.told import Tally
from flownb.errors import Diagnostic, FlowError, FlowInputError, FlowSyntaxError
from flownb.model.decision import Decision, Question, Via, user_name
from flownb.model.workflow import Workflow
from flownb.notebook.arguments import find_file, parse_line, read_inputs
from flownb.notebook.begun import Begun, Live
from flownb.notebook.card import said
from flownb.notebook.cell import Waiting, conduct
from flownb.notebook.listing import RunList, pictures, plan_text, resume_text, values_text
from flownb.notebook.main_thread import MainThread
from flownb.notebook.origin import Surface, notebook_path, state_folder, surface
from flownb.notebook.publishing import DisplayCapture, NotebookPython, publish_markdown
from flownb.notebook.transform import keeping_lines
from flownb.parse.workflow import diagnose
from flownb.plan.resume import ResumePlan
from flownb.render.inert import code_span, visible
from flownb.render.problems import render_problems
from flownb.runs.prepare import RunSettings
from flownb.runs.prepare import load as load_document
from flownb.runs.run import Run
from flownb.runs.session import Prepared, utc_now
from flownb.runs.start import start
from flownb.runtimes.registry import Registry, load_registry
from flownb.store.files import write_atomically
from flownb.store.naming import short_path
from flownb.store.paths import find_run
from flownb.terminal.prompt import read_yaml

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_LINE: Final = 2
"""The body's first line, as people count: `%%flow` is line 1."""
Parser = MagicArgumentParser
"""A magic's own parser; every command takes it with the line behind the magic's name."""


def _without_frames(command: Callable[P, R]) -> Callable[P, R]:
    """Return a command whose errors leave its frames behind.

    Nobody is shown them, and IPython keeps the last error: its frames would keep the run's values in memory.
    """

    @wraps(command)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except FlowError as error:
            raise error.with_traceback(None) from error.__cause__

    return called


class Commands:
    """flownb's commands in one shell. Each may raise a FlowError, which is all that a cell shows of what went wrong."""

    def __init__(self, shell: Any, settings: Any) -> None:  # Any: kernels and terminals differ; traitlets has no types
        """Belong to a shell, until `close`.

        Args:
            shell: IPython's shell.
            settings: Has `state_dir`, as `%config Flow` sets it.
        """
        self.shell, self._settings = shell, settings
        self.begun = Begun(shell)
        """The runs that this kernel began."""
        self._capture = DisplayCapture(shell)
        self._main = MainThread(getattr(shell, "kernel", None))
        self._transform = keeping_lines(shell.transform_cell)
        self._registry: Registry | None = None
        self._told: set[Path] = set()
        self._bound: dict[str, str] = {}
        self._shown: tuple[int, set[str]] = (0, set())
        shell.display_formatter.ipython_display_formatter.for_type(Run, self.display_run)

    def close(self) -> None:
        """Give the shell back what was changed in it; what bodies display is redacted until the last run has ended."""
        self.begun.let_go()
        self.begun.when_over(self._capture.remove)
        self.shell.display_formatter.ipython_display_formatter.pop(Run, None)

    # Running.

    @_without_frames
    def run_cell(self, parser: Parser, line: str, cell: str) -> Run | None:
        """Run the workflow in a cell; None where only its plan is shown."""
        options = parse_line(parser, line, self.shell.user_ns)
        text = cell.removesuffix("\n")
        workflow = self._parse(text)
        if options.save:
            self._save(options.save, cell)
        return self._run(workflow, options, self._run_settings(self.shell.user_ns))

    @_without_frames
    def run_file(self, parser: Parser, line: str) -> Run | None:
        """Run a workflow from a file; None where only its plan is shown."""
        options = parse_line(parser, line, self.shell.user_ns)
        workflow = self._load(options.file)
        if options.save:
            self._save(options.save, workflow.text)
        return self._run(workflow, options, replace(self._run_settings({}), folder=None))

    @_without_frames
    def resume(self, parser: Parser, line: str) -> Run:
        """Go on with a run, by its stored text."""
        options = parse_line(parser, line, self.shell.user_ns)
        self._check_free(options)
        settings = self._run_settings(self.shell.user_ns)
        try:
            prepared, plan = api.take_up(options.run_id, settings, {}, from_node=options.start, as_was=True)
        except FlowSyntaxError as error:
            raise _with_carets(error.problems, find_run(settings.state_dir or Path(), options.run_id).source) from None
        return self._conduct(prepared, plan, options)

    # Looking and answering.

    def runs(self, parser: Parser, line: str) -> RunList:
        """Return the runs that are kept, newest first."""
        options = parse_line(parser, line, self.shell.user_ns)
        found, unread = api.survey(options.workflow, self._state_dir())
        for error in unread:
            print(f"Left out: {error}")  # noqa: T201 A cell's output.
        return RunList(found)

    def show(self, parser: Parser, line: str) -> Run:
        """Show a run; one that goes on here below the cell that runs now, with its buttons."""
        options = parse_line(parser, line, self.shell.user_ns)
        paths = find_run(self._state_dir(), options.run_id)
        live = self.begun.find(paths.run_id)
        if live is not None and not live.session.is_finished:
            live.move_here()
            run = live.run
        else:
            run = live.run if live is not None else api.show(str(paths), self._state_dir())
            publish_markdown(f"{run.log}\n{values_text(run)}")
            for key, picture in pictures(run):
                publish_markdown(code_span(key))
                display(picture)
        self._note_shown(run.id)
        return run

    def decide(self, parser: Parser, line: str) -> None:
        """Answer a question of a run, wherever it goes on."""
        options = parse_line(parser, line, self.shell.user_ns)
        root = self._state_dir()
        question = api.show(options.run_id, root).state.questions.get(options.node)
        value = _submitted(question, " ".join(options.text))
        mine = Decision(action=options.action, input=value, by=user_name(), at=datetime.now(UTC), via=Via.NOTEBOOK)
        standing = api.decide(options.run_id, options.node, mine, root)
        print(f"{options.node}: {said(standing)}")  # noqa: T201 A cell's output.

    def graph(self, parser: Parser, line: str) -> None:
        """Show the plan of a workflow in a file."""
        options = parse_line(parser, line, self.shell.user_ns)
        self._show_plan(self._load(options.file))

    def collect(self, parser: Parser, line: str) -> None:
        """Delete what nobody needs of the runs that are kept here."""
        options = parse_line(parser, line, self.shell.user_ns)
        root = Path(options.state).expanduser() if options.state else self._state_dir()
        tally = Tally(short_path(root), options.dry_run)
        for swept in sweep(root, read_rule(options.keep, options.older), utc_now(), dry_run=options.dry_run):
            if told := tally.take(swept):
                print(visible(told))  # noqa: T201 A cell's output.
        print(visible(tally.total()))  # noqa: T201 A cell's output.

    def display_run(self, run: Run) -> None:
        """Show a run as its log, unless the cell that runs now shows it already; what IPython calls for a cell's value."""
        cell, shown = self._shown
        if cell != self._cell() or run.id not in shown:
            publish_markdown(run.log)

    # How.

    def _run(self, workflow: Workflow, options: Any, settings: RunSettings) -> Run | None:  # Any: argparse's
        inputs = read_inputs(options.input, self.shell.user_ns)
        if options.dry_run:
            self._show_plan(workflow)
            return None
        self._check_free(options)
        settings = replace(settings, takes_cached=not options.no_cache)
        prepared, plan = start(workflow, inputs, settings, options.run_id, reuse=options.reuse, from_node=options.start)
        return self._conduct(prepared, plan, options)

    def _conduct(self, prepared: Prepared, plan: ResumePlan | None, options: Any) -> Run:  # Any: argparse's
        self._tell_folder()
        if plan is not None:
            publish_markdown(resume_text(plan, prepared.paths.run_id, prepared.state.reuses))
        name = options.out or self._bound.get(prepared.paths.run_id)

        def began(live: Live) -> None:
            run = live.run
            if live.view is not None:
                self._note_shown(run.id)
            if name:
                self.shell.user_ns[name] = run
                self._bound[run.id] = name
            self.begun.add(live)

        return conduct(self.shell, self._main, prepared, _waiting(options), began)

    def _note_shown(self, run_id: str) -> None:
        """Remember that the cell that runs now shows a run."""
        cell, shown = self._shown
        self._shown = (self._cell(), {run_id, *(shown if cell == self._cell() else ())})

    def _parse(self, text: str) -> Workflow:
        workflow, problems = diagnose(
            text,
            source=f"In[{self._cell()}]",
            first_line=_FIRST_LINE,
            kinds=self._kinds().kinds,
            variables=self.shell.user_ns,
            transform=self._transform,
        )
        drawn = render_problems(problems, text, _FIRST_LINE)
        if workflow is None:
            raise FlowSyntaxError(problems, drawn)
        if drawn:
            print(drawn)  # noqa: T201 A cell's output.
        return workflow

    def _load(self, name: str) -> Workflow:
        folder = notebook_path(self.shell)
        path = find_file(name, folder.parent if folder else None)
        try:
            return load_document(path, self._run_settings({}))
        except FlowSyntaxError as error:
            raise _with_carets(error.problems, path) from None

    def _show_plan(self, workflow: Workflow) -> None:
        publish_markdown(plan_text(workflow.name, api.plan(workflow)))

    def _save(self, name: str, text: str) -> None:
        path = Path(name).expanduser()
        if not name.endswith(".flow.md"):
            raise FlowInputError(
                f"--save {name}: the file's name must end in .flow.md", f"as in: --save {path.stem}.flow.md"
            )
        try:
            write_atomically(path, (text.removesuffix("\n") + "\n").encode("utf-8"))
        except OSError as error:
            raise FlowInputError(f"--save {name}: {error.strerror}", "name a file in a folder that is there") from None
        print(f"Saved as {path}.")  # noqa: T201 A cell's output.

    def _run_settings(self, variables: dict[str, object]) -> RunSettings:
        notebook = notebook_path(self.shell)
        return RunSettings(
            state_dir=self._state_dir(),
            folder=notebook.parent if notebook else Path.cwd(),
            ask_secret=None if surface(self.shell) is Surface.NOBODY else _ask_secret,
            variables=variables,
            registry=self._kinds(),
            transform=self._transform,
        )

    def _kinds(self) -> Registry:
        if self._registry is None:
            shell = self.shell
            registry = load_registry()
            for problem in registry.problems:
                print(f"flownb: {problem}")  # noqa: T201 A cell's output.
            self._registry = registry.using({"python": NotebookPython(self._transform, {"get_ipython": lambda: shell})})
        return self._registry

    def _state_dir(self) -> Path:
        return state_folder(self.shell, self._settings.state_dir or None)

    def _tell_folder(self) -> None:
        folder = self._state_dir()
        if folder not in self._told:
            self._told.add(folder)
            print(f"Runs are kept in {folder}")  # noqa: T201 A cell's output.

    def _cell(self) -> int:
        """Return the number of the cell that runs now; `execution_count` is the next one's from IPython 9.18 on."""
        return max(1, len(self.shell.history_manager.input_hist_parsed) - 1)

    def _check_free(self, options: Any) -> None:  # Any: argparse's
        """Raise, before anything is written, where the run could not begin."""
        _waiting(options)
        if options.out and (not options.out.isidentifier() or iskeyword(options.out)):
            raise FlowInputError(f"-o {options.out}: this is no name for a variable", "as in: -o run")
        if self._main.is_taken:
            raise FlowError("a run already waits in this kernel", "start a run after the other one, not inside it")


def _ask_secret(name: str) -> str:
    return getpass.getpass(f"secret {name}: ")


def _waiting(options: Any) -> Waiting:  # Any: argparse's
    ways = {
        "--wait": (options.wait, Waiting.TO_THE_END),
        "--until-asked": (options.until_asked, Waiting.UNTIL_ASKED),
        "--no-wait": (options.no_wait, Waiting.NOT),
    }
    given = [name for name, (is_given, _) in ways.items() if is_given]
    if len(given) > 1:
        raise FlowInputError(f"{' and '.join(given)} cannot both hold", "leave one out")
    return ways[given[0]][1] if given else Waiting.TO_THE_END


def _submitted(question: Question | None, text: str) -> Any:  # Any: whatever YAML holds
    if not text:
        return None
    return text if question is not None and question.input == "text" else read_yaml(text, "TEXT")


def _with_carets(problems: list[Diagnostic], path: Path) -> FlowSyntaxError:
    """Return the error with its problems drawn; of a notebook they are listed."""
    if path.name.endswith(".md") and path.is_file():
        return FlowSyntaxError(problems, render_problems(problems, path.read_text(encoding="utf-8")))
    return FlowSyntaxError(problems)
