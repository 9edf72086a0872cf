"""A real `flownb run` of nodes that read and write files, killed at any moment: files are whole, and nothing is lost."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ITEMS = 40
TEXT = """# Files

## Numbers

- type: read
- path: numbers.jsonl

## Pages

- foreach: numbers
- concurrency: 4
- path: "pages/{{ item }}.json"

```write
{{ [item] * 20000 }}
```

## Log

- foreach: numbers
- concurrency: 3
- path: log.jsonl
- append: true

```write
{{ [item] }}
```
"""


def flownb(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "flownb", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


@pytest.mark.parametrize("seed", range(4))
def test_a_run_that_is_killed_again_and_again_ends_with_every_file_whole(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 a test's own
    (tmp_path / "files.flow.md").write_text(TEXT)
    (tmp_path / "numbers.jsonl").write_text("".join(f"{number}\n" for number in range(ITEMS)))
    command = ("run", "files.flow.md", "--run-id", "r1", "--no-log")
    for _ in range(4):
        process = flownb(tmp_path, *command)
        time.sleep(chance.uniform(0.4, 1.4))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for page in (tmp_path / "pages").glob("*.json"):
            assert json.loads(page.read_text()) == [int(page.stem)] * 20_000
        if (tmp_path / "log.jsonl").exists():
            assert {json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()} <= set(range(ITEMS))
    process = flownb(tmp_path, *command)
    said = process.communicate()[1].decode()

    assert process.returncode == 0 or "completed" in said, said
    assert sorted(int(page.stem) for page in (tmp_path / "pages").glob("*.json")) == list(range(ITEMS))
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert set(lines) == set(range(ITEMS))
    assert len(lines) <= ITEMS + 4 * 3  # Twice only what was under way when it was killed.
