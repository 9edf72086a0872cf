"""`%flow_gc` in a real kernel: it tells what it would free, frees it, and leaves what can go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flownb.store.paths import list_runs
from tests.kernel.harness import Kernel, kernel

FINE = "%%flow\n# Fine\n\n## Word\n\n```text\nhello\n```\n"
ASK = "%%flow --no-wait\n# Ask\n\n## Ask\n\n```checkpoint\nGo on?\n```\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def k(home: Path) -> Iterator[Kernel]:
    with kernel(cwd=home) as started:
        assert started.run("%load_ext flownb").ok
        yield started


def kept(home: Path) -> list[str]:
    return [paths.workflow for paths in list_runs(home / ".flownb")]


def test_runs_that_ended_go_and_one_that_this_kernel_runs_stays(k: Kernel, home: Path) -> None:
    for _ in range(3):
        assert k.run(FINE).ok
    assert k.run(ASK).ok
    k.wait_until(lambda: kept(home).count("ask") == 1, "the run that asks")
    told = k.run("%flow_gc --keep 1 --dry-run")
    assert "would free in .flownb: 2 runs, 8 files, " in told.stdout
    assert len(kept(home)) == 4
    gone = k.run("%flow_gc --keep 1")
    assert gone.stdout == told.stdout.replace("would free", "freed")
    assert sorted(kept(home)) == ["ask", "fine"]
    assert "freed in .flownb: 1 run, 4 files" in k.run("%flow_gc --older 0s --state .flownb").stdout
    assert kept(home) == ["ask"]
    k.click("Approve")
    k.wait_until(lambda: "completed" in k.run("%flow_runs").text, "the end of the run that asked")


@pytest.mark.parametrize(
    "options, message",
    [("--older soon", "--older soon: 'soon' is no duration"), ("--keep -1", "--keep -1: "), ("--keep x", "%flow_gc: ")],
)
def test_bad_options_are_said_in_one_line(k: Kernel, options: str, message: str) -> None:
    cell = k.run(f"%flow_gc {options}")
    assert cell.error is not None
    assert cell.error["ename"] == "FlowInputError"
    assert message in cell.error["evalue"]
