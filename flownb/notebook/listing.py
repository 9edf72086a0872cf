"""Runs and plans as the notebook shows them: Markdown tables in which nothing is active."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final

from flownb.artifacts.shown import shown
from flownb.errors import FlowError
from flownb.model.events import PlannedNode
from flownb.model.key import is_whole
from flownb.model.node_state import NodeStatus
from flownb.notebook.board import elapsed
from flownb.plan.resume import OTHER_VERSIONS, ResumePlan
from flownb.render.diagram import mermaid, text_tree
from flownb.render.inert import code_span, cut, fenced, inert
from flownb.runs.run import Run
from flownb.store.snapshot import RunSummary

_VALUE_CHARACTERS: Final = 2000
_PICTURES: Final = ("matplotlib.", "PIL.")
"""How the types of values begin that are shown as pictures."""


class RunList(list[RunSummary]):
    """Runs, newest first; shows itself as a table."""

    def _repr_markdown_(self) -> str:
        if not self:
            return "No runs are kept here."
        rows = ["| Run | Workflow | Status | Started | Duration |", "|:----|:---------|:-------|:--------|---------:|"]
        for run in self:
            started = f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}" if run.started_at else ""
            took = elapsed(run.duration_s) if run.duration_s is not None else ""
            rows.append(f"| {inert(run.run_id)} | {inert(run.workflow)} | {run.status} | {started} | {took} |")
        return "\n".join(rows)

    def __repr__(self) -> str:
        return "\n".join(f"{run.run_id}  {run.workflow}  {run.status}" for run in self) or "no runs are kept here"


def resume_text(plan: ResumePlan, run_id: str, reuses: str | None = None) -> str:
    """Return what a resume will do, or a new run that takes over from the run `reuses`, as Markdown."""
    lines = [
        f"- **{word}**: "
        + ", ".join(f"{code_span(key)} ({inert(why)})" if why else code_span(key) for key, why in nodes)
        for word, nodes in plan.kinds()
    ]
    lines += [f"- **{OTHER_VERSIONS}**: {inert(plan.versions)}"] if plan.versions else []
    head = f"Resuming run {code_span(run_id)}:"
    if plan.is_new:
        head = f"Run {code_span(run_id)} takes over from {f'run {code_span(reuses)}' if reuses else 'no earlier run'}:"
    return "\n".join([head, "", *lines])


def plan_text(name: str, plan: Sequence[PlannedNode]) -> str:
    """Return a workflow's plan as Markdown: the graph, and the waves with what is asked."""
    asked = [node.id for node in plan if node.asks]
    count = sum(not node.inside for node in plan)
    nodes = f"{count:,} node" + "s" * (count != 1)
    asks = f", asks at {', '.join(code_span(key) for key in asked)}" if asked else ", asks nothing"
    return f"**{inert(name)}**: {nodes}{asks}\n\n{fenced(mermaid(plan), 'mermaid')}\n{fenced(text_tree(plan))}"


def pictures(run: Run) -> Iterator[tuple[str, object]]:
    """Yield key and value of the nodes whose value is a figure or a picture that was kept; those damaged are left out."""
    for key, node in run.nodes.items():
        kind = node.output.get("type") if node.tagged and isinstance(node.output, dict) else None
        if (
            node.status is NodeStatus.COMPLETED
            and is_whole(key)
            and isinstance(kind, str)
            and kind.startswith(_PICTURES)
        ):
            with suppress(FlowError):
                yield key, run[key]


def values_text(run: Run) -> str:
    """Return the values of a run's nodes as Markdown, each cut at 2,000 characters."""
    parts = ["### Values\n"]
    for key, node in run.nodes.items():
        if node.status is NodeStatus.COMPLETED and is_whole(key):
            output = shown(node.output) if node.tagged else node.output
            form = "text" if isinstance(output, str) and node.tagged else "json"
            text = str(output) if form == "text" else json.dumps(output, ensure_ascii=False, indent=2)
            parts.append(f"{code_span(key)}\n\n{fenced(cut(text, _VALUE_CHARACTERS), form)}")
    return "\n".join(parts) if len(parts) > 1 else ""
