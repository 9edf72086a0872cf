"""Any tree of values, any frame and any array comes back equal and of the same types, and is stored the same way twice."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pandas.testing import assert_frame_equal

from flownb.artifacts.decode import Refused, artifact_names, decode
from flownb.artifacts.encode import Unkept, encode
from flownb.store.artifacts import ArtifactStore
from tests.kept import Shelf

ZONES = st.none() | st.timezones() | st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TEXTS = st.text(st.characters(codec=None), max_size=8)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.binary(max_size=9)
    | st.complex_numbers()
    | st.decimals()
    | st.fractions()
    | st.uuids()
    | st.dates()
    | st.times(timezones=ZONES)
    | st.datetimes(timezones=ZONES)
    | st.timedeltas()
    | st.sampled_from(["$type", "$artifact", "$"])
)
KEYS = TEXTS | st.integers() | st.booleans() | st.none() | st.dates() | st.sampled_from(["$type", "$artifact"])
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.frozensets(KEYS, max_size=3)
        | st.sets(KEYS, max_size=3)
    ),
    max_leaves=12,
)


def same(left: Any, right: Any) -> bool:
    """Compare values by what they are: types, signs of zeros, not-a-numbers, order of keys."""
    if type(left) is not type(right):
        return False
    match left:
        case list() | tuple():
            return len(left) == len(right) and all(map(same, left, right))
        case dict():
            return same(list(left.items()), list(right.items()))
        case set() | frozenset():
            return bool(left == right)
        case float() | complex():
            return repr(left) == repr(right)
        case _:
            return repr(left) == repr(right) or bool(left == right)


@given(TREES)
def test_any_tree_comes_back_the_same(value: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder))
        made = shelf.keep(value)
        assert same(shelf.back(made), value)
        assert shelf.keep(value) == made
        assert shelf.keep(shelf.back(made)) == made
        assert set(artifact_names(made.output)) >= set(shelf.names)


DTYPES = (
    npst.boolean_dtypes()
    | npst.integer_dtypes()
    | npst.unsigned_integer_dtypes()
    | npst.floating_dtypes(sizes=(16, 32, 64))
    | npst.complex_number_dtypes(sizes=(64, 128))
    | npst.unicode_string_dtypes(max_len=4)
    | npst.byte_string_dtypes(max_len=4)
    | npst.datetime64_dtypes()
    | npst.timedelta64_dtypes()
    | npst.array_dtypes(npst.integer_dtypes() | npst.floating_dtypes(sizes=(32, 64)), max_size=3)
)


@given(npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)), st.booleans())
def test_any_array_comes_back_the_same(array: Any, turned: bool) -> None:  # noqa: FBT001 hypothesis gives it
    array = array.T if turned else array
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder))
        made: Any = shelf.there_and_back(array)
        assert (type(made), made.dtype, made.shape) == (np.ndarray, array.dtype, array.shape)
        assert made.tobytes() == array.tobytes()


CELLS = (
    st.none()
    | st.integers(-(2**40), 2**40)
    | st.text(max_size=4)
    | st.dates()
    | st.booleans()
    | st.floats(allow_nan=False)
)
COLUMNS: dict[str, Any] = {
    "i1": st.integers(-128, 127),
    "u8": st.integers(0, 2**64 - 1),
    "f4": st.floats(width=32),
    "f8": st.floats(),
    "bool": st.booleans(),
    "Int64": st.none() | st.integers(-(2**63), 2**63 - 1),
    "Float64": st.none() | st.floats(allow_nan=False),
    "boolean": st.none() | st.booleans(),
    "str": st.none() | st.text(max_size=4),
    "string[python]": st.none() | st.text(max_size=4),
    "object": CELLS,
    "category": st.none() | st.text(max_size=2),
    "datetime64[ns]": st.none() | st.datetimes(pd.Timestamp(1700, 1, 1), pd.Timestamp(2200, 1, 1)),
    "datetime64[s]": st.none() | st.datetimes().map(lambda at: at.replace(microsecond=0)),
    "datetime64[us, Europe/Berlin]": st.none() | st.datetimes(pd.Timestamp(1900, 1, 1), pd.Timestamp(2200, 1, 1)),
    "timedelta64[us]": st.none() | st.timedeltas(timedelta(-1000), timedelta(1000)),
    "period[D]": st.none() | st.dates().map(lambda day: pd.Period(day, "D") if 1700 < day.year < 2200 else None),
}


@st.composite
def columns(draw: st.DrawFn, rows: int) -> Any:
    dtype = draw(st.sampled_from(sorted(COLUMNS)))
    cells = draw(st.lists(COLUMNS[dtype], min_size=rows, max_size=rows))
    if "Berlin" in dtype:
        return pd.Series(pd.to_datetime(pd.Series(cells, dtype="datetime64[us]")).dt.tz_localize("UTC")).astype(dtype)
    return pd.Series(cells, dtype=dtype)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 4))
    made = [draw(columns(rows)) for _ in range(draw(st.integers(0, 4)))]
    frame = pd.DataFrame(dict(enumerate(made)), index=range(rows))
    frame.columns = pd.Index(draw(st.lists(CELLS, min_size=len(made), max_size=len(made))), dtype=object)
    if draw(st.booleans()):
        frame.index = pd.Index(draw(columns(rows)), name=draw(st.none() | st.text(max_size=3)))
    return frame


@given(frames())
def test_any_frame_comes_back_the_same(frame: pd.DataFrame) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shelf = Shelf(Path(folder))
        made: Any = shelf.there_and_back(frame)
        assert_frame_equal(made, frame, check_exact=True, check_index_type=True, check_column_type=True)
        assert [type(label) for label in made.columns] == [type(label) for label in frame.columns]


@given(TREES)
def test_any_json_gives_a_value_or_is_refused(value: object) -> None:
    """What is no value's JSON at all: keys that look like tags stand where they like."""
    with tempfile.TemporaryDirectory() as folder:
        store = ArtifactStore(Path(folder) / "artifacts")
        try:
            output = encode(value, store.put, None).output
        except Unkept:
            return
        for hostile in ({"$type": "tuple", "value": output}, {"$type": output}, {"$artifact": output, "type": "dict"}):
            with suppress(Refused):
                decode(hostile, store.open, lambda _name: None, lambda _text: None)
