from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

from rich.console import Console

from flownb.errors import Failure
from flownb.model.decision import Decision, Question
from flownb.model.events import (
    Asked,
    AttemptFailed,
    Decided,
    Gather,
    NodeCancelled,
    NodeCompleted,
    NodeFailed,
    NodeSkipped,
    NodeStarted,
)
from flownb.model.state import RunState
from flownb.runtimes.base import Printed
from flownb.terminal.progress import ProgressDisplay

BEGIN = datetime(2026, 11, 23, tzinfo=UTC)
LATER = BEGIN + timedelta(seconds=4.1)
FAILURE = Failure(node="a", type="ValueError", message="no\nmore")


def plain() -> tuple[ProgressDisplay, io.StringIO]:
    file = io.StringIO()
    return ProgressDisplay(Console(file=file, width=80)), file


def at_a_terminal() -> tuple[ProgressDisplay, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, width=80, height=20, force_terminal=True, color_system=None)
    return ProgressDisplay(console, now=lambda: LATER), file


def test_without_a_terminal_there_is_a_line_for_each_start_and_end() -> None:
    progress, file = plain()
    progress.watch(NodeStarted(at=BEGIN, key="a"), RunState())
    progress.watch(AttemptFailed(at=BEGIN, key="a", failure=FAILURE, wait_s=1.5), RunState())
    progress.watch(NodeStarted(at=BEGIN, key="a", attempt=2), RunState())
    progress.watch(NodeCompleted(at=LATER, key="a"), RunState())
    progress.watch(NodeSkipped(at=LATER, key="b", reason="when: false"), RunState())
    progress.close()
    assert file.getvalue().splitlines() == [
        "a: running",
        "a: attempt 1 failed, again in 1.5 s: ValueError: no\\nmore",
        "a: completed (2 attempts) 4.10s",
        "b: skipped (when: false)",
    ]


def test_items_are_counted_in_their_nodes_line() -> None:
    progress, file = plain()
    progress.watch(NodeStarted(at=BEGIN, key="a"), RunState())
    for index in range(1200):
        progress.watch(NodeStarted(at=BEGIN, key=f"a[{index}]"), RunState())
        progress.watch(NodeStarted(at=BEGIN, key=f"a[{index}]/b"), RunState())
        progress.watch(NodeCompleted(at=BEGIN, key=f"a[{index}]/b"), RunState())
        progress.watch(NodeCompleted(at=BEGIN, key=f"a[{index}]"), RunState())
    progress.watch(NodeCompleted(at=LATER, key="a", gather=Gather.ITEMS, count=1200), RunState())
    assert file.getvalue().splitlines() == ["a: running", "a: completed (1,200 parts) 4.10s"]


def test_failures_fallbacks_and_cancelling_are_told() -> None:
    progress, file = plain()
    progress.watch(NodeFailed(at=BEGIN, key="a", failure=FAILURE), RunState())
    progress.watch(NodeCompleted(at=BEGIN, key="b", fallback="cached"), RunState())
    progress.watch(NodeCancelled(at=BEGIN, key="c"), RunState())
    assert file.getvalue().splitlines() == [
        "a: failed (ValueError: no\\nmore)",
        "b: completed (fallback: cached)",
        "c: cancelled",
    ]


def test_questions_and_answers_are_told() -> None:
    progress, file = plain()
    progress.watch(Asked(at=BEGIN, question=Question(key="a", heading="A", text="?", asked_at=BEGIN)), RunState())
    progress.watch(Decided(at=BEGIN, key="a", decision=Decision(action="reject", via="default")), RunState())
    assert file.getvalue().splitlines() == ["a: waits for an answer", "a: reject (nobody could answer)"]


def test_what_nodes_print_stands_behind_their_keys_in_whole_lines() -> None:
    progress, file = plain()
    progress.printed("a", Printed("stdout", "one\ntw"))
    progress.printed("b", Printed("stderr", "other\n"))
    progress.printed("a", Printed("stdout", "o\nthr"))
    progress.printed("c", Printed("image/png", "iVBOR"))
    progress.printed("c", Printed("text/markdown", "# x"))
    progress.watch(NodeCompleted(at=BEGIN, key="a"), RunState())
    assert file.getvalue().splitlines() == [
        "[a] one",
        "[b] other",
        "[a] two",
        "[c] (image/png)",
        "[c] # x",
        "[a] thr",
        "a: completed",
    ]


def test_what_nodes_print_cannot_steer_the_terminal() -> None:
    progress, file = plain()
    progress.printed("a", Printed("stdout", "\x1b[2J\x1b]0;title\x07 [red]x[/red] :smile:\n"))
    assert file.getvalue() == "[a] \\x1b[2J\\x1b]0;title\\x07 [red]x[/red] :smile:\n"


def test_long_lines_are_not_broken() -> None:
    progress, file = plain()
    progress.printed("a", Printed("stdout", "x" * 200 + "\n"))
    assert file.getvalue() == f"[a] {'x' * 200}\n"


def test_a_terminal_shows_what_is_under_way() -> None:
    progress, file = at_a_terminal()
    progress.watch(NodeStarted(at=BEGIN, key="a", attempt=2), RunState())
    progress.watch(NodeStarted(at=BEGIN, key="a[0]"), RunState())
    progress.watch(NodeCompleted(at=BEGIN, key="a[0]"), RunState())
    with progress.paused():
        drawn = file.getvalue()
    progress.close()
    assert "a: running, attempt 2, 1 parts done 4s" in drawn


def test_while_paused_nothing_is_drawn_and_nothing_lost() -> None:
    progress, file = at_a_terminal()
    progress.watch(NodeStarted(at=BEGIN, key="a"), RunState())
    with progress.paused():
        before = file.getvalue()
        progress.printed("a", Printed("stdout", "held\n"))
        progress.watch(NodeStarted(at=BEGIN, key="b"), RunState())
        assert file.getvalue() == before
    progress.close()
    assert "[a] held" in file.getvalue()[len(before) :]


def test_what_a_node_printed_without_a_line_end_is_shown_when_the_run_is_over() -> None:
    progress, file = plain()
    progress.printed("a", Printed("stdout", "hal"))
    progress.close()
    assert file.getvalue() == "[a] hal\n"
