"""What happened in a run, and what it made: every event goes through here to the journal, the state and who watches."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol

from flownb.artifacts.lazy_table import LazyTable, placed_in
from flownb.engine.outcome import NodeResult
from flownb.engine.values import to_stored
from flownb.model import events as e
from flownb.model.events import Event, gathered, parts_of
from flownb.model.node_state import NodeState, NodeStatus, StoredValue
from flownb.model.state import RunState
from flownb.model.usage import Usage
from flownb.plan.fingerprint import digest_of
from flownb.secrets import Redactor
from flownb.store.storable import Entry, storable


class Journal(Protocol):
    """Keeps events for good."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Write and sync events, all with one sync; raises FlowStateError where that fails."""
        ...


class Values(Protocol):
    """Keeps what is no line of the journal: values that are large or no JSON. Thread-safe; all of it blocks."""

    def put(self, extension: str, writer: Callable[[BinaryIO], None], /) -> str:
        """Put a file into the run's store and return its name; raises OSError where it cannot be written."""
        ...

    def put_passing(self, extension: str, writer: Callable[[BinaryIO], None], /) -> str:
        """Do the same for a value that is to be dropped."""
        ...

    def path(self, name: str, /) -> Path:
        """Return where a file is, seen to match its name; raises FlowError where it is damaged."""
        ...

    def load(self, key: str, value: StoredValue) -> object:
        """Return the value of a node's key; raises FlowError where it is damaged."""
        ...

    def adopt(self, run_id: str, value: StoredValue) -> None:
        """Take files of an earlier run over; raises OSError where that has them no more."""
        ...

    def drop(self, value: StoredValue) -> None:
        """Let go of the files of a value that were put to pass; those that another value put too stay."""
        ...


class Ledger:
    """The record of one run. It belongs to the run's loop."""

    def __init__(
        self,
        state: RunState,
        journal: Journal,
        redactor: Redactor,
        kept: Values,
        clock: Callable[[], datetime],
        watch: Callable[[Event, RunState], None],
        on_broken: Callable[[], None],
    ) -> None:
        """Open it.

        Args:
            state: What happened up to now; changed in place as things happen.
            journal: Keeps it.
            redactor: Takes secrets out of what is written.
            kept: Keeps values that are large or no JSON.
            clock: The time, in UTC.
            watch: Told of every event after it is written. Must not raise.
            on_broken: Called when the run breaks off.
        """
        self.state = state
        """What happened, as far as this process knows; the part that is not written yet is seen by nobody else."""
        self.values: dict[str, object] = {}
        """Key → value, where it is not just the node's output."""
        self.unloaded = {key for key, node in state.nodes.items() if node.tagged}
        self.unloaded |= {key for key, former in state.former.items() if former.node.tagged}
        """Keys whose value has not been read from its files."""
        self.kept = kept
        """Keeps values that are large or no JSON."""
        self.tasks = 0
        """Tasks under way: units in a row, and the workers of a `foreach`."""
        self.activity = 0
        """Grows with everything that happens."""
        self.tainted: set[str] = set()
        """Keys whose value holds something of a secret, whatever it looks like."""
        self.broken: BaseException | None = None
        """What broke the run off, as a journal that cannot be written; None: nothing."""
        self.is_leaving = False
        """Whether the run is being put aside, so that what is under way is not marked as cancelled."""
        self._journal, self._redactor, self.now, self._watch = journal, redactor, clock, watch
        self._on_broken = on_broken
        self._pending: list[Entry] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._is_flushing = False
        self._digests: dict[str, tuple[NodeState, str]] = {}

    @property
    def is_written(self) -> bool:
        """Whether nothing waits to be written."""
        return not self._pending

    def emit(self, event: Event) -> None:
        """Take an event in; it is written with all others of this moment, before anyone is told."""
        entry = storable(event, self._redactor)
        self.state.apply(entry.event)
        self._pending.append(entry)
        self.activity += 1
        if not self._is_flushing:
            self._is_flushing = True
            # Two turns of the loop: what this event lets start says so first, and is written with the same sync.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.flush)

    def begin(self, key: str, begun: e.Begun, count: int | None = None) -> None:
        """Say that an attempt of a node begins; `count` is how many items it has."""
        self.emit(
            e.NodeStarted(
                at=begun.at,
                key=key,
                attempt=begun.attempt,
                definition=begun.definition,
                reads=begun.reads,
                count=count,
                inside=begun.inside,
            )
        )

    async def commit(self) -> bool:
        """Return when all that was emitted before is written; whether it could be. Nothing may rely on an event before."""
        if self._pending and self.tasks <= 1:
            self.flush()  # Nobody else could have anything to write with it.
        elif self._pending:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter
        return self.broken is None

    def flush(self) -> None:
        """Write what waits to be written, with one sync, and tell of it."""
        self._is_flushing = False
        if not self._pending:
            return
        entries, self._pending = self._pending, []
        waiters, self._waiters = self._waiters, []
        if self.broken is None and self._append(entries):
            for entry in entries:
                self._watch(entry.event, self.state)
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def conclude(self, event: Event, keep: Callable[[RunState], Awaitable[None]]) -> None:
        """Write a run's last event with all that waits, in the journal and in its state file, before anyone sees it.

        Args:
            event: How the run ended, or that it was put aside.
            keep: Writes the state file.

        Raises:
            FlowStateError: The state file cannot be written.
        """
        last = storable(event, self._redactor)
        entries, self._pending = self._pending, []
        if self._append([*entries, last]):
            for entry in entries:
                self._watch(entry.event, self.state)
            ended = self.state.copy()
            ended.apply(last.event)
            await keep(ended)
            self.state.apply(last.event)
            self._watch(last.event, self.state)

    def break_off(self, error: BaseException) -> None:
        """End the run because something of its own went wrong; nothing more of it is written."""
        self.broken = self.broken or error
        self._on_broken()

    def _append(self, entries: list[Entry]) -> bool:
        """Write events; return whether they are. Where that fails, the run breaks off."""
        try:
            self._journal.append(entries)
        except Exception as error:  # noqa: BLE001 whatever it is, the run must end and say so
            self.break_off(error)
            return False
        return True

    def complete(self, key: str, result: NodeResult, fallback: str | None = None) -> None:
        """Say that a node is done, with what it made."""
        if result.gather is None:
            stored = result.stored or to_stored(
                result.value, self._redactor, self.kept.put, is_tainted=result.is_tainted
            )
            self._mark(key, is_tainted=stored.is_tainted)
            event = e.NodeCompleted(
                at=self.now(),
                key=key,
                output=stored.output,
                reusable=stored.reusable,
                tagged=stored.tagged,
                fallback=fallback,
                begun=result.begun,
                taken=result.taken,
                wrote=dict(result.wrote),
            )
            self.values.pop(key, None)
            if stored.tagged and result.value is None:  # It was made before, and None itself has no tag.
                self.unloaded.add(key)
            elif stored.tagged or not stored.reusable:
                self.values[key] = result.value
        else:
            event = self._gathered(
                e.NodeCompleted(
                    at=self.now(),
                    key=key,
                    gather=result.gather,
                    count=result.count,
                    parts=dict(result.parts),
                    fallback=fallback,
                )
            )
        self.emit(event)

    def used(self, key: str, model: str, usage: Usage) -> None:
        """Say what a node asked of a language model."""
        self.emit(e.Used(at=self.now(), key=key, model=model, usage=usage))

    def _gathered(self, event: e.NodeCompleted) -> e.NodeCompleted:
        """Keep a container's value where a part of it is kept here."""
        parts = parts_of(event)
        self._mark(event.key, is_tainted=not self.tainted.isdisjoint(parts))
        self.values.pop(event.key, None)
        if not self.values.keys().isdisjoint(parts):
            self.values[event.key] = gathered(event, self.value_of)
        elif not self.unloaded.isdisjoint(parts):
            self.unloaded.add(event.key)
        known = (self.state.nodes.get(key) for key in parts)
        whole = all(node is None or node.reusable for node in known)
        return event if whole else event.model_copy(update={"reusable": False})

    def _mark(self, key: str, *, is_tainted: bool) -> None:
        if is_tainted:
            self.tainted.add(key)
        else:
            self.tainted.discard(key)

    def value_of(self, key: str) -> object:
        """Return the value of a node's key; None where it has none. Blocks where it must be read from a file.

        Raises:
            FlowError: It is damaged.
        """
        if key in self.values:
            return self.values[key]
        node = self.state.nodes.get(key)
        if node is None or not node.tagged:
            return node.output if node else None
        value = self.values[key] = self.kept.load(key, node.value)
        self.unloaded.discard(key)
        return value

    def lazy(self, key: str) -> LazyTable | None:
        """Return what reads the value of a node's key where it is stored; None: it is no table, or was loaded."""
        node = self.state.nodes.get(key) if key in self.unloaded and key not in self.values else None
        placed = placed_in(node.output) if node is not None and node.tagged else None
        if node is None or placed is None:
            return None
        kind, name = placed
        return LazyTable(kind, partial(self.kept.path, name), partial(self.kept.load, key, node.value))

    async def load(self, keys: Iterable[str]) -> None:
        """Read values from their files, on a thread, so that `value_of` need not.

        Raises:
            FlowError: One is damaged.
        """
        for key in self.unloaded.intersection(keys):
            node = self.state.nodes.get(key)
            if node is not None and node.tagged and key not in self.values:
                self.values[key] = await asyncio.to_thread(self.kept.load, key, node.value)
            self.unloaded.discard(key)

    def digest_of(self, key: str) -> str:
        """Return the digest of a node's value; of one that is no data what stands for it: that of what it depends on."""
        node = self.state.nodes.get(key)
        if node is None:
            return ""
        known = self._digests.get(key)
        if known is not None and known[0] is node:
            return known[1]
        digest = digest_of(node.output) if node.reusable else f"~{node.fingerprint}"
        self._digests[key] = (node, digest)
        return digest

    def is_done(self, key: str) -> bool:
        """Return whether a node need not run: it is done, and its value is at hand."""
        node = self.state.nodes.get(key)
        if node is None:
            return False
        if node.status is NodeStatus.COMPLETED:
            return node.reusable or key in self.values
        return node.is_settled

    def cancelled(self, key: str) -> None:
        """Say that a node was stopped, where it was under way."""
        if not self.is_leaving and self.state.status_of(key) in (NodeStatus.RUNNING, NodeStatus.WAITING):
            self.emit(e.NodeCancelled(at=self.now(), key=key))
