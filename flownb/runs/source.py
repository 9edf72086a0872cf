"""The text that a run goes by, kept beside it, with those of its sub-flows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from flownb.errors import FlowStateError
from flownb.model.workflow import Workflow
from flownb.secrets import with_values, without_values
from flownb.store.files import discard, kind_of, read_file, write_private
from flownb.store.paths import RunPaths

_TEXTS = TypeAdapter(dict[str, str])


def write_sources(paths: RunPaths, workflow: Workflow, secrets: Mapping[str, str]) -> None:
    """Keep a workflow's text, and those of the documents that it runs, without the values of secrets.

    Args:
        paths: The run.
        workflow: What it goes by now.
        secrets: Secret → value.

    Raises:
        FlowStateError: They cannot be written.
    """
    texts = {_named(paths, path): without_values(text, secrets) for path, text in _below(workflow)}
    try:
        if texts:
            write_private(paths.subflows, to_json(texts, indent=1), paths.disk)
        elif kind_of(paths.subflows, paths.disk):
            discard(paths.subflows, paths.disk)
        write_private(paths.source, without_values(workflow.text, secrets).encode("utf-8"), paths.disk)
    except OSError as error:
        raise FlowStateError(
            f"cannot write {paths.source}: {error.strerror}",
            "nothing was run; make room, or name another folder: --state DIR",
        ) from error


def read_source(paths: RunPaths, secrets: Sequence[str] = ()) -> str:
    """Return the text that was run, as it is stored; secrets that were written in it are put in again.

    Args:
        paths: The run.
        secrets: The names of its secrets.

    Raises:
        FlowStateError: It cannot be read.
        FlowInputError: The value of a secret that was written in it is not at hand.
    """
    try:
        text = read_file(paths.source, paths.disk).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FlowStateError(
            f"cannot read the stored text {paths.source}: {error}",
            f"run the document itself: flownb run FILE --run-id {paths.run_id}",
        ) from error
    return with_values(text, secrets, os.environ)


def read_subflows(paths: RunPaths, secrets: Sequence[str] = ()) -> dict[Path, str]:
    """Return path → text of the documents that a run's own ran, as they are stored; arguments and errors as `read_source`.

    Runs of flownb 0.1.0 kept none: for them nothing is returned, and the documents are read where they are.
    """
    try:
        if not kind_of(paths.subflows, paths.disk):
            return {}
        texts = _TEXTS.validate_json(read_file(paths.subflows, paths.disk))
    except (OSError, ValidationError) as error:
        raise FlowStateError(
            f"cannot read the stored texts {paths.subflows}: {error}",
            f"run the document itself: flownb run FILE --run-id {paths.run_id}",
        ) from error
    base = paths.root.resolve().parent
    return {(base / name).resolve(): with_values(text, secrets, os.environ) for name, text in texts.items()}


def _below(workflow: Workflow) -> Iterator[tuple[Path, str]]:
    """Yield path and text of every document that a workflow runs, and of those that they run."""
    for inner in workflow.subflows.values():
        if inner.path is not None:
            yield inner.path, inner.text
        yield from _below(inner)


def _named(paths: RunPaths, path: Path) -> str:
    """Return a document's path as it is kept: relative to the folder that holds the state folder."""
    return os.path.relpath(path.resolve(), paths.root.resolve().parent).encode("utf-8", "replace").decode()
