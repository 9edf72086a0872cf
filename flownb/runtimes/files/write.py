"""Runs `write` nodes."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Final, cast

from flownb.errors import NodeError
from flownb.model.file_names import format_of, is_packed
from flownb.model.file_nodes import FileFormat, WriteNode
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Scope
from flownb.runtimes.files.allowed import check_inside
from flownb.runtimes.files.content import Content
from flownb.runtimes.files.halting import Halt, halting
from flownb.runtimes.files.path import path_of
from flownb.runtimes.files.replacing import Leftovers, Written, write_file
from flownb.runtimes.files.written import ADDED, WROTE, digest_text
from flownb.store.files import DISK, TO_WRITE, Disk
from flownb.templates.expressions import evaluate_apart, render_apart
from flownb.templates.terms import REDACTED

_STATE: Final = ".flownb"


class WriteRuntime:
    """Runs `write` nodes. The file is written whole or not at all, and is on the disk when the node is done."""

    def __init__(self, disk: Disk = DISK) -> None:
        """Say what writes.

        Args:
            disk: What writes.
        """
        self._disk, self._left = disk, Leftovers()

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Write the file, and return its `path`, as the document says it, and its size in `bytes`.

        Cancelling ends the writing within a megabyte; the old file is still there then.

        Raises:
            NodeError: It lies outside the document's folder, cannot be written, or the format cannot hold the value.
        """
        write = cast("WriteNode", node)  # The registry hands over no other kind.
        path = path_of(write.path, scope)
        if write.value is not None:
            value = await evaluate_apart(write.value, scope.values)
        else:
            value = await render_apart(write.body, scope.values)
        meant = _format(write, path, value)
        content = Content(value, write.value is None, meant, path)
        written = await halting(partial(_write, content, scope, self._disk, self._left, append=write.append))
        label, place = (ADDED, f"{written.offset}+{written.size - written.offset}") if write.append else (WROTE, "")
        if scope.redactor.text(path) == path:
            # No hash of a secret is kept: of what holds one is known only that it is there.
            scope.wrote(
                label + path, REDACTED if await _is_secret(value, scope) else digest_text(written.digest, place)
            )
        return {"path": path, "bytes": written.size}


async def _is_secret(value: object, scope: Scope) -> bool:
    """Return whether what was written holds something of a secret."""
    return bool(scope.tainted) or (bool(scope.redactor) and await asyncio.to_thread(scope.redactor.holds, value))


def _format(node: WriteNode, path: str, value: object) -> FileFormat:
    """Return the format of what is written: what the node says, else the name, else what the value is.

    Raises:
        NodeError: Lines are to be added to what has none.
    """
    meant = format_of(path) if node.format is FileFormat.AUTO else node.format
    if node.format is FileFormat.AUTO and meant is FileFormat.TEXT:
        if isinstance(value, bytes | bytearray | memoryview):
            meant = FileFormat.BYTES
        elif node.append:
            meant = FileFormat.LINES
    if node.append and meant is not FileFormat.LINES:
        raise NodeError(
            f"`append` adds lines, and {path} is written as {meant}", "add `format: lines`, or take it away"
        )
    return meant


def _write(content: Content, scope: Scope, disk: Disk, left: Leftovers, halt: Halt, *, append: bool) -> Written:
    path = scope.folder / content.name
    try:
        check_inside([path], content.name, scope.folder, scope.allowed, "path")
        real = path.resolve()
        _check_free(real, content.name, scope)
        fill = partial(content.write, check=halt.check)
        return write_file(real, fill, disk, halt, left, packed=is_packed(content.name), append=append)
    except (OSError, ValueError, RuntimeError) as error:
        said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NodeError(f"{content.name} cannot be written: {said}", TO_WRITE) from None


def _check_free(path: Path, shown: str, scope: Scope) -> None:
    """Refuse what flownb itself keeps.

    Raises:
        NodeError: It is the document, or lies in a state folder.
    """
    if scope.document is not None and path == scope.document.resolve():
        raise NodeError(f"{shown} is the document itself", "write another file")
    if _STATE in path.parts:
        raise NodeError(f"{shown} lies in `{_STATE}`, where flownb keeps its runs", "write it elsewhere")
