"""The clock of a run: it stands still while nothing runs, so that durations leave that time out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from flownb.model.key import holder_of


@dataclass(slots=True)
class RunClock:
    """Counts the time in which something ran, by who is at work from one event to the next."""

    seconds: float = 0.0
    """What it shows: without the time in which no process held the run, or only people were waited for."""
    limit_from_s: float = 0.0
    """What it showed when the run's time limit began to count."""
    told_at: datetime | None = None
    """When the last event happened, in UTC; None: nobody works on the run since."""
    under_way: set[str] = field(default_factory=set)
    """Keys of the nodes that say running."""
    asking: set[str] = field(default_factory=set)
    """Keys of the nodes that wait for an answer."""
    holders: dict[str, str] = field(default_factory=dict)
    """Key → the key of what holds it, where its own key does not say so."""

    def advance(self, at: datetime) -> None:
        """Go on to the moment of an event."""
        if self.told_at is None:
            self.told_at = at
        elif at > self.told_at:  # A clock that was put back counts nothing twice.
            if not self.is_idle():
                self.seconds += (at - self.told_at).total_seconds()
            self.told_at = at

    def stop(self) -> None:
        """Stand still until the next event: nobody works on the run."""
        self.told_at = None

    def resume(self, at: datetime, *, anew: bool) -> None:
        """Go on after a stop, or after a process that died; with `anew` the run's time limit counts from here."""
        self.told_at = at
        self.under_way, self.asking = set(), set()
        if anew:
            self.limit_from_s = self.seconds

    def begin(self, key: str, inside: str) -> None:
        """Note that a node runs, and what holds it."""
        self.under_way.add(key)
        if inside:
            self.holders[key] = inside

    def ask(self, key: str) -> None:
        """Note that a node waits for an answer."""
        self.under_way.discard(key)
        self.asking.add(key)

    def end(self, key: str) -> None:
        """Note that a node is no longer under way."""
        self.under_way.discard(key)
        self.asking.discard(key)

    def is_idle(self) -> bool:
        """Return whether only people are waited for."""
        return bool(self.asking) and set(self.under_way) <= self._above(self.asking)

    def waiting_holders(self) -> set[str]:
        """Return the keys of nodes that say running, but hold nothing that does: only nodes that wait for an answer."""
        if not self.asking:
            return set()
        idle = self._above(self.asking)
        under_way = set(self.under_way)
        return (under_way & idle) - self._above(under_way - idle)

    def _above(self, keys: set[str]) -> set[str]:
        """Return keys and those of what holds them: `a[1]/b` gives `a`, `a[1]` and `a[1]/b`."""
        found: set[str] = set()
        stack = list(keys)  # At once: another thread may add to them.
        while stack:
            key = stack.pop()
            if key and key not in found:
                found.add(key)
                stack.append(self.holders.get(key) or holder_of(key))
        return found
