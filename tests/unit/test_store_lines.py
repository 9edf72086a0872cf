"""The lines of a journal: a torn end is dropped, every flipped bit is known, and the older format is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flownb.errors import FlowStateError
from flownb.model import events as e
from flownb.model.events import Event
from flownb.secrets import Redactor
from flownb.store.lines import join, scan, seal
from flownb.store.storable import storable
from tests.runs import AT, started, unsealed

PATH = Path("journal.jsonl")
BATCHES: list[list[Event]] = [
    [started(), e.NodeStarted(at=AT, key="a")],
    [e.NodeCompleted(at=AT, key="a", output="x y")],
    [e.NodeCancelled(at=AT, key="b"), e.NodeCancelled(at=AT, key="c"), e.RunWaiting(at=AT)],
]
EVERY = [event for batch in BATCHES for event in batch]
BEFORE_LAST = [event for batch in BATCHES[:-1] for event in batch]


def plain(event: Event) -> bytes:
    return unsealed(storable(event, Redactor()).line)


def written(batches: list[list[Event]]) -> bytes:
    return b"".join(join([seal(plain(event)) for event in batch]) for batch in batches)


def in_format_1(batches: list[list[Event]]) -> bytes:
    lines = [b" \n".join(plain(event).replace(b'"format":3', b'"format":1') for event in batch) for batch in batches]
    return b"\n".join(lines) + b"\n"


def as_read_1(events: list[Event]) -> list[Event]:
    return [event.model_copy(update={"format": 1}) if isinstance(event, e.RunStarted) else event for event in events]


NOW, BEFORE = written(BATCHES), written(BATCHES[:-1])
OLD, OLD_BEFORE = in_format_1(BATCHES), in_format_1(BATCHES[:-1])


def ranges(content: bytes, start: int) -> Iterator[bytes]:
    """Yield a content with zeros in every range that begins behind a place."""
    for begin in range(start, len(content)):
        for end in range(begin + 1, len(content) + 1):
            yield content[:begin] + bytes(end - begin) + content[end:]


def test_what_was_written_reads_back() -> None:
    assert scan(NOW, PATH) == (EVERY, len(NOW))
    assert scan(b"", PATH) == ([], 0)


def test_zeros_in_any_range_of_the_last_batch_cost_nothing_that_was_synced_before() -> None:
    for content in ranges(NOW, len(BEFORE)):
        kept, size = scan(content, PATH)
        assert kept == EVERY[: len(kept)]
        assert len(kept) >= len(BEFORE_LAST)
        assert scan(content[:size], PATH) == (kept, size)


def test_in_format_1_zeros_in_any_range_of_the_last_batch_cost_nothing_that_was_synced_before() -> None:
    every = as_read_1(EVERY)
    for content in ranges(OLD, len(OLD_BEFORE)):
        kept, _ = scan(content, PATH)
        assert kept == every[: len(kept)]
        assert len(kept) >= len(BEFORE_LAST)


def test_zeros_in_any_range_before_the_last_batch_are_damage() -> None:
    synced = len(BEFORE) - 1  # Without its line break the last batch is no longer known by its beginning.
    for begin in range(synced):
        for end in {begin + 1, min(begin + 2, synced), min(begin + 40, synced), synced}:
            with pytest.raises(FlowStateError, match="is damaged"):
                scan(NOW[:begin] + bytes(end - begin) + NOW[end:], PATH)


@pytest.mark.parametrize("content", [NOW, written(BATCHES[:1]), written([BATCHES[1]])], ids=["all", "first", "single"])
def test_every_flipped_bit_is_known(content: bytes) -> None:
    every = scan(content, PATH)[0]
    last = len(content) - len(content.split(b"\n")[-2]) - 1
    for place in range(len(content)):
        for bit in range(8):
            flipped = bytes([content[place] ^ 1 << bit])
            changed = content[:place] + flipped + content[place + 1 :]
            try:
                kept = scan(changed, PATH)[0]
            except FlowStateError:
                continue
            # A zero is what a power cut leaves, and in the last batch that is no damage.
            assert flipped == b"\0", (place, bit)
            assert kept == every[: len(kept)]
            assert len(kept) < len(every)
            assert place >= min(last, len(BEFORE))


def test_zeros_behind_the_end_are_an_end() -> None:
    assert scan(NOW + bytes(5000), PATH) == (EVERY, len(NOW))
    for cut in range(len(NOW)):
        kept, size = scan(NOW[:cut] + bytes(5000), PATH)
        assert kept == EVERY[: len(kept)]
        assert size == len(b"\n".join(NOW.split(b"\n")[: len(kept)])) + bool(kept)


def test_a_line_that_was_taken_out_or_put_in_is_damage() -> None:
    first, rest = NOW.split(b"\n", 1)
    for content in (first + b"\n\n" + rest, first + b'\n{"kind":"run_waiting","at":"2026-11-23T10:15:02Z"}\n' + rest):
        with pytest.raises(FlowStateError, match=r"journal\.jsonl:2: the journal is damaged"):
            scan(content, PATH)


def test_a_journal_of_format_1_goes_on_in_the_new_one() -> None:
    resumed = e.RunResumed(at=AT, definition="abc")
    content = OLD + written([[resumed, e.RunWaiting(at=AT)]])
    assert scan(content, PATH) == ([*as_read_1(EVERY), resumed, e.RunWaiting(at=AT)], len(content))
    with pytest.raises(FlowStateError, match=r"jsonl:3: the journal is damaged"):
        scan(content.replace(b'"output":"x y"', b'"output":"x" y'), PATH)
    with pytest.raises(FlowStateError, match=r"jsonl:9: the journal is damaged: it has no checksum"):
        scan(content + plain(e.RunWaiting(at=AT)) + b"\n", PATH)


def test_a_line_of_the_new_format_without_a_checksum_is_damage_also_as_the_first() -> None:
    with pytest.raises(FlowStateError, match=r"jsonl:1: the journal is damaged: it has no checksum"):
        scan(plain(started()) + b"\n", PATH)
