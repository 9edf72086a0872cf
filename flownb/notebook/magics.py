"""The magics: `%%flow` and `%flow…`, registered by `%load_ext flownb`."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from IPython.display import Markdown, display
from traitlets import Unicode
from traitlets.config import Configurable

from flownb import api
from flownb.errors import Diagnostic, FlowError, FlowInputError, FlowSyntaxError
from flownb.handle import Run
from flownb.host import Prepared
from flownb.model.decision import Action, Decision, Question, Via
from flownb.model.workflow import Workflow
from flownb.notebook.arguments import find_file, parse_line, read_inputs
from flownb.notebook.card import person, said
from flownb.notebook.cell import Live, Waiting, conduct
from flownb.notebook.listing import RunList, plan_text, resume_text, values_text
from flownb.notebook.main_thread import MainThread
from flownb.notebook.origin import Surface, notebook_path, state_folder, surface
from flownb.notebook.publishing import DisplayCapture, NotebookPython
from flownb.notebook.transform import keeping_lines
from flownb.parse.workflow import diagnose
from flownb.preparing import Around
from flownb.preparing import load as load_document
from flownb.render.problems import render_problems
from flownb.resuming import ResumePlan
from flownb.runtimes.registry import Registry, load_registry
from flownb.store.files import write_atomically
from flownb.store.paths import find_run
from flownb.terminal import read_yaml

F = TypeVar("F", bound=Callable[..., Any])  # Any: magics of all signatures

_FIRST_LINE: Final = 2
"""The body's first line, as people count: `%%flow` is line 1."""


class Flow(Configurable):
    """What `%config Flow` shows and sets."""

    state_dir = Unicode("", help="Folder that runs are kept in; empty: .flownb beside the notebook.").tag(config=True)


def _magic(kind: Any, name: str) -> Callable[[F], F]:  # Any: IPython's own type fits no method
    """Return the decorator that registers a method as a magic of a name."""
    return cast("Callable[[F], F]", kind(name))


def _wait_options(function: F) -> F:
    wait = argument(
        "--wait", action="store_true", help="keep the cell busy until the run has ended; buttons still work"
    )
    no_wait = argument("--no-wait", action="store_true", help="return at once; the run goes on")
    bound = argument("-o", "--out", metavar="VAR", help="bind the run to this variable as well")
    return wait(no_wait(bound(function)))  # type: ignore[no-any-return] # IPython's decorators return what they are given


def _run_options(function: F) -> F:
    given = argument(
        "-i", "--input", metavar="NAME=VALUE", action="append", default=[], help="an input: YAML, or {expression}"
    )
    dry = argument("--dry-run", action="store_true", help="show the plan and run nothing")
    name = argument("--run-id", metavar="ID", help="the run's id; that of a run that exists resumes it")
    save = argument("--save", metavar="FILE.flow.md", help="write the text to a file as well")
    return given(_wait_options(dry(name(save(function)))))  # type: ignore[no-any-return] # see above


@magics_class
class FlowMagics(Magics):
    """flownb's magics in one shell."""

    def __init__(self, shell: Any) -> None:  # Any: kernels and terminals differ
        """Belong to a shell."""
        super().__init__(shell)
        self.shell: Any = shell
        self.settings = Flow(parent=shell)
        """`%config Flow`."""
        self.live: dict[str, Live] = {}
        """Run id → a run that this kernel began and shows."""
        self.capture = DisplayCapture(shell.display_pub)
        """Sends what bodies display to their nodes."""
        self._main = MainThread(getattr(shell, "kernel", None))
        self._transform = keeping_lines(shell.transform_cell)
        self._registry: Registry | None = None
        self._told: set[Path] = set()
        self._shown_in: dict[str, int] = {}

    # Running.

    @no_var_expand
    @magic_arguments("%flow")
    @_run_options
    @_magic(cell_magic, "flow")
    def flow_cell(self, line: str, cell: str) -> Run | None:
        """Run the workflow that is written in this cell.

        The cell's value is the run: `run["node"]` is a node's value. An example:

            %%flow -i topic=wind -o run
            ---
            inputs: {topic: str}
            ---
            ## Articles
            ```python
            [f"{inputs.topic} {n}" for n in range(3)]
            ```
            ## Publish?
            ```checkpoint
            Publish {{ articles | length }} articles?
            ```
        """
        options = self._options(self.flow_cell, line)
        text = cell.removesuffix("\n")
        workflow = self._parse(text)
        if options.save:
            self._save(options.save, cell)
        return self._run(workflow, options, self._around(self.shell.user_ns))

    @no_var_expand
    @magic_arguments("flow")
    @argument("file", metavar="FILE", help="a .flow.md, or a notebook: nb.ipynb, nb.ipynb#name")
    @_run_options
    @_magic(line_magic, "flow")
    def flow_file(self, line: str) -> Run | None:
        """Run a workflow from a file.

        An example:

            %flow weekly.flow.md -i topic=wind --wait
        """
        options = self._options(self.flow_file, line)
        workflow = self._load(options.file)
        if options.save:
            self._save(options.save, workflow.text)
        return self._run(workflow, options, replace(self._around({}), folder=None))

    @no_var_expand
    @magic_arguments("flow_resume")
    @argument("run_id", metavar="RUN_ID", help="the run's id, the beginning of it, or last")
    @argument("--from", dest="start", metavar="NODE", help="run this node and all below it again")
    @_wait_options
    @_magic(line_magic, "flow_resume")
    def flow_resume(self, line: str) -> Run:
        """Go on with a run that failed, was cancelled, was interrupted or waits; nothing that was done is done again.

        An example:

            %flow_resume last --wait
        """
        options = self._options(self.flow_resume, line)
        self._check_free()
        around = self._around(self.shell.user_ns)
        try:
            prepared, plan = api.take_up(options.run_id, around, {}, from_node=options.start, as_was=True)
        except FlowSyntaxError as error:
            raise _with_carets(error.problems, find_run(around.state_dir or Path(), options.run_id).source) from None
        return self._conduct(prepared, plan, options)

    # Looking and answering.

    @no_var_expand
    @magic_arguments("flow_runs")
    @argument("workflow", metavar="WORKFLOW", nargs="?", help="only the runs of this one")
    @_magic(line_magic, "flow_runs")
    def flow_runs(self, line: str) -> RunList:
        """Return the runs that are kept beside this notebook, newest first."""
        options = self._options(self.flow_runs, line)
        return RunList(api.runs(options.workflow, self._state_dir()))

    @no_var_expand
    @magic_arguments("flow_show")
    @argument("run_id", metavar="RUN_ID", help="the run's id, the beginning of it, or last")
    @_magic(line_magic, "flow_show")
    def flow_show(self, line: str) -> Run:
        """Show a run: its log, its graph and the values of its nodes; one that goes on here with its buttons."""
        options = self._options(self.flow_show, line)
        paths = find_run(self._state_dir(), options.run_id)
        live = self.live.get(paths.run_id)
        if live is not None and live.run.session is not None and not live.run.session.is_finished:
            live.move_here()
            run = live.run
        else:
            run = live.run if live is not None else api.show(str(paths), self._state_dir())
            display(Markdown(f"{run.log}\n{values_text(run)}"))
        self._shown_in[run.id] = self._cell()
        return run

    @no_var_expand
    @magic_arguments("flow_decide")
    @argument("run_id", metavar="RUN_ID", help="the run's id, the beginning of it, or last")
    @argument("node", metavar="NODE", help="the checkpoint's id")
    @argument(
        "action",
        metavar="ACTION",
        choices=[str(action) for action in Action],
        help="approve, reject or input; of a node with `once` happened, again or fail",
    )
    @argument("text", metavar="TEXT", nargs="*", help="what is submitted with input, or the value with happened")
    @_magic(line_magic, "flow_decide")
    def flow_decide(self, line: str) -> None:
        """Answer a question of a run, wherever it goes on.

        An example:

            %flow_decide last review approve
        """
        options = self._options(self.flow_decide, line)
        root = self._state_dir()
        question = api.show(options.run_id, root).state.questions.get(options.node)
        value = _submitted(question, " ".join(options.text))
        mine = Decision(action=options.action, input=value, by=person(), at=datetime.now(UTC), via=Via.NOTEBOOK)
        standing = api.decide(options.run_id, options.node, mine, root)
        print(f"{options.node}: {said(standing)}")  # noqa: T201 A cell's output.

    @no_var_expand
    @magic_arguments("flow_graph")
    @argument("file", metavar="FILE", help="a .flow.md, or a notebook: nb.ipynb, nb.ipynb#name")
    @_magic(line_magic, "flow_graph")
    def flow_graph(self, line: str) -> None:
        """Show the plan of a workflow in a file: graph, waves, what would be asked. Nothing is run."""
        options = self._options(self.flow_graph, line)
        self._show_plan(self._load(options.file))

    def display_run(self, run: Run) -> None:
        """Show a run as its log, unless the cell that runs now shows it already; what IPython calls for a cell's value."""
        if self._shown_in.get(run.id) != self._cell():
            display(Markdown(run.log))

    # How.

    def _options(self, magic: Any, line: str) -> Any:  # Any: a method with IPython's `parser`; argparse's namespace
        return parse_line(magic.parser, line, self.shell.user_ns)

    def _run(self, workflow: Workflow, options: Any, around: Around) -> Run | None:  # Any: argparse's
        inputs = read_inputs(options.input, self.shell.user_ns)
        if options.dry_run:
            self._show_plan(workflow)
            return None
        self._check_free()
        prepared, plan = api.start(workflow, inputs, around, options.run_id)
        return self._conduct(prepared, plan, options)

    def _conduct(self, prepared: Prepared, plan: ResumePlan | None, options: Any) -> Run:  # Any: argparse's
        self._tell_folder()
        if plan is not None:
            display(Markdown(resume_text(plan, prepared.paths.run_id)))

        def began(begun: Live | Run) -> None:
            run = begun.run if isinstance(begun, Live) else begun
            if isinstance(begun, Live):
                self.live[run.id] = begun
                self._shown_in[run.id] = self._cell()
            if options.out:
                self.shell.user_ns[options.out] = run

        if options.wait and options.no_wait:
            raise FlowInputError("--wait and --no-wait cannot both hold", "leave one out")
        waiting = Waiting.TO_THE_END if options.wait else Waiting.NOT if options.no_wait else Waiting.UNTIL_ASKED
        return conduct(self.shell, self._main, prepared, waiting, began)

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
            return load_document(path, self._around({}))
        except FlowSyntaxError as error:
            raise _with_carets(error.problems, path) from None

    def _show_plan(self, workflow: Workflow) -> None:
        display(Markdown(plan_text(workflow.name, api.plan(workflow))))

    def _save(self, name: str, text: str) -> None:
        path = Path(name).expanduser()
        if not name.endswith(".flow.md"):
            raise FlowInputError(
                f"--save {name}: the file's name must end in .flow.md", f"as in: --save {path.stem}.flow.md"
            )
        write_atomically(path, (text.removesuffix("\n") + "\n").encode("utf-8"))
        print(f"Saved as {path}.")  # noqa: T201 A cell's output.

    def _around(self, variables: dict[str, object]) -> Around:
        notebook = notebook_path(self.shell)
        return Around(
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
        return state_folder(self.shell, self.settings.state_dir or None)

    def _tell_folder(self) -> None:
        folder = self._state_dir()
        if folder not in self._told:
            self._told.add(folder)
            print(f"Runs are kept in {folder}")  # noqa: T201 A cell's output.

    def _cell(self) -> int:
        """Return the number of the cell that runs now; `execution_count` is the next one's from IPython 9.18 on."""
        return max(1, len(self.shell.history_manager.input_hist_parsed) - 1)

    def _check_free(self) -> None:
        if self._main.is_taken:
            raise FlowError("a run already waits in this kernel", "start a run after the other one, not inside it")


def load(shell: Any) -> None:  # Any: kernels and terminals differ
    """Register the magics in a shell. Doing it twice is harmless."""
    if "FlowMagics" in shell.magics_manager.registry:
        return
    magics = FlowMagics(shell)
    shell.register_magics(magics)
    shell.configurables.append(magics.settings)
    shell.display_formatter.ipython_display_formatter.for_type(Run, magics.display_run)


def unload(shell: Any) -> None:  # Any: kernels and terminals differ
    """Take the magics back, and everything that came with them."""
    magics = shell.magics_manager.registry.pop("FlowMagics", None)
    if magics is None:
        return
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    magics.capture.remove()
    shell.configurables.remove(magics.settings)
    shell.display_formatter.ipython_display_formatter.pop(Run, None)


def _ask_secret(name: str) -> str:
    return getpass.getpass(f"secret {name}: ")


def _submitted(question: Question | None, text: str) -> Any:  # Any: whatever YAML holds
    if not text:
        return None
    return text if question is not None and question.input == "text" else read_yaml(text, "TEXT")


def _with_carets(problems: list[Diagnostic], path: Path) -> FlowSyntaxError:
    """Return the error with its problems drawn; of a notebook they are listed."""
    if path.name.endswith(".md") and path.is_file():
        return FlowSyntaxError(problems, render_problems(problems, path.read_text(encoding="utf-8")))
    return FlowSyntaxError(problems)
