"""DataFrames and Series of polars in Parquet files, by polars' own writer."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO, Final

import polars as pl
from polars.testing import assert_frame_equal
from pydantic import JsonValue

from flownb.artifacts.arrays import shown_size
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, room_for
from flownb.artifacts.parquet import check_parquet, lines_of, need

_SAFE: Final = (pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_SAFE_TOO: Final = (pl.Float32, pl.Float64, pl.String, pl.Date)
"""Types that Parquet gives back, whatever is in them; the others are tried."""
_SHOWN_ROWS, _SHOWN_COLUMNS = 3, 6
_BLOCK: Final = 1 << 16


def _write(file: BinaryIO, frame: pl.DataFrame) -> None:
    packed = BytesIO()
    frame.rechunk().write_parquet(packed, compression="lz4", statistics=False, row_group_size=1 << 20)
    data = packed.getbuffer()
    with check_parquet(BytesIO(data), len(data), repeats=True) as written:
        if need(written.metadata) > room_for(len(data)):
            raise ValueError("it is nearly all the same value: more than a thousand times larger than its file")
    file.write(data)


def _texts(frame: pl.DataFrame) -> Iterator[str | bytes]:
    yield from frame.columns
    for series in frame:
        if series.dtype in (pl.Categorical, pl.Enum):
            yield "\n".join(series.unique().cast(pl.String).drop_nulls().to_list())
            yield "\n".join(series.dtype.categories.to_list() if isinstance(series.dtype, pl.Enum) else ())
        elif series.dtype == pl.String:
            for start in range(0, len(series), _BLOCK):
                yield "\n".join(series.slice(start, _BLOCK).drop_nulls().to_list())
        elif series.dtype == pl.Binary:
            for start in range(0, len(series), _BLOCK):
                yield b"\n".join(series.slice(start, _BLOCK).drop_nulls().to_list())
        elif series.dtype.is_nested():
            for item in series:
                yield str(item.to_list() if isinstance(item, pl.Series) else item)


def _preview(frame: pl.DataFrame) -> str:
    few = frame.select(frame.columns[:_SHOWN_COLUMNS]).head(_SHOWN_ROWS)
    return lines_of([few.columns, *few.rows()], is_cut=frame.width > _SHOWN_COLUMNS)


class _Frames:
    """A DataFrame, or a Series, which is stored as the frame of it alone."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A DataFrame or a Series.
        """Return where the file is, size and first rows."""
        frame = value if isinstance(value, pl.DataFrame) else value.to_frame()
        if not frame.width and frame.height:
            raise keeper.unkept(value, "it has rows, but no column")
        keeper.ask(_texts(frame) if keeper.asks else ())
        if not all(dtype in (*_SAFE, *_SAFE_TOO) for dtype in frame.dtypes):
            self._try(value, frame, keeper)
        name = keeper.file("parquet", lambda file: _write(file, frame))
        return {"$artifact": name, "size": shown_size(value.shape), "preview": _preview(frame)}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the frame, or the series."""
        path = restorer.open(data, "parquet")
        check_parquet(path, path.stat().st_size, repeats=True).close()
        frame = pl.read_parquet(path, memory_map=False, use_statistics=False, glob=False)
        return frame if data.get("type") == "polars.DataFrame" else frame.to_series()

    def _try(self, value: Any, frame: pl.DataFrame, keeper: Keeper) -> None:
        file = BytesIO()
        try:
            _write(file, frame)
            assert_frame_equal(pl.read_parquet(BytesIO(file.getvalue())), frame, check_exact=True)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, AssertionError, ValueError, OSError) as error:
            said = f": {str(error).splitlines()[0]}"[:200] if not keeper.asks and str(error) else ""
            raise keeper.unkept(value, f"it would not come back equal ({type(error).__name__}{said})") from error


class _Lazy:
    """A query that was not run yet: what it reads may be gone when it would come back."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:
        """Say what to do."""
        raise keeper.unkept(value, "it is a query that was not run yet; return .collect() of it")

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Refuse: none was ever stored."""
        raise restorer.refused(data, "queries are never stored")


FRAME: Final[Kind] = _Frames()
SERIES: Final[Kind] = FRAME
LAZY: Final[Kind] = _Lazy()
