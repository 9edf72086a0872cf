"""Some of the patterns through the command line, each command a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patterns.conftest import Site

Copy = Callable[[str], Path]
ROOT = Path(__file__).parents[2]


def flownb(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flownb", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_router_gives_its_state_as_json(document: Copy) -> None:
    done = flownb("run", str(document("router")), "-i", "kind=bug", "--json")
    assert done.returncode == 0, done.stderr
    state = json.loads(done.stdout)
    assert state["status"] == "completed"
    assert state["outputs"] == {"routed": "LABEL: BUG"}
    assert state["nodes"]["other"]["status"] == "skipped"


def test_failed_run_exits_with_1_and_its_log_stands_in_the_file(document: Copy, tmp_path: Path) -> None:
    path = document("error-handler")
    before = path.read_text()
    done = flownb("run", str(path))
    assert done.returncode == 1
    assert (tmp_path / "failure.txt").read_text() == "broken: exit code 3: no such record\n"
    after = path.read_text()
    assert after.startswith(before)
    assert "**Status:** failed" in after
    assert "Error: CommandError: exit code 3: no such record" in after


def test_unknown_input_is_refused_before_anything_runs(document: Copy, tmp_path: Path) -> None:
    done = flownb("run", str(document("if-else")), "-i", "skore=1")
    assert done.returncode == 2
    assert "skore" in done.stderr
    assert not (tmp_path / "trace.txt").exists()


def test_suspended_checkpoint_is_decided_and_resumed_by_other_processes(document: Copy, tmp_path: Path) -> None:
    suspended = flownb("run", str(document("checkpoint-approval")), "--suspend", "--json")
    assert suspended.returncode == 75, suspended.stderr
    run_id = json.loads(suspended.stdout)["run_id"]
    assert not (tmp_path / "published.txt").exists()
    assert flownb("decide", run_id, "review", "input", "go on").returncode == 0
    late = flownb("decide", run_id, "review", "reject")
    assert late.returncode == 1
    assert "input" in late.stderr
    resumed = flownb("resume", run_id, "--json")
    assert resumed.returncode == 0, resumed.stderr
    state = json.loads(resumed.stdout)
    assert state["outputs"] == {"publish": {"path": "published.txt", "bytes": 10}, "note": "go on"}
    assert state["decisions"]["review"]["via"] == "command"
    assert (tmp_path / "published.txt").exists()


def test_nobody_to_ask_rejects_with_exit_code_3(document: Copy, tmp_path: Path) -> None:
    done = flownb("run", str(document("checkpoint-approval")))
    assert done.returncode == 3, done.stderr
    assert not (tmp_path / "published.txt").exists()


def test_completed_run_is_not_resumed(document: Copy) -> None:
    assert flownb("run", str(document("multi-step")), "--no-log").returncode == 0
    again = flownb("resume", "last")
    assert again.returncode == 2
    assert "--from" in again.stderr


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_a_crawl_that_is_killed_goes_on_at_the_page_where_it_stopped(document: Copy, site: Site) -> None:
    site.pages = 200
    running: list[subprocess.Popen[bytes]] = []

    def kill(number: int) -> None:
        if number == 120 and running:
            running.pop().kill()

    site.before_page = kill
    command = [sys.executable, "-m", "flownb", "run", str(document("crawl")), "-i", f"base={site.base}", "--no-log"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    running.append(child)
    assert child.wait(60) == -signal.SIGKILL
    assert site.asked == [f"/pages/{number}" for number in range(121)]
    resumed = flownb("resume", "last", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["outputs"] == {"total": sum(range(200))}
    assert site.asked == [f"/pages/{number}" for number in (*range(121), *range(120, 200))]
