"""DataFrames, Series and Indexes of pandas in Parquet files that say the rest in their own metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final, cast

import pandas as pd
import pyarrow as pa
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal
from pydantic import JsonValue

from flownb.artifacts.arrays import shown_size
from flownb.artifacts.columns import keep_column, read_column
from flownb.artifacts.indexes import keep_index, pack_index, read_index, unpack_index
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, Unkept, texts_in
from flownb.artifacts.parquet import check_parquet, lines_of, texts_of, write_parquet

_KEY: Final = b"flownb"
"""In the metadata of the file: what is to be known of the value besides its columns."""
_NO_COLUMN: Final = "(none)"
_SHOWN_ROWS, _SHOWN_COLUMNS = 3, 6
_WITH_TEXTS: Final = {"builtins", "datetime", "decimal", "fractions", "numpy", "pandas", "uuid"}
_SAFE: Final = {"numpy", "text", "zoned", "masked"}
"""Ways to store a column that give back what was there, whatever it was; the others are tried."""


def _known(table: pa.Table) -> Fields:
    known = json.loads((table.schema.metadata or {}).get(_KEY, b"null"))
    if not isinstance(known, dict):
        raise ValueError("it does not say what pandas needs to know; it was not written by flownb")  # noqa: TRY004
    return known


def _table(known: dict[str, JsonValue], columns: list[pa.Array], names: list[str]) -> pa.Table:
    if len(set(names)) < len(names) or len(names) != len(columns) or "" in names:
        names = [str(place) for place in range(len(columns))]
    made = pa.Table.from_arrays(columns, names=names) if columns else pa.table({_NO_COLUMN: pa.array([], pa.int8())})
    return made.replace_schema_metadata({_KEY: json.dumps(known)})


def _is_safe(known: JsonValue) -> bool:
    """Return whether nothing of a value need be tried: its columns are plain, and its index."""
    match known:
        case {"index": "range"}:
            return True
        case {"index": "labels", "labels": {"as": "numpy" | "text" | "string"}}:
            return "freq" not in cast("dict[str, JsonValue]", known)
        case {"as": way}:
            return way in _SAFE or way == "string"
        case _:
            return False


def _read(source: Any, size: int, restorer: Restorer) -> Any:
    with check_parquet(source, size) as file:
        table = file.read()
    known = _known(table)
    columns = iter(table.columns if table.column_names != [_NO_COLUMN] else ())
    match known.get("is"):
        case "frame":
            return _read_frame(known, columns, restorer)
        case "series":
            return _read_series(known, columns, restorer)
        case _:
            return read_index(_inner(known, "index"), columns, restorer)


def _read_frame(known: Fields, columns: Iterator[pa.ChunkedArray], restorer: Restorer) -> pd.DataFrame:
    index = read_index(_inner(known, "index"), columns, restorer)
    listed = known.get("columns")
    arrays = [
        read_column(one, columns, restorer)
        for one in (listed if isinstance(listed, list) else ())
        if isinstance(one, dict)
    ]
    # As Series with their types: of bare arrays pandas would guess what texts are.
    series = (pd.Series(array, index=index, dtype=array.dtype, copy=False) for array in arrays)
    frame = pd.DataFrame(dict(enumerate(series)), index=index)
    frame.columns = unpack_index(_inner(known, "labels"), restorer)
    return _finished(frame, known, restorer)


def _read_series(known: Fields, columns: Iterator[pa.ChunkedArray], restorer: Restorer) -> pd.Series[Any]:
    index = read_index(_inner(known, "index"), columns, restorer)
    values = read_column(_inner(known, "values"), columns, restorer)
    return _finished(
        pd.Series(values, index=index, dtype=values.dtype, name=restorer.item(known.get("name"))), known, restorer
    )


def _finished(made: Any, known: Fields, restorer: Restorer) -> Any:
    if "attrs" in known:
        made.attrs = restorer.item(known["attrs"])
    return made.set_flags(allows_duplicate_labels=False) if known.get("unique") is True else made


def _inner(known: Fields, name: str) -> Fields:
    if not isinstance(found := known.get(name), dict):
        raise ValueError(f"`{name}` is missing")  # noqa: TRY004 what is wrong is the data
    return found


def _more(value: Any, keeper: Keeper) -> dict[str, JsonValue]:
    made: dict[str, JsonValue] = {"attrs": keeper.item(value.attrs, ".attrs")} if value.attrs else {}
    return made if value.flags.allows_duplicate_labels else made | {"unique": True}


def _keep_frame(value: pd.DataFrame, keeper: Keeper) -> tuple[dict[str, JsonValue], pa.Table, bool]:
    index, columns = keep_index(value.index, keeper)
    names = [f"index {place}" for place in range(len(columns))]
    listed: list[JsonValue] = []
    for place, label in enumerate(value.columns):
        known, parts = keep_column(value.iloc[:, place].array, keeper)
        listed.append(known)
        columns += parts
        names += [str(label)] * len(parts) if type(label) is str else [""]
    known = {"is": "frame", "index": index, "columns": listed, "labels": pack_index(value.columns, keeper)}
    known |= _more(value, keeper)
    is_safe = _is_safe(index) and all(map(_is_safe, listed)) and "levels" not in known and not value.attrs
    return known, _table(known, columns, names), is_safe and type(value.columns) in (pd.Index, pd.RangeIndex)


def _keep_series(value: pd.Series[Any], keeper: Keeper) -> tuple[dict[str, JsonValue], pa.Table, bool]:
    index, columns = keep_index(value.index, keeper)
    values, parts = keep_column(value.array, keeper)
    known = {
        "is": "series",
        "index": index,
        "values": values,
        "name": keeper.item(value.name, ".name"),
        **_more(value, keeper),
    }
    names = [f"index {place}" for place in range(len(columns))] + [value.name if type(value.name) is str else ""] * len(
        parts
    )
    return known, _table(known, columns + parts, names), _is_safe(index) and _is_safe(values) and not value.attrs


def _keep_index(value: Any, keeper: Keeper) -> tuple[dict[str, JsonValue], pa.Table, bool]:
    index, columns = keep_index(value, keeper)
    known: dict[str, JsonValue] = {"is": "index", "index": index}
    return known, _table(known, columns, []), _is_safe(index)


def _check_equal(made: Any, value: Any) -> None:
    exact: dict[str, Any] = {"check_exact": True}
    match value:
        case pd.DataFrame():
            assert_frame_equal(made, value, check_column_type=True, check_index_type=True, **exact)
            assert_index_equal(made.columns, value.columns, exact=True)
            assert_index_equal(made.index, value.index, exact=True)
        case pd.Series():
            assert_series_equal(made, value, check_index_type=True, check_flags=True, **exact)
            assert_index_equal(made.index, value.index, exact=True)
        case _:
            assert_index_equal(made, value, exact=True)
            if getattr(made, "freq", None) != getattr(value, "freq", None):
                raise AssertionError("its freq is lost")
    if getattr(made, "attrs", None) != getattr(value, "attrs", None):
        raise AssertionError("its attrs are lost")


def _preview(value: Any) -> str:
    first = value[:_SHOWN_ROWS]
    match value:
        case pd.DataFrame():
            few = first.iloc[:, :_SHOWN_COLUMNS]
            rows = [[_cell(few.iloc[row, place]) for place in range(few.shape[1])] for row in range(len(few))]
            return lines_of([list(map(_cell, few.columns)), *rows], is_cut=value.shape[1] > _SHOWN_COLUMNS)
        case pd.Series():
            return lines_of([[_cell(label), _cell(first.iloc[row])] for row, label in enumerate(first.index)])
        case _:
            return lines_of([[_cell(label)] for label in first])


def _cell(cell: object) -> str:
    """Return a cell as text that is the same whenever the cell is: of what has no order, or no text of its own, the class."""
    known = type(cell).__module__.partition(".")[0] in _WITH_TEXTS and not isinstance(cell, set | frozenset)
    return str(cell) if known else type(cell).__name__


class _Tables:
    """What pandas holds in columns. What is not plainly safe is read back and compared before it counts as stored."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A DataFrame, a Series or an Index.
        """Return where the file is, size and first rows."""
        match value:
            case pd.DataFrame():
                known, table, is_safe = _keep_frame(value, keeper)
            case pd.Series():
                known, table, is_safe = _keep_series(value, keeper)
            case _:
                known, table, is_safe = _keep_index(value, keeper)
        if '"$artifact": ' in json.dumps(known):
            raise keeper.unkept(value, "its attrs hold something that needs a file of its own")
        if keeper.asks:
            keeper.ask(texts_in(known))
            keeper.ask(texts_of(table.replace_schema_metadata(None)))
        if not is_safe:
            self._try(value, table, keeper)
        name = keeper.file("parquet", lambda file: write_parquet(file, table))
        return {"$artifact": name, "size": shown_size(value.shape), "preview": _preview(value)}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the value; nobody else has it, and it can be changed."""
        path = restorer.open(data, "parquet")
        return _read(path, path.stat().st_size, restorer)

    def _try(self, value: Any, table: pa.Table, keeper: Keeper) -> None:
        file = BytesIO()
        try:
            write_parquet(file, table)
            _check_equal(_read(BytesIO(file.getvalue()), len(file.getvalue()), keeper.restorer()), value)
        except Unkept:
            raise
        except Exception as error:  # pandas, Arrow, or a comparison.
            said = f": {str(error).splitlines()[0]}" if not keeper.asks and str(error) else ""
            raise keeper.unkept(value, f"it would not come back equal ({type(error).__name__}{said})"[:300]) from error


FRAME: Final[Kind] = _Tables()
SERIES: Final[Kind] = FRAME
INDEX: Final[Kind] = FRAME
