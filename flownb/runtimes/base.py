"""What a runtime is given and what it must do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from pydantic import JsonValue

from flownb.artifacts.kind import Put
from flownb.errors import Failure
from flownb.model.nodes import Leaf
from flownb.model.usage import Usage
from flownb.runtimes.resources import Resources
from flownb.secrets import Redactor

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Printed:
    """Something that a node showed while it ran."""

    mime: str
    """`stdout`, `stderr`, or a MIME type as `image/png` or `text/markdown`."""
    data: object
    """Text; for a MIME type what Jupyter puts into the bundle under it."""


class Caller(Protocol):
    """Runs a stranger's Python where the node's executor says."""

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        """Return what the function returns; what it raises is raised. Cancelling stops it really."""
        ...

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        """Do the same for a coroutine function, which is awaited on a loop of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """What one attempt of a node sees and uses."""

    key: str
    """The node's key."""
    values: Mapping[str, object]
    """Name → value, for every name in the node's `uses`, reserved ones too."""
    folder: Path
    """The document's folder: relative paths and commands start here."""
    caller: Caller
    """Where Python bodies run."""
    printed: Callable[[Printed], None]
    """Takes what the node shows; thread-safe."""
    redactor: Redactor
    """Takes secrets out of whatever is shown or raised."""
    environment: Mapping[str, str]
    """The process environment for commands."""
    secrets: frozenset[str] = frozenset()
    """The names of the run's secrets."""
    tainted: frozenset[tuple[str, str | None]] = frozenset()
    """Name and attribute, as the node reads them, of what holds something of a secret, whatever it looks like."""
    allowed: tuple[str, ...] = ()
    """Folders besides the document's own whose files the node may use, as `allow_paths` says."""
    document: Path | None = None
    """The document's file; None: there is none."""
    wrote: Callable[[str, str], None] = lambda _label, _digest: None
    """Takes what the node wrote into a file, as `runtimes.files.written` names it: a resume looks whether it is still there."""
    secret_values: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Secret → value, for what a runtime itself sends where it belongs; never for what it shows."""
    failed: Failure | None = None
    """Why the attempt before this one failed; None: this is the first."""
    used: Callable[[str, Usage], None] = lambda _model, _usage: None
    """Takes what was asked of a language model; called on the run's loop."""
    held: int | None = None
    """A descriptor that what is started keeps open as long as anything of it lives: the run's lock. None: there is none."""
    resources: Resources = field(default_factory=Resources)
    """What runtimes keep open for the whole run."""
    idempotency_key: str = ""
    """The same for all attempts of the node, in the run and its resumes."""
    put: Put | None = None
    """Puts a file into the run's store, for a value that is returned as `PutValue`; blocks. None: its value is needed at once."""


@dataclass(frozen=True, slots=True)
class PutValue:
    """What a runtime returns for a value that stands in the run's store already."""

    output: JsonValue
    """The value as `flownb.artifacts` writes it, with its file."""


class Runtime(Protocol):
    """Carries out one type of node. It has no state of its own and may run on any number of nodes at once."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the node's value.

        May be cancelled at any time: then it stops whatever it started before it lets CancelledError go on.

        Raises:
            Exception: Anything; the attempt failed and becomes a Failure.
        """
        ...
