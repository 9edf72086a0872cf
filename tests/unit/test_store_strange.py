"""A state folder that something else than flownb put there: refused by name, never followed, never waited for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import flownb
from flownb import api
from flownb.errors import FlowError, FlowStateError
from flownb.model.decision import Decision
from flownb.model.events import RunStatus
from flownb.model.node_state import NodeState, NodeStatus
from flownb.runs.prepare import RunSettings
from flownb.runs.start import start
from flownb.store.cache import CacheIndex
from flownb.store.decisions import offer, stored
from flownb.store.paths import RunPaths

TEXT = """---
name: flow
---
# Flow

## Before

```expr
1
```

## Ask

```checkpoint
Go on?
```

## After

```expr
before + 1
```
"""
YES = Decision(action="approve", at=datetime(2026, 11, 23, tzinfo=UTC))


@pytest.fixture
def paths(state_dir: Path) -> RunPaths:
    """Return a run that waits, beside a good one that is older."""
    flownb.run(flownb.parse(TEXT), state_dir=state_dir, run_id="good", decide=lambda _: None)
    run = flownb.run(flownb.parse(TEXT), state_dir=state_dir, run_id="bad", decide=lambda _: None)
    os.utime(state_dir / "flow" / "good", (0, 0))
    return run.paths


def link(path: Path) -> None:
    elsewhere = path.with_name(".elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    os.mkfifo(path)


STRANGE = [
    ("root", link),
    ("root", pipe),
    ("workflow", link),
    ("folder", link),
    ("journal", link),
    ("journal", pipe),
    ("lock", link),
    ("lock", pipe),
    ("decisions", link),
    ("decisions", pipe),
    ("snapshot", link),
    ("snapshot", pipe),
    ("source", link),
    ("source", pipe),
]


def place(paths: RunPaths, name: str) -> Path:
    where: Path = paths.folder.parent if name == "workflow" else getattr(paths, name)
    return where


@pytest.mark.parametrize("name, put", STRANGE, ids=lambda value: getattr(value, "__name__", value))
def test_what_stands_in_place_of_a_file_or_folder_is_refused_by_name(
    paths: RunPaths, name: str, put: Callable[[Path], None]
) -> None:
    path = place(paths, name)
    put(path)
    seen = path.lstat()
    with pytest.raises(FlowError) as caught:
        flownb.resume("flow/bad", state_dir=paths.root, decide=lambda _: YES)
    assert str(path) in str(caught.value)
    assert "stands in place of" in str(caught.value)
    assert (path.lstat().st_ino, path.lstat().st_mode) == (seen.st_ino, seen.st_mode)


@pytest.mark.parametrize("name, put", [item for item in STRANGE if item[0] not in ("root", "workflow")])
def test_it_hides_no_other_run(paths: RunPaths, name: str, put: Callable[[Path], None]) -> None:
    put(place(paths, name))
    found, _ = api.survey(None, paths.root)
    assert "good" in [run.run_id for run in found]
    assert flownb.show("good", paths.root).status is RunStatus.WAITING
    assert flownb.resume("good", state_dir=paths.root, decide=lambda _: YES).status is RunStatus.COMPLETED


def test_an_answer_that_stands_elsewhere_is_none(paths: RunPaths, tmp_path: Path) -> None:
    (tmp_path / "answer.json").write_text('{"action": "approve"}')
    (paths.decisions / "ask.json").symlink_to(tmp_path / "answer.json")
    with pytest.raises(FlowStateError, match=r"ask\.json.*a symbolic link stands in place of a file"):
        stored(paths, "ask")
    (paths.decisions / "ask.json").unlink()
    link(paths.decisions)
    with pytest.raises(FlowStateError, match="a symbolic link stands in place of the folder"):
        offer(paths, "ask", YES)
    assert list(paths.decisions.with_name(".elsewhere").iterdir()) == []


@pytest.mark.parametrize("run_id", ["good", "gone", "..", "../flow/good", "/etc"])
def test_what_an_index_says_of_a_run_is_believed_only_as_far_as_its_journal_does(paths: RunPaths, run_id: str) -> None:
    pipe(RunPaths(paths.root, "flow", "good").journal)
    index = paths.folder.parent / "cache.jsonl"
    index.write_text(json.dumps({"of": "x", "key": "before", "run": run_id}) + "\n{torn")
    with pytest.raises(LookupError):
        CacheIndex(paths).find("before", "x", None, datetime.now(UTC))


def test_a_link_in_place_of_the_index_is_neither_read_nor_written(paths: RunPaths, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (paths.folder.parent / "cache.jsonl").symlink_to(elsewhere)
    index = CacheIndex(paths)
    index.note("before", NodeState(status=NodeStatus.COMPLETED, definition="x"))
    with pytest.raises(LookupError):
        index.find("before", "x", None, datetime.now(UTC))
    assert elsewhere.read_text() == "mine"


def test_links_in_a_circle_hide_no_run(paths: RunPaths) -> None:
    (paths.root / "other").mkdir()
    (paths.root / "other" / "x.json").symlink_to("x.json")
    (paths.root / "zzz").symlink_to("zzz")
    found, unread = api.survey(None, paths.root)
    assert [run.run_id for run in found] == ["bad", "good"]
    assert [error.message.split(": ")[0].rsplit("/", 1)[-1] for error in unread] == ["x.json"]


def test_everything_of_a_run_is_its_owners_alone(paths: RunPaths) -> None:
    offer(paths, "ask", YES)
    flownb.resume("bad", state_dir=paths.root)
    folders = [path for path in (paths.root, *paths.root.rglob("*")) if path.is_dir()]
    files = [path for path in paths.root.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert len(files) == 10


def test_an_older_runs_files_become_its_owners_alone_when_it_goes_on(paths: RunPaths) -> None:
    paths.journal.chmod(0o644)
    flownb.resume("bad", state_dir=paths.root, decide=lambda _: YES)
    assert paths.journal.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b"", b'{"kind":"run_sta', bytes(512), b"\0\0\0\n"])
def test_a_run_whose_first_line_is_torn_is_started_anew_under_its_id(state_dir: Path, torn: bytes) -> None:
    paths = flownb.run(flownb.parse(TEXT), state_dir=state_dir, run_id="r1", decide=lambda _: None).paths
    paths.snapshot.unlink()
    paths.journal.write_bytes(torn)
    made = flownb.run(flownb.parse(TEXT), state_dir=state_dir, run_id="r1", decide=lambda _: YES)
    assert (made.status, made["after"]) == (RunStatus.COMPLETED, 2)


def test_a_damaged_journal_is_neither_begun_anew_nor_changed(paths: RunPaths) -> None:
    damaged = paths.journal.read_bytes().replace(b'"output":1', b'"output":2')
    paths.journal.write_bytes(damaged)
    for attempt in (
        lambda: flownb.run(flownb.parse(TEXT), state_dir=paths.root, run_id="bad"),
        lambda: flownb.resume("bad", state_dir=paths.root),
        lambda: flownb.show("bad", paths.root),
        lambda: api.decide("bad", "ask", YES, paths.root),
    ):
        with pytest.raises(
            FlowStateError, match=r"bad/journal\.jsonl:\d+: the journal is damaged: its checksum is wrong"
        ):
            attempt()
    assert paths.journal.read_bytes() == damaged


def test_a_journal_in_another_runs_folder_is_refused(paths: RunPaths) -> None:
    shutil.copytree(paths.folder, paths.folder.with_name("copy"))
    with pytest.raises(FlowStateError, match="it is that of run flow/bad"):
        flownb.resume("copy", state_dir=paths.root)


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": 1, "status": "completed", "started_at": "2026-11-23T10:15:02Z", "duration": "long"}',
        '{"schema": 1, "status": "completed", "started_at": "2026-11-23T10:15:02", "duration": 1}',
        '{"schema": 1, "status": "completed", "started_at": "9999-12-31T23:59:59-12:00", "duration": 1}',
        '{"schema": 1, "status": ["completed"], "started_at": null, "duration": 1}',
        '{"schema": [], "status": "completed", "started_at": null, "duration": 1}',
        "[" * 5000,
    ],
)
def test_a_foreign_state_file_is_left_out_and_hides_no_other_run(paths: RunPaths, text: str) -> None:
    shutil.rmtree(paths.folder)
    paths.snapshot.write_text(text)
    found, unread = api.survey(None, paths.root)
    assert [run.run_id for run in found] == ["good"]
    assert [str(paths.snapshot) in error.message for error in unread] == [True]
    with pytest.raises(FlowStateError, match=f"cannot read the state file {paths.snapshot}"):
        flownb.show("bad", paths.root)


def test_a_run_id_that_leads_elsewhere_is_refused_before_anything_is_read(state_dir: Path) -> None:
    with pytest.raises(flownb.FlowInputError, match="cannot name a folder"):
        start(flownb.parse(TEXT), {}, RunSettings(state_dir=state_dir), "../../etc")
