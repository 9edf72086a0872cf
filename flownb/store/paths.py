"""Where runs live: make one, list them, find one by what a person says."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flownb.errors import FlowInputError, FlowStateError
from flownb.store.files import Sync, sync_folder

LETTERS: Final = "23456789abcdefghijkmnpqrstuvwxyz"
"""What the end of a run's id is made of, as it sorts: nothing that looks like something else."""

LAST: Final = "last"
"""What a person says for the newest run."""

_BY_HAND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MADE: Final = re.compile(r"(\d{8}T\d{6}-[a-z0-9]{2})[a-z0-9]{2}")
_SHOWN: Final = 5
_IGNORED: Final = """\
# Written by flownb: what only a resume needs stays out of git; the runs' states and texts may go in.
*/*/journal.jsonl
*/*/artifacts/
*/*/lock
.*.tmp
"""


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where everything of one run lies (interfaces.md, section 4). Nothing of it need exist."""

    root: Path
    """The state folder, as `.flownb`."""
    workflow: str
    """The workflow's name."""
    run_id: str
    """The run's id."""

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.root / self.workflow / self.run_id

    @property
    def journal(self) -> Path:
        """What happened, one event a line."""
        return self.folder / "journal.jsonl"

    @property
    def source(self) -> Path:
        """The text that was run."""
        return self.folder / "source.flow.md"

    @property
    def decisions(self) -> Path:
        """The folder of the answers to its questions."""
        return self.folder / "decisions"

    @property
    def artifacts(self) -> Path:
        """The folder of values that are too large for the journal, or not JSON."""
        return self.folder / "artifacts"

    @property
    def lock(self) -> Path:
        """What the process that runs it holds."""
        return self.folder / "lock"

    @property
    def snapshot(self) -> Path:
        """The run's state, beside its folder."""
        return self.root / self.workflow / f"{self.run_id}.json"

    def __str__(self) -> str:
        """Return `workflow/run_id`, which `find_run` understands."""
        return f"{self.workflow}/{self.run_id}"


def new_run_id(now: datetime, choose: Callable[[str], str]) -> str:
    """Return a run id that sorts by time, as `20261123T101502-k7qd`.

    Two of the four letters say when in its second the run started, so that the newest is known where cells follow
    each other quickly; two are chosen.

    Args:
        now: When the run starts; aware.
        choose: Picks one of a text's characters, as `random.choice`.
    """
    return _moment(now) + "".join(choose(LETTERS) for _ in range(2))


def _moment(at: datetime) -> str:
    """Return a moment to the millisecond, as a run's id begins."""
    high, low = divmod(at.microsecond * len(LETTERS) ** 2 // 1_000_000, len(LETTERS))
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S}-{LETTERS[high]}{LETTERS[low]}"


def check_run_id(text: str) -> None:
    """Check a run id that a person chose.

    Args:
        text: As it was given.

    Raises:
        FlowInputError: It cannot be the name of a run's folder, or means something else.
    """
    if text == LAST or text.endswith(".json"):
        meant = "means the newest run" if text == LAST else "is how the names of state files end"
        raise FlowInputError(f"run id '{text}': '{LAST if text == LAST else '.json'}' {meant}", "choose another name")
    if not _BY_HAND.fullmatch(text):
        raise FlowInputError(
            f"run id {text!r} cannot name a folder",
            "use 1 to 64 letters, digits, '.', '_' and '-' (without accents), a letter or digit first",
        )


def create_run(root: Path, workflow: str, run_id: str, sync: Sync = os.fsync) -> RunPaths:
    """Make the folders of a new run, and bring them to the disk.

    Args:
        root: The state folder; made where it is missing, with its `.gitignore`.
        workflow: The workflow's name.
        run_id: The run's id.
        sync: What brings a descriptor to the disk.

    Raises:
        FlowStateError: There is such a run, or the folders cannot be made. One that died before its first event is none.
    """
    paths = RunPaths(root, workflow, run_id)
    try:
        if paths.snapshot.exists() or _has_line(paths.journal):
            raise FlowStateError(
                f"run '{run_id}' of '{workflow}' exists already: {paths.folder}",
                f"go on with it: flownb resume {run_id}; or choose another run id",
            )
        paths.decisions.mkdir(parents=True, exist_ok=True)
        _ignore(root)
        for folder in (paths.folder, paths.folder.parent, root):
            sync_folder(folder, sync)
    except OSError as error:
        raise FlowStateError(
            f"cannot make the run's folder {paths.folder}: {error}",
            "name a folder that can be written: --state DIR, or the variable FLOWNB_STATE_DIR",
        ) from error
    return paths


def _has_line(journal: Path) -> bool:
    """Return whether a first event was stored."""
    try:
        with journal.open("rb") as file:
            return file.readline().endswith(b"\n")
    except FileNotFoundError:
        return False


def _ignore(root: Path) -> None:
    try:
        with (root / ".gitignore").open("x", encoding="utf-8") as file:
            file.write(_IGNORED)
    except FileExistsError:
        return  # It may be the person's own by now.


def list_runs(root: Path, workflow: str | None = None) -> list[RunPaths]:
    """Return the runs that are kept, the newest first. One of which only the state file is left counts too.

    Args:
        root: The state folder; it need not exist.
        workflow: Only this workflow's; None: all.
    """
    runs: list[tuple[str, RunPaths]] = []
    for name in _names(root, folders=True):
        if workflow not in (None, name):
            continue
        folder = root / name
        ids = {*_names(folder, folders=True), *(name.removesuffix(".json") for name in _names(folder, folders=False))}
        runs.extend((_begun(folder, run_id), RunPaths(root, name, run_id)) for run_id in ids)
    runs.sort(key=lambda run: (run[0], run[1].run_id, run[1].workflow), reverse=True)
    return [paths for _, paths in runs]


def _names(folder: Path, *, folders: bool) -> list[str]:
    """Return the names of the folders in a folder, or of the state files."""
    try:
        with os.scandir(folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and (entry.is_dir() if folders else entry.name.endswith(".json"))
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _begun(folder: Path, run_id: str) -> str:
    """Return when a run was made, as run ids write it; for an id made by hand its folder tells."""
    made = _MADE.fullmatch(run_id)
    if made:
        return made[1]
    path = folder / run_id
    path = path if path.exists() else folder / f"{run_id}.json"
    return _moment(datetime.fromtimestamp(path.stat().st_mtime, UTC))


def find_run(root: Path, text: str, workflow: str | None = None) -> RunPaths:
    """Return the run that a person means.

    Args:
        root: The state folder.
        text: A run's id, the beginning of one that no other begins with, either with `workflow/` before it, or `last`.
        workflow: Only this workflow's; None: any.

    Raises:
        FlowStateError: There is none, or several; the message names them, or those nearest.
    """
    runs = list_runs(root, workflow)
    if not runs:
        of = f" of '{workflow}'" if workflow is not None else ""
        raise FlowStateError(f"no run{of} is kept in {root}", "name the folder that holds the runs: --state DIR")
    if text == LAST:
        return runs[0]
    exact = [run for run in runs if text in (run.run_id, str(run))]
    found = exact or [run for run in runs if text and (run.run_id.startswith(text) or str(run).startswith(text))]
    if len(found) == 1:
        return found[0]
    if found:
        raise FlowStateError(f"'{text}' may be any of {_listed(found)}", "give more of the run's id, or workflow/id")
    by_id = {run.run_id: run for run in runs}
    near = [by_id[run_id] for run_id in difflib.get_close_matches(text, by_id, n=3)]
    hint = f"did you mean {_listed(near)}?" if near else f"there is {_listed(runs)}"
    raise FlowStateError(f"no run '{text}' is kept in {root}", hint)


def _listed(runs: list[RunPaths]) -> str:
    """Return runs as one reads them, the first few of many."""
    rest = len(runs) - _SHOWN
    return ", ".join(str(run) for run in runs[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
