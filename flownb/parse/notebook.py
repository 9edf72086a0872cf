"""The `%%flow` cells of a notebook file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from flownb.errors import FlowInputError
from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.nodes import Leaf
from flownb.model.workflow import Workflow
from flownb.parse.workflow import name_of, parse_workflow
from flownb.text.nearest import did_you_mean

_MAGIC: Final = re.compile(r"(?P<above>(?:[ \t]*\n)*)%%flow(?P<arguments>[ \t][^\n]*)?(?:\n|$)")
_INDEX: Final = re.compile(r"(?:cell )?([0-9]{1,6})")


@dataclass(frozen=True, slots=True)
class FlowCell:
    """A `%%flow` cell."""

    index: int
    """Its place among all of the notebook's cells, counted from 1."""
    arguments: str
    """What stands behind `%%flow`."""
    text: str
    """The document: all below the `%%flow` line."""
    first_line: int
    """The number of the text's first line in the cell, counted from 1."""
    name: str
    """The workflow's name."""


def flow_cells(path: Path) -> list[FlowCell]:
    """Return the `%%flow` cells of a notebook, in order.

    Raises:
        FlowInputError: There is no such file, or it is no notebook that nbformat can read.
    """
    found = []
    for index, source in enumerate(_code(path), 1):
        match = _MAGIC.match(source)
        if match:
            text = source[match.end() :]
            first_line = match["above"].count("\n") + 2
            found.append(FlowCell(index, (match["arguments"] or "").strip(), text, first_line, name_of(text)))
    return found


def _code(path: Path) -> list[str]:
    """Return the source of every cell, empty for those that hold no code."""
    cells = _read(path).cells
    return [cell.source.replace("\r\n", "\n") if cell.cell_type == "code" else "" for cell in cells]


def _read(path: Path) -> Any:  # Any: nbformat has no types.
    """Return a notebook of any version of the format as one of version 4, with text for each cell's source."""
    import nbformat  # noqa: PLC0415 It and jsonschema take half a second, and only a notebook file needs them.
    from nbformat import reader, validator  # noqa: PLC0415 The same.

    try:
        text = path.read_bytes().decode("utf-8")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # It warns of what it puts right here, as cells without an id.
            read = nbformat.convert(reader.reads(text), 4)  # type: ignore[no-untyped-call] # It has no types.
            _, notebook = validator.normalize(read)
        validator.validate(notebook, relax_add_props=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FlowInputError(f"cannot read {path}: {reason}", "give the path of a notebook") from error
    except Exception as error:  # What is no notebook makes it stumble in any way.
        raise FlowInputError(f"{path} is no notebook: {_said(error)}", "open and save it in JupyterLab") from error
    return notebook


def _said(error: Exception) -> str:
    """Return what nbformat says is wrong, on one line, and where."""
    if isinstance(error, RecursionError | UnicodeDecodeError) or type(error).__name__ == "NotJSONError":
        return "it is no JSON"
    if isinstance(error, AttributeError | TypeError):
        return "its parts are not those of a notebook"
    place = "".join(f"[{step!r}]" for step in getattr(error, "absolute_path", ()))
    return str(error).partition("\n")[0] + (f" (at notebook{place})" if place else "")


def parse_notebook(path: Path, cell_name: str | None, kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS) -> Workflow:
    """Return the workflow of a notebook's `%%flow` cell; the notebook's variables are not known.

    Args:
        path: The notebook.
        cell_name: The workflow's name, or the cell's place among all cells, as `3`; None where there is only one.
        kinds: Name → kind of every runtime there is.

    Raises:
        FlowInputError: It is no notebook, or no or several cells are meant.
        FlowSyntaxError: The cell is no workflow; places are named as `nb.ipynb#cell 3`, line in the cell.
    """
    cell = _chosen(path, flow_cells(path), cell_name)
    source = f"{path}#cell {cell.index}"
    return parse_workflow(cell.text, path=path, source=source, first_line=cell.first_line, kinds=kinds)


def _chosen(path: Path, cells: list[FlowCell], wanted: str | None) -> FlowCell:
    """Return the cell that is meant."""
    if not cells:
        raise FlowInputError(f"{path} has no %%flow cell", "begin a code cell with %%flow")
    if wanted is None:
        chosen = cells
    else:
        index = _INDEX.fullmatch(wanted)
        chosen = [cell for cell in cells if cell.name == wanted]
        chosen = chosen or [cell for cell in cells if index and cell.index == int(index[1])]
    if len(chosen) == 1:
        return chosen[0]
    names = ", ".join(f"#{cell.name} (cell {cell.index})" for cell in cells)
    if not chosen:
        hint = did_you_mean(wanted or "", [cell.name for cell in cells], f"there are {names}")
        raise FlowInputError(f"{path} has no %%flow cell named '{wanted}'", hint)
    which = f"named '{wanted}'" if wanted else ""
    hint = f"say which, by name or by place, as {path}#{chosen[0].index}: there are {names}"
    raise FlowInputError(f"{path} has {len(chosen)} %%flow cells {which}".rstrip(), hint)
