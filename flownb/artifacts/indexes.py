"""Indexes of pandas: their labels, names, classes and frequencies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pyarrow as pa
from pydantic import JsonValue

from flownb.artifacts.columns import keep_column, pack, read_column, unpack
from flownb.artifacts.kind import Fields, Keeper, Restorer
from flownb.artifacts.scalars import int_in, list_in, text_in


def keep_index(index: Any, keeper: Keeper) -> tuple[dict[str, JsonValue], list[pa.Array]]:
    """Return what is to be known of an index, and the columns of Arrow that hold its labels.

    Args:
        index: Any of pandas' own.
        keeper: Stores names, and labels of type `object`.
    """
    name = keeper.item(index.name, ".name")
    if type(index) is pd.RangeIndex:
        return {"index": "range", "start": index.start, "stop": index.stop, "step": index.step, "name": name}, []
    if type(index) is pd.MultiIndex:
        kept = [keep_column(index.get_level_values(level).array, keeper) for level in range(index.nlevels)]
        names = [keeper.item(one, ".names") for one in index.names]
        levels: list[JsonValue] = [known for known, _ in kept]
        return {"index": "levels", "levels": levels, "names": names}, [one for _, columns in kept for one in columns]
    known, columns = keep_column(index.array, keeper)
    freq = getattr(index, "freq", None)
    often: dict[str, JsonValue] = (
        {"freq": freq.freqstr} if freq is not None and type(index) is not pd.PeriodIndex else {}
    )
    return {"index": "labels", "labels": known, "name": name, **often}, columns


def read_index(known: Fields, columns: Iterator[pa.ChunkedArray], restorer: Restorer) -> Any:
    """Return the index.

    Args:
        known: What `keep_index` returned.
        columns: Gives the columns of Arrow, in order.
        restorer: Brings back names and labels.

    Raises:
        ValueError: What is known does not fit what there is.
    """
    match text_in(known, "index"):
        case "range":
            bounds = [int_in(known, part) for part in ("start", "stop", "step")]
            return pd.RangeIndex(*bounds, name=restorer.item(known.get("name")))
        case "levels":
            levels = [read_column(_known(one), columns, restorer) for one in list_in(known, "levels")]
            names = [restorer.item(name) for name in list_in(known, "names")]
            return pd.MultiIndex.from_arrays([_plain(level) for level in levels], names=names)
        case _:
            return _labels(read_column(_known(known.get("labels")), columns, restorer), known, restorer)


def pack_index(index: Any, keeper: Keeper) -> dict[str, JsonValue]:
    """Return an index as JSON: that of the columns."""
    if type(index) is pd.RangeIndex:
        return keep_index(index, keeper)[0]
    if type(index) is pd.MultiIndex:
        packed: list[JsonValue] = [pack(index.get_level_values(level).array, keeper) for level in range(index.nlevels)]
        return {"index": "levels", "packed": packed, "names": [keeper.item(one, ".names") for one in index.names]}
    return {**keep_index(index, keeper)[0], "packed": pack(index.array, keeper)}


def unpack_index(known: Fields, restorer: Restorer) -> Any:
    """Return the index that `pack_index` made JSON of."""
    match known.get("packed"):
        case None:
            return read_index(known, iter(()), restorer)
        case list() as levels:
            arrays = [_plain(unpack(_known(level), restorer)) for level in levels]
            return pd.MultiIndex.from_arrays(arrays, names=[restorer.item(name) for name in list_in(known, "names")])
        case packed:
            return _labels(unpack(_known(packed), restorer), known, restorer)


def _labels(labels: Any, known: Fields, restorer: Restorer) -> Any:
    index = _plain(labels).rename(restorer.item(known.get("name")))
    if "freq" in known:
        index.freq = pd.tseries.frequencies.to_offset(text_in(known, "freq"))
    return index


def _plain(labels: Any) -> Any:
    return pd.Index(labels, dtype=labels.dtype, copy=False)


def _known(data: object) -> Fields:
    if not isinstance(data, dict):
        raise ValueError("what is known of an index is missing")  # noqa: TRY004 what is wrong is the data
    return data
