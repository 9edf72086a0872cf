"""Arrow tables in Parquet files: written the same way every time, and read only after looking at what they would become."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from flownb.artifacts.kind import room_for

PACKING: Final = "lz4"
"""Measured with `python -m tests.benchmarks.artifacts`: zstd took a third more for a tenth less of numbers."""
_ROWS: Final = 1 << 20
"""In a row group."""
_WIDTH: Final = 16
"""Bytes that an item takes in memory besides its own: offsets and validity, at most."""
_PREVIEW_LENGTH: Final = 200
_SHOWN_CELL: Final = 40
_BLOCK: Final = 1 << 16
_TEXTS: Final = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
_BYTES: Final = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_fixed_size_binary)


def write_parquet(file: BinaryIO, table: pa.Table) -> None:
    """Write a table; equal tables give equal files.

    Args:
        file: Where to.
        table: Of types that Parquet has.

    Raises:
        pyarrow.ArrowException: It has others.
        ValueError: It is packed so well that reading it would look like a bomb.
    """
    table = table.combine_chunks()
    packed = [
        name for name, kind in zip(table.schema.names, table.schema.types, strict=True) if pa.types.is_dictionary(kind)
    ]
    written: list[Any] = []  # FileMetaData, which carries no types.
    with pq.ParquetWriter(
        file,
        table.schema,
        version="2.6",
        compression=PACKING,
        use_dictionary=packed,
        write_statistics=False,
        metadata_collector=written,
    ) as writer:
        writer.write_table(table, row_group_size=_ROWS)
    size = sum(_packed_size(one) for one in written)
    if any(need(one) > room_for(size) for one in written):
        raise ValueError("it is nearly all the same value: more than a thousand times larger than its file")


def _packed_size(metadata: Any) -> int:
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    return sum(group.column(place).total_compressed_size for group in groups for place in range(group.num_columns))


def need(metadata: Any) -> int:
    """Return how many bytes a file takes in memory at most, as its metadata says.

    Args:
        metadata: The `FileMetaData`.
    """
    total = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            total += max(0, column.total_uncompressed_size) + max(0, column.num_values) * _WIDTH
    return total


def check_parquet(source: Any, size: int, *, repeats: bool = False) -> Any:
    """Return the opened file, when it takes no more memory than one of its size can.

    Args:
        source: A path, or a file.
        size: Its bytes.
        repeats: Whether texts may stand once for many rows, as their reader keeps them once too.

    Raises:
        ValueError: It takes more, or holds types that are made by code.
    """
    file = pq.ParquetFile(source)
    metadata = file.metadata
    if need(metadata) > room_for(size) or metadata.num_rows * max(1, metadata.num_columns) > room_for(size):
        raise ValueError(f"it says that it takes {need(metadata):,} bytes in memory, {size:,} in the file")
    for field in file.schema_arrow:
        _check_type(field)
    if not repeats:
        _check_repeats(file)
    return file


def _check_repeats(file: Any) -> None:
    """Refuse texts that stand once in the file and a million times in memory."""
    metadata = file.metadata
    packed = {field.name for field in file.schema_arrow if pa.types.is_dictionary(field.type)}
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            column = group.column(place)
            is_packed = any("DICTIONARY" in encoding for encoding in column.encodings)
            if is_packed and "BYTE_ARRAY" in column.physical_type and column.path_in_schema.split(".")[0] not in packed:
                raise ValueError("texts of it stand once for many rows, as flownb never writes them")


def _check_type(field: Any) -> None:
    kind = field.type
    name = (field.metadata or {}).get(b"ARROW:extension:name", b"").decode("utf-8", "replace")
    if isinstance(kind, pa.BaseExtensionType):
        name, kind = kind.extension_name, kind.storage_type
    if name and (not name.startswith(("arrow.", "pandas.")) or name == "arrow.py_extension_type"):
        raise ValueError(f"it holds the type {name[:60]!r}, which needs code of its own")
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind):
        for place in range(kind.num_fields):
            _check_type(kind.field(place))


def original_schema(file: Any) -> Any:
    """Return the schema of the table that was written, where the file says it; else what it is read as.

    Args:
        file: An opened file, as `check_parquet` returns it.

    Raises:
        ValueError: It holds types that are made by code.
    """
    told = (file.metadata.metadata or {}).get(b"ARROW:schema")
    if told is None:
        return file.schema_arrow
    schema = pa.ipc.read_schema(pa.py_buffer(b64decode(told)))
    for field in schema:
        _check_type(field)
    return schema


def read_parquet(source: Any, size: int) -> pa.Table:
    """Return the table in a file, of the types that it had: Parquet itself has fewer.

    Args:
        source: A path, or a file.
        size: Its bytes.

    Raises:
        ValueError: See `check_parquet`.
        pyarrow.ArrowException: It is damaged.
    """
    with check_parquet(source, size) as file:
        table, schema = file.read(), original_schema(file)
        return table if table.schema.equals(schema, check_metadata=True) else table.cast(schema)


def texts_of(table: pa.Table) -> Iterator[str | bytes]:
    """Give the texts in a table: names, metadata and every text cell, many in one, a line each.

    Args:
        table: Of any types; what stands in lists and structs counts.
    """
    yield from table.schema.names
    for key, item in (table.schema.metadata or {}).items():
        yield from (key, item)
    for field in table.schema:
        for key, item in (field.metadata or {}).items():
            yield from (key, item)
    for column in table.columns:
        for chunk in column.chunks:
            yield from _texts(chunk)


def _texts(array: Any) -> Iterator[str | bytes]:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        yield from _texts(array.storage)
    elif pa.types.is_dictionary(kind):
        yield from _texts(array.dictionary)
    elif pa.types.is_struct(kind):
        yield from (kind.field(place).name for place in range(kind.num_fields))
        for part in array.flatten():
            yield from _texts(part)
    elif pa.types.is_nested(kind):
        yield from (json.dumps(item, default=str, ensure_ascii=False) for item in array.to_pylist())
    elif any(is_one(kind) for is_one in _TEXTS):
        yield from map("\n".join, _blocks(array))
    elif any(is_one(kind) for is_one in _BYTES):
        yield from map(b"\n".join, _blocks(array))


def _blocks(array: Any) -> Iterator[list[Any]]:
    for start in range(0, len(array), _BLOCK):
        yield [item for item in array.slice(start, _BLOCK).to_pylist() if item is not None]


def lines_of(rows: Iterable[Sequence[object]], *, is_cut: bool = False) -> str:
    """Return the first rows of a table as lines, cells with commas between; at most 200 characters.

    Args:
        rows: The cells of each.
        is_cut: Whether there are more columns.
    """
    more = ["…"] if is_cut else []
    return "\n".join(", ".join(str(cell)[:_SHOWN_CELL] for cell in [*row, *more]) for row in rows)[:_PREVIEW_LENGTH]
