"""Where nothing new starts, and since when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self


class StopScope:
    """A part of a run in which a failure lets nothing new start: the run, a body, the items of a `foreach`.

    It stops with the part around it; and the part around it stops with it, unless something there is ready for the
    failure (`retry`, `fallback`, `continue_on_error`, a quorum).
    """

    __slots__ = ("_answers", "_catches", "_is_stopped", "_parent", "_watchers")

    def __init__(self, parent: Self | None = None, *, catches: bool = False, answers: Self | None = None) -> None:
        """Begin a part.

        Args:
            parent: The part around it; None: nothing stops it from outside.
            catches: Whether a failure in here need not be that of the part around it.
            answers: The part whose failure it answers: it goes on while nothing new starts there.
        """
        self._parent, self._catches, self._answers = parent, catches, answers
        self._is_stopped = False
        self._watchers: set[Callable[[], None]] = set()

    @property
    def is_stopping(self) -> bool:
        """Whether nothing new starts here."""
        return self._is_stopped or (self._parent is not None and self._parent.is_stopping)

    def stop(self) -> None:
        """Let nothing new start here, nor around it as far as nothing is ready for a failure."""
        self.stop_here()
        if self._parent is not None and not self._catches:
            self._parent.stop()

    def stop_here(self) -> None:
        """Let nothing new start here: what was wanted is there."""
        self._is_stopped = True
        for tell in tuple(self._watchers):
            tell()

    def reject(self) -> None:
        """Let nothing new start here nor in any part around it, whatever is ready for a failure: a person said no."""
        self.stop_here()
        around = self._parent or self._answers
        if around is not None:
            around.reject()

    async def wait(self, seconds: asyncio.Future[None]) -> bool:
        """Return when a pause is over, or nothing new starts here any more; whether something may still start."""
        stopped = asyncio.get_running_loop().create_future()

        def tell() -> None:
            if not stopped.done():
                stopped.set_result(None)

        scopes = list(self._with_those_around())
        for scope in scopes:
            scope._watchers.add(tell)  # noqa: SLF001 one of these too
        try:
            if not self.is_stopping:
                await asyncio.wait((seconds, stopped), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for scope in scopes:
                scope._watchers.discard(tell)  # noqa: SLF001
        return not self.is_stopping

    def _with_those_around(self) -> list[Self]:
        found: list[Self] = []
        scope: Self | None = self
        while scope is not None:
            found.append(scope)
            scope = scope._parent  # noqa: SLF001 one of these too
        return found
