"""Finds the values of secrets in files of any size, in every encoding that a redactor knows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final

from flownb.secrets import Redactor

_CHUNK: Final = 1 << 20
_WIDEST: Final = 4
"""Bytes of the widest character in UTF-8."""
_LARGEST_NOTEBOOK: Final = 1 << 28
"""Bytes of a notebook that is read cell by cell; a larger one is searched as any file."""
_SHOWN: Final = 3


def search_stream(stream: BinaryIO, redactors: Mapping[str, Redactor]) -> dict[str, str]:
    """Return secret → where a file holds it first, as `line 12`; empty in a file that is no text. In bounded memory.

    Args:
        stream: The file, opened for reading.
        redactors: Name of a secret → what knows its value.
    """
    found: dict[str, str] = {}
    overlap = _WIDEST * max((redactor.longest for redactor in redactors.values()), default=0)
    before, lines, is_text = b"", 1, True
    while len(found) < len(redactors) and (part := stream.read(_CHUNK)):
        is_text = is_text and b"\0" not in part
        data = before + part
        text = data.decode("utf-8", "replace")
        for name, redactor in redactors.items():
            if name not in found and (at := redactor.find(text)) >= 0:
                found[name] = f"line {lines + text.count(chr(10), 0, at)}" if is_text else ""
        before = data[-overlap:] if overlap else b""
        lines += data.count(b"\n", 0, len(data) - len(before))
    return found


def search_notebook(path: Path, redactors: Mapping[str, Redactor]) -> dict[str, str]:
    """Return secret → where a notebook holds it, as `cell 3, cell 5, output 1`.

    Args:
        path: The notebook.
        redactors: Name of a secret → what knows its value.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as stream:
        found = search_stream(stream, redactors)
    if path.stat().st_size > _LARGEST_NOTEBOOK:
        return found
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return found  # What is no notebook is a text all the same.
    places: dict[str, dict[str, None]] = {}
    for place, text in _texts(content):
        for name, redactor in redactors.items():
            if redactor.find(text) >= 0:
                places.setdefault(name, {})[place] = None
    return found | {name: _listed(list(where)) for name, where in places.items()}


def _listed(places: list[str]) -> str:
    more = f" and {len(places) - _SHOWN} more places" if len(places) > _SHOWN else ""
    return "; ".join(places[:_SHOWN]) + more


def _texts(notebook: Any) -> Iterator[tuple[str, str]]:  # Any: whatever JSON holds
    """Give every text in a notebook of any version, and where it stands; cells and outputs count from 1."""
    if not isinstance(notebook, dict):
        return
    cells = notebook.get("cells")
    if not isinstance(cells, list):  # Before version 4 there were worksheets.
        sheets = notebook.get("worksheets")
        cells = (
            [cell for sheet in sheets if isinstance(sheet, dict) for cell in _list(sheet.get("cells"))]
            if isinstance(sheets, list)
            else []
        )
    for number, cell in enumerate(cells, 1):
        if isinstance(cell, dict):
            for key, value in cell.items():
                yield from _texts_of_cell(f"cell {number}", key, value)
    for key, value in notebook.items():
        if key not in ("cells", "worksheets"):
            yield from ((f"the notebook's {key}", text) for text in _strings(value))


def _texts_of_cell(cell: str, key: str, value: Any) -> Iterator[tuple[str, str]]:  # Any: whatever JSON holds
    if key == "outputs":
        for number, output in enumerate(_list(value), 1):
            yield from ((f"{cell}, output {number}", text) for text in _strings(output))
    else:
        place = cell if key in ("source", "input") else f"{cell}, {key}"
        yield from ((place, text) for text in _strings(value))


def _list(value: Any) -> list[Any]:  # Any: whatever JSON holds
    return value if isinstance(value, list) else []


def _strings(value: Any) -> Iterator[str]:  # Any: whatever JSON holds
    """Give the texts in a value; one that is kept as a list of its lines is whole."""
    match value:
        case str():
            yield value
        case list() if value and all(isinstance(item, str) for item in value):
            yield "".join(value)
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for key, item in value.items():
                yield str(key)
                yield from _strings(item)
        case int() | float():
            yield str(value)
        case _:
            return
