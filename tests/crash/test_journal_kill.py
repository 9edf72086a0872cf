"""A writer that is killed at any moment loses nothing that it reported."""

from __future__ import annotations

import random
import signal
from pathlib import Path

from flownb.model import events as e
from flownb.store.journal import Journal, load_state, read_journal
from flownb.store.paths import RunPaths
from tests.runs import append, completed, line_of, make_run, process, started

WRITE = """
import sys
from pathlib import Path
from flownb.store.journal import Journal, read_journal
from flownb.store.paths import RunPaths
from tests.runs import append, completed
paths = RunPaths(Path(sys.argv[1]), "flow", "r1")
number = len(read_journal(paths.journal))
with Journal.open_for_append(paths) as journal:
    number = len(read_journal(paths.journal))
    while True:
        append(journal, [completed(f"n{number}", "x" * (number * 37 % 5000)), completed(f"n{number + 1}", number)])
        number += 2
        print(number, flush=True)
"""


def reported_until_killed(paths: RunPaths, lines: int) -> int:
    with process(WRITE, paths.root) as child:
        for _ in range(lines):
            line_of(child)
        child.send_signal(signal.SIGKILL)
        assert child.stdout is not None
        rest = child.stdout.read().splitlines()
        child.wait()
    return int(rest[-1]) if rest else 0


def test_nothing_that_was_reported_is_lost_by_kill_9(state_dir: Path) -> None:
    dice = random.Random(7)  # noqa: S311 the same moments each time
    paths = make_run(state_dir, [started()])
    for _ in range(6):
        reported = reported_until_killed(paths, dice.randrange(1, 60))
        events = read_journal(paths.journal)
        assert len(events) >= reported
        keys = [event.key for event in events[1:] if isinstance(event, e.NodeCompleted)]
        assert keys == [f"n{number}" for number in range(1, len(events))]
        assert load_state(paths).status is e.RunStatus.INTERRUPTED
    with Journal.open_for_append(paths) as journal:
        append(journal, [completed("after")])
    assert load_state(paths).output_of("after") is None
    assert load_state(paths).status_of("after") == "completed"
