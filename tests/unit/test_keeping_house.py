"""What docs/keeping-house.md shows is what the commands say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from flownb.care.checks import CHECKS
from flownb.care.doctor import examine
from flownb.store.paths import list_runs

PAGE = (Path(__file__).parents[2] / "docs" / "keeping-house.md").read_text()
DOCUMENT = re.findall(r"^````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)[0]
SHOWN = re.findall(r"^\$ (flownb .*)\n((?:(?!\$ |```).*\n)*)", PAGE, re.MULTILINE)
SECRET = "n3ws-t0ken"


def run(folder: Path, command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *shlex.split(command)],
        cwd=folder,
        env=os.environ | {"NEWS_TOKEN": SECRET},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )
    assert done.returncode in (0, 1, 3, 75), done.stderr
    return done.stdout


def shown_for(command: str) -> str:
    found: str = next(shown for line, shown in SHOWN if line == command)
    return found


def fits(shown: str, said: str) -> bool:
    """Return whether a text is what the page shows, in which `…` stands for anything on a line."""
    return re.fullmatch(".*?".join(map(re.escape, shown.split("…"))), said) is not None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with two runs that ended."""
    (tmp_path / "weekly.flow.md").write_text(DOCUMENT)
    for _ in range(2):
        run(tmp_path, "flownb run weekly.flow.md --no-log")
    return tmp_path


def test_gc_says_what_the_page_shows(folder: Path) -> None:
    commands = [line for line, _ in SHOWN if line.startswith("flownb gc")]
    assert commands == ["flownb gc", "flownb gc --keep 1 --dry-run", "flownb gc --keep 1", "flownb gc --older 30d"]
    for command in commands:
        said = run(folder, command)
        assert fits(shown_for(command), said), said


def test_doctor_says_what_the_page_shows(folder: Path) -> None:
    run(folder, "flownb gc --keep 1")
    run(folder, "flownb run weekly.flow.md --no-log --suspend")
    (ended,) = list_runs(folder / ".flownb")[1:]
    with ended.source.open("a") as source:
        source.write(f"{SECRET}\n")
    ended.journal.chmod(0o644)
    said = run(folder, "flownb doctor")
    assert fits(shown_for("flownb doctor"), said), said


def test_schema_says_what_the_page_shows(tmp_path: Path) -> None:
    assert run(tmp_path, "flownb schema") == shown_for("flownb schema")


def test_every_check_is_in_the_table(folder: Path) -> None:
    listed = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert len(listed) == len(CHECKS)
    assert {finding.check for finding in examine(folder, None, {})} <= set(listed)
