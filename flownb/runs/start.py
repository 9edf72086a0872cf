"""Begins a run: a new one, or one that is there and goes on."""

from __future__ import annotations

from collections.abc import Mapping

from flownb.errors import FlowInputError
from flownb.model.workflow import Workflow
from flownb.plan.resume import ResumePlan
from flownb.runs.prepare import RunSettings, prepare_new, prepare_resume, state_root
from flownb.runs.session import Prepared
from flownb.store.journal import has_begun
from flownb.store.paths import LAST, RunPaths, check_run_id, find_run


def start(
    workflow: Workflow,
    inputs: Mapping[str, object],
    settings: RunSettings,
    run_id: str | None = None,
    *,
    reuse: str | None = None,
    from_node: str | None = None,
) -> tuple[Prepared, ResumePlan | None]:
    """Write down the beginning of a run; where a run with this id exists, that it goes on with this text.

    Args:
        workflow: Its text.
        inputs: Its inputs; where it goes on those that change.
        settings: Where and with what it runs.
        run_id: Its id, or `last`, which goes on with the newest run of this workflow; None: a new one.
        reuse: The earlier run that a new one takes over from: its id, the beginning of it, or `last`; None: none.
        from_node: The node from which on everything runs again; None: only what changed.

    Returns:
        The run, and what it will do; None where it begins from nothing.

    Raises:
        FlowInputError: Inputs, secrets or options do not fit.
        FlowStateError: The state cannot be read or written, another process holds the run, or it has ended.
    """
    if from_node is not None and run_id is None and reuse is None:
        raise FlowInputError(
            f"--from {from_node}: from which run?", "add `--run-id ID` to go on with one, or `--reuse`"
        )
    root = state_root(workflow, settings)
    if run_id is not None:
        known = RunPaths(root, workflow.name, run_id, settings.disk)
        if run_id == LAST:
            known = find_run(root, LAST, workflow.name, settings.disk)
        else:
            check_run_id(run_id)
        if has_begun(known):
            if reuse is not None:
                raise FlowInputError(f"run {known.run_id} exists: `--reuse` begins a new run", "leave one of them out")
            return prepare_resume(known, workflow, inputs, settings, from_node)
        if from_node is not None and reuse is None:
            raise FlowInputError(
                f"--from {from_node}: there is no run {run_id} to go on with", "name one: --run-id last"
            )
    return prepare_new(workflow, inputs, settings, run_id, reuse, from_node)
