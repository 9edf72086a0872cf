"""The layout of the state file as models, from which its schema is made; `state_file` writes it, and reads nothing with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, JsonValue

from flownb.model.decision import Decision
from flownb.model.events import RunStatus, Taken
from flownb.model.frozen import Frozen
from flownb.model.node_state import NodeStatus
from flownb.model.usage import Usage


class ErrorRecord(Frozen):
    """Why a node or the run failed."""

    node: str
    """The node's key; empty where the run itself failed."""
    type: str
    """The error class's name, as `ConnectionError`."""
    message: str
    """The error's text."""
    traceback: str
    """The person's own frames; empty where there are none."""
    attempts: int
    """How many attempts were made."""


class NodeRecord(Frozen):
    """What became of a node, an item or a round."""

    status: NodeStatus
    """Its status."""
    wave: int
    """The length of its longest chain of waits, from 0."""
    attempts: int
    """Attempts begun."""
    started_at: str | None
    """When its first attempt began, in UTC; null: it never did."""
    finished_at: str | None
    """When it ended, in UTC; null: it has not."""
    duration: float | None
    """Seconds that it was under way; null: it has not ended."""
    output: JsonValue
    """Its value; one that is not JSON or is large as `{"$artifact": "<sha256>.<ext>", "type": …, "preview": …}`."""
    error: ErrorRecord | None
    """Why it failed; null: it did not."""
    fallback: str | None
    """The node whose value stands for its own; null: none does."""
    definition_sha256: str
    """What its value depends on: its fingerprint; of one that never began the digest of its definition."""
    taken: Taken = Taken.REUSED
    """Where its value was taken from; absent: it was made."""
    tagged: Literal[True] = True
    """True where `output` holds tags (`$type`, `$artifact`) that stand for values; absent: it is the value as it is."""
    saved: dict[str, JsonValue] = Field(default_factory=dict)
    """What the body of a node that is not done keeps in `saved`; absent: nothing."""
    usage: dict[str, Usage] = Field(default_factory=dict)
    """Model → what it was asked for this node; absent: nothing."""
    reusable: Literal[False] = False
    """False where a resume cannot use the value; absent: it can."""


class TextRecord(Frozen):
    """The text that was run."""

    sha256: str
    """Its digest."""


class StateRecord(Frozen):
    """A run's state, as `<run_id>.json` holds it and `flownb show --json` prints it (interfaces.md, section 4)."""

    schema_: Literal[1] = Field(alias="schema")
    """The number of the layout."""
    workflow: str
    """The workflow's name."""
    run_id: str
    """The run's id."""
    status: RunStatus
    """What became of it; a file never says `interrupted`: it says `running`, and nobody holds the run."""
    current_wave: int
    """The last wave of which a node began."""
    started_at: str | None
    """When it first began, in UTC; null: it died before."""
    finished_at: str | None
    """When it ended, in UTC; null while it runs or waits."""
    duration: float | None
    """Seconds from start to end, without the time in which nothing ran; null while it has not ended."""
    definition: TextRecord
    """The text that was run."""
    inputs: dict[str, JsonValue]
    """Input → value."""
    secrets: tuple[str, ...]
    """The names of its secrets; never their values."""
    nodes: dict[str, NodeRecord]
    """Key → what became of the node, as `score`, `score[3]`, `poll{2}`, `research[3]/summary`."""
    decisions: dict[str, Decision]
    """Key → what was decided."""
    outputs: dict[str, JsonValue]
    """Output → value."""
    tagged: Literal[True] = True
    """True where `outputs` hold tags; absent: they are the values as they are."""
    usage: dict[str, Usage] = Field(default_factory=dict)
    """Model → what it was asked in the run; absent: nothing."""
    document: str | None
    """The document's path, relative to the folder that holds the state; null: a cell."""
    errors: tuple[ErrorRecord, ...]
    """Everything that made it fail, the first first; then the items that failed and that it went on after."""
