"""Stored runs for the tests of the store, and processes beside this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from flownb.model import events as e
from flownb.model.events import Event
from flownb.secrets import Redactor
from flownb.store.journal import Journal
from flownb.store.paths import RunPaths, create_run
from flownb.store.storable import storable

ROOT = Path(__file__).parents[1]
AT = datetime(2026, 11, 23, 10, 15, 2, 114_000, tzinfo=UTC)


def later(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def started(run_id: str = "r1", workflow: str = "flow") -> Event:
    return e.RunStarted(at=AT, run_id=run_id, workflow=workflow, definition="abc", inputs={"topic": "wind"})


def completed(key: str, output: object = None) -> Event:
    return e.NodeCompleted.model_validate({"at": later(2), "key": key, "output": output})


def finished(status: e.RunStatus = e.RunStatus.COMPLETED) -> Event:
    return e.RunFinished(at=later(3), status=status)


def append(journal: Journal, events: Sequence[Event]) -> None:
    """Store events that hold no secret, with one write."""
    journal.append([storable(event, Redactor()) for event in events])


def unsealed(line: bytes) -> bytes:
    """Return a finished line without its checksum."""
    return line[: line.rindex(b',"crc":"')] + b"}"


def make_run(state_dir: Path, *batches: list[Event], run_id: str = "r1", workflow: str = "flow") -> RunPaths:
    """Store a run's events, each batch with one write, and let go of it."""
    paths = create_run(state_dir, workflow, run_id)
    with Journal.create(paths) as journal:
        for batch in batches:
            append(journal, batch)
    return paths


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def process(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code beside this process, with flownb and tests at hand; what is left of it at the end is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def line_of(child: subprocess.Popen[str]) -> str:
    """Return the next line that a process prints, without its line break."""
    assert child.stdout is not None
    return child.stdout.readline().rstrip("\n")


def node(name: str, body: str = "1", *properties: str, runtime: str = "python", level: int = 2) -> str:
    """Return a node's section."""
    listed = "".join(f"- {item}\n" for item in properties)
    return f"{'#' * level} {name}\n\n{listed}\n```{runtime}\n{body}\n```\n\n"
