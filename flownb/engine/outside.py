"""What a node has to do with files: those that it names, reads or wrote, and modules beside the document that its body imports.

Each is a label (`the files data/*.csv`, `the module utils`) with a digest of the content, and can be looked at again by its label.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Final

from flownb.engine.namespace import Namespace, uses_in
from flownb.engine.taint import tainted
from flownb.errors import NodeError
from flownb.model.key import id_of
from flownb.model.nodes import BodyKind, Leaf, Node
from flownb.model.workflow import Workflow
from flownb.plan.graph import TOP
from flownb.plan.imports import imported
from flownb.runtimes.files.allowed import check_inside, find_files
from flownb.runtimes.files.written import ADDED, WROTE, written_digest
from flownb.templates.expressions import is_template, render
from flownb.templates.terms import REDACTED

_FILES: Final = "the files "
_MODULE: Final = "the module "


async def look_outside(names: Namespace, node: Node, key: str, *, is_one: bool = False) -> dict[str, str]:
    """Return what a node reads from files → the digest of the content; large files do not hold the run's loop up.

    Args:
        names: What names mean at its place.
        node: The node; what the containers around it name holds for it too.
        key: Its key.
        is_one: Whether one item or round of it is meant.

    Raises:
        NodeError: What `files` names lies outside the document's folder, or cannot be read.
        ExpressionError: A template in `files` cannot be worked out.
    """
    workflow, folder = names.program.workflow, names.program.folder
    patterns = list(_patterns(names, node, key, is_one=is_one))
    own = list(_own_patterns(names, node, key, is_one=is_one))
    modules = imported(node.body) if isinstance(node, Leaf) and node.BODY is BodyKind.PYTHON else ()
    modules = tuple(name for name in modules if _module_at(folder, name))
    if not patterns and not own and not modules:
        return {}
    return await asyncio.to_thread(_read, patterns, own, modules, folder, workflow)


async def changed_outside(reads: Mapping[str, Mapping[str, str]], workflow: Workflow, folder: Path) -> bool:
    """Return whether a file or module that some nodes read, by their keys, has another content now."""
    labels = {key: found for key, read in reads.items() if (found := outside_labels(read))}
    if not labels:
        return False
    return await asyncio.to_thread(lambda: any(first_changed(labels, workflow, folder)))


def first_changed(
    reads: Mapping[str, Mapping[str, str]], workflow: Workflow, folder: Path
) -> Iterator[tuple[str, str]]:
    """Yield the key of each node that read a file or module which has another content now, with its label. Blocks."""
    known: dict[tuple[str, Path, str], str] = {}
    for key, read in reads.items():
        place, where = place_of(workflow, folder, key)
        for label, digest in outside_labels(read).items():
            looked = (label, where, digest if label.startswith((WROTE, ADDED)) else "")
            if looked not in known:
                known[looked] = digest_now(label, where, place, digest)
            if known[looked] != digest:
                yield key, label
                break


def outside_labels(reads: Mapping[str, str]) -> dict[str, str]:
    """Return what of a node's reads comes from files."""
    return {label: digest for label, digest in reads.items() if label.startswith((_FILES, _MODULE, WROTE, ADDED))}


def place_of(workflow: Workflow, folder: Path, key: str) -> tuple[Workflow, Path]:
    """Return the workflow that the node of a key stands in, a sub-flow for one inside a `flow` node, and its folder."""
    for part in key.split("/")[:-1]:
        inner = workflow.subflows.get(id_of(part))
        if inner is not None:
            workflow, folder = inner, inner.path.parent if inner.path else folder
    return workflow, folder


def digest_now(label: str, folder: Path, workflow: Workflow, before: str) -> str:
    """Return the digest of what a label names, as it is now; empty where it cannot be read. Blocks.

    Args:
        label: What a node read or wrote.
        folder: The folder of the document that the node stands in.
        workflow: That document.
        before: The digest as it was; of lines that were added it says where they stand.
    """
    try:
        if label.startswith((WROTE, ADDED)):
            return _written(label, before, folder, workflow)
        if label.startswith(_FILES):
            return _files(label.removeprefix(_FILES), folder, workflow)
        return _content(_module_at(folder, label.removeprefix(_MODULE)), folder)
    except NodeError:
        return ""


def _patterns(names: Namespace, node: Node, key: str, *, is_one: bool) -> Iterator[str]:
    """Yield what `files` of a node and of the containers around it say; of all items together only what is the same for each."""
    graph = names.program.graph
    holder: Node | None = node
    while holder is not None:
        sources = holder.policy.files or ()
        is_whole = holder is node and node.repeat is not None and not is_one
        yield from (
            _rendered(names, holder, "files", source, key)
            for source in sources
            if not is_whole or not is_template(source)
        )
        home = graph.home.get(holder.id, TOP)
        holder = graph.nodes.get(home) if home != TOP else None


def _own_patterns(names: Namespace, node: Node, key: str, *, is_one: bool) -> Iterator[str]:
    """Yield what a node's own properties say that it reads; what is wrong with one the node itself says when it runs."""
    for field in sorted(node.READS):
        source = str(getattr(node, field))
        if node.repeat is None or is_one or not is_template(source):
            with suppress(NodeError):
                yield _rendered(names, node, field, source, key)


def _rendered(names: Namespace, holder: Node, field: str, source: str, key: str) -> str:
    if not is_template(source):
        return source
    uses = uses_in(holder, field)
    if tainted(names, uses):
        raise NodeError(f"`{field}` reads a secret, and what it names is written down", "name the files otherwise")
    return str(render(source, names.values(uses, key)))


def _read(
    patterns: Iterable[str], own: Iterable[str], modules: Iterable[str], folder: Path, workflow: Workflow
) -> dict[str, str]:
    found = {f"{_FILES}{pattern}": _files(pattern, folder, workflow) for pattern in patterns}
    for pattern in own:
        with suppress(NodeError):  # The node says it when it runs.
            found[f"{_FILES}{pattern}"] = _files(pattern, folder, workflow)
    left, seen = list(modules), set(modules)
    while left:
        name = left.pop()
        paths = _module_at(folder, name)
        found[f"{_MODULE}{name}"] = _content(paths, folder)
        more = {other for path in paths for other in imported(path.read_text("utf-8", "replace"))} - seen
        local = {other for other in more if _module_at(folder, other)}
        seen |= local
        left += local
    return found


def _module_at(folder: Path, name: str) -> list[Path]:
    """Return the files of a module or package in a folder; none where there is no such one."""
    if (folder / f"{name}.py").is_file():
        return [folder / f"{name}.py"]
    package = folder / name
    return sorted(package.rglob("*.py")) if package.is_dir() else []


def _files(pattern: str, folder: Path, workflow: Workflow) -> str:
    """Return the digest of names and content of the files that a path or glob names."""
    return _content(find_files(pattern, folder, workflow.allow_paths, "files", workflow.path), folder)


def _written(label: str, before: str, folder: Path, workflow: Workflow) -> str:
    """Return the digest of what a node wrote, as it is now: of the file, or of that part of it which it added."""
    path = folder / label.removeprefix(WROTE).removeprefix(ADDED)
    place = before.partition(":")[0] if label.startswith(ADDED) else ""
    try:
        check_inside([path], str(path), folder, workflow.allow_paths, "path")
        if before == REDACTED:
            return before if path.is_file() else ""
        return written_digest(path, place)
    except (OSError, ValueError, RuntimeError):
        return ""


def _content(paths: Iterable[Path], folder: Path) -> str:
    """Return the digest of the names and the content of some files; of those that are not there too: there are none."""
    total = sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                total.update(
                    f"{os.path.relpath(path, folder)}\0{file_digest(file, 'sha256').hexdigest()}\0".encode(
                        errors="replace"
                    )
                )
        except OSError as error:
            raise NodeError(f"{path} cannot be read: {error.strerror}", "it is part of what the node reads") from None
    return total.hexdigest()[:24]
