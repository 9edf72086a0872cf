"""Stored tables as views of DuckDB over their Parquet files: only what is asked for is read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from flownb.artifacts.lazy_table import LazyTable

_SAME: Final = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
    | {"FLOAT", "DOUBLE", "VARCHAR", "DATE"}
)
"""Types that DuckDB finds in a file just as in the table that was stored."""
_FLOATS: Final = frozenset({"FLOAT", "DOUBLE"})
_SAME_OF_PANDAS: Final = frozenset({"text", "string"})
_NUMBERS: Final = "biufM"


def view_of(connection: Any, table: LazyTable) -> str | None:  # Any: DuckDB's connection.
    """Return a query that gives what the table itself would give; None: only the table itself does.

    Args:
        connection: One that may read the file.
        table: The table.
    """
    source = f"read_parquet({literal(str(table.path()))})"
    types = {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()}  # noqa: S608 quoted
    columns: Mapping[str, str] | None = types
    if table.kind == "pandas.DataFrame":
        query = f"SELECT value FROM parquet_kv_metadata({literal(str(table.path()))}) WHERE key = 'flownb'::BLOB"  # noqa: S608 quoted
        found = connection.execute(query).fetchall()  # All of it: while a result is open, nothing can be registered.
        columns = _of_pandas(json.loads(found[0][0]), types) if found else None
    elif not set(types.values()) <= _SAME:
        return None
    if not columns:
        return None
    is_pandas = table.kind == "pandas.DataFrame"
    listed = ", ".join(
        f"nullif({quoted_name(column)}, 'nan'::{kind}) AS {quoted_name(column)}"
        if is_pandas and kind in _FLOATS
        else quoted_name(column)
        for column, kind in columns.items()
    )
    return f"SELECT {listed} FROM {source}"  # noqa: S608 all of it is quoted


def _of_pandas(
    known: Any, types: Mapping[str, str]
) -> Mapping[str, str] | None:  # Any: what a file says, which may be anything.
    """Return name → type of the columns of a DataFrame, without its index; None: the file holds some in another way."""
    try:
        kept, labels = known["columns"], known["labels"]["packed"]["texts"]
        is_same = known["is"] == "frame" and all(map(_is_same, kept)) and len(kept) == len(labels)
    except (KeyError, TypeError):
        return None
    if not is_same or list(types)[-len(labels) :] != labels:
        return None
    return {label: types[label] for label in labels}


def _is_same(column: Any) -> bool:  # Any: as above.
    way, dtype = column["as"], str(column.get("dtype", ""))
    return way in _SAME_OF_PANDAS or (way == "numpy" and dtype[1:2] in _NUMBERS and dtype[1:] != "f2")


def literal(text: str) -> str:
    """Return a text as SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def quoted_name(text: str) -> str:
    """Return a name as SQL has it."""
    return '"' + text.replace('"', '""') + '"'
