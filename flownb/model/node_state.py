"""What became of one node, item or round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.model.usage import Usage


class NodeStatus(StrEnum):
    """What became of a node."""

    PENDING = "pending"
    """It was never started."""
    RUNNING = "running"
    """An attempt is under way, or the wait between two."""
    WAITING = "waiting"
    """A person is asked."""
    COMPLETED = "completed"
    """It has a value."""
    FAILED = "failed"
    """Attempts and fallback are used up."""
    SKIPPED = "skipped"
    """It was not to run; its value is null."""
    CANCELLED = "cancelled"
    """It was stopped."""


SETTLED: Final = frozenset({NodeStatus.COMPLETED, NodeStatus.SKIPPED})
"""Statuses that a resume never touches."""


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value as the journal holds it."""

    output: JsonValue
    """JSON: the value, or what stands for it."""
    tagged: bool = False
    """Whether `output` stands for the value, as `flownb.artifacts` writes it; False: it is the value."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """What became of one node, item or round."""

    status: NodeStatus = NodeStatus.PENDING
    """Its status."""
    attempts: int = 0
    """Attempts begun."""
    failed_attempts: int = 0
    """Attempts that failed since it was last begun anew; a resume after a crash goes on counting."""
    started_at: datetime | None = None
    """When its first attempt began, in UTC."""
    finished_at: datetime | None = None
    """When it ended, in UTC."""
    output: JsonValue = None
    """Its value, or what can be shown of it."""
    reusable: bool = True
    """Whether `output` is the whole value."""
    tagged: bool = False
    """Whether `output` stands for the value, as `flownb.artifacts` writes it; False: it is the value."""
    error: Failure | None = None
    """Why it failed; while it is tried again, why the last attempt did."""
    continued: bool = False
    """Whether the run went on although it failed."""
    fallback: str | None = None
    """The node whose value stands for its own."""
    definition: str = ""
    """The digest of what it was when it was begun: one half of its fingerprint."""
    reads: Mapping[str, str] = field(default_factory=dict)
    """What it read → the digest of the value: the other half."""
    is_older: bool = False
    """Whether flownb 0.1.0 ran it, which noted no fingerprint: its value stands while text and inputs are the same."""
    count: int | None = None
    """How many items or rounds it has; None: it has none."""
    taken: e.Taken | None = None
    """Where its value was taken from; None: it was made."""
    wrote: Mapping[str, str] = field(default_factory=dict)
    """What it wrote into files → the digest of that."""
    began_s: float | None = None
    """What the run's clock showed when it was taken up; None: it is not under way."""
    spent_s: float = 0.0
    """Seconds of the run's clock that it was under way, up to when it last ended or was left."""
    usage: Mapping[str, Usage] = field(default_factory=dict)
    """Model → what it was asked by this node, in all its attempts."""

    @property
    def value(self) -> StoredValue:
        """Its value, as the journal holds it."""
        return StoredValue(self.output, self.tagged)

    @property
    def is_settled(self) -> bool:
        """Whether a resume does not touch it: it is done, or failed and the run went on."""
        return self.status in SETTLED or (self.status is NodeStatus.FAILED and self.continued)

    @property
    def duration_s(self) -> float | None:
        """Seconds that it was under way, without the time in which nothing ran; None while it has not ended."""
        return round(self.spent_s, 3) if self.started_at and self.finished_at else None

    def spent_until(self, clock_s: float) -> float:
        """Return the seconds that it was under way, at a moment of the run's clock."""
        return self.spent_s + (clock_s - self.began_s if self.began_s is not None else 0.0)

    @property
    def fingerprint(self) -> str:
        """What its value depends on, as one sha256; empty where it was never begun."""
        return fingerprint_of(self.definition, self.reads) if self.definition else ""


@dataclass(frozen=True, slots=True)
class Former:
    """What became of a node before a resume that perhaps runs it again."""

    node: NodeState
    """Its state."""
    question: Question | None = None
    """What was asked."""
    decision: Decision | None = None
    """The answer."""
    is_void: bool = False
    """Whether it runs again whatever its fingerprint is."""


def fingerprint_of(definition: str, reads: Mapping[str, str]) -> str:
    """Return a fingerprint as one sha256, in hexadecimal."""
    return sha256("\0".join([definition, *(f"{name}\0{reads[name]}" for name in sorted(reads))]).encode()).hexdigest()
