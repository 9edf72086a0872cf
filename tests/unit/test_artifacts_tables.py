"""Tables and arrays come back equal, by their own libraries' comparison, or are said not to be kept."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal, assert_series_equal

from flownb.artifacts.encode import HoldsSecret, Unkept
from tests.kept import SECRET, Shelf, holds


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def objects(*cells: object) -> Any:
    made = np.empty(len(cells), dtype=object)
    for row, cell in enumerate(cells):
        made[row] = cell
    return made


def with_attrs() -> pd.DataFrame:
    made = pd.DataFrame({"a": [1]})
    made.attrs = {"source": ("x", 1), "at": date(2026, 1, 1)}
    return made


BERLIN = pd.date_range("2026-03-29", periods=3, freq="h", tz="Europe/Berlin")
LEVELS = pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", None])
FRAMES = {
    "plain": pd.DataFrame({"a": [1, 2], "b": [1.5, np.nan], "c": ["x", None], "d": [True, False]}),
    "small numbers": pd.DataFrame({name: np.array([1, 0], dtype=name) for name in ("i1", "u2", "f2", "f4", "u8", "c8", "c16")}),
    "texts as objects": pd.DataFrame({"a": pd.Series(["x", None], dtype=object)}),
    "objects": pd.DataFrame(
        {"a": objects(1, "x", None, np.nan, pd.NA, pd.NaT, Decimal("1.0"), [1], {"k": (1,)}, date(2026, 1, 1), b"x")}
    ),
    "times": pd.DataFrame({"a": pd.date_range("2026", periods=3), "b": BERLIN, "c": pd.to_timedelta([1, 2, None], unit="s")}),
    "units": pd.DataFrame({unit: pd.date_range("2026", periods=3).as_unit(unit) for unit in ("s", "ms", "us", "ns")}),
    "zoned units": pd.DataFrame({unit: BERLIN.as_unit(unit) for unit in ("s", "ms", "us", "ns")}),
    "may be missing": pd.DataFrame(
        {"a": pd.array([1, None], dtype="Int64"), "b": pd.array([1.5, None], dtype="Float32"), "c": pd.array([True, None], dtype="boolean")}
    ),
    "strings": pd.DataFrame({"a": pd.array(["x", None], dtype="string[python]"), "b": pd.array(["x", None], dtype="string[pyarrow]")}),
    "categories": pd.DataFrame({"a": pd.Categorical(["b", None], categories=["b", "a", "unused"], ordered=True), "b": pd.Categorical([3, 1])}),
    "cut": pd.DataFrame({"a": pd.cut(pd.Series([1, 5, 9]), 3)}),
    "periods": pd.DataFrame({"a": pd.period_range("2026-01", periods=2, freq="M"), "b": pd.interval_range(0, 2)}),
    "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}),
    "arrow": pd.DataFrame({"a": pd.array([1, None], dtype="int64[pyarrow]")}),
    "same names": pd.DataFrame([[1, 2.0]], columns=["a", "a"]),
    "names that are numbers": pd.DataFrame([[1, 2]]),
    "names of all kinds": pd.DataFrame([[1, 2, 3, 4]], columns=pd.Index([1, "1", None, (1, 2)], dtype=object)),
    "names that are times": pd.DataFrame([[1, 2]], columns=pd.date_range("2026", periods=2, freq="D")),
    "levels": pd.DataFrame([[1, 2], [3, 4]], index=LEVELS, columns=LEVELS),
    "index of times": pd.DataFrame({"a": [1, 2, 3]}, index=pd.date_range("2026", periods=3, freq="MS", name="t")),
    "index of categories": pd.DataFrame({"a": [1, 2]}, index=pd.CategoricalIndex(["x", "y"], name="k")),
    "index with a step": pd.DataFrame({"a": [1, 2]}, index=pd.RangeIndex(10, 4, -3, name="r")),
    "index of texts": pd.DataFrame({"a": [1, 2]}, index=["x", "y"]),
    "attrs": with_attrs(),
    "flags": pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False),
    "empty": pd.DataFrame(),
    "no rows": pd.DataFrame({"a": pd.Series([], dtype="f8"), "b": pd.Series([], dtype="str")}),
    "no columns": pd.DataFrame(index=["x", "y"]),
    "only rows": pd.DataFrame(index=range(4)),
    "described": pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}).describe(include="all"),
    "transposed": pd.DataFrame(np.arange(6.0).reshape(2, 3)).T,
}  # fmt: skip


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_comes_back_equal(shelf: Shelf, name: str) -> None:
    frame = FRAMES[name]
    made = shelf.there_and_back(frame)
    assert isinstance(made, pd.DataFrame)
    assert_frame_equal(made, frame, check_exact=True, check_index_type=True, check_column_type=True)
    assert_index_equal(made.columns, frame.columns, exact=True)
    assert (made.attrs, made.flags) == (frame.attrs, frame.flags)


def test_a_frame_that_came_back_can_be_changed(shelf: Shelf) -> None:
    made = shelf.there_and_back(FRAMES["plain"])
    assert isinstance(made, pd.DataFrame)
    made["a"] += 1
    made.loc[0, "b"] = 2.5
    assert made["a"].tolist() == [2, 3]


@pytest.mark.parametrize("name", FRAMES)
def test_each_of_its_columns_and_indexes_comes_back_by_itself(shelf: Shelf, name: str) -> None:
    frame = FRAMES[name]
    for place in range(frame.shape[1]):
        series = frame.iloc[:, place]
        made = shelf.there_and_back(series)
        assert isinstance(made, pd.Series)
        assert_series_equal(made, series, check_exact=True, check_index_type=True)
    for index in (frame.index, frame.columns):
        again: Any = shelf.there_and_back(index)
        assert_index_equal(again, index, exact=True)
        assert getattr(again, "freq", None) == getattr(index, "freq", None)


def test_the_journal_shows_size_and_first_rows(shelf: Shelf) -> None:
    made = shelf.keep(pd.DataFrame({"name": ["ana", "bo"] * 195, "n": range(390)}))
    assert isinstance(made.output, dict)
    assert (made.output["type"], made.output["size"]) == ("pandas.DataFrame", "390 \N{MULTIPLICATION SIGN} 2")
    assert made.output["preview"] == "name, n\nana, 0\nbo, 1\nana, 2"


def test_a_column_has_its_name_in_the_file(shelf: Shelf) -> None:
    shelf.keep(pd.DataFrame({"name": ["ana"], "n": [1]}))
    assert pa.parquet.read_schema(shelf.folder / shelf.names[0]).names == ["name", "n"]


@pytest.mark.parametrize(
    "frame, said",
    [
        (pd.DataFrame({"a": objects(object())}), "[0] (object)"),
        (pd.DataFrame({"a": objects(pd.DataFrame())}), "a cell holds something that needs a file of its own"),
        (type("Mine", (pd.DataFrame,), {})({"a": [1]}), "perhaps more than that"),
    ],
    ids=range(3),
)
def test_what_is_in_no_column_is_not_kept(shelf: Shelf, frame: object, said: str) -> None:
    with pytest.raises(Unkept) as found:
        shelf.keep(frame)
    assert said in str(found.value)
    assert shelf.names == []


def test_what_would_not_come_back_equal_is_tried_and_not_kept(shelf: Shelf) -> None:
    days = pd.date_range("2026-01-01", periods=3, freq=pd.offsets.CustomBusinessDay(holidays=["2026-01-02"]))
    for value in (days, pd.Series([1, 2, 3], days), pd.DataFrame({"a": [1, 2, 3]}, days)):
        with pytest.raises(Unkept, match="it would not come back equal"):
            shelf.keep(value)
    assert shelf.names == []


@pytest.mark.parametrize(
    "value",
    [
        pd.DataFrame({SECRET: [1]}),
        pd.DataFrame({"a": ["x", f"-{SECRET}-"]}),
        pd.DataFrame({"a": objects(1, [SECRET])}),
        pd.DataFrame({"a": pd.Categorical(["x"], categories=["x", SECRET])}),
        pd.DataFrame({"a": [1]}, index=[SECRET]),
        pd.Series([1], name=SECRET),
        pd.Index([SECRET]),
        np.array(["x", SECRET]),
        np.array([SECRET.encode()]),
        np.frombuffer(b"x" + SECRET.encode(), dtype="u1"),
        np.array([(1, SECRET)], dtype=[("a", "i4"), ("b", "U9")]),
        np.array([1], dtype=[(SECRET, "i4")]),
        np.str_(SECRET),
        pa.table({"a": [SECRET]}),
        pa.table({"a": [[{"b": SECRET}]]}),
        pa.table({"a": pa.array([SECRET]).dictionary_encode()}),
        pa.table({"a": [1]}).replace_schema_metadata({"k": SECRET}),
        pa.table({"a": [SECRET.encode()]}),
        pl.DataFrame({"a": [SECRET]}),
        pl.DataFrame({SECRET: [1]}),
        pl.DataFrame({"a": pl.Series([SECRET], dtype=pl.Categorical)}),
        pl.DataFrame({"a": [[SECRET]]}),
        pl.Series(["x"], dtype=pl.Enum(["x", SECRET])),
        {"a": pd.DataFrame({"a": [1]}), "b": pd.DataFrame({"a": [SECRET]})},
    ],
    ids=range(24),
)
def test_a_secret_in_a_table_is_found_before_anything_is_put(shelf: Shelf, value: object) -> None:
    with pytest.raises(HoldsSecret):
        shelf.keep(value, holds)
    assert shelf.names == []


def test_a_secret_in_attrs_is_found(shelf: Shelf) -> None:
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"k": [SECRET]}
    with pytest.raises(HoldsSecret):
        shelf.keep(frame, holds)


def test_a_frame_without_a_secret_is_stored_as_ever(shelf: Shelf) -> None:
    for frame in FRAMES.values():
        assert shelf.keep(frame, holds) == shelf.keep(frame)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(36.0).reshape(6, 6)[::2, ::-2],
        np.array(1.5),
        np.zeros((0, 3), dtype="f4"),
        np.array(["é", ""]),
        np.array([b"x"]),
        np.array([1, 2], dtype=">i4"),
        np.array([(1, 2.0, "é")], dtype=[("a", "i4"), ("é", "f8"), ("c", "U3")]),
        np.array(["2026-01-01", "NaT"], dtype="M8[D]"),
        np.array([1 + 2j]),
        np.array([True]),
        np.zeros(2, dtype="U0"),
        objects({"a": (1,)}, None, [np.arange(2.0).tolist()]),
        np.empty((2, 0), dtype=object),
    ],
    ids=range(15),
)
def test_an_array_comes_back_equal(shelf: Shelf, array: Any) -> None:
    made: Any = shelf.there_and_back(array)
    assert (type(made), made.dtype, made.shape) == (np.ndarray, array.dtype, array.shape)
    assert made.tolist() == array.tolist() or array.dtype.kind == "M"
    assert made.flags.writeable
    assert made.flags.f_contiguous == array.flags.f_contiguous or not array.flags.forc


@pytest.mark.parametrize(
    "value",
    [
        *(
            np.float64(1.5),
            np.float32(0.1),
            np.int8(3),
            np.uint64(2**64 - 1),
            np.bool_(True),
            np.str_("x"),
            np.bytes_(b"x"),
        ),
        *(np.datetime64("2026-01-01"), np.timedelta64(3, "s"), np.complex64(1j), np.longdouble(1) / 3, np.float16(2)),
        np.array([(1, 2.0)], dtype="i4,f8")[0],
    ],
    ids=range(13),
)
def test_a_single_value_of_numpy_comes_back(shelf: Shelf, value: Any) -> None:
    made: Any = shelf.there_and_back([value])
    assert (type(made[0]), made[0].dtype, made[0]) == (type(value), value.dtype, value)
    assert shelf.names == []


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_array([1], [True]),
        np.rec.array([(1,)], dtype=[("a", "i4")]),
        np.array([(1, None)], dtype="i4,O"),
        np.array([1], dtype=np.dtype("i4", metadata={"k": 1})),
        np.zeros(1, [(f"field{number}", "i4") for number in range(900)]),
        np.array(["x"], dtype=np.dtypes.StringDType()),
    ],
    ids=range(6),
)
def test_arrays_that_hold_more_are_not_kept(shelf: Shelf, value: object) -> None:
    with pytest.raises(Unkept, match=r"use|return|many"):
        shelf.keep(value)


@pytest.mark.parametrize(
    "value",
    [
        *(pd.Timestamp("2026-01-01 00:00:00.123456789"), pd.Timestamp("2026", tz="Europe/Berlin"), pd.Timedelta("1s")),
        *(pd.Period("2026Q1"), pd.Interval(0, 1.5, closed="both"), pd.Timestamp("2026", tz="UTC").as_unit("s")),
    ],
    ids=range(6),
)
def test_a_single_value_of_pandas_comes_back(shelf: Shelf, value: Any) -> None:
    made: Any = shelf.there_and_back({"v": value})
    assert (type(made["v"]), made["v"]) == (type(value), value)
    assert getattr(made["v"], "unit", None) == getattr(value, "unit", None)


def test_what_is_missing_comes_back_as_the_same_thing(shelf: Shelf) -> None:
    made: Any = shelf.there_and_back([pd.NaT, pd.NA])
    assert made[0] is pd.NaT
    assert made[1] is pd.NA


ARROW = pa.table(
    {
        "a": [1, None],
        "b": ["x", "y"],
        "c": [[1], [2, 3]],
        "d": [{"k": 1}, None],
        "e": pa.array(["x", "y"]).dictionary_encode(),
        "f": [Decimal("1.0"), None],
        "g": pa.array([1, 2], pa.timestamp("s", "Europe/Berlin")),
        "h": [time(1), None],
        "i": pa.array([1, 2], pa.duration("s")),
        "j": pa.array([b"ab", b"cd"], pa.binary(2)),
        "k": pa.array([UUID(int=1).bytes, None], pa.uuid()),
        "l": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int8())),
    },
    metadata={"who": "ana"},
)


@pytest.mark.parametrize(
    "table", [ARROW, ARROW.slice(1), ARROW.slice(0, 0), pa.concat_tables([ARROW, ARROW]), pa.table({})], ids=range(5)
)
def test_a_table_of_arrow_comes_back_equal(shelf: Shelf, table: pa.Table) -> None:
    made: Any = shelf.there_and_back(table)
    assert made.schema.equals(table.schema, check_metadata=True)
    assert made.equals(table)
    for batch in table.to_batches()[:1]:
        again: Any = shelf.there_and_back(batch)
        assert again.equals(batch, check_metadata=True)


def test_a_type_that_parquet_has_not_is_not_kept(shelf: Shelf) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(Unkept, match="Parquet does not hold it"):
        shelf.keep(pa.table({"a": union}))


POLARS = pl.DataFrame(
    {
        "a": [1, None],
        "b": ["x", "y"],
        "c": [[1], [2, 3]],
        "d": [{"k": 1}, {"k": None}],
        "e": pl.Series(["x", "y"], dtype=pl.Categorical),
        "f": [Decimal("1.0"), None],
        "g": [datetime(2026, 1, 1), None],
        "h": [time(1), None],
        "i": [timedelta(1), None],
        "j": [b"x", None],
        "k": [1.0, float("nan")],
        "l": pl.Series(["q", "r"], dtype=pl.Enum(["r", "q", "z"])),
        "m": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int8, 2)),
        "n": pl.Series([datetime(2026, 1, 1)] * 2, dtype=pl.Datetime("ns", "Europe/Berlin")),
        "o": [None, None],
    }
)


@pytest.mark.parametrize(
    "frame", [POLARS, POLARS.clear(), POLARS.head(1), pl.DataFrame(), pl.concat([POLARS, POLARS])], ids=range(5)
)
def test_a_frame_of_polars_comes_back_equal(shelf: Shelf, frame: pl.DataFrame) -> None:
    made = shelf.there_and_back(frame)
    assert isinstance(made, pl.DataFrame)
    assert made.schema == frame.schema
    assert made.equals(frame)
    for series in frame:
        again = shelf.there_and_back(series)
        assert isinstance(again, pl.Series)
        assert again.equals(series, check_dtypes=True, check_names=True)


def test_a_query_of_polars_is_not_kept_and_says_what_to_do(shelf: Shelf) -> None:
    with pytest.raises(Unkept, match=r"return \.collect\(\)"):
        shelf.keep(POLARS.lazy())


def test_python_objects_in_polars_are_not_kept(shelf: Shelf) -> None:
    with pytest.raises(Unkept):
        shelf.keep(pl.DataFrame({"a": [object()]}))


def test_a_dict_of_tables_is_a_tree_with_a_file_at_each_leaf(shelf: Shelf) -> None:
    value = {"rows": [FRAMES["plain"], {"x": np.arange(3)}], "n": 1}
    made: Any = shelf.there_and_back(value)
    assert_frame_equal(made["rows"][0], FRAMES["plain"])
    assert made["rows"][1]["x"].tolist() == [0, 1, 2]
    assert [name.rpartition(".")[2] for name in shelf.names].count("npy") == 1
    assert len(shelf.names) == 2
