"""The runs that one kernel began: each is let go of once it has ended and nobody holds it any more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from typing import Any, Final
from weakref import WeakSet

from flownb.notebook.cards import Cards
from flownb.notebook.view import View
from flownb.runs.run import Run
from flownb.runs.session import Session

_LAST: Final = ("_", "__", "___")
"""Where IPython keeps the values of the last three cells."""


@dataclass(frozen=True, slots=True)
class Live:
    """A run of this kernel with what shows it."""

    session: Session
    """The run as it goes on."""
    view: View | None
    """Its display; None: a terminal shows it."""
    cards: Cards | None
    """Its questions; None: they are not asked by cards."""
    handles: WeakSet[Run] = field(default_factory=WeakSet)
    """What people hold of it."""

    @property
    def run(self) -> Run:
        """The run as a person holds it: the same one for as long as somebody does."""
        for run in self.handles:
            return run
        run = Run(self.session.paths, self.session.state, self.session)
        self.handles.add(run)
        return run

    def move_here(self) -> None:
        """Show it below the cell that runs now."""
        if self.view is not None:
            self.view.move_here()
        if self.cards is not None:
            self.cards.move_here()

    def close_view(self) -> None:
        """Wait until all is drawn; the run has ended."""
        if self.view is not None:
            self.view.join()

    def close(self) -> None:
        """Take away what is left of its display; the run has ended."""
        self.close_view()
        if self.cards is not None:
            self.cards.close()


class Begun:
    """The runs that a shell began and that go on, or that somebody still holds."""

    def __init__(self, shell: Any) -> None:  # Any: kernels and terminals differ
        """Begin with none."""
        self._shell = shell
        self._runs: dict[str, Live] = {}

    def add(self, live: Live) -> None:
        """Take a run in, and let go of those before it."""
        self._runs[live.session.paths.run_id] = live
        self.let_go()

    def find(self, run_id: str) -> Live | None:
        """Return a run; None where this shell did not begin it, or nobody holds it any more."""
        return self._runs.get(run_id)

    def when_over(self, callback: Callable[[], None]) -> None:
        """Have something called when no run goes on; at once where none does."""
        going_on = [live.session for live in self._runs.values() if not live.session.is_finished]
        if going_on:
            going_on[0].when_finished(lambda: self.when_over(callback))
        else:
            callback()

    def let_go(self) -> None:
        """Let go of the runs that have ended and that nobody holds; of the others, of their display.

        IPython keeps the value of every cell. What it keeps of a run that has ended is replaced by one that reads
        the state: so only a name that a person gave holds a run's values in memory.
        """
        for run_id, live in list(self._runs.items()):
            if not live.session.is_finished:
                continue
            live.close()
            for handle in list(live.handles):
                _forget_cached(self._shell, handle)
                del handle
            if not live.handles:
                del self._runs[run_id]
                live.session.release()


def _forget_cached(shell: Any, run: Run) -> None:
    """Put a run that reads the state in the place of one that IPython keeps as a cell's value."""
    stored = Run(run.paths)
    cached = shell.user_ns.get("_oh", {})
    numbers = [number for number, value in list(cached.items()) if value is run]
    for number in numbers:
        cached[number] = stored
    # What IPython put there by itself stands in all of these; and it stops doing so where they differ.
    places = (shell.user_ns, getattr(shell, "user_ns_hidden", {}), vars(shell.displayhook))
    for names, name in product(places, (*_LAST, *(f"_{number}" for number in numbers))):
        if names.get(name) is run:
            names[name] = stored
    result = getattr(shell, "last_execution_result", None)
    if result is not None and result.result is run:
        result.result = stored
