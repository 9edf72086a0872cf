"""What a run waits for at this moment: its own work, which its time limit counts, or people only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final

from flownb.engine.ledger import Ledger
from flownb.engine.stopping import StopScope
from flownb.model.state import RunState

_QUIET_S: Final = 0.05
"""How long nothing must have happened before a run counts as waiting for people only."""


class WorkClock:
    """Counts the time in which something other than a person is waited for. It belongs to the run's loop."""

    def __init__(
        self,
        limit_s: float | None,
        ledger: Ledger,
        stop: StopScope,
        on_timeout: Callable[[], None],
        keep: Callable[[RunState], Awaitable[None]],
        on_quiet: Callable[[], None],
    ) -> None:
        """Set it.

        Args:
            limit_s: Seconds after which the run takes too long; None: it never does.
            ledger: Knows whether anything happens.
            stop: Whether nothing new starts in the run.
            on_timeout: Called when it took too long.
            keep: Writes the state down for those who look at it from outside, once for each time that it waits.
            on_quiet: Called when only people are waited for, and that is kept.
        """
        self.open: dict[str, asyncio.Event] = {}
        """Key of an open question → set when somebody may have answered."""
        self._left_s, self._ledger, self._stop = limit_s, ledger, stop
        self._on_timeout, self._keep, self._on_quiet = on_timeout, keep, on_quiet
        self._busy = 0
        self._timer: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._look_again = False
        self._kept = -1

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark that something other than a person is waited for."""
        self._busy += 1
        self._ledger.activity += 1
        if self._busy == 1 and self._left_s is not None:
            loop = asyncio.get_running_loop()
            self._since = loop.time()
            self._timer = loop.call_later(self._left_s, self._time_over)
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._pause()
                if self.open:
                    self.look()

    @contextmanager
    def asking(self, key: str) -> Iterator[asyncio.Event]:
        """Mark that a person is asked; gives what is set when somebody may have answered."""
        event = self.open[key] = asyncio.Event()
        try:
            yield event
        finally:
            del self.open[key]

    def wake(self, key: str) -> None:
        """Say that a question may have been answered."""
        if key in self.open:
            self.open[key].set()

    def look(self) -> None:
        """Look, in a moment, whether only people are waited for; one task at a time, however many questions are open."""
        self._look_again = True
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look())
            self._looking.add_done_callback(self._looked)

    def close(self) -> None:
        """Count and look no more."""
        self._pause()
        if self._looking is not None:
            self._looking.cancel()

    def _pause(self) -> None:
        if self._timer is not None and self._left_s is not None:
            self._timer.cancel()
            self._timer = None
            self._left_s = max(0.0, self._left_s - (asyncio.get_running_loop().time() - self._since))

    def _time_over(self) -> None:
        self._left_s = None  # What answers the failure is not limited.
        self._on_timeout()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._looking = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._ledger.break_off(error)

    async def _look(self) -> None:
        ledger = self._ledger
        while self._look_again and not self._stop.is_stopping:
            self._look_again = False
            seen = -1
            while seen != ledger.activity:
                seen = ledger.activity
                await asyncio.sleep(_QUIET_S)
            if self._is_quiet() and self._kept != seen:
                await self._keep(ledger.state)
                self._kept = seen
            if seen != ledger.activity:
                self._look_again = True
            elif self._is_quiet():
                self._on_quiet()

    def _is_quiet(self) -> bool:
        return bool(self.open) and self._ledger.is_written and not self._busy and not self._stop.is_stopping
