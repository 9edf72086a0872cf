"""What a node reads from files: those that its `files` names, and modules in the document's folder that its body imports.

Each is a label (`the files data/*.csv`, `the module utils`) with a digest of the content, and can be looked at again by its label.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Mapping
from glob import has_magic
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
from flownb.templates.expressions import is_template, render

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
    modules = imported(node.body) if isinstance(node, Leaf) and node.BODY is BodyKind.PYTHON else ()
    modules = tuple(name for name in modules if _module_at(folder, name))
    if not patterns and not modules:
        return {}
    return await asyncio.to_thread(_read, patterns, modules, folder, workflow)


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
    known: dict[tuple[str, Path], str] = {}
    for key, read in reads.items():
        place, where = place_of(workflow, folder, key)
        for label, digest in outside_labels(read).items():
            if (label, where) not in known:
                known[label, where] = digest_now(label, where, place)
            if known[label, where] != digest:
                yield key, label
                break


def outside_labels(reads: Mapping[str, str]) -> dict[str, str]:
    """Return what of a node's reads comes from files."""
    return {label: digest for label, digest in reads.items() if label.startswith((_FILES, _MODULE))}


def place_of(workflow: Workflow, folder: Path, key: str) -> tuple[Workflow, Path]:
    """Return the workflow that the node of a key stands in, a sub-flow for one inside a `flow` node, and its folder."""
    for part in key.split("/")[:-1]:
        inner = workflow.subflows.get(id_of(part))
        if inner is not None:
            workflow, folder = inner, inner.path.parent if inner.path else folder
    return workflow, folder


def digest_now(label: str, folder: Path, workflow: Workflow) -> str:
    """Return the digest of what a label names, as it is now; empty where it cannot be read. Blocks."""
    try:
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
            _rendered(names, holder, source, key) for source in sources if not is_whole or not is_template(source)
        )
        home = graph.home.get(holder.id, TOP)
        holder = graph.nodes.get(home) if home != TOP else None


def _rendered(names: Namespace, holder: Node, source: str, key: str) -> str:
    if not is_template(source):
        return source
    uses = uses_in(holder, "files")
    if tainted(names, uses):
        raise NodeError("`files` reads a secret, and what it names is written down", "name the files otherwise")
    return str(render(source, names.values(uses, key)))


def _read(patterns: Iterable[str], modules: Iterable[str], folder: Path, workflow: Workflow) -> dict[str, str]:
    found = {f"{_FILES}{pattern}": _files(pattern, folder, workflow) for pattern in patterns}
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
    """Return the digest of names and content of the files that a path or glob names.

    Hidden ones only where it names them, and not the document itself: its log changes with every run.
    """
    roots = [folder.resolve(), *((folder / name).resolve() for name in workflow.allow_paths)]
    try:
        found = list(_named(pattern, folder))
        for path in (folder / _fixed(pattern), *found):
            if not any(path.resolve().is_relative_to(root) for root in roots):
                shown = pattern if path == folder / _fixed(pattern) else f"{path} ({pattern})"
                raise NodeError(
                    f"files: {shown} is outside the document's folder",
                    f"move it there, or name its folder in the front matter: `allow_paths: [{path.resolve().parent}]`",
                )
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise NodeError(
            f"files: {pattern} cannot be looked for: {error}", "write a path or a glob, as `data/*.csv`"
        ) from None
    itself = workflow.path.resolve() if workflow.path else None
    return _content([path for path in found if path.resolve() != itself], folder)


def _fixed(pattern: str) -> str:
    """Return what of a glob stands before its first wildcard, in whole parts."""
    parts: list[str] = []
    for part in Path(pattern).parts:
        if has_magic(part):
            break
        parts.append(part)
    return str(Path(*parts))


def _named(pattern: str, folder: Path) -> Iterator[Path]:
    path = folder / pattern
    if path.exists() or not has_magic(pattern):
        yield from (inner for inner in ([path] if path.is_file() else sorted(path.rglob("*"))) if inner.is_file())
        return
    base = _fixed(pattern)
    rest = str(Path(pattern).relative_to(base))
    names_hidden = any(part.startswith(".") for part in Path(rest).parts)
    for inner in sorted((folder / base).glob(rest)):
        hidden = any(part.startswith(".") for part in inner.relative_to(folder / base).parts)
        if inner.is_file() and (names_hidden or not hidden):
            yield inner


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
