"""Tables and record batches of pyarrow in Parquet files."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

import pyarrow as pa
from pydantic import JsonValue

from flownb.artifacts.arrays import shown_size
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.parquet import lines_of, read_parquet, texts_of, write_parquet

_SAFE: Final = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_float32,
    pa.types.is_float64,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_date32,
)
"""Types that Parquet gives back, whatever is in them; the others are tried."""


_SHOWN_ROWS, _SHOWN_COLUMNS = 3, 6


class _Tables:
    """A table, or a batch, which is stored as the table of it alone."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A Table or a RecordBatch.
        """Return where the file is, size and first rows."""
        table = value if isinstance(value, pa.Table) else pa.Table.from_batches([value])
        if not table.num_columns and table.num_rows:
            raise keeper.unkept(value, "it has rows, but no column")
        keeper.ask(texts_of(table) if keeper.asks else ())
        if not all(any(is_one(kind) for is_one in _SAFE) for kind in table.schema.types) or _is_known(table.schema):
            self._try(value, table, keeper)
        name = keeper.file("parquet", lambda file: write_parquet(file, table))
        return {"$artifact": name, "size": shown_size(table.shape), "preview": _preview(table)}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the table, or the batch."""
        path = restorer.open(data, "parquet")
        table = read_parquet(path, path.stat().st_size)
        if data.get("type") == "pyarrow.Table":
            return table
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)

    def _try(self, value: Any, table: pa.Table, keeper: Keeper) -> None:
        file = BytesIO()
        try:
            write_parquet(file, table)
            made = read_parquet(BytesIO(file.getvalue()), len(file.getvalue()))
        except (pa.ArrowException, ValueError) as error:
            said = f": {str(error)[:200]}" if not keeper.asks else ""
            raise keeper.unkept(value, f"Parquet does not hold it ({type(error).__name__}{said})") from error
        if not made.schema.equals(table.schema, check_metadata=True):
            raise keeper.unkept(value, "Parquet would give other types back; cast those that are rare")
        if made.combine_chunks() != table.combine_chunks() and not _has_nan(table):
            raise keeper.unkept(value, "it would not come back equal")


def _preview(table: pa.Table) -> str:
    few = table.slice(0, _SHOWN_ROWS).select(range(min(_SHOWN_COLUMNS, table.num_columns)))
    rows = zip(*(column.to_pylist() for column in few.columns), strict=True)
    return lines_of([few.column_names, *rows], is_cut=table.num_columns > _SHOWN_COLUMNS)


def _is_known(schema: Any) -> bool:
    return any(field.metadata or not field.nullable for field in schema)


def _has_nan(table: pa.Table) -> bool:
    return bool(table != table)  # noqa: PLR0124 where a NaN is, it does not equal itself


TABLE: Final[Kind] = _Tables()
BATCH: Final[Kind] = TABLE
