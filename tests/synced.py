"""Tells bodies of a run how much of its journal is on the disk: what came before the last sync, seen through the file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import flownb
from flownb.api import serve
from flownb.model.decision import Decision, Request
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import Around
from flownb.runs.start import start
from flownb.store.files import Disk

_JOURNALS: dict[str, tuple[Path, list[int]]] = {}


def run_watched(text: str, state_dir: Path, name: str, inputs: Mapping[str, object] | None = None) -> flownb.Run:
    """Run a document; its bodies may ask `lines(name)` meanwhile. Questions are approved."""
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        os.fsync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").resolve().name == "journal.jsonl":
            synced.append(os.fstat(descriptor).st_size)

    around = Around(state_dir=state_dir, disk=Disk(sync=sync))
    prepared = start(flownb.parse(text), inputs or {}, around)[0]
    _JOURNALS[name] = prepared.paths.journal, synced
    return serve(prepared, Hooks(decide=_approve))


def lines(name: str) -> list[str]:
    """Return the lines of a run's journal that are on the disk now."""
    path, synced = _JOURNALS[name]
    return path.read_bytes()[: synced[-1]].decode().splitlines()


def holds(name: str, kind: str, key: str) -> bool:
    """Return whether an event is on the disk now."""
    return any(f'"kind":"{kind}"' in line and f'"key":"{key}"' in line for line in lines(name))


def _approve(_request: Request) -> Decision:
    return Decision(action="approve")
