"""A parsed workflow: what one document says, ready to be run."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path

from pydantic import Field, JsonValue

from flownb.errors import FlowInputError
from flownb.model.frozen import Frozen
from flownb.model.nodes import Node, Use
from flownb.model.policy import Duration
from flownb.model.types import convert, describe
from flownb.text.spans import Span


class Order(StrEnum):
    """What a node waits for by itself."""

    GRAPH = "graph"
    """What it refers to."""
    DOCUMENT = "document"
    """The node above it."""


class Input(Frozen):
    """One value that a workflow is given."""

    type: JsonValue = "any"
    """A type in the notation of format.md section 6: a text, or name → type."""
    required: bool = True
    """Whether a run must be given it."""
    default: JsonValue = None
    """The value where none is given."""
    description: str = ""
    """What it is for."""
    span: Span
    """Where it stands."""


class Workflow(Frozen):
    """What one document says. It never changes; running it makes a Run."""

    name: str
    """The slug that names the state folder."""
    title: str = ""
    """The document's title, as it was written."""
    version: str = ""
    """The author's version of it."""
    description: str = ""
    """What it is for."""
    inputs: dict[str, Input] = {}
    """Input → what it must be."""
    secrets: dict[str, Span] = {}
    """Secret → where it stands; values come from elsewhere."""
    outputs: dict[str, str] | None = None
    """Output → expression; None: the values of the nodes that no other node uses."""
    output_uses: tuple[Use, ...] = ()
    """The names that `outputs` read."""
    timeout: Duration | None = Field(default=None, gt=0)
    """Limit for the whole run in seconds; waiting at a checkpoint does not count."""
    concurrency: int = Field(default=10, ge=1)
    """Most nodes at once."""
    order: Order = Order.GRAPH
    """What a node waits for by itself."""
    on_error: str | None = None
    """The id of the node that handles a failed run."""
    allow_paths: tuple[str, ...] = ()
    """Folders outside the document's own that file nodes may use."""
    nodes: tuple[Node, ...] = ()
    """Top-level nodes and groups, in the document's order."""
    text: str
    """The document as it was."""
    path: Path | None = None
    """The file it came from; None: a cell or a text."""
    source: str = "<text>"
    """What messages call it: the path as given, `In[7]`, `nb.ipynb#cell 3`."""
    first_line: int = 1
    """The line number of the text's first line in its source: 2 in a cell."""
    subflows: dict[str, Workflow] = {}
    """Flow node's id → the workflow that it runs."""


def bind_inputs(workflow: Workflow, given: Mapping[str, object]) -> dict[str, object]:
    """Return input → value, validated and with defaults.

    Raises:
        FlowInputError: Inputs are missing, unknown or of the wrong type; the message names all of them.
    """
    problems = []
    for name in given:
        if name not in workflow.inputs:
            near = get_close_matches(name, list(workflow.inputs), 1)
            known = ", ".join(workflow.inputs) or "none"
            problems.append(
                f"unknown input `{name}`" + (f"; did you mean `{near[0]}`?" if near else f"; the inputs are: {known}")
            )
    bound: dict[str, object] = {}
    for name, wanted in workflow.inputs.items():
        if name in given:
            try:
                bound[name] = convert(wanted.type, given[name], name)
            except ValueError as error:
                problems.append(str(error))
        elif wanted.required:
            problems.append(f"input `{name}` is missing ({describe(wanted.type)})")
        else:
            bound[name] = wanted.default if wanted.default is None else convert(wanted.type, wanted.default, name)
    if problems:
        raise FlowInputError(
            f"{workflow.source}: " + "\n".join(problems), "give inputs as `-i NAME=VALUE`, or `inputs={...}` in Python"
        )
    return bound
