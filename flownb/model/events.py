"""What can happen in a run: one model a kind of event, and their union as the journal holds it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar, assert_never

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter

from flownb.errors import Failure
from flownb.model.decision import Decision, Question
from flownb.model.frozen import Frozen
from flownb.model.key import item_key, round_key
from flownb.model.usage import Usage

T = TypeVar("T")

FORMAT: Final = 3
"""The journal's format number; a journal with a higher one is refused by name."""


class RunStatus(StrEnum):
    """What became of a run."""

    RUNNING = "running"
    """A process works on it."""
    WAITING = "waiting"
    """It was put aside at a checkpoint, or only a person's answer is missing."""
    COMPLETED = "completed"
    """Everything that was to be done is done."""
    FAILED = "failed"
    """A node failed, or the run took longer than its `timeout`."""
    REJECTED = "rejected"
    """A person said no."""
    CANCELLED = "cancelled"
    """A person stopped it."""
    INTERRUPTED = "interrupted"
    """It says running, but no process holds it. Never stored: it is found by looking at the lock."""


class EventBase(Frozen):
    """What every event says."""

    at: datetime
    """When it happened, in UTC."""


class RunStarted(EventBase):
    """A run begins."""

    kind: Literal["run_started"] = "run_started"
    format: int = FORMAT
    """The journal's format."""
    run_id: str
    """The run's id."""
    workflow: str
    """The workflow's name."""
    inputs: dict[str, JsonValue] = {}
    """Input → value, validated."""
    secrets: tuple[str, ...] = ()
    """The names of the secrets; never their values."""
    unkept: tuple[str, ...] | None = None
    """The inputs that held a secret, so that `•••` stands in them; None: an older flownb did not say."""
    definition: str
    """The text's sha256."""
    document: str | None = None
    """The document's path, relative to the folder that holds the state; None: a cell."""
    reuses: str | None = None
    """The id of the earlier run that it takes over from (`--reuse`); None: from none."""
    anew: tuple[str, ...] = ()
    """Ids of nodes that it never takes over from there (`--from`)."""
    versions: dict[str, str] = {}
    """Python and each package that a body imports → version."""


class RunResumed(EventBase):
    """A process takes the run up again."""

    kind: Literal["run_resumed"] = "run_resumed"
    format: int = FORMAT
    """The format of the lines from here on."""
    inputs: dict[str, JsonValue] = {}
    """Input → value from here on."""
    unkept: tuple[str, ...] | None = None
    """As in `RunStarted`."""
    definition: str
    """The text's sha256, as it is now."""
    forget: tuple[str, ...] = ()
    """Keys of nodes that were settled and are so no longer: each is used again where its fingerprint is the same."""
    again: tuple[str, ...] = ()
    """Those of them that run again whatever their fingerprint is."""
    anew: tuple[str, ...] = ()
    """As in `RunStarted`, from here on."""
    versions: dict[str, str] = {}
    """Python and each package that a body imports → version, as they are now."""


class PlannedNode(Frozen):
    """One node of the plan."""

    id: str
    """Its id."""
    type: str
    """Its kind, as `bash`."""
    wave: int
    """The length of its longest chain of waits, from 0."""
    waits_for: tuple[str, ...] = ()
    """Ids of what it waits for."""
    definition: str
    """The digest of what it is."""
    inside: str = ""
    """The id of the container whose body holds it; empty at the top."""
    reserved: bool = False
    """Whether it runs only when another node failed."""
    repeat: str = ""
    """`foreach …`, `until …` or `while …`, as written; empty where it runs once."""
    fallback: str = ""
    """The id of the node that runs when it failed."""
    asks: str = ""
    """The question, as written, where it is a checkpoint."""


class Planned(EventBase):
    """What there is to do, in the document's order; the latest one holds."""

    kind: Literal["planned"] = "planned"
    nodes: tuple[PlannedNode, ...]
    """Every node, those of sub-flows under `caller/id`."""


class NodeStarted(EventBase):
    """An attempt of a node begins; of a container, its work."""

    kind: Literal["node_started"] = "node_started"
    key: str
    """The node's key."""
    attempt: int = 1
    """Which attempt, from 1."""
    definition: str = ""
    """The digest of what the node is: one half of its fingerprint."""
    reads: dict[str, str] = Field(default_factory=dict)
    """What it reads → the digest of the value: the other half (format.md, section 4.6)."""
    count: int | None = None
    """How many items a `foreach` has."""
    inside: str = ""
    """The key of what holds it, where its own key does not say so: a `parallel` and its children, say."""


class AttemptFailed(EventBase):
    """An attempt failed and will be made again."""

    kind: Literal["attempt_failed"] = "attempt_failed"
    key: str
    """The node's key."""
    failure: Failure
    """Why."""
    wait_s: float
    """Seconds until the next attempt."""


class Gather(StrEnum):
    """How a container's value is made of values that are in the journal already."""

    ITEMS = "items"
    """The list of its items' values: `key[0]`, `key[1]` …"""
    LAST = "last"
    """The value of its last round: `key{n-1}`."""
    ONE = "one"
    """The value of the one part."""
    EACH = "each"
    """name → the part's value."""


class Taken(StrEnum):
    """Where a value comes from that a run did not make itself."""

    CACHED = "cached"
    """From an earlier run, because the node says `cache`."""
    REUSED = "reused"
    """From the run that it takes over from."""


class Begun(Frozen):
    """The beginning of a node that nobody needed to know of before its end."""

    at: datetime
    """When it was, in UTC."""
    attempt: int = 1
    """Which attempt, from 1."""
    definition: str = ""
    """As in `NodeStarted`."""
    reads: dict[str, str] = Field(default_factory=dict)
    """As in `NodeStarted`."""
    inside: str = ""
    """As in `NodeStarted`."""


class NodeCompleted(EventBase):
    """A node is done and has a value."""

    kind: Literal["node_completed"] = "node_completed"
    key: str
    """The node's key."""
    output: JsonValue = None
    """The value; for one that is not JSON or holds a secret, what can be shown of it."""
    reusable: bool = True
    """Whether a resume can use `output` as the value."""
    tagged: bool = False
    """Whether `output` stands for the value, as `flownb.artifacts` writes it; False: it is the value."""
    fallback: str | None = None
    """The id of the node whose value stands for it."""
    gather: Gather | None = None
    """How the value is made of others; None: it is `output`."""
    count: int = 0
    """How many items or rounds there are."""
    parts: dict[str, str] = Field(default_factory=dict)
    """Name → key, for `one` and `each`."""
    begun: Begun | None = None
    """Its beginning, where no event of its own says that."""
    taken: Taken | None = None
    """Where the value was taken from; None: it was made."""
    wrote: dict[str, str] = Field(default_factory=dict)
    """What it wrote into files → the digest of that: where it is gone or another, the node runs again."""


class Saved(EventBase):
    """A node's body put something into `saved`, or took it out (format.md, 5.5)."""

    kind: Literal["saved"] = "saved"
    key: str
    """The node's key."""
    name: str
    """What it is called there."""
    output: JsonValue = None
    """The value."""
    tagged: bool = False
    """Whether `output` stands for the value, as `flownb.artifacts` writes it; False: it is the value."""
    gone: bool = False
    """Whether it was taken out."""


class Used(EventBase):
    """A language model answered a node, rightly or wrongly."""

    kind: Literal["used"] = "used"
    key: str
    """The node's key."""
    model: str
    """The model, as `openai:gpt-5-mini`."""
    usage: Usage
    """What it was asked."""


class SavedDropped(EventBase):
    """What a node had in `saved` is of no use: its fingerprint is another."""

    kind: Literal["saved_dropped"] = "saved_dropped"
    key: str
    """The node's key."""


class NodeReused(EventBase):
    """A node need not run again: its fingerprint is what it was. So is that of all in it."""

    kind: Literal["node_reused"] = "node_reused"
    keys: tuple[str, ...]
    """Its key, and those of nodes in it that do not begin with it."""


class NodeFailed(EventBase):
    """A node failed for good: attempts and fallback are used up."""

    kind: Literal["node_failed"] = "node_failed"
    key: str
    """The node's key."""
    failure: Failure
    """Why."""
    continued: bool = False
    """Whether the run goes on all the same (`continue_on_error`)."""


class NodeSkipped(EventBase):
    """A node is not run; its value is null."""

    kind: Literal["node_skipped"] = "node_skipped"
    key: str
    """The node's key."""
    definition: str = ""
    """The digest of what the node is."""
    reads: dict[str, str] = Field(default_factory=dict)
    """What its conditions read → the digest of the value."""
    reason: str = ""
    """Why, as `when: …` or the nodes that were skipped before."""


class NodeCancelled(EventBase):
    """A node was stopped."""

    kind: Literal["node_cancelled"] = "node_cancelled"
    key: str
    """The node's key."""


class Asked(EventBase):
    """A run asks a person."""

    kind: Literal["asked"] = "asked"
    question: Question
    """What is asked."""


class Decided(EventBase):
    """A question is answered."""

    kind: Literal["decided"] = "decided"
    key: str
    """The node's key."""
    decision: Decision
    """The answer."""


class RunWaiting(EventBase):
    """The process leaves a run that waits for a person."""

    kind: Literal["run_waiting"] = "run_waiting"


class RunFinished(EventBase):
    """A run ends."""

    kind: Literal["run_finished"] = "run_finished"
    status: RunStatus
    """How."""
    outputs: dict[str, JsonValue] = {}
    """What it returns."""
    tagged: bool = False
    """Whether `outputs` stand for the values, as `flownb.artifacts` writes them; False: they are the values."""
    failures: tuple[Failure, ...] = ()
    """Everything that made it fail and that nothing caught, the first first."""


Event = (
    RunStarted
    | RunResumed
    | Planned
    | NodeStarted
    | AttemptFailed
    | NodeCompleted
    | Saved
    | SavedDropped
    | Used
    | NodeReused
    | NodeFailed
    | NodeSkipped
    | NodeCancelled
    | Asked
    | Decided
    | RunWaiting
    | RunFinished
)
"""Anything that can happen in a run."""

EVENTS: Final[TypeAdapter[Event]] = TypeAdapter(
    Annotated[Event, Field(discriminator="kind")], config=ConfigDict(defer_build=True)
)
"""Reads an event back from its JSON."""


def parts_of(event: NodeCompleted) -> list[str]:
    """Return the keys of the nodes that a container's value is made of; none where `gather` is not set."""
    match event.gather:
        case Gather.ITEMS:
            return [item_key(event.key, index) for index in range(event.count)]
        case Gather.LAST:
            return [round_key(event.key, event.count - 1)]
        case _:
            return list(event.parts.values())


def gathered(event: NodeCompleted, value_of: Callable[[str], T]) -> T | list[T] | dict[str, T]:
    """Return a container's value, made of its parts' values.

    Args:
        event: One whose `gather` is set.
        value_of: Key → value.
    """
    match event.gather:
        case Gather.ITEMS:
            return [value_of(key) for key in parts_of(event)]
        case Gather.LAST | Gather.ONE:
            (key,) = parts_of(event)
            return value_of(key)
        case Gather.EACH:
            return {name: value_of(key) for name, key in event.parts.items()}
        case None:
            raise AssertionError(event)
        case _:
            assert_never(event.gather)
