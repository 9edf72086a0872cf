"""One column of pandas as columns of Arrow, with what else is to be known of it; and back."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Restorer
from flownb.artifacts.parquet import read_parquet, texts_of, write_parquet
from flownb.artifacts.scalars import list_in, text_in
from flownb.artifacts.times import zone_fields, zone_in

Column = Any
"""A one-dimensional array of NumPy or pandas: neither carries types that say so."""
_NUMBERS: Final = "biuf"
_UNITS: Final = ("ms", "us", "ns")
"""Of time, as Parquet has them."""


def keep_column(values: Column, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    """Return what is to be known of a column, and the columns of Arrow that hold it.

    Args:
        values: The column.
        keeper: Stores what stands in cells of type `object`.

    Raises:
        Unkept: It is of a type that is not stored.
    """
    dtype = values.dtype
    if isinstance(dtype, np.dtype) or type(values) is pd.arrays.NumpyExtensionArray:  # Texts have a subclass of that.
        return _keep_numpy(np.asarray(values), keeper)
    for kind, keep in _KEEPS:
        if isinstance(dtype, kind):
            return keep(values, keeper)
    raise keeper.unkept(values, f"columns of type {dtype} are not stored; use .astype(…)")


def read_column(known: Fields, columns: Iterator[pa.ChunkedArray], restorer: Restorer) -> Column:
    """Return the column, of which nothing else has a part.

    Args:
        known: What `keep_column` returned.
        columns: Gives the columns of Arrow, in order.
        restorer: Brings back what stands in cells.

    Raises:
        ValueError: What is known does not fit what there is.
    """
    reads: dict[str, Callable[[], Column]] = {
        "numpy": lambda: _read_numpy(known, columns),
        "text": lambda: _objects(next(columns).to_pylist()),
        "items": lambda: _objects([restorer.item(json.loads(cell)) for cell in next(columns).to_pylist()]),
        "category": lambda: pd.Categorical.from_codes(
            next(columns).to_numpy(),
            categories=pd.Index(unpack(_inner(known, "categories"), restorer), copy=False),
            ordered=known.get("ordered") is True,
        ),
        "zoned": lambda: _read_zoned(known, columns),
        "masked": lambda: _dtype(known).__from_arrow__(next(columns)),
        "string": lambda: _read_string(_string(known), next(columns)),
        "arrow": lambda: pd.arrays.ArrowExtensionArray(next(columns)),
        "period": lambda: pd.arrays.PeriodArray(next(columns).to_numpy(), dtype=pd.PeriodDtype(text_in(known, "freq"))),
        "interval": lambda: pd.arrays.IntervalArray.from_arrays(
            read_column(_inner(known, "left"), columns, restorer),
            read_column(_inner(known, "right"), columns, restorer),
            closed=text_in(known, "closed"),
        ),
        "sparse": lambda: pd.arrays.SparseArray(
            read_column(_inner(known, "dense"), columns, restorer), fill_value=restorer.item(known.get("fill"))
        ),
    }
    if (read := reads.get(text_in(known, "as"))) is None:
        raise ValueError(f"a column is stored as {known.get('as')!r:.40}")
    return read()


def pack(values: Column, keeper: Keeper) -> dict[str, JsonValue]:
    """Return a column as JSON: for labels and categories, which are not as many as the rows."""
    known, columns = keep_column(values, keeper)
    table = pa.table(dict(zip(map(str, range(len(columns))), columns, strict=True)))
    if known["as"] in ("text", "string") and not columns[0].null_count:
        return {"known": known, "texts": columns[0].to_pylist()}
    file = BytesIO()
    write_parquet(file, table)
    keeper.ask(texts_of(table))
    return {"known": known, "parquet": b64encode(file.getvalue()).decode()}


def unpack(data: Fields, restorer: Restorer) -> Column:
    """Return the column.

    Raises:
        ValueError: It is damaged.
    """
    known = _inner(data, "known")
    if "texts" in data:
        table = pa.table({"0": pa.array(list_in(data, "texts"), pa.large_string())})
    else:
        packed = b64decode(text_in(data, "parquet"), validate=True)
        table = read_parquet(BytesIO(packed), len(packed))
    return read_column(known, iter(table.columns), restorer)


def _keep_numpy(values: np.ndarray[Any, Any], keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    dtype = values.dtype
    known: dict[str, JsonValue] = {"as": "numpy", "dtype": dtype.str}
    if dtype.kind in _NUMBERS and dtype.itemsize <= 8:  # noqa: PLR2004 bytes; longdouble is no type of Arrow's
        return known, [pa.array(np.ascontiguousarray(values, dtype.newbyteorder("=")))]
    if dtype.kind == "M" and np.datetime_data(dtype) in [(unit, 1) for unit in _UNITS]:
        return known, [pa.array(values)]
    if dtype.kind in "mM":
        return known, [pa.array(np.ascontiguousarray(values).view("i8"))]
    if dtype.kind == "c" and dtype.itemsize <= 16:  # noqa: PLR2004 bytes; as above
        return known, [pa.array(np.ascontiguousarray(part)) for part in (values.real, values.imag)]
    if dtype.kind != "O":
        raise keeper.unkept(values, f"columns of type {dtype} are not stored; use .astype(…)")
    cells = values.tolist()
    kinds = set(map(type, cells))
    if kinds <= {str, type(None)}:
        return {"as": "text"}, [pa.array(cells, pa.large_string())]
    texts = [json.dumps(keeper.item(cell, f"[{row}]")) for row, cell in enumerate(cells)]
    if any('"$artifact": ' in text for text in texts):
        raise keeper.unkept(values, "a cell holds something that needs a file of its own")
    return {"as": "items"}, [pa.array(texts, pa.large_string())]


def _read_numpy(known: Fields, columns: Iterator[pa.ChunkedArray]) -> np.ndarray[Any, Any]:
    dtype = np.dtype(text_in(known, "dtype"))
    if dtype.kind not in "biufcmM":
        raise ValueError(f"{dtype!s:.40} is no type of a column of numbers")
    if dtype.kind == "c":
        real, imaginary = next(columns).to_numpy(), next(columns).to_numpy()
        made = np.empty(len(real), dtype)
        made.real, made.imag = real, imaginary
        return made
    values = np.array(next(columns).to_numpy())  # Its own: what Arrow holds cannot be written to.
    return values.view(dtype) if dtype.kind in "mM" and values.dtype.kind == "i" else values.astype(dtype, copy=False)


def _objects(cells: list[object]) -> np.ndarray[Any, Any]:
    made = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):  # Not at once: a list in a cell would be taken for a row.
        made[row] = cell
    return made


def _keep_category(values: Column, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    known: dict[str, JsonValue] = {"as": "category", "ordered": bool(values.ordered)}
    known["categories"] = pack(values.categories.array, keeper)
    return known, [pa.array(np.ascontiguousarray(values.codes))]


def _keep_zoned(values: Column, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    zone = zone_fields(values.dtype.tz)
    if not zone:
        raise keeper.unkept(values, "its time zone is of another kind than zoneinfo's; use .dt.tz_convert('Area/City')")
    unit = values.dtype.unit
    ticks = np.ascontiguousarray(values.asi8)
    return {"as": "zoned", "unit": unit, **zone}, [pa.array(ticks.view(f"M8[{unit}]") if unit in _UNITS else ticks)]


def _read_zoned(known: Fields, columns: Iterator[pa.ChunkedArray]) -> Column:
    dtype = pd.DatetimeTZDtype(text_in(known, "unit"), zone_in(known))
    instants = np.array(next(columns).to_numpy()).view(f"M8[{dtype.unit}]")
    return pd.DatetimeIndex(instants).tz_localize("UTC").tz_convert(dtype.tz).array


def _keep_masked(values: Column, _keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    return {"as": "masked", "dtype": values.dtype.name}, [pa.array(values)]


def _dtype(known: Fields) -> Any:
    dtype = pd.api.types.pandas_dtype(text_in(known, "dtype"))
    if not isinstance(dtype, _MASKED):
        raise ValueError(f"{dtype!s:.40} is no type of numbers that may be missing")  # noqa: TRY004 what is wrong is the data
    return dtype


def _keep_string(values: Column, _keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    dtype = values.dtype
    missing = "NA" if dtype.na_value is pd.NA else "nan"
    array = pa.array(values, pa.large_string())
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return {"as": "string", "storage": dtype.storage, "missing": missing}, [whole]


def _string(known: Fields) -> Any:
    return pd.StringDtype(text_in(known, "storage"), na_value=pd.NA if known.get("missing") == "NA" else np.nan)


def _read_string(dtype: Any, column: pa.ChunkedArray) -> Column:
    return dtype.__from_arrow__(column) if dtype.storage == "pyarrow" else pd.array(column.to_pylist(), dtype=dtype)


def _keep_arrow(values: Column, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    array = pa.array(values)
    if isinstance(array.type, pa.BaseExtensionType):
        raise keeper.unkept(values, f"columns of type {values.dtype} are not stored; use .astype(…)")
    whole = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    return {"as": "arrow"}, [whole]


def _keep_period(values: Column, _keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    return {"as": "period", "freq": values.freqstr}, [pa.array(np.ascontiguousarray(values.asi8))]


def _keep_interval(values: Column, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    left, left_columns = keep_column(values.left.array, keeper)
    right, right_columns = keep_column(values.right.array, keeper)
    return {"as": "interval", "closed": values.closed, "left": left, "right": right}, [*left_columns, *right_columns]


def _keep_sparse(values: Column, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    dense, columns = keep_column(np.asarray(values), keeper)
    return {"as": "sparse", "fill": keeper.item(values.fill_value, ".fill_value"), "dense": dense}, columns


def _inner(known: Fields, name: str) -> Fields:
    if not isinstance(found := known.get(name), dict):
        raise ValueError(f"`{name}` of a column is missing")  # noqa: TRY004 what is wrong is the data
    return found


_MASKED: Final = tuple(
    type(pd.array([], dtype=name).dtype)
    for name in (
        "boolean",
        *(f"{kind}{bits}" for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)),
        "Float32",
        "Float64",
    )
)
_KEEPS: Final[tuple[tuple[Any, Callable[[Column, Keeper], tuple[dict[str, JsonValue], list[pa.Array]]]], ...]] = (
    (pd.CategoricalDtype, _keep_category),
    (pd.DatetimeTZDtype, _keep_zoned),
    (_MASKED, _keep_masked),
    (pd.StringDtype, _keep_string),
    (pd.ArrowDtype, _keep_arrow),
    (pd.PeriodDtype, _keep_period),
    (pd.IntervalDtype, _keep_interval),
    (pd.SparseDtype, _keep_sparse),
)
