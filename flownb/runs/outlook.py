"""What a run will do, looked at before it does: a resume, or a new one that takes over from an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from flownb.engine.namespace import Program
from flownb.engine.outside import first_changed
from flownb.engine.reads import variable_digest
from flownb.errors import FlowInputError
from flownb.model.state import RunState
from flownb.plan.fingerprint import uses_of
from flownb.plan.resume import Now, ResumePlan, plan_resume
from flownb.runs.versions import other_versions
from flownb.secrets import Redactor


def plan_ahead(
    program: Program,
    state: RunState,
    definition: str,
    redactor: Redactor,
    start: str | None,
    versions: Mapping[str, str],
    *,
    is_new: bool = False,
) -> ResumePlan:
    """Return what a run will do on what a state says, with what changed outside its nodes."""
    inputs = as_json(program.inputs)
    digests = dict(program.input_digests())
    for node in program.graph.nodes.values() if program.variables else ():
        for use in uses_of(program.graph, node):
            digests.update(variable_digest(program, use.name, redactor))
    reads = {key: {**node.reads, **node.wrote} for key, node in state.nodes.items()}
    changed = dict(first_changed(reads, program.workflow, program.folder))
    now = Now(digests, changed, (state.definition, state.inputs) == (definition, inputs))
    plan = plan_resume(program.graph, program.definitions, state, now, start, is_new=is_new)
    return replace(plan, versions=other_versions(state.versions, versions))


def as_json(bound: Mapping[str, object]) -> dict[str, JsonValue]:
    """Return inputs as they are kept; refuse those that could not be."""
    kept: dict[str, JsonValue] = {}
    for name, value in bound.items():
        try:
            kept[name] = to_jsonable_python(value)
        except (ValueError, RecursionError):
            kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
            raise FlowInputError(
                f"input `{name}` is a {kind}, which is not JSON, so that a resume would not have it",
                "give plain data or a path; in a notebook a python body reads the notebook's variables as they are",
            ) from None
    return kept
