"""Runs `read` nodes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final, cast

from flownb.errors import NodeError
from flownb.model.file_nodes import FileFormat, ReadNode, ReadOutput
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Scope
from flownb.runtimes.files.allowed import find_files, is_glob
from flownb.runtimes.files.halting import Halt, halting
from flownb.runtimes.files.path import path_of
from flownb.runtimes.files.reading import Reading, meant_format

_AS_IT_IS: Final = (ReadOutput.AUTO, ReadOutput.FILES)
_TYPED: Final = (FileFormat.CSV, FileFormat.PARQUET)


class ReadRuntime:
    """Runs `read` nodes. What is read is the content of a file, or of a glob a list of contents in the order of the names."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the content.

        Cancelling ends the reading within a megabyte.

        Raises:
            NodeError: It lies outside the document's folder, is not there, cannot be read, or is not what `format` says.
        """
        read = cast("ReadNode", node)  # The registry hands over no other kind.
        return await halting(partial(_read, read, path_of(read.path, scope), scope))


def _read(node: ReadNode, path: str, scope: Scope, halt: Halt) -> object:
    found = find_files(path, scope.folder, scope.allowed, "path", scope.document)
    if is_glob(path, scope.folder):
        return [_content(node, each, scope, halt) for each in found]
    target = scope.folder / path
    if target.is_dir():
        raise NodeError(f"{path} is a folder", f"name a file in it, or all of them: `{path.rstrip('/')}/*`")
    content = _content(node, target, scope, halt)
    return [content] if node.output is ReadOutput.FILES else content


def _content(node: ReadNode, path: Path, scope: Scope, halt: Halt) -> object:
    shown = path.relative_to(scope.folder).as_posix() if path.is_relative_to(scope.folder) else path.as_posix()
    meant = meant_format(node.format, path)
    if node.dtypes and node.output in _AS_IT_IS and meant not in _TYPED:
        raise NodeError(
            f"`dtypes` is for tables, and {shown} is read as {meant}", "add `output: dataframe`, or take it away"
        )
    value = Reading(path.resolve(), shown, meant, node.output, node.dtypes, halt).value()
    return {"path": shown, "content": value} if node.output is ReadOutput.FILES else value
