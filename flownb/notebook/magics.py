"""The magics `%%flow` and `%flow…`, registered by `%load_ext flownb`: their names, options and help."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

from IPython.core.magic import Magics, cell_magic, line_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import argument, magic_arguments
from traitlets import Unicode
from traitlets.config import Configurable

if TYPE_CHECKING:
    from flownb.notebook.commands import Commands
    from flownb.notebook.listing import RunList
    from flownb.runs.run import Run

F = TypeVar("F", bound=Callable[..., Any])  # Any: magics of all signatures


class Flow(Configurable):
    """What `%config Flow` shows and sets."""

    state_dir = Unicode("", help="Folder that runs are kept in; empty: .flownb beside the notebook.").tag(config=True)


def _magic(kind: Any, name: str) -> Callable[[F], F]:  # Any: IPython's own type fits no method
    """Return the decorator that registers a method as a magic of a name."""
    return cast("Callable[[F], F]", kind(name))


def _wait_options(function: F) -> F:
    wait = argument(
        "--wait", action="store_true", help="keep the cell busy until the run has ended (default); buttons still work"
    )
    until = argument("--until-asked", action="store_true", help="return when only people are waited for")
    no_wait = argument("--no-wait", action="store_true", help="return at once; the run goes on")
    bound = argument("-o", "--out", metavar="VAR", help="bind the run to this variable as well")
    return wait(until(no_wait(bound(function))))  # type: ignore[no-any-return] # IPython's decorators return what they are given


def _run_options(function: F) -> F:
    given = argument(
        "-i", "--input", metavar="NAME=VALUE", action="append", default=[], help="an input: YAML, or {expression}"
    )
    dry = argument("--dry-run", action="store_true", help="show the plan and run nothing")
    name = argument("--run-id", metavar="ID", help="the run's id; that of a run that exists resumes it")
    reuse = argument(
        "--reuse", metavar="ID", help="take over what an earlier run did: the last of this workflow, or this one"
    )
    start = argument(
        "--from", dest="start", metavar="NODE", help="with --run-id or --reuse: run this node and all below it again"
    )
    fresh = argument("--no-cache", action="store_true", help="make the values of nodes with `cache` anew")
    save = argument("--save", metavar="FILE.flow.md", help="write the text to a file as well")
    return given(_wait_options(dry(name(reuse(start(fresh(save(function))))))))  # type: ignore[no-any-return] # see above


def _parser(magic: Any) -> Any:  # Any: `magic_arguments` adds it to the method
    return magic.parser


@magics_class
class FlowMagics(Magics):
    """flownb's magics in one shell. What they do is in `commands`, which the first use imports."""

    def __init__(self, shell: Any) -> None:  # Any: kernels and terminals differ
        """Belong to a shell."""
        super().__init__(shell)
        self.shell: Any = shell
        self.settings = Flow(parent=shell)
        """`%config Flow`."""
        self._commands: Commands | None = None

    @property
    def commands(self) -> Commands:
        """What the magics do."""
        if self._commands is None:
            made: Commands = import_module("flownb.notebook.commands").Commands(self.shell, self.settings)
            self._commands = made
        return self._commands

    def close(self) -> None:
        """Give the shell back what was changed in it."""
        if self._commands is not None:
            self._commands.close()

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
        return self.commands.run_cell(_parser(self.flow_cell), line, cell)

    @no_var_expand
    @magic_arguments("flow")
    @argument("file", metavar="FILE", help="a .flow.md, or a notebook: nb.ipynb, nb.ipynb#name")
    @_run_options
    @_magic(line_magic, "flow")
    def flow_file(self, line: str) -> Run | None:
        """Run a workflow from a file.

        An example:

            %flow weekly.flow.md -i topic=wind
        """
        return self.commands.run_file(_parser(self.flow_file), line)

    @no_var_expand
    @magic_arguments("flow_resume")
    @argument("run_id", metavar="RUN_ID", help="the run's id, the beginning of it, or last")
    @argument("--from", dest="start", metavar="NODE", help="run this node and all below it again")
    @_wait_options
    @_magic(line_magic, "flow_resume")
    def flow_resume(self, line: str) -> Run:
        """Go on with a run that failed, was cancelled, was interrupted or waits; nothing that was done is done again.

        An example:

            %flow_resume last
        """
        return self.commands.resume(_parser(self.flow_resume), line)

    @no_var_expand
    @magic_arguments("flow_runs")
    @argument("workflow", metavar="WORKFLOW", nargs="?", help="only the runs of this one")
    @_magic(line_magic, "flow_runs")
    def flow_runs(self, line: str) -> RunList:
        """Return the runs that are kept beside this notebook, newest first."""
        return self.commands.runs(_parser(self.flow_runs), line)

    @no_var_expand
    @magic_arguments("flow_show")
    @argument("run_id", metavar="RUN_ID", help="the run's id, the beginning of it, or last")
    @_magic(line_magic, "flow_show")
    def flow_show(self, line: str) -> Run:
        """Show a run: its log, its graph and the values of its nodes; one that goes on here with its buttons."""
        return self.commands.show(_parser(self.flow_show), line)

    @no_var_expand
    @magic_arguments("flow_decide")
    @argument("run_id", metavar="RUN_ID", help="the run's id, the beginning of it, or last")
    @argument("node", metavar="NODE", help="the checkpoint's id")
    @argument("action", metavar="ACTION", help="approve, reject, input; for a node with once: happened, again, fail")
    @argument("text", metavar="TEXT", nargs="*", help="what is submitted with input, or the value with happened")
    @_magic(line_magic, "flow_decide")
    def flow_decide(self, line: str) -> None:
        """Answer a question of a run, wherever it goes on.

        An example:

            %flow_decide last review approve
        """
        self.commands.decide(_parser(self.flow_decide), line)

    @no_var_expand
    @magic_arguments("flow_graph")
    @argument("file", metavar="FILE", help="a .flow.md, or a notebook: nb.ipynb, nb.ipynb#name")
    @_magic(line_magic, "flow_graph")
    def flow_graph(self, line: str) -> None:
        """Show the plan of a workflow in a file: graph, waves, what would be asked. Nothing is run."""
        self.commands.graph(_parser(self.flow_graph), line)

    @no_var_expand
    @magic_arguments("flow_gc")
    @argument("--keep", metavar="N", type=int, help="keep the newest N of each workflow")
    @argument("--older", metavar="AGE", help="only runs that ended longer ago, as 30d or 12h")
    @argument("--dry-run", action="store_true", help="show what would be deleted, and delete nothing")
    @argument("--state", metavar="DIR", help="the folder that holds the runs; else the one beside this notebook")
    @_magic(line_magic, "flow_gc")
    def flow_gc(self, line: str) -> None:
        """Delete runs that ended, and files that nothing needs; without --keep and --older only such files.

        Runs that go on, wait or were interrupted are never touched. An example:

            %flow_gc --keep 20 --older 30d
        """
        self.commands.collect(_parser(self.flow_gc), line)


def load(shell: Any) -> None:  # Any: kernels and terminals differ
    """Register the magics in a shell. Doing it twice is harmless."""
    if "FlowMagics" in shell.magics_manager.registry:
        return
    magics = FlowMagics(shell)
    shell.register_magics(magics)
    shell.configurables.append(magics.settings)


def unload(shell: Any) -> None:  # Any: kernels and terminals differ
    """Take the magics back, and everything that came with them."""
    magics = shell.magics_manager.registry.pop("FlowMagics", None)
    if magics is None:
        return
    for kind, names in magics.magics.items():
        for name in names:
            shell.magics_manager.magics[kind].pop(name, None)
    for configurable in (magics, magics.settings):  # The first is there because IPython puts all magics there.
        if configurable in shell.configurables:
            shell.configurables.remove(configurable)
    magics.close()
