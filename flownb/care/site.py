"""What there is to check: documents, state folders, and in short what became of each run in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flownb.care.look import look_at
from flownb.errors import FlowInputError, FlowStateError
from flownb.model.events import RunStatus
from flownb.parse.found import collected
from flownb.parse.frontmatter import read_front_matter
from flownb.parse.notebook import flow_cells
from flownb.parse.source import read_source
from flownb.store.files import read_file
from flownb.store.paths import RunPaths, is_state_folder, list_runs, state_folder_in

_DOCUMENTS: Final = (".flow.md", ".ipynb")
_SEEN: Final = frozenset({".ipynb_checkpoints"})
"""Hidden folders that are looked through: copies of notebooks lie there."""
_PASSED: Final = frozenset({"node_modules", "__pycache__"})
_ENVIRONMENT: Final = "pyvenv.cfg"


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one run, in short: a thousand of them are kept in memory."""

    paths: RunPaths
    """Where it lives."""
    status: RunStatus | None = None
    """What became of it; None: it cannot be read."""
    has_begun: bool = True
    """Whether its first event was stored."""
    trouble: FlowStateError | None = None
    """Why it cannot be read."""
    secrets: tuple[str, ...] = ()
    """The names of its secrets."""
    questions: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What it waits for: the node's key, and what can be answered."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is checked."""

    documents: frozenset[Path]
    """Notebooks and `.flow.md` files."""
    folders: tuple[Path, ...]
    """State folders."""
    runs: tuple[Seen, ...]
    """The runs in them."""
    unread: Mapping[Path, FlowStateError]
    """State folder → why it cannot be read."""
    environment: Mapping[str, str]
    """Variable → value."""
    secrets: tuple[str, ...]
    """The names of all secrets that documents and runs declare."""


def look_round(place: Path, state: Path | None, environment: Mapping[str, str]) -> Site:
    """Return what there is to check. It reads every journal, one after another, and writes nothing.

    Args:
        place: A folder, which is looked through with those below it; a state folder; a document, with the state folder
            beside it.
        state: One more state folder; None: there is none.
        environment: Variable → value.

    Raises:
        FlowInputError: There is nothing at `place`, or it is neither of these.
    """
    documents, folders = _found(place)
    if state is not None and state.resolve() not in {folder.resolve() for folder in folders}:
        folders.append(state)
    runs: list[Seen] = []
    unread: dict[Path, FlowStateError] = {}
    for folder in folders:
        try:
            runs += [_seen(paths) for paths in list_runs(folder)]
        except FlowStateError as error:
            unread[folder] = error
    names = {name for seen in runs for name in seen.secrets}
    names.update(name for document in documents for name in _declared(document))
    return Site(frozenset(documents), tuple(folders), tuple(runs), unread, environment, tuple(sorted(names)))


def _found(place: Path) -> tuple[list[Path], list[Path]]:
    """Return the documents and the state folders at a place."""
    if place.is_dir():
        if is_state_folder(place):
            return [], [place]
        found = list(_below(place))
        return [path for path in found if path.name.endswith(_DOCUMENTS)], [
            path for path in found if not path.name.endswith(_DOCUMENTS)
        ]
    if not place.is_file():
        raise FlowInputError(f"there is nothing at {place}", "give a folder, a notebook or a .flow.md")
    if not place.name.endswith(_DOCUMENTS):
        raise FlowInputError(f"{place} is no document", "give a folder, a notebook or a .flow.md")
    beside = state_folder_in(place.parent)
    return [place], [beside] if os.path.lexists(beside) else []


def _below(folder: Path) -> Iterator[Path]:
    """Give the documents and the state folders in a folder and in those below it; links to folders are not followed."""
    for here, inner, names in os.walk(folder):
        at = Path(here)
        folders = sorted(at / name for name in inner)
        states = {path for path in folders if is_state_folder(path)}
        yield from (at / name for name in sorted(names) if name.endswith(_DOCUMENTS) and (at / name).is_file())
        yield from sorted(states)
        inner[:] = [path.name for path in folders if path not in states and not _is_passed(path)]


def _is_passed(folder: Path) -> bool:
    name = folder.name
    is_hidden = name.startswith(".") and name not in _SEEN
    return is_hidden or name in _PASSED or (folder / _ENVIRONMENT).is_file()


def _seen(paths: RunPaths) -> Seen:
    try:
        state = look_at(paths)
    except FlowStateError as error:
        return Seen(paths, trouble=error, secrets=_declared(paths.source))
    questions = tuple((question.key, question.actions) for question in state.open_questions)
    return Seen(
        paths, state.seen_status, state.started_at is not None, secrets=tuple(state.secrets), questions=questions
    )


def _declared(document: Path) -> tuple[str, ...]:
    """Return the names of the secrets that a document declares, whatever else is wrong with it."""
    try:
        if document.name.endswith(".ipynb"):
            texts = [cell.text for cell in flow_cells(document)]
        else:
            texts = [read_file(document.resolve()).decode("utf-8", "replace")]
    except (OSError, FlowInputError):
        return ()
    return tuple(name for text in texts for name in _declared_in(text))


def _declared_in(text: str) -> list[str]:
    source, _ = collected(read_source(text, "", 1))
    return list(collected(read_front_matter(source))[0].secrets) if source is not None else []
