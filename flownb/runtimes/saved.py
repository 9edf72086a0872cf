"""What a long body keeps while it runs (format.md, 5.5): a dict whose changes are on the disk when they are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from contextvars import ContextVar
from typing import Final

from flownb.errors import NodeError

Change = Callable[[str, object, bool], None]
"""Name, value and whether it is taken out instead; returns when that is on the disk. Blocks."""
CHANNEL: Final[ContextVar[Change | None]] = ContextVar("flownb_saved", default=None)
"""Where a body of another process is carried out: how a change gets back there; None: it is no such place."""


class Saved(MutableMapping[str, object]):
    """A node's, item's or round's own mapping. What is set is on the disk when the assignment returns; blocks for that long.

    A value that was changed in place is kept as it was when it was set: set it again. Sent to another process, it tells the
    one that it came from of every change.
    """

    def __init__(self, values: dict[str, object], change: Change | None = None) -> None:
        """Begin with what is there.

        Args:
            values: Name → value, as it was kept.
            change: Keeps a change; None: what `CHANNEL` says here and now.
        """
        self._values = values
        self.change = change or CHANNEL.get()
        """Keeps a change; None: nobody does."""

    def __getitem__(self, name: str) -> object:
        return self._values[name]

    def __setitem__(self, name: str, value: object) -> None:
        if not isinstance(name, str):
            raise NodeError(f"saved[{name!r}]: a name in `saved` is text", f"write saved[{str(name)!r}]")
        self._told(name, value, False)
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        if name not in self._values:
            raise KeyError(name)
        self._told(name, None, True)
        del self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"saved({self._values!r})"

    def __reduce__(self) -> tuple[type[Saved], tuple[dict[str, object]]]:
        return Saved, (self._values,)

    def _told(self, name: str, value: object, is_gone: bool) -> None:  # noqa: FBT001 as a Change
        if self.change is None:
            raise NodeError("`saved` was taken out of its node", "use it in the body that it belongs to")
        self.change(name, value, is_gone)
