"""Where runs live: make one, list them, find one by what a person says."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import DirEntry
from pathlib import Path
from typing import Final

from flownb.errors import FlowInputError, FlowStateError
from flownb.store.files import DISK, Disk, kind_of, make_folder, read_file, sync_folder, write_private

LETTERS: Final = "23456789abcdefghijkmnpqrstuvwxyz"
"""What the end of a run's id is made of, as it sorts: nothing that looks like something else."""

LAST: Final = "last"
"""What a person says for the newest run."""

_BY_HAND: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_MADE: Final = re.compile(r"(\d{8}T\d{6}-[a-z0-9]{2})[a-z0-9]{2}")
_SHOWN: Final = 5
_BY_US: Final = "# Written by flownb"
_IGNORED: Final = f"""\
{_BY_US}: what only a resume needs stays out of git; the runs' states and texts may go in.
*/*/journal.jsonl
*/*/artifacts/
*/*/lock
.lock
.*.tmp
"""


def state_folder_in(folder: Path | None = None) -> Path:
    """Return the state folder that runs are kept in where nobody chose another.

    Args:
        folder: The document's folder; None: the working directory.
    """
    return (folder or Path()) / ".flownb"


def is_state_folder(folder: Path) -> bool:
    """Return whether runs are kept in a folder: by its name, or because flownb wrote its `.gitignore`."""
    if folder.name == state_folder_in().name:
        return True
    try:
        return read_file(folder / ".gitignore", limit=len(_BY_US)) == _BY_US.encode()
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class RunPaths:
    """Where everything of one run lies (interfaces.md, section 4). Nothing of it need exist."""

    root: Path
    """The state folder, as `.flownb`."""
    workflow: str
    """The workflow's name."""
    run_id: str
    """The run's id."""
    disk: Disk = field(default=DISK, compare=False, repr=False)
    """What reads and writes there."""

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
    def subflows(self) -> Path:
        """The texts of the documents that it runs as sub-flows."""
        return self.folder / "subflows.json"

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


def create_run(root: Path, workflow: str, run_id: str, disk: Disk = DISK) -> RunPaths:
    """Make the folders of a new run, and bring them to the disk, with the name of the state folder itself.

    Args:
        root: The state folder; made where it is missing, with its `.gitignore`.
        workflow: The workflow's name.
        run_id: The run's id.
        disk: What writes them.

    Raises:
        FlowStateError: There is such a run of which only the state is left, or the folders cannot be made.
    """
    paths = RunPaths(root, workflow, run_id, disk)
    check_folders(paths)
    try:
        if not kind_of(paths.journal, disk) and kind_of(paths.snapshot, disk):
            raise exists_already(paths)
        make_folder(paths.decisions, disk)
        _ignore(root, disk)
        for folder in (paths.folder, paths.folder.parent, root):
            sync_folder(folder, disk)
        # One that died before it had synced this may have made the folder; without the right to read, it did not.
        with suppress(PermissionError):
            sync_folder(root.absolute().parent, disk)
    except OSError as error:
        raise FlowStateError(
            f"cannot make the run's folder {paths.folder}: {error}",
            "name a folder that can be written: --state DIR, or the variable FLOWNB_STATE_DIR",
        ) from error
    return paths


def exists_already(paths: RunPaths) -> FlowStateError:
    """Return the error for a run that is to be made and is there."""
    return FlowStateError(
        f"run '{paths.run_id}' of '{paths.workflow}' exists already: {paths.folder}",
        f"go on with it: flownb resume {paths.run_id}; or choose another run id",
    )


def removed(paths: RunPaths) -> FlowStateError:
    """Return the error for a run whose folder is gone while it goes on."""
    return FlowStateError(
        f"the folder {paths.folder} of run {paths.run_id} was removed",
        "put it back and resume the run, or start a new one",
    )


def found_at(path: Path, disk: Disk) -> str:
    """Return what stands at a path, as `kind_of`.

    Raises:
        FlowStateError: That cannot be known.
    """
    try:
        return kind_of(path, disk)
    except OSError as error:
        raise FlowStateError(f"cannot look at {path}: {error}", "make it readable") from error


def check_folders(paths: RunPaths, *more: Path) -> None:
    """Refuse a run whose folders are links to elsewhere, or no folders. One that is missing does no harm.

    Args:
        paths: The run.
        more: Folders in its own that are looked at too.

    Raises:
        FlowStateError: Something else stands in place of a folder, which is named.
    """
    _check_folders((paths.root, paths.folder.parent, paths.folder, *more), paths.disk)


def _check_folders(folders: Iterable[Path], disk: Disk) -> None:
    for folder in folders:
        found = found_at(folder, disk)
        if found not in ("", "a folder"):
            raise FlowStateError(
                f"{found} stands in place of the folder {folder}",
                "runs are kept in folders of their own only; put the folder itself there, or name it: --state DIR",
            )


def _ignore(root: Path, disk: Disk) -> None:
    path = root / ".gitignore"
    if not kind_of(path, disk):  # It may be the person's own by now.
        write_private(path, _IGNORED.encode(), disk)


def list_runs(root: Path, workflow: str | None = None, disk: Disk = DISK) -> list[RunPaths]:
    """Return the runs that are kept, the newest first. One of which only the state file is left counts too.

    Also what stands in place of one counts, as a link: whoever reads it is told so.

    Args:
        root: The state folder; it need not exist.
        workflow: Only this workflow's; None: all.
        disk: What reads them.

    Raises:
        FlowStateError: Something else stands in place of the state folder, or it cannot be read.
    """
    _check_folders([root], disk)
    runs: list[tuple[str, RunPaths]] = []
    try:
        workflows = _names(root, disk, folders=True)
    except OSError as error:
        raise FlowStateError(f"cannot read the state folder {root}: {error}", "make it readable") from error
    for name in workflows:
        if workflow not in (None, name):
            continue
        folder = root / name
        ids: set[str] = set()
        with suppress(OSError):  # One that cannot be read hides no other.
            ids.update(_names(folder, disk, folders=True))
            ids.update(found.removesuffix(".json") for found in _names(folder, disk, folders=False))
        runs.extend((_begun(folder, run_id), RunPaths(root, name, run_id, disk)) for run_id in ids)
    runs.sort(key=lambda run: (run[0], run[1].run_id, run[1].workflow), reverse=True)
    return [paths for _, paths in runs]


def _names(folder: Path, disk: Disk, *, folders: bool) -> list[str]:
    """Return the names of the folders in a folder, or of the state files; a link is what it leads to."""
    try:
        with disk.scan(folder) as entries:
            return [
                entry.name
                for entry in entries
                if not entry.name.startswith(".") and (_is_folder(entry) if folders else entry.name.endswith(".json"))
            ]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_folder(entry: DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link in a circle, which hides nothing but itself.
        return False


def _begun(folder: Path, run_id: str) -> str:
    """Return when a run was made, as run ids write it; for an id made by hand its folder tells."""
    made = _MADE.fullmatch(run_id)
    if made:
        return made[1]
    for path in (folder / run_id, folder / f"{run_id}.json"):
        with suppress(OSError, ValueError, OverflowError):  # It is gone by now, or says a moment that is none.
            return _moment(datetime.fromtimestamp(path.lstat().st_mtime, UTC))
    return ""


def find_run(root: Path, text: str, workflow: str | None = None, disk: Disk = DISK) -> RunPaths:
    """Return the run that a person means.

    Args:
        root: The state folder.
        text: A run's id, the beginning of one that no other begins with, either with `workflow/` before it, or `last`.
        workflow: Only this workflow's; None: any.
        disk: What reads them.

    Raises:
        FlowStateError: There is none, or several; the message names them, or those nearest.
    """
    runs = list_runs(root, workflow, disk)
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
