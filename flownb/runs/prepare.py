"""Makes a run ready to go: finds its document, binds its inputs, writes its beginning down."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

from pydantic import JsonValue, SecretStr

from flownb.engine.namespace import Program
from flownb.errors import FlowInputError, FlowStateError
from flownb.model import events as e
from flownb.model.events import RunStatus
from flownb.model.node_state import NodeState
from flownb.model.record import Record
from flownb.model.state import RunState
from flownb.model.workflow import Workflow, bind_inputs
from flownb.parse.notebook import parse_notebook
from flownb.parse.workflow import parse_workflow
from flownb.plan.fingerprint import define, definition_of
from flownb.plan.graph import build_graph
from flownb.plan.plan import plan_nodes
from flownb.plan.resume import ResumePlan
from flownb.runs.earlier import earlier_nodes, find_earlier
from flownb.runs.outlook import as_json, plan_ahead
from flownb.runs.session import Prepared, utc_now
from flownb.runs.source import read_source, read_subflows, write_sources
from flownb.runs.versions import versions_of
from flownb.runtimes.registry import Registry, load_registry
from flownb.secrets import Redactor, find_secrets
from flownb.store.decisions import withdraw
from flownb.store.files import DISK, Disk
from flownb.store.folding import fold_run
from flownb.store.journal import Journal
from flownb.store.paths import RunPaths, check_run_id, create_run, new_run_id, state_folder_in
from flownb.store.snapshot import write_snapshot
from flownb.store.storable import storable
from flownb.templates.terms import REDACTED


@dataclass(frozen=True, slots=True)
class RunSettings:
    """Where and with what a run goes on, besides its text and inputs."""

    state_dir: Path | None = None
    """The state folder; None: `.flownb` beside the document."""
    folder: Path | None = None
    """Where relative paths start; None: the document's folder, else the working directory."""
    ask_secret: Callable[[str], str] | None = None
    """Asks for a secret without echo; None: no one can answer."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """The notebook's variables."""
    registry: Registry | None = None
    """Kinds of node and what carries them out; None: flownb's own and the plug-ins'."""
    transform: Callable[[str], str] | None = None
    """IPython's cell transformer for python bodies; None outside notebooks."""
    disk: Disk = DISK
    """What reads and writes the state."""
    takes_cached: bool = True
    """Whether nodes with `cache` take values of earlier runs."""

    def kinds(self) -> Registry:
        """Return the registry."""
        return self.registry or _installed()


@lru_cache(maxsize=1)
def _installed() -> Registry:
    """Return the registry of this process: what is installed does not change while it runs."""
    return load_registry()


def load(document: Workflow | str | Path, settings: RunSettings | None = None) -> Workflow:
    """Return a workflow: as it is, or read from a `.flow.md` or a notebook (`nb.ipynb`, `nb.ipynb#name`).

    Raises:
        FlowInputError: There is no such file, or it is no text.
        FlowSyntaxError: It is no workflow.
    """
    if isinstance(document, Workflow):
        return document
    name = str(document)
    path, _, part = name.partition("#")
    kinds = (settings or RunSettings()).kinds().kinds
    if path.endswith(".ipynb"):
        return parse_notebook(Path(path), part or None, kinds)
    return parse_workflow(read_text(Path(name)), path=Path(name), source=_as_unicode(name), kinds=kinds)


def load_again(
    paths: RunPaths, state: RunState, settings: RunSettings, *, as_was: bool
) -> tuple[Workflow, RunSettings]:
    """Return the workflow that a resume goes by, and with what: the document as it is now, else as it was stored.

    Args:
        paths: The run.
        state: What its journal says.
        settings: Where and with what it goes on.
        as_was: Whether to go by the stored text in any case.
    """
    document = document_of(paths, state)
    if document is not None and document.is_file() and not as_was:
        part = f"#{paths.workflow}" if document.suffix == ".ipynb" else ""
        return _named(load(f"{document}{part}", settings), paths.workflow), settings
    settings = replace(settings, folder=document.parent if document is not None else settings.folder)
    return stored_workflow(paths, document, settings, state.secrets), settings


def document_of(paths: RunPaths, state: RunState) -> Path | None:
    """Return where a run's document was; None: it was a cell."""
    return paths.root.resolve().parent / state.document if state.document else None


def stored_workflow(
    paths: RunPaths, document: Path | None, settings: RunSettings, secrets: Sequence[str] = ()
) -> Workflow:
    """Return a run's workflow, as it was stored; secrets that were written in its text are put in again."""
    return parse_workflow(
        read_source(paths, secrets),
        name=paths.workflow,
        path=document,
        source=str(paths.source),
        kinds=settings.kinds().kinds,
        variables=settings.variables or None,
        transform=settings.transform,
        subflows=read_subflows(paths, secrets),
    )


def _named(workflow: Workflow, name: str) -> Workflow:
    """Return a workflow under the name that its run has, although the text may say another by now."""
    return workflow if workflow.name == name else workflow.model_copy(update={"name": name})


def read_text(path: Path, what: str = "give the path of a .flow.md or a notebook") -> str:
    """Return a document's text.

    Args:
        path: The document.
        what: What to do where there is none.

    Raises:
        FlowInputError: There is no such file, or it is no UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise FlowInputError(f"there is no file {path}", what) from None
    except UnicodeDecodeError as error:
        raise FlowInputError(f"{path} is no UTF-8 text: {error}", "save it as UTF-8") from None
    except OSError as error:
        raise FlowInputError(f"cannot read {path}: {error.strerror}", what) from None


def state_root(workflow: Workflow, settings: RunSettings) -> Path:
    """Return the folder that holds a workflow's runs."""
    if settings.state_dir is not None:
        return Path(settings.state_dir)
    return state_folder_in(workflow.path.parent if workflow.path else Path.cwd())


def prepare_new(
    workflow: Workflow,
    inputs: Mapping[str, object],
    settings: RunSettings,
    run_id: str | None = None,
    reuse: str | None = None,
    start: str | None = None,
) -> tuple[Prepared, ResumePlan | None]:
    """Write down the beginning of a new run, and say what it takes over from an earlier one.

    Args:
        workflow: Its text.
        inputs: Its inputs.
        settings: Where and with what it runs.
        run_id: Its id; None: a new one.
        reuse: The earlier run, by its id, the beginning of it, or `last`; None: none.
        start: The node from which on nothing is taken over.

    Raises:
        FlowInputError: Inputs or secrets are missing, unknown or of the wrong type, or the run id is none, or there is no earlier run.
        FlowStateError: The run exists, or nothing can be written.
    """
    bound = _bound(workflow, inputs)
    as_json(bound)
    secrets = _secrets(workflow, settings)
    redactor = Redactor(secrets.values())
    if run_id is not None:
        check_run_id(run_id)
    now = utc_now()
    root = state_root(workflow, settings)
    program = _program(workflow, bound, settings, redactor)
    definition = definition_of(redactor.text(workflow.text))
    earlier = find_earlier(root, workflow.name, reuse, settings.disk) if reuse else None
    before, versions = earlier[1] if earlier else RunState(), versions_of(workflow, program.folder)
    plan = plan_ahead(program, before, definition, redactor, start, versions, is_new=True) if reuse else None
    paths = create_run(root, workflow.name, run_id or new_run_id(now, random.choice), settings.disk)  # noqa: S311 an id, no secret
    journal = Journal.create(paths)
    started = e.RunStarted(
        at=now,
        run_id=paths.run_id,
        workflow=workflow.name,
        inputs=as_json(bound),
        secrets=tuple(secrets),
        unkept=tuple(sorted(program.tainted)),
        definition=definition,
        document=_document(workflow, root),
        reuses=earlier[0] if earlier else None,
        anew=plan.anew if plan else (),
        versions=versions,
    )
    state = RunState()
    try:
        write_sources(paths, workflow, secrets)
        _begin(journal, state, started, program, redactor)
        write_snapshot(paths, state, redactor=redactor)
    except BaseException:
        journal.close()
        raise
    taken = earlier_nodes(paths, state, definition, started.inputs)
    return _prepared(paths, journal, state, program, secrets, settings, taken), plan


def prepare_resume(
    paths: RunPaths, workflow: Workflow, inputs: Mapping[str, object], settings: RunSettings, start: str | None = None
) -> tuple[Prepared, ResumePlan]:
    """Write down that a run goes on, and say what it will do.

    Args:
        paths: The run.
        workflow: Its text, as it is to be run now.
        inputs: Inputs that change; the others stay as they were.
        settings: Where and with what it goes on.
        start: The node from which on everything runs again; None: only what changed.

    Raises:
        FlowInputError: Inputs or secrets are missing, unknown or of the wrong type.
        FlowStateError: Someone holds the run, it has ended, or it cannot be read or written.
    """
    secrets = _secrets(workflow, settings)
    redactor = Redactor(secrets.values())
    journal = Journal.open_for_append(paths)
    try:
        state, journal.before = fold_run(journal.before, paths), ()
        check_begun(paths, state)
        _check_open(state, start)
        known = {name: value for name, value in state.inputs.items() if name in workflow.inputs}
        _check_whole(known, state.unkept, inputs)
        bound = _bound(workflow, known | dict(inputs))
        program = _program(workflow, bound, settings, redactor)
        definition, versions = definition_of(redactor.text(workflow.text)), versions_of(workflow, program.folder)
        plan = plan_ahead(program, state, definition, redactor, start, versions)
        withdraw(paths, state.used_up)
        write_sources(paths, workflow, secrets)
        resumed = e.RunResumed(
            at=utc_now(),
            inputs=as_json(bound),
            unkept=tuple(sorted(program.tainted)),
            definition=definition,
            forget=plan.forget,
            again=plan.void,
            anew=plan.anew if state.reuses else (),
            versions=versions,
        )
        _begin(journal, state, resumed, program, redactor)
        write_snapshot(paths, state, redactor=redactor)
        taken = earlier_nodes(paths, state, definition, resumed.inputs)
    except BaseException:
        journal.close()
        raise
    return _prepared(paths, journal, state, program, secrets, settings, taken), plan


def _prepared(
    paths: RunPaths,
    journal: Journal,
    state: RunState,
    program: Program,
    secrets: Mapping[str, str],
    settings: RunSettings,
    taken: Mapping[str, NodeState],
) -> Prepared:
    redactor = Redactor(secrets.values())
    return Prepared(paths, journal, state, program, secrets, redactor, settings.kinds(), taken, settings.takes_cached)


def check_begun(paths: RunPaths, state: RunState) -> None:
    """Raise `FlowStateError` where a run died before its first event: there is nothing to go on with."""
    if state.started_at is None:
        raise FlowStateError(f"run {paths.run_id} died before it began", "start it anew")


def _check_open(state: RunState, start: str | None) -> None:
    if state.status in (RunStatus.COMPLETED, RunStatus.REJECTED) and start is None:
        raise FlowStateError(
            f"run {state.run_id} is {state.status}: there is nothing to resume",
            "to run a node and all below it again: `--from NODE`",
        )


def _bound(workflow: Workflow, inputs: Mapping[str, object]) -> dict[str, object]:
    """Return the inputs as the workflow takes them; the error about one that it does not take shows no secret."""
    try:
        return bind_inputs(workflow, inputs)
    except FlowInputError as error:
        redactor = Redactor(os.environ.get(name, "") for name in _secret_names(workflow))
        raise FlowInputError(redactor.text(error.message), redactor.text(error.hint)) from None


def _check_whole(known: Mapping[str, JsonValue], unkept: tuple[str, ...] | None, given: Mapping[str, object]) -> None:
    """Refuse inputs that could not be kept, unless they are given anew."""
    if unkept is None:
        unkept = tuple(name for name, value in known.items() if REDACTED in str(value))
    lost = [name for name in unkept if name in known and name not in given]
    if lost:
        listed = ", ".join(f"`{name}`" for name in lost)
        raise FlowInputError(f"input {listed} held a secret, so that it was not kept", f"give it again: -i {lost[0]}=…")


def _begin(
    journal: Journal, state: RunState, first: e.RunStarted | e.RunResumed, program: Program, redactor: Redactor
) -> None:
    planned = e.Planned(at=first.at, nodes=plan_nodes(program.graph, program.definitions))
    entries = [storable(event, redactor) for event in (first, planned)]
    journal.append(entries)
    for entry in entries:
        state.apply(entry.event)


def _program(workflow: Workflow, bound: Mapping[str, object], settings: RunSettings, redactor: Redactor) -> Program:
    graph = build_graph(workflow)
    folder = settings.folder or (workflow.path.parent if workflow.path else Path.cwd())
    values = as_json(bound)
    tainted = frozenset(name for name, value in values.items() if redactor.holds(value))
    # Not of secrets: who has the file could try which short one gives this digest.
    definitions = define(graph, redactor.text)
    return Program(workflow, graph, Record(bound), definitions, folder, settings.variables, tainted)


def _secrets(workflow: Workflow, settings: RunSettings) -> dict[str, str]:
    found: dict[str, SecretStr] = find_secrets(_secret_names(workflow), os.environ, settings.ask_secret)
    return {name: value.get_secret_value() for name, value in found.items()}


def _secret_names(workflow: Workflow) -> dict[str, None]:
    """Return the secrets that a workflow and its sub-flows name, each once."""
    names = dict.fromkeys(workflow.secrets)
    for other in workflow.subflows.values():
        names |= _secret_names(other)
    return names


def _document(workflow: Workflow, root: Path) -> str | None:
    """Return a document's path as the state names it: relative to the folder that holds the state folder."""
    if workflow.path is None:
        return None
    return _as_unicode(os.path.relpath(workflow.path.resolve(), root.resolve().parent))


def _as_unicode(path: str) -> str:
    """Return a path that can stand in JSON; where it had to be changed, a resume goes by the stored text."""
    return path.encode("utf-8", "replace").decode("utf-8")
