"""What a body puts into `saved`: on its way from the body's thread to the journal, and back in the next attempt."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import Final

from flownb.engine.context import RunContext
from flownb.engine.values import own_copy, to_stored
from flownb.errors import FlowError, NodeError
from flownb.model import events as e
from flownb.model.node_state import StoredValue
from flownb.runtimes.saved import Saved

_LOOK_S: Final = 1.0
"""Seconds between looks whether the run's loop is still there."""


class Saving:
    """The `saved` of one attempt. Made and closed on the run's loop; its changes come from the body's thread."""

    def __init__(self, context: RunContext, key: str) -> None:
        """Begin; `open` gives what the body sees."""
        self._context, self._key = context, key
        self._loop = asyncio.get_running_loop()
        self._is_open = True

    async def open(self) -> Saved:
        """Return what the body sees: what earlier attempts of the same fingerprint put there.

        Raises:
            FlowError: A value is damaged.
        """
        known = self._context.ledger.state.saved.get(self._key, {})
        is_plain = not any(value.tagged for value in known.values())
        values = self._loaded(known) if is_plain else await asyncio.to_thread(self._loaded, known)
        return Saved(values, self.change)

    def close(self) -> None:
        """Keep nothing more: the attempt is over, whatever of the body goes on."""
        self._is_open = False

    def change(self, name: str, value: object, is_gone: bool) -> None:  # noqa: FBT001 as flownb.runtimes.saved.Change
        """Keep a change; returns when it is on the disk. From any thread but the loop's own.

        Raises:
            NodeError: The value cannot be stored, or the attempt is over.
            FlowStateError: It cannot be written.
        """
        redactor, kept = self._context.services.redactor, self._context.ledger.kept
        if redactor.holds(name):
            raise NodeError("saved: a name holds a secret", "give it another name")
        if is_gone:
            self._commit(e.Saved(at=self._context.services.clock(), key=self._key, name=name, gone=True))
            return
        stored = to_stored(value, redactor, kept.put_passing)
        if stored.is_tainted:
            raise NodeError(
                f"saved[{name!r}]: the value holds a secret, which is never stored", "save what is without it"
            )
        if not stored.reusable:
            why = stored.output.get("why") if isinstance(stored.output, dict) else None
            raise NodeError(
                f"saved[{name!r}] cannot be stored: {why}", "save what it is made of: numbers, text, arrays, tables"
            )
        at = self._context.services.clock()
        self._commit(e.Saved(at=at, key=self._key, name=name, output=stored.output, tagged=stored.tagged))

    def _loaded(self, known: dict[str, StoredValue]) -> dict[str, object]:
        return {name: own_copy(self._context.ledger.kept.load(self._key, value)) for name, value in known.items()}

    def _commit(self, event: e.Saved) -> None:
        """Hand an event to the loop and wait until it is written."""
        try:
            done = asyncio.run_coroutine_threadsafe(self._written(event), self._loop)
        except RuntimeError:  # The loop is closed.
            raise self._over() from None
        while True:
            try:
                return done.result(_LOOK_S)
            except TimeoutError:
                if self._loop.is_closed():
                    raise self._over() from None
            except CancelledError:
                raise self._over() from None

    async def _written(self, event: e.Saved) -> None:
        if not self._is_open:
            raise self._over()
        ledger = self._context.ledger
        before = ledger.state.saved.get(self._key, {}).get(event.name)
        ledger.emit(event)
        if not await ledger.commit():
            error = ledger.broken
            raise error if isinstance(error, FlowError) else self._over()
        if before is not None and before.tagged:
            await asyncio.to_thread(ledger.kept.drop, before)

    def _over(self) -> NodeError:
        return NodeError(f"saved: the attempt of `{self._key}` is over", "nothing more is kept of it")
