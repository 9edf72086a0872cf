"""Deletes what nobody needs any more: runs that ended, by their number and age, and files that nothing names."""

from __future__ import annotations

import re
import stat
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from flownb.care.look import look_at
from flownb.errors import FlowInputError, FlowStateError
from flownb.model.events import RunStatus
from flownb.model.policy import parse_duration
from flownb.model.state import RunState
from flownb.store.files import DISK, MARK, Disk
from flownb.store.folding import FINAL
from flownb.store.lock import RunLock, holder
from flownb.store.paths import RunPaths, list_runs
from flownb.store.removal import Size, is_shell, is_unfinished, remove_all, remove_run, size_at, size_of, waste_in

_OF_A_RUN: Final = re.compile(rf"\.(?P<run_id>.+)\.json\.[0-9a-f]{{12}}{re.escape(MARK)}")
"""A state file that is not whole yet."""
_OURS: Final = re.compile(rf"\..+\.[0-9a-f]{{12}}{re.escape(MARK)}")
"""A name that only flownb gives."""
_UNDER_WAY_S: Final = 60
"""Seconds for which a file of no run that is not whole may be one that is being written."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Which of the runs that ended are deleted; where it says nothing, none is."""

    keep: int | None = None
    """How many of those that ended of each workflow stay, the newest; None: their number does not matter."""
    older_s: float | None = None
    """Those that ended less than so many seconds ago stay; None: their age does not matter."""

    @property
    def deletes_runs(self) -> bool:
        """Whether any run is deleted."""
        return self.keep is not None or self.older_s is not None


def read_rule(keep: int | None, older: str | None) -> Rule:
    """Return the rule that a person gives.

    Args:
        keep: How many stay; None: not said.
        older: An age, as `30d`; None: not said.

    Raises:
        FlowInputError: It is none.
    """
    if keep is not None and keep < 0:
        raise FlowInputError(f"--keep {keep}: this is no number of runs", "as in: --keep 20")
    try:
        return Rule(keep, None if older is None else parse_duration(older))
    except ValueError as error:
        raise FlowInputError(f"--older {older}: {error}", "as in: --older 30d") from None


@dataclass(frozen=True, slots=True)
class Swept:
    """One thing that was deleted, would be, or had to be left."""

    place: str
    """The run, as `workflow/run_id`, or a file's path in the state folder."""
    what: str
    """What it is, in words."""
    size: Size = field(default_factory=Size)
    """What it frees."""
    is_run: bool = False
    """Whether it is a whole run."""
    left: str = ""
    """Why it was left; empty: it is gone, or would be."""
    is_failure: bool = False
    """Whether it should be gone and cannot be deleted: neither damaged nor held by a process."""


@dataclass(frozen=True, slots=True)
class _Ended:
    paths: RunPaths
    status: RunStatus
    finished_at: datetime | None


Key = tuple[str, str]
"""Workflow and run id."""
Beside = Mapping[Key, Sequence[Path]]
"""Run → state files of it that are not whole."""


@dataclass(slots=True)
class _Seen:
    """What there is in a state folder."""

    ended: list[_Ended] = field(default_factory=list)
    needed: set[tuple[str, str | None]] = field(default_factory=set)
    """Runs that one which can go on takes over from."""
    known: set[Key] = field(default_factory=set)
    """Every run, also damaged ones."""
    workflows: set[str] = field(default_factory=set)
    """Those of which a run could be read."""

    def take(self, paths: RunPaths, state: RunState) -> None:
        if state.started_at is not None:
            self.workflows.add(paths.workflow)
        if state.status in FINAL:
            self.ended.append(_Ended(paths, state.status, state.finished_at))
        else:
            self.needed.add((paths.workflow, state.reuses))

    @property
    def spare(self) -> list[_Ended]:
        """The runs that may be deleted, the newest first."""
        return [run for run in self.ended if _key(run.paths) not in self.needed]


def sweep(root: Path, rule: Rule, now: datetime, *, dry_run: bool = False, disk: Disk = DISK) -> Iterator[Swept]:
    """Delete what nobody needs, and give each thing when it is gone. Blocks; it can be broken off at any moment.

    Runs that go on, wait or were interrupted are never touched, nor one that such a run takes over from (`--reuse`),
    nor one that a process holds. Memory grows with the number of runs, not with what is in them.

    Args:
        root: The state folder; it need not exist.
        rule: Which runs are deleted.
        now: The time, in UTC.
        dry_run: Whether to say only what would be deleted, and write nothing.
        disk: What deletes.

    Raises:
        FlowStateError: The state folder cannot be read.
    """
    # Before the runs: what one is writing now is the file of a run that is listed below.
    unfinished = _unfinished_beside(root)
    seen = _Seen()
    for paths in list_runs(root, disk=disk):
        seen.known.add(_key(paths))
        try:
            state = look_at(paths)
        except FlowStateError as error:
            yield Swept(str(paths), "damaged run", left=error.message)
            continue
        if is_shell(paths):
            yield from _left_on_error(paths, _shell_swept(paths, dry_run=dry_run))
        else:
            seen.take(paths, state)
    doomed = _doomed(seen.spare, rule, now)
    beside, remains = _by_owner(unfinished, seen.known)
    for run in seen.ended:
        is_doomed = _key(run.paths) in doomed
        yield from _left_on_error(run.paths, _run_swept(run, is_doomed=is_doomed, beside=beside, dry_run=dry_run))
    for path in remains:
        # Whatever folder was named as one of states, a stranger's files in it are not ours to delete.
        is_ours = _OURS.fullmatch(path.name) or path.parent.name in seen.workflows
        if is_ours and (path.parent != root or _is_left(path, now)):
            yield from _left_on_error(path, _remains_swept(path, root, dry_run=dry_run, disk=disk))


def _key(paths: RunPaths) -> Key:
    return paths.workflow, paths.run_id


def _doomed(ended: Sequence[_Ended], rule: Rule, now: datetime) -> set[Key]:
    """Return the runs that are deleted, of those that ended, which are given the newest first."""
    if not rule.deletes_runs:
        return set()
    counts: dict[str, int] = defaultdict(int)
    doomed = set()
    for run in ended:
        counts[run.paths.workflow] += 1
        is_spare = rule.keep is None or counts[run.paths.workflow] > rule.keep
        if is_spare and (rule.older_s is None or _ended_before(run, now, rule.older_s)):
            doomed.add(_key(run.paths))
    return doomed


def _ended_before(run: _Ended, now: datetime, older_s: float) -> bool:
    try:
        return run.finished_at is not None and run.finished_at < now - timedelta(seconds=older_s)
    except OverflowError:  # Longer ago than all that can be told.
        return False


def _run_swept(run: _Ended, *, is_doomed: bool, beside: Beside, dry_run: bool) -> Iterator[Swept]:
    paths = run.paths
    also = beside.get(_key(paths), ())
    if is_doomed:
        size = _sum([size_of(paths), *map(size_at, also)])
        if _removed(paths, lambda: _is_still_over(run), dry_run=dry_run):
            for path in () if dry_run else also:
                remove_all(path, paths)
            when = f"{run.finished_at:%Y-%m-%d}" if run.finished_at else "unknown"
            yield Swept(str(paths), f"{run.status} {when}", size, is_run=True)
        return
    waste = [*waste_in(paths), *also]
    if not waste:
        return
    size = _sum(map(size_at, waste))
    if dry_run:
        _refuse_held(paths)
    elif paths.folder.exists():
        with RunLock(paths):
            # What an event names by now is needed by now.
            waste = [*waste_in(paths), *also] if _is_still_over(run) else []
            size = _sum(map(size_at, waste))
            for path in waste:
                remove_all(path, paths)
    else:
        for path in waste:
            remove_all(path, paths)
    if waste:
        yield Swept(str(paths), "files that nothing names, or not whole", size)


def _removed(paths: RunPaths, is_still_over: Callable[[], bool], *, dry_run: bool) -> bool:
    if dry_run:
        _refuse_held(paths)
        return True
    return remove_run(paths, is_still_over)


def _refuse_held(paths: RunPaths) -> None:
    held_by = holder(paths)
    if held_by is not None:
        raise FlowStateError(f"run '{paths.run_id}' is being run by {held_by}")


def _is_still_over(run: _Ended) -> bool:
    """Return whether a run is as it was when it was looked at: it was not resumed in between."""
    state = look_at(run.paths)
    return (state.status, state.finished_at) == (run.status, run.finished_at)


def _shell_swept(paths: RunPaths, *, dry_run: bool) -> Iterator[Swept]:
    size = size_at(paths.folder)
    if _removed(paths, lambda: is_shell(paths), dry_run=dry_run):
        yield Swept(str(paths), "what was left of a run that is gone", size)


def _unfinished_beside(root: Path) -> list[Path]:
    """Return what is not whole in the state folder itself, and beside the runs of each workflow."""
    folders = (root, *(path for path in _entries(root) if not path.name.startswith(".")))
    return [path for folder in folders for path in _entries(folder) if is_unfinished(path)]


def _by_owner(unfinished: Sequence[Path], known: set[Key]) -> tuple[Beside, list[Path]]:
    """Return what is not whole of each run that is there, and what is of none."""
    of_runs: dict[Key, list[Path]] = defaultdict(list)
    of_none: list[Path] = []
    for path in unfinished:
        made = _OF_A_RUN.fullmatch(path.name)
        owner = (path.parent.name, made["run_id"] if made else "")
        (of_runs[owner] if owner in known else of_none).append(path)
    return of_runs, of_none


def _entries(folder: Path) -> list[Path]:
    """Return what is in a folder; of a link, and of what is no folder, nothing."""
    try:
        return sorted(folder.iterdir()) if stat.S_ISDIR(folder.lstat().st_mode) else []
    except OSError:
        return []


def _is_left(path: Path, now: datetime) -> bool:
    try:
        return now.timestamp() - path.lstat().st_mtime > _UNDER_WAY_S
    except OSError:
        return False


def _remains_swept(path: Path, root: Path, *, dry_run: bool, disk: Disk) -> Iterator[Swept]:
    size = size_at(path)
    if not dry_run:
        remove_all(path, RunPaths(root, "", "", disk))
    yield Swept(str(path.relative_to(root)), "left behind by a process that died", size)


def _left_on_error(place: RunPaths | Path, work: Iterator[Swept]) -> Iterator[Swept]:
    """Give what is swept; what cannot be is left, and said."""
    try:
        yield from work
    except FlowStateError as error:
        yield Swept(str(place), "", left=error.message, is_failure=isinstance(error.__cause__, OSError))
    except OSError as error:
        yield Swept(str(place), "", left=f"cannot delete it: {error}", is_failure=True)


def _sum(sizes: Iterator[Size] | Sequence[Size] | map[Size]) -> Size:
    return sum(sizes, Size())
