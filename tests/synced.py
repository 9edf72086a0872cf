"""Tells bodies of a run how much of its journal is on the disk: what came before the last sync, seen through the file."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import flownb
from flownb.api import serve
from flownb.model.decision import Decision, Request
from flownb.model.nodes import Leaf
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.start import start
from flownb.runtimes.base import Runtime, Scope
from flownb.runtimes.registry import Registry
from flownb.store.files import Disk

_JOURNALS: dict[str, tuple[Path, list[int]]] = {}


class _Watched:
    """A runtime that says which node it is about to run."""

    def __init__(self, runtime: Runtime, starting: Callable[[str], None]) -> None:
        self._runtime, self._starting = runtime, starting

    async def run(self, node: Leaf, scope: Scope) -> object:
        self._starting(scope.key)
        return await self._runtime.run(node, scope)


class _Registry:
    def __init__(self, registry: Registry, starting: Callable[[str], None]) -> None:
        self._registry, self._starting = registry, starting

    def runtime(self, kind: str) -> Runtime:
        return _Watched(self._registry.runtime(kind), self._starting)


def run_watched(
    text: str,
    state_dir: Path,
    name: str,
    inputs: Mapping[str, object] | None = None,
    starting: Callable[[str], None] = lambda _: None,
    asking: Callable[[Request], None] | None = None,
) -> flownb.Run:
    """Run a document; its bodies, and `starting` with the key of each as it starts, may ask `lines(name)`. Questions are approved,
    or shown to `asking`, on the run's own thread, and left to their deadline.
    """
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        os.fdatasync(descriptor)
        if Path(f"/proc/self/fd/{descriptor}").resolve().name == "journal.jsonl":
            synced.append(os.lseek(descriptor, 0, os.SEEK_CUR))

    settings = RunSettings(state_dir=state_dir, disk=Disk(sync_data=sync))
    prepared = start(flownb.parse(text), inputs or {}, settings)[0]
    watched: Any = _Registry(prepared.registry, starting)  # Any: a session asks it for runtimes only
    prepared = replace(prepared, registry=watched)
    _JOURNALS[name] = prepared.paths.journal, synced
    return serve(prepared, Hooks(decide=_approve, ask=asking))


def lines(name: str) -> list[str]:
    """Return the lines of a run's journal that are on the disk now."""
    path, synced = _JOURNALS[name]
    return path.read_bytes()[: synced[-1]].decode().splitlines()


def holds(name: str, kind: str, key: str) -> bool:
    """Return whether an event is on the disk now."""
    return any(f'"kind":"{kind}"' in line and f'"key":"{key}"' in line for line in lines(name))


def _approve(_request: Request) -> Decision:
    return Decision(action="approve")
