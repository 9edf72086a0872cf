"""What runtimes keep open for one run: made when it is first asked for, closed when the run ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar


class Closing(Protocol):
    """Something that is closed."""

    async def close(self) -> None:
        """Let go of all that is held. Harmless when called twice."""
        ...


T = TypeVar("T", bound=Closing)


class Resources:
    """The open things of one run, as a client with its connections. Used on the run's own loop only."""

    def __init__(self) -> None:
        """Begin with none."""
        self._made: dict[type[Closing], Closing] = {}

    def get(self, kind: type[T], make: Callable[[], T]) -> T:
        """Return the run's one thing of a kind.

        Args:
            kind: Its class.
            make: Makes it where there is none; it does not block.
        """
        made = self._made.get(kind)
        if not isinstance(made, kind):
            made = self._made[kind] = make()
        return made

    async def close(self) -> None:
        """Close all of them, the last made first.

        Raises:
            ExceptionGroup: Some could not be closed; the others are.
        """
        errors: list[Exception] = []
        while self._made:
            _, made = self._made.popitem()
            try:
                await made.close()
            except Exception as error:  # noqa: BLE001 the others are to be closed all the same
                errors.append(error)
        if errors:
            raise ExceptionGroup("what a run held open could not be closed", errors)
