"""Whether what `read` and `write` nodes say goes together, as far as the text alone shows it."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from pathlib import PurePath

from flownb.model.file_names import format_of, has_json_lines, is_packed
from flownb.model.file_nodes import CELL_WORDS, FileFormat, ReadNode, ReadOutput, WriteNode
from flownb.parse.drafts import Draft
from flownb.parse.found import Found, problem
from flownb.templates.expressions import is_template
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean, one_of

_TABLES = (FileFormat.CSV, FileFormat.PARQUET)
_ROWS = (*_TABLES, FileFormat.JSON, FileFormat.YAML)


def check_file_node(draft: Draft, own: Mapping[str, object], *, may_leave: bool) -> Found[None]:
    """Report what a `read` or `write` node says that cannot be.

    Args:
        draft: The node.
        own: The values of its own properties that fit.
        may_leave: Whether the document has `allow_paths`.
    """
    path, value = own.get("path"), draft.value("path")
    if draft.kind not in (ReadNode, WriteNode) or not isinstance(path, str) or value is None:
        return
    if not path.strip():
        yield problem(Code.FILE_PATH, "'path' is empty", value.span, "write the file's path, as `data/articles.json`")
        return
    if not may_leave and not is_template(path) and PurePath(os.path.normpath(path)).parts[:1] == (os.pardir,):
        what = f"'{shortened(path, 40)}' is outside the document's folder"
        parent = shortened(os.path.dirname(path) or os.pardir, 40)  # noqa: PTH120 as it is written
        hint = f"move it there, or name its folder in the front matter: `allow_paths: [{parent}]`"
        yield problem(Code.FILE_PATH, what, value.span, hint)
    meant = _format(path, own.get("format"))
    yield from _check_read(draft, own, path, meant) if draft.kind is ReadNode else _check_write(draft, own, path, meant)


def _format(path: str, said: object) -> FileFormat | None:
    """Return the format of a file; None where only the run knows it."""
    if isinstance(said, FileFormat) and said is not FileFormat.AUTO:
        return said
    if not is_template(path):
        return format_of(path)
    end = path[path.rfind("}") + 1 :]
    return format_of(f"name{end}") if "." in end else None


def _check_read(draft: Draft, own: Mapping[str, object], path: str, meant: FileFormat | None) -> Found[None]:
    output, dtypes = own.get("output", ReadOutput.AUTO), own.get("dtypes")
    is_table = output in (ReadOutput.ROWS, ReadOutput.DATAFRAME)
    if (value := draft.value("output")) and is_table and meant and not _has_rows(path, meant):
        hint = f"leave it out, or say its `format`: {one_of(_ROWS)}; lines are rows in a `.jsonl` file"
        yield problem(Code.BAD_VALUE, f"a file that is read as {meant} gives no '{output}'", value.span, hint)
    if (value := draft.value("dtypes")) is None or not isinstance(dtypes, dict):
        return
    if meant and not is_table and meant not in _TABLES:
        what = f"'dtypes' is for tables, and this file is read as {meant}"
        yield problem(Code.BAD_VALUE, what, value.span, "add `output: dataframe`, or take it away")
    for name, kind in dtypes.items() if output is not ReadOutput.DATAFRAME and meant is not FileFormat.PARQUET else ():
        if kind not in CELL_WORDS:
            span = value.parts[name].span if name in value.parts else value.span
            known = f"known are {', '.join(CELL_WORDS)}; with `output: dataframe` also what pandas calls a type"
            what = f"'dtypes.{name}' is the unknown type '{shortened(str(kind), 30)}'"
            yield problem(Code.BAD_VALUE, what, span, did_you_mean(str(kind), CELL_WORDS, known))


def _has_rows(path: str, meant: FileFormat) -> bool:
    return meant in _ROWS or (meant is FileFormat.LINES and (has_json_lines(path) or is_template(path)))


def _check_write(draft: Draft, own: Mapping[str, object], path: str, meant: FileFormat | None) -> Found[None]:
    place, said = draft.value("path"), draft.value("append")
    assert place is not None, "whoever calls this looked"
    if "*" in path and not is_template(path):
        what = f"'{shortened(path, 40)}' names many files, and one is written"
        yield problem(
            Code.FILE_PATH, what, place.span, 'write one path; with `foreach` a template, as `"out/{{ item }}.txt"`'
        )
    if own.get("append") and said and meant not in (None, FileFormat.LINES, FileFormat.TEXT):
        hint = "take it away, or name the file `.jsonl`, `.log` or the like"
        yield problem(Code.BAD_VALUE, f"'append' adds lines, and this file is written as {meant}", said.span, hint)
    if meant is FileFormat.PARQUET and is_packed(path):
        yield problem(Code.BAD_VALUE, "Parquet is packed by itself", place.span, "take `.gz` out of the path")
    body = draft.body
    if meant not in (FileFormat.PARQUET, FileFormat.BYTES) or body is None or not isinstance(body.data, str):
        return
    if not body.data.strip().startswith("{{"):
        hint = "give the value: `- value: table`, and no body"
        yield problem(Code.BAD_VALUE, f"this body is text, and the file is written as {meant}", body.span, hint)
