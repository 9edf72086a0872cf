"""Whatever happened in a run, and wherever its journal is cut: what is read is what was written, from the first on."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from flownb.model.events import Event
from flownb.model.state import RunState
from flownb.secrets import Redactor
from flownb.store.files import Disk
from flownb.store.journal import Journal, fold, read_journal
from flownb.store.lines import join, scan
from flownb.store.paths import create_run
from flownb.store.storable import storable
from tests.runs import append
from tests.strategies import events, histories

batches = st.lists(st.lists(events, min_size=1, max_size=4), max_size=4)


def no_sync(descriptor: int) -> None:
    """Leave it to the kernel: no power is lost here."""


@contextmanager
def stored(batches: list[list[Event]]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        paths = create_run(Path(folder), "flow", "r1", Disk(sync=no_sync, sync_data=no_sync))
        with Journal.create(paths) as journal:
            for batch in batches:
                append(journal, batch)
        yield paths.journal


@given(events)
def test_a_line_reads_back_as_the_event_it_was_written_for(event: Event) -> None:
    entry = storable(event, Redactor())
    assert entry.event is event
    assert scan(join([entry.line]), Path("journal"))[0] == [event]
    assert b"\n" not in entry.line


@given(batches)
def test_a_journal_reads_back_as_it_was_written(batches: list[list[Event]]) -> None:
    with stored(batches) as path:
        assert read_journal(path) == [event for batch in batches for event in batch]


@given(batches, st.data())
def test_a_journal_cut_at_any_byte_holds_the_first_of_its_events(
    batches: list[list[Event]], data: st.DataObject
) -> None:
    every = [event for batch in batches for event in batch]
    with stored(batches) as path:
        content = path.read_bytes()
        cut = data.draw(st.integers(0, len(content)))
        path.write_bytes(content[:cut])
        kept = read_journal(path)
    assert kept == every[: len(kept)]
    assert len(kept) == content[:cut].count(b"\n")


@given(batches, st.lists(events, min_size=1, max_size=4), st.data())
def test_zeros_anywhere_in_the_last_batch_cost_nothing_that_was_synced_before(
    before: list[list[Event]], last: list[Event], data: st.DataObject
) -> None:
    every = [event for batch in before for event in batch]
    with stored(before) as path:
        synced = path.stat().st_size
    with stored([*before, last]) as path:
        content = bytearray(path.read_bytes())
        begin = data.draw(st.integers(synced, len(content) - 1))
        end = data.draw(st.integers(begin + 1, len(content)))
        content[begin:end] = bytes(end - begin)
        path.write_bytes(content)
        kept = read_journal(path)
    assert kept[: len(every)] == every
    assert kept == [*every, *last][: len(kept)]


@given(batches, st.lists(events, min_size=1, max_size=4), st.data())
def test_whatever_parts_of_a_batch_reach_the_room_made_for_it_what_was_synced_before_stands(
    before: list[list[Event]], last: list[Event], data: st.DataObject
) -> None:
    every = [event for batch in before for event in batch]
    with stored(before) as path:
        synced = path.stat().st_size
    with stored([*before, last]) as path:
        content = bytearray(path.read_bytes())
        piece = data.draw(st.integers(8, 512))
        for begin in data.draw(st.sets(st.sampled_from(range(synced, len(content), piece)), max_size=8)):
            content[begin : begin + piece] = bytes(len(content[begin : begin + piece]))
        lost = 0 in content[synced:]
        path.write_bytes(content + bytes(data.draw(st.integers(0, 200))))
        kept = read_journal(path)
        assert scan(path.read_bytes()[: scan(path.read_bytes(), path)[1]], path)[0] == kept
    assert kept[: len(every)] == every
    assert kept == [*every, *last][: len(kept)]
    assert lost == (len(kept) < len(every) + len(last))


@given(histories())
def test_folding_what_was_read_gives_the_live_state(history: list[Event]) -> None:
    live = RunState()
    for event in history:
        live.apply(event)
    with stored([history]) as path:
        assert fold(read_journal(path)) == live
