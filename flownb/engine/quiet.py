"""Looks whether a run waits for people only; then its state is kept, once, and its host may put it aside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from flownb.engine.engine import Engine

_QUIET_S: Final = 0.05
"""How long nothing must have happened before a run counts as waiting for people only."""


class Quiet:
    """Looks on the engine's loop, however many questions are open, one task at a time."""

    def __init__(self, engine: Engine) -> None:
        """Belong to a run."""
        self._engine = engine
        self._task: asyncio.Task[None] | None = None
        self._again = False
        self._kept = -1

    def look(self) -> None:
        """Look, in a moment."""
        self._again = True
        if self._task is None:
            self._task = self._engine.loop.create_task(self._look())
            self._task.add_done_callback(self._looked)

    def close(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()

    def _looked(self, task: asyncio.Task[None]) -> None:
        self._task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._engine.break_off(error)

    async def _look(self) -> None:
        engine = self._engine
        while self._again and not engine.is_stopping:
            self._again = False
            seen = -1
            while seen != engine.moment:
                seen = engine.moment
                await asyncio.sleep(_QUIET_S)
            if engine.is_quiet and self._kept != seen:
                await engine.services.keep(engine.state)
                self._kept = seen
            if seen != engine.moment:
                self._again = True
            elif engine.is_quiet and engine.services.leaves():
                engine.leave()
