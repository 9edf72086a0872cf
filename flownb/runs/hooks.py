"""What the caller of a run takes part in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flownb.model.decision import Decision, Request
from flownb.model.events import Event
from flownb.model.state import RunState
from flownb.runtimes.base import Printed


def _no_event(_event: Event, _state: RunState) -> None:
    """Take an event and do nothing."""


def _no_output(_key: str, _printed: Printed) -> None:
    """Take what a node shows and do nothing."""


@dataclass(slots=True)
class Hooks:
    """What the caller of a run takes part in. All but `decide` are called on the run's own thread and must not block."""

    decide: Callable[[Request], Decision | None] | None = None
    """Answers a question on the thread that serves the run; None as its answer leaves the question open."""
    ask: Callable[[Request], None] | None = None
    """Shows a question; the answer comes through `Session.decide`."""
    watch: Callable[[Event, RunState], None] = _no_event
    """Told of every event once it is stored."""
    printed: Callable[[str, Printed], None] = _no_output
    """Takes what the node of a key shows."""
    quiet: Callable[[], bool] | None = None
    """Called when only people are waited for; True: put the run aside."""
    variables: Mapping[str, object] = field(default_factory=dict)
    """The notebook's variables."""
