"""The checks of `flownb doctor`, one function each, and their list."""

from __future__ import annotations

import hashlib
import heapq
import os
import re
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from flownb.care.finding import Finding, Level
from flownb.care.secret_search import search_notebook, search_stream
from flownb.care.site import Seen, Site
from flownb.errors import FlowStateError
from flownb.model.decision import Decision
from flownb.model.events import RunStatus
from flownb.secrets import SHORTEST, Redactor
from flownb.store.files import found_below, open_file, read_file
from flownb.store.lock import holder
from flownb.store.naming import short_path, state_option
from flownb.store.paths import RunPaths
from flownb.store.removal import is_unfinished, size_of

Check = Callable[[Site], Iterator[Finding]]
"""Looks at a site for one kind of thing."""

_LARGEST: Final = 10
_NAMED: Final = 3
_ARTIFACT: Final = re.compile(r"([0-9a-f]{64})\..+")
_KINDS: Final[Mapping[Callable[[int], bool], str]] = {
    stat.S_ISLNK: "a symbolic link",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
}


def find_secrets_kept(site: Site) -> Iterator[Finding]:
    """Find values of secrets in documents and state folders, as far as the environment has them."""
    redactors: dict[str, Redactor] = {}
    for name in site.secrets:
        value = site.environment.get(name, "")
        if len(value.strip()) < SHORTEST:
            why = f"has fewer than {SHORTEST} characters" if value.strip() else "has no value in this environment"
            hint = "" if value.strip() else f"set it and look again: export {name}=…"
            yield Finding("secrets", Level.NOTE, "", f"the secret {name} {why}, so it was not looked for", hint)
        else:
            redactors[name] = Redactor([value])
    if redactors:
        for path in _texts(site):
            yield from _secrets_at(path, site, redactors)


def _texts(site: Site) -> Iterator[Path]:
    yield from sorted(site.documents)
    for folder in site.folders:
        yield from (path for path, found in found_below(folder) if stat.S_ISREG(found.st_mode))


def _secrets_at(path: Path, site: Site, redactors: Mapping[str, Redactor]) -> Iterator[Finding]:
    is_document = path in site.documents
    try:
        if path.name.endswith(".ipynb"):
            held = search_notebook(path, redactors)
        else:
            with os.fdopen(open_file(path.resolve() if is_document else path, os.O_RDONLY), "rb") as stream:
                held = search_stream(stream, redactors)
    except OSError as error:
        yield Finding("secrets", Level.PROBLEM, short_path(path), f"cannot be read: {error}", "make it readable")
        return
    named = {name: "its name" for name, redactor in redactors.items() if redactor.find(path.name) >= 0}
    for name, where in (named | held).items():
        hint = "take it out, and change the secret where others could read it"
        if not is_document:
            hint = f"delete the run's folder and state file, or {hint}"
        place = f"{short_path(path)}: {where}" if where else short_path(path)
        yield Finding(
            "secrets", Level.PROBLEM, place, f"holds the value of the secret {name}, as it is or encoded", hint
        )


def find_damage(site: Site) -> Iterator[Finding]:
    """Find runs that cannot be read, answers that cannot, and artifacts that are not what they were."""
    for folder, error in site.unread.items():
        yield Finding("damage", Level.PROBLEM, short_path(folder), error.message, error.hint)
    for seen in site.runs:
        if seen.trouble is not None:
            yield Finding("damage", Level.PROBLEM, str(seen.paths), seen.trouble.message, seen.trouble.hint)
            continue
        yield from _damaged_files(seen.paths)


def _damaged_files(paths: RunPaths) -> Iterator[Finding]:
    for path, found in found_below(paths.folder):
        if stat.S_ISREG(found.st_mode) and not is_unfinished(path) and (why := _why_damaged(path, paths)):
            hint = f"restore it, or delete it and resume: flownb resume {paths.run_id}{state_option(paths)}"
            yield Finding("damage", Level.PROBLEM, short_path(path), why, hint)


def _why_damaged(path: Path, paths: RunPaths) -> str:
    """Return why a file of a run is not as flownb wrote it; empty where it is, or is looked at elsewhere."""
    artifact = _ARTIFACT.fullmatch(path.name) if path.parent == paths.artifacts else None
    try:
        if path.parent == paths.decisions and path.suffix == ".json":
            Decision.model_validate_json(read_file(path))
        elif artifact:
            with os.fdopen(open_file(path, os.O_RDONLY), "rb") as stream:
                is_same = hashlib.file_digest(stream, "sha256").hexdigest() == artifact[1]
            return "" if is_same else "its content is not what its name says: it was changed, or is torn"
    except ValidationError:
        return "it is no decision"
    except OSError as error:
        return f"it cannot be read: {error}"
    return ""


def find_leftovers(site: Site) -> Iterator[Finding]:
    """Find locks and files that processes left which died."""
    under_way = {seen.paths.folder for seen in site.runs if _is_under_way(seen)}
    for folder in site.folders:
        gc = f"flownb gc{state_option(RunPaths(folder, '', ''))}"
        for path, _ in found_below(folder):
            is_inner = any(is_unfinished(above) for above in path.relative_to(folder).parents)
            if is_unfinished(path) and not is_inner and under_way.isdisjoint(path.parents):
                hint = f"once the run has ended, this takes it away: {gc}"
                yield Finding("leftovers", Level.TASK, short_path(path), "was left behind, not whole", hint)
    for seen in site.runs:
        if seen.status in (None, RunStatus.RUNNING, RunStatus.INTERRUPTED):
            continue  # Of one that was interrupted more is said elsewhere.
        if _size(seen.paths.lock) and _holder(seen.paths) is None:
            message = "names a process that died with the run in its hands; nobody holds it"
            yield Finding("leftovers", Level.TASK, short_path(seen.paths.lock), message, "it does no harm: delete it")


def _is_under_way(seen: Seen) -> bool:
    return seen.status in (RunStatus.RUNNING, RunStatus.WAITING) and _holder(seen.paths) is not None


def _holder(paths: RunPaths) -> str | None:
    try:
        return holder(paths)
    except FlowStateError:
        return None


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def find_open_to_others(site: Site) -> Iterator[Finding]:
    """Find what stands in place of files and folders, and what others than the owner may read."""
    for folder in site.folders:
        open_paths: list[Path] = []
        for path, found in _whole(folder):
            kind = next((name for is_it, name in _KINDS.items() if is_it(found.st_mode)), "")
            if kind:
                message = f"{kind} stands in the state folder; flownb refuses it"
                yield Finding(
                    "permissions", Level.PROBLEM, short_path(path), message, "put the file or folder itself there"
                )
            elif _is_open(found.st_mode) and path.name != ".gitignore":
                open_paths.append(path)
        if open_paths:
            named = ", ".join(str(path.relative_to(folder)) for path in open_paths[:_NAMED])
            more = f" and {len(open_paths) - _NAMED:,} more" if len(open_paths) > _NAMED else ""
            message = f"files are not 0600 or folders not 0700: {named}{more}"
            hint = f"chmod -R u=rwX,go= {shlex.quote(short_path(folder))}"
            yield Finding("permissions", Level.PROBLEM, short_path(folder), message, hint)


def _whole(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Give a folder and everything in it."""
    with suppress(OSError):
        yield folder, folder.lstat()
    if not folder.is_symlink():
        yield from found_below(folder)


def _is_open(mode: int) -> bool:
    """Return whether others may do something, or the owner may not read and write."""
    own = stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR | stat.S_IWUSR
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO)) or mode & own != own


def find_unfinished_runs(site: Site) -> Iterator[Finding]:
    """Find runs that wait for a person, and those that were interrupted."""
    for seen in site.runs:
        option = state_option(seen.paths)
        go_on = f"flownb resume {seen.paths.run_id}{option}"
        if seen.status is RunStatus.INTERRUPTED and not seen.has_begun:
            hint = f"nothing was run: delete {shlex.quote(short_path(seen.paths.folder))}"
            yield Finding("runs", Level.TASK, str(seen.paths), "died before it began", hint)
        elif seen.status is RunStatus.INTERRUPTED:
            yield Finding("runs", Level.TASK, str(seen.paths), "was interrupted", f"go on with it: {go_on}")
        elif seen.status is RunStatus.WAITING:
            answers = [
                f"flownb decide {seen.paths.run_id} {shlex.quote(key)} {'|'.join(actions)}{option}"
                for key, actions in seen.questions
            ]
            keys = ", ".join(f"`{key}`" for key, _ in seen.questions) or "an answer"
            then = [] if _is_under_way(seen) else [f"then: {go_on}"]
            yield Finding("runs", Level.TASK, str(seen.paths), f"waits for {keys}", "\n".join([*answers, *then]))


def find_large(site: Site) -> Iterator[Finding]:
    """Name the largest runs and artifacts, ten each."""
    runs = heapq.nlargest(
        _LARGEST, ((size_of(seen.paths), str(seen.paths)) for seen in site.runs), key=lambda run: run[0].size_bytes
    )
    for size, place in runs:
        yield Finding("size", Level.NOTE, place, f"a run of {size.files:,} files", size_bytes=size.size_bytes)
    artifacts = heapq.nlargest(
        _LARGEST,
        (
            (found.st_size, short_path(path))
            for seen in site.runs
            for path, found in found_below(seen.paths.artifacts)
            if stat.S_ISREG(found.st_mode)
        ),
    )
    for size_bytes, place in artifacts:
        yield Finding("size", Level.NOTE, place, "an artifact", size_bytes=size_bytes)


CHECKS: Final[tuple[Check, ...]] = (
    find_secrets_kept,
    find_damage,
    find_leftovers,
    find_open_to_others,
    find_unfinished_runs,
    find_large,
)
"""Every check, in the order in which its findings are told."""
