"""CSV as a list of objects, and back, by Python's own csv."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, TextIO

from flownb.errors import NodeError
from flownb.runtimes.files.cells import CellError, check_columns, convert_cells, converters
from flownb.text.lines import shortened

_DELIMITERS: Final = ",;\t|"
_FIELD_LIMIT: Final = 1 << 30
"""The longest cell, in characters. Python's own limit of 131,072 is less than an article."""
_QUOTED: Final = '"'
_PLAIN: Final = frozenset({str, int, float, type(None)})
"""Types that csv writes as we do."""


def delimiter_in(line: str) -> str:
    """Return what parts the cells of a table, by its first line: of comma, semicolon, tab and bar what stands most outside quotes."""
    bare = "".join(line.split(_QUOTED)[::2])
    return max(_DELIMITERS, key=bare.count)


def read_rows(
    text: io.TextIOWrapper, shown: str, dtypes: Mapping[str, str], delimiter: str = ""
) -> list[dict[str, object]]:
    """Return the rows of a text table as objects; lines without anything in them are left out.

    Args:
        text: The table, its line breaks as they are; its first line names the columns.
        shown: What messages call the file.
        dtypes: Column → type; every other cell is text.
        delimiter: What parts the cells; empty: what the first line says.

    Raises:
        NodeError: It is no such table; the message names the line.
        UnicodeDecodeError: It is no text.
    """
    if csv.field_size_limit() < _FIELD_LIMIT:
        csv.field_size_limit(_FIELD_LIMIT)  # There is one for the process, and csv has no other way.
    lines = iter(text)
    first = next(lines, "")
    reader = csv.reader(chain([first], lines), delimiter=delimiter or delimiter_in(first), strict=True)
    try:
        header = next(reader, [])
        _check_header(header)
        check_columns(dtypes, header)
        return _rows(reader, header, converters(dtypes))
    except csv.Error as error:
        hint = 'a cell with a quote in it is quoted, and the quote doubled: `"6"" nails"`'
        raise NodeError(f"{shown}:{reader.line_num}: no CSV: {error}", hint) from None
    except CellError as error:
        message, hint = (*error.args, "")[:2]
        raise NodeError(f"{shown}:{reader.line_num}: {message}", hint) from None


def _rows(
    reader: Iterator[list[str]], header: list[str], known: list[tuple[str, str, Callable[[str], object]]]
) -> list[dict[str, object]]:
    width = len(header)
    rows: list[dict[str, object]] = []
    for cells in reader:
        if len(cells) != width:
            if not cells:
                continue
            what = f"{len(cells)} cells, and the first line names {width} columns"
            raise CellError(what, "put the line right, or quote the cell that has a delimiter in it")
        row: dict[str, object] = dict(zip(header, cells, strict=False))
        if known:
            convert_cells(row, known)
        rows.append(row)
    return rows


def _check_header(header: Sequence[str]) -> None:
    if len(set(header)) < len(header):
        twice = next(name for place, name in enumerate(header) if name in header[:place])
        what = f"the column {shortened(twice, 40)!r} stands twice" if twice else "two columns have no name"
        raise CellError(what, "give each column a name of its own in the first line")


def write_rows(
    file: TextIO, rows: Iterable[Mapping[str, object]], tick: Callable[[], None], delimiter: str = ","
) -> None:
    """Write objects as a text table; a column for each name, in the order in which they first come.

    What is missing or null is empty; truth is `true` or `false`; a list or an object is its JSON.

    Args:
        file: Where to.
        rows: The objects.
        tick: Called now and then; may raise.
        delimiter: What parts the cells.
    """
    rows = list(rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.writer(_PlainEnds(file), delimiter=delimiter, lineterminator="\r\n")
    if columns:
        writer.writerow(columns)
    for number, row in enumerate(rows):
        if not number % 1000:
            tick()
        cells = [row.get(name) for name in columns]
        writer.writerow(cells if _PLAIN.issuperset(map(type, cells)) else map(_cell, cells))


class _PlainEnds:
    r"""Takes rows that end in `\r\n`, so that csv quotes a cell with either in it, and writes them with plain line breaks."""

    def __init__(self, file: TextIO) -> None:
        self._write = file.write

    def write(self, row: str) -> int:
        return self._write(f"{row[:-2]}\n")


def _cell(value: object) -> object:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return value
