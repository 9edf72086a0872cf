"""How a unit of work ends: the only way that a result travels through the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from flownb.engine.values import Stored
from flownb.errors import ExpressionError, Failure, FlowError, FlowInputError, QueryError, kinds_of
from flownb.model.events import Begun, Gather, Taken
from flownb.model.nodes import Leaf, NodeBase
from flownb.runtimes.frames import person_frames, person_place
from flownb.secrets import Redactor
from flownb.templates.terms import REDACTED, MissingError

HIDDEN: Final = f"{REDACTED} (what it says is not kept: it may show something of a secret)"
"""What stands for the message of an error that may show a value. One about a missing name shows none."""


@dataclass(frozen=True, slots=True)
class NodeResult:
    """What an attempt gave: a value, or how it is made of values that are known already."""

    value: object = None
    """The value, where `gather` is None."""
    gather: Gather | None = None
    """How it is made of others."""
    count: int = 0
    """How many items or rounds."""
    parts: Mapping[str, str] = field(default_factory=dict)
    """Name → key."""
    begun: Begun | None = None
    """Its beginning, where no event of its own says that."""
    taken: Taken | None = None
    """Where the value was taken from; None: it was made."""
    is_tainted: bool = False
    """Whether the value holds something of a secret, whatever it looks like."""
    stored: Stored | None = None
    """The value as the journal holds it, where that is known."""
    wrote: Mapping[str, str] = field(default_factory=dict)
    """What it wrote into files → the digest of that."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is settled: it has a value, was skipped, or failed and the run goes on."""

    result: NodeResult = NodeResult()
    """What it gave."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It failed, and nothing has caught that yet."""

    failures: tuple[Failure, ...]
    """What failed, the first first."""
    kinds: frozenset[str] = frozenset()
    """Every word of `retry: {on: …}` that covers the first failure."""
    retry_after_s: float | None = None
    """Seconds after which a server asked to be tried again; None: it did not say."""


@dataclass(frozen=True, slots=True)
class Left:
    """It was left undone because nothing new starts; a resume takes it up."""


Outcome = Done | Failed | Left
"""How a unit of work ended."""

LEFT = Left()
"""There is nothing to say about what was left."""


def failed_by(
    error: Exception, node: NodeBase, key: str, attempts: int, redactor: Redactor, *, is_tainted: bool = False
) -> Failed:
    """Return what went wrong as data, without secrets and without flownb's own frames.

    With `is_tainted` the node reads something of a secret: where its error may show a value, the message is not kept.
    """
    hint = error.hint if isinstance(error, FlowError) else ""
    message = error.message if isinstance(error, FlowError) else str(error)
    tells = isinstance(error, ExpressionError | FlowInputError) or (isinstance(node, Leaf) and node.TELLS)
    if is_tainted and tells and not isinstance(error.__cause__, MissingError):
        message, hint = HIDDEN, ""
    place = person_place(error)
    if not place:
        place = str(node.spans.get("body", node.span)) if isinstance(node, Leaf) else str(node.span)
    failure = Failure(
        node=key,
        type=redactor.text(type(error).__name__),
        message=redactor.text(message),
        attempts=attempts,
        traceback=redactor.text(person_frames(error)),
        place=place,
        hint=redactor.text(hint),
    )
    asked = getattr(error, "retry_after_s", None)
    return Failed((failure,), frozenset(_kinds(error)), float(asked) if isinstance(asked, int | float) else None)


def _kinds(error: BaseException) -> Iterator[str]:
    """Yield every word of `on` that covers an error."""
    if isinstance(error, QueryError):
        yield from error.kinds
    yield from kinds_of(error)
    if isinstance(error, TimeoutError):
        yield "timeout"
    status = getattr(error, "status", None)
    if isinstance(status, int):
        yield str(status)
        yield f"{status // 100}xx"
