"""DataFrames from files and into files, by pandas, polars and Arrow."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import JsonValue

from flownb.errors import NodeError
from flownb.model.file_names import is_packed
from flownb.runtimes.files.cells import CellError, check_columns
from flownb.runtimes.files.csvs import delimiter_in
from flownb.runtimes.files.source import encoding_of

_ROWS: Final = 1 << 20
"""In a batch that is read and a row group that is written, at most; as Arrow has it."""
_PANDAS_TYPES: Final = {"str": "string", "int": "Int64", "float": "float64", "bool": "boolean"}
_MOMENTS: Final = frozenset({"date", "datetime"})
_LINE: Final = re.compile(r"in line (\d+)|row (\d+)")


def library(name: str, what: str) -> Any:
    """Return a module of the extra `data`.

    Raises:
        NodeError: It is not installed; the hint says what to do.
    """
    try:
        return import_module(name)
    except ImportError:
        raise NodeError(
            f"{what} needs {name.partition('.')[0]}, which is not installed", "pip install 'flownb[data]'"
        ) from None


def read_csv_frame(path: Path, shown: str, file: io.BufferedReader, dtypes: Mapping[str, str], delimiter: str) -> Any:
    """Return a text table as pandas reads it.

    Args:
        path: The file.
        shown: What messages call it.
        file: It, opened; only looked into.
        dtypes: Column → type.
        delimiter: What parts the cells; empty: what the first line says.

    Raises:
        NodeError: pandas cannot read it.
        UnicodeDecodeError: It is no text.
    """
    pandas = library("pandas", "a DataFrame")
    first = file.peek(1 << 16)[: 1 << 16].partition(b"\n")[0].decode(encoding_of(file), "replace")
    columns = {name: _PANDAS_TYPES.get(kind, kind) for name, kind in dtypes.items() if kind not in _MOMENTS}
    moments = [name for name, kind in dtypes.items() if kind in _MOMENTS]
    try:
        frame = pandas.read_csv(
            path,  # Opened by itself: twice as fast as from an object.
            sep=delimiter or delimiter_in(first),
            encoding=encoding_of(file),
            compression="gzip" if is_packed(shown) else None,
            dtype=columns or None,
            parse_dates=moments or None,
        )
        check_columns(dtypes, list(map(str, frame.columns)))
    except pandas.errors.EmptyDataError:
        return pandas.DataFrame()
    except UnicodeDecodeError:
        raise
    except CellError as error:
        raise _bad(shown, *error.args) from None
    except (ValueError, TypeError) as error:  # What pandas' parser raises too.
        raise _bad(shown, str(error)) from None
    return frame


def frame_of(rows: JsonValue, shown: str, dtypes: Mapping[str, str]) -> Any:
    """Return a list of objects as a DataFrame of pandas.

    Raises:
        NodeError: It is none, or a column cannot be of its type.
    """
    pandas = library("pandas", "a DataFrame")
    return typed(pandas.DataFrame(rows_in(rows, shown, "output: dataframe")), shown, dtypes)


def rows_in(value: object, shown: str, wanted: str) -> list[dict[str, object]]:
    """Return a value that is a list of objects.

    Raises:
        NodeError: It is something else.
    """
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise NodeError(
            f"{shown} holds no list of objects, which `{wanted}` takes",
            "leave it out, or shape the data in a node below",
        )
    return value


def typed(frame: Any, shown: str, dtypes: Mapping[str, str]) -> Any:
    """Return a DataFrame whose columns have the types that `dtypes` says.

    Raises:
        NodeError: A column cannot be of its type, or is not there.
    """
    if not dtypes:
        return frame
    pandas = library("pandas", "a DataFrame")
    try:
        check_columns(dtypes, list(map(str, frame.columns)))
        for name, kind in dtypes.items():
            column = frame[name]
            frame[name] = (
                pandas.to_datetime(column) if kind in _MOMENTS else column.astype(_PANDAS_TYPES.get(kind, kind))
            )
    except CellError as error:
        raise _bad(shown, *error.args) from None
    except (ValueError, TypeError) as error:
        raise _bad(shown, str(error)) from None
    return frame


def read_parquet(path: Path, shown: str, check: Callable[[], None]) -> Any:
    """Return a Parquet file as an Arrow table.

    Args:
        path: The file.
        shown: What messages call it.
        check: Called for each batch of rows; may raise.

    Raises:
        NodeError: It is no Parquet.
    """
    arrow, dataset = library("pyarrow", "Parquet"), library("pyarrow.dataset", "Parquet")
    try:
        # As a dataset of one file: its row groups are read on all processors, and batch by batch, so that a cancelled node ends.
        found = dataset.dataset(path, format="parquet", partitioning=None)
        batches = []
        for batch in found.scanner(batch_size=_ROWS).to_batches():
            check()
            batches.append(batch)
        return arrow.Table.from_batches(batches, schema=found.schema)
    except (arrow.ArrowException, OSError) as error:
        raise NodeError(f"{shown} is no whole Parquet file: {str(error).splitlines()[0]}", "make it anew") from None


def to_pandas(table: Any) -> Any:
    """Return an Arrow table as a DataFrame of pandas; the table is of no use afterwards: it gives up column by column."""
    return table.to_pandas(split_blocks=True, self_destruct=True)


def is_frame(value: object) -> bool:
    """Return whether a value is a DataFrame of pandas or polars, or an Arrow table."""
    kind = type(value)
    known = {("pandas", "DataFrame"), ("polars", "DataFrame"), ("pyarrow", "Table")}
    return (kind.__module__.partition(".")[0], kind.__name__) in known


def write_parquet(file: BinaryIO, value: Any, check: Callable[[], None]) -> None:
    """Write a DataFrame, an Arrow table or a list of objects as Parquet, a row group at a time.

    Raises:
        NodeError: It holds what Parquet does not have.
    """
    arrow = library("pyarrow", "Parquet")
    pq = library("pyarrow.parquet", "Parquet")
    try:
        schema, parts = _parts(arrow, value)
        with pq.ParquetWriter(file, schema) as writer:
            for part in parts:
                check()
                writer.write_table(part)
    except (arrow.ArrowException, TypeError, OverflowError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NodeError(f"parquet cannot hold it: {said}", "give each column values of one type") from None


def _parts(arrow: Any, value: Any) -> tuple[Any, Iterator[Any]]:
    """Return the schema of a table and its row groups."""
    module = type(value).__module__.partition(".")[0]
    if module == "pandas":
        schema = arrow.Schema.from_pandas(value)
        starts = range(0, len(value), _ROWS) or range(1)
        return schema, (arrow.Table.from_pandas(value.iloc[at : at + _ROWS], schema=schema) for at in starts)
    table = (
        value.to_arrow()
        if module == "polars"
        else value
        if module == "pyarrow"
        else arrow.Table.from_pylist(_filled(value))
    )
    return table.schema, (table.slice(at, _ROWS) for at in range(0, table.num_rows, _ROWS) or range(1))


def _filled(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Return objects that all have the names of all: Arrow takes those of the first."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in names} for row in rows]


def write_csv_frame(file: io.TextIOWrapper, value: Any, delimiter: str) -> None:
    """Write a DataFrame or an Arrow table as a text table; an index only where it says something."""
    match type(value).__module__.partition(".")[0]:
        case "pandas":
            value.to_csv(file, index=_says_something(value.index), sep=delimiter, lineterminator="\n")
        case "polars":
            value.write_csv(file, separator=delimiter)
        case _:
            options = library("pyarrow.csv", "a table").WriteOptions(delimiter=delimiter, quoting_style="needed")
            file.flush()
            library("pyarrow.csv", "a table").write_csv(value, file.buffer, options)


def rows_of(value: Any) -> list[dict[str, object]]:
    """Return a DataFrame or an Arrow table as a list of objects; what is missing is None."""
    match type(value).__module__.partition(".")[0]:
        case "pandas":
            arrow = library("pyarrow", "a DataFrame")
            told = value.reset_index() if _says_something(value.index) else value
            return list(arrow.Table.from_pandas(told, preserve_index=False).to_pylist())
        case "polars":
            return list(value.iter_rows(named=True))
        case _:
            return list(value.to_pylist())


def _says_something(index: Any) -> bool:
    """Return whether an index of pandas is more than the numbers of its rows."""
    return type(index).__name__ != "RangeIndex" or index.name is not None


def _bad(shown: str, message: str, hint: str = "") -> NodeError:
    found = _LINE.search(message)
    line = f":{found[1]}" if found and found[1] else ""
    said = message.splitlines()[0].removeprefix("Error tokenizing data. C error: ")
    return NodeError(f"{shown}{line}: {said}", hint or "put it right, or say other `dtypes`")
