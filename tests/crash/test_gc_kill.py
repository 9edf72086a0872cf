"""A real `flownb gc` that is killed at any moment leaves every run whole or gone, and a later one takes the rest away."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flownb.api import survey
from flownb.model.events import RunStatus
from flownb.store.journal import load_state
from flownb.store.paths import list_runs
from flownb.store.removal import is_unfinished
from flownb.store.snapshot import stored_state, write_snapshot
from tests.runs import ROOT, completed, finished, make_run, names_in, started

RUNS = 60
FILES = 40
KILLS = 20
SEED = 11


def keep_runs(root: Path) -> None:
    """Keep runs with many files in their folders; every third as in a clone, without a journal."""
    for number in range(RUNS):
        name = f"r{number:02}"
        paths = make_run(root, [started(name), completed("a", number), finished()], run_id=name)
        write_snapshot(paths, load_state(paths))
        paths.artifacts.mkdir()
        for index in range(FILES):
            (paths.artifacts / f"{index:064x}.npy").write_bytes(b"x" * 100)
        if number % 3 == 0:
            paths.journal.unlink()


def gc(root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "flownb", "gc", "--keep", "0", "--state", str(root)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def is_under_way(root: Path) -> bool:
    """Return whether the first run is gone for readers, or about to be."""
    return len(list((root / "flow").glob("r*.json"))) < RUNS


def check_every_run(root: Path) -> int:
    """Check that what is there reads as it was, for every reader; return how many runs there are."""
    found, unread = survey(state_dir=root)
    assert unread == []
    assert {run.status for run in found} <= {RunStatus.COMPLETED}
    for paths in list_runs(root):
        state = stored_state(paths)
        assert (state.status, state.nodes["a"].output) == (RunStatus.COMPLETED, int(paths.run_id[1:]))
        if int(paths.run_id[1:]) % 3:
            assert load_state(paths).nodes == state.nodes
            assert len(list(paths.artifacts.iterdir())) == FILES
    return len(found)


@pytest.mark.timeout(240)
def test_a_gc_killed_at_any_moment_leaves_every_run_whole_or_gone(tmp_path: Path) -> None:
    dice = random.Random(SEED)  # noqa: S311 the same moments each time
    keep_runs(tmp_path / "kept")
    in_time = halves = 0
    for turn in range(KILLS):
        root = tmp_path / f"state{turn}"
        shutil.copytree(tmp_path / "kept", root)
        with gc(root) as child:
            while child.poll() is None and not is_under_way(root):
                time.sleep(0.0003)
            time.sleep(dice.random() * 0.04)
            child.send_signal(signal.SIGKILL)
            child.wait()
        left = check_every_run(root)
        in_time += 0 < left < RUNS
        halves += any(is_unfinished(path) for path in (root / "flow").iterdir())
        with gc(root) as last:
            _, told = last.communicate(timeout=60)
        assert (last.returncode, told) == (0, "")
        assert names_in(root / "flow") == []
        shutil.rmtree(root)
    assert in_time >= KILLS * 0.6, "most were killed in the middle"
    assert halves >= KILLS * 0.3, "many of them inside a folder"
