"""Which kind stores the values of which class: flownb's own, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, cast

from flownb.artifacts.kind import Kind, Unkept, name_of
from flownb.errors import FlowError

GROUP: Final = "flownb.artifacts"
"""The entry-point group in which other packages name their kinds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a kind is found, and what it is for."""

    target: str
    """`module:object`, imported on first use."""
    classes: tuple[str, ...] = ()
    """Qualified names of the classes that it stores; none: the tag is the name."""
    takes_subclasses: bool = False
    """Whether values of their subclasses too; else they are not kept, as they may hold more."""
    extension: str = ""
    """Of the files that it writes; empty: it writes none."""
    extra: str = ""
    """The pip extra that brings what it needs; empty: it needs nothing more."""


def _of_python() -> dict[str, Entry]:
    scalars, times, holders = "flownb.artifacts.scalars", "flownb.artifacts.times", "flownb.artifacts.holders"
    classes = "flownb.artifacts.classes"
    paths = ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    return {
        "str": Entry(f"{scalars}:TEXT", extension="txt"),
        "int": Entry(f"{scalars}:INTEGER"),
        "float": Entry(f"{scalars}:FLOAT"),
        "complex": Entry(f"{scalars}:COMPLEX"),
        "bytes": Entry(f"{scalars}:BYTES", extension="bin"),
        "bytearray": Entry(f"{scalars}:BYTEARRAY", extension="bin"),
        "decimal.Decimal": Entry(f"{scalars}:DECIMAL"),
        "fractions.Fraction": Entry(f"{scalars}:FRACTION"),
        "uuid.UUID": Entry(f"{scalars}:UNIQUE"),
        "range": Entry(f"{scalars}:RANGE"),
        "pathlib.Path": Entry(
            f"{scalars}:PATH", tuple(f"pathlib{sub}.{name}" for sub in ("", "._local") for name in paths)
        ),
        "datetime": Entry(f"{times}:INSTANT", ("datetime.datetime",)),
        "date": Entry(f"{times}:DAY", ("datetime.date",)),
        "time": Entry(f"{times}:HOUR", ("datetime.time",)),
        "timedelta": Entry(f"{times}:SPAN", ("datetime.timedelta",)),
        "zone": Entry(f"{times}:ZONE", ("datetime.timezone", "zoneinfo.ZoneInfo")),
        "dict": Entry(f"{holders}:DICT"),
        "tuple": Entry(f"{holders}:TUPLE"),
        "set": Entry(f"{holders}:SET"),
        "frozenset": Entry(f"{holders}:FROZENSET"),
        "collections.OrderedDict": Entry(f"{holders}:ORDERED"),
        "collections.Counter": Entry(f"{holders}:COUNTER"),
        "collections.defaultdict": Entry(f"{holders}:DEFAULTING"),
        "collections.deque": Entry(f"{holders}:DEQUE"),
        "enum": Entry(f"{classes}:ENUM", ("enum.Enum",), takes_subclasses=True),
        "namedtuple": Entry(f"{classes}:NAMEDTUPLE"),
        "dataclass": Entry(f"{classes}:DATACLASS"),
        "pydantic": Entry(f"{classes}:MODEL", ("pydantic.main.BaseModel",), takes_subclasses=True),
    }


def _of_tables() -> dict[str, Entry]:
    pandas, frames, arrow = "flownb.artifacts.pandas_scalars", "flownb.artifacts.frames", "flownb.artifacts.arrow"
    return {
        "numpy.ndarray": Entry("flownb.artifacts.arrays:ARRAY", extension="npy", extra="data"),
        "numpy.scalar": Entry(
            "flownb.artifacts.arrays:SCALAR", ("numpy.generic",), takes_subclasses=True, extra="data"
        ),
        "pandas.DataFrame": Entry(
            f"{frames}:FRAME", ("pandas.DataFrame", "pandas.core.frame.DataFrame"), extension="parquet", extra="data"
        ),
        "pandas.Series": Entry(
            f"{frames}:SERIES", ("pandas.Series", "pandas.core.series.Series"), extension="parquet", extra="data"
        ),
        "pandas.Index": Entry(f"{frames}:INDEX", _indexes(), extension="parquet", extra="data"),
        "pandas.Timestamp": Entry(f"{pandas}:TIMESTAMP", _pandas("Timestamp", "timestamps"), extra="data"),
        "pandas.Timedelta": Entry(f"{pandas}:TIMEDELTA", _pandas("Timedelta", "timedeltas"), extra="data"),
        "pandas.Period": Entry(f"{pandas}:PERIOD", _pandas("Period", "period"), extra="data"),
        "pandas.Interval": Entry(f"{pandas}:INTERVAL", _pandas("Interval", "interval"), extra="data"),
        "pandas.NaT": Entry(f"{pandas}:NOT_A_TIME", _pandas("NaTType", "nattype"), extra="data"),
        "pandas.NA": Entry(f"{pandas}:MISSING", _pandas("NAType", "missing"), extra="data"),
        "pyarrow.Table": Entry(f"{arrow}:TABLE", ("pyarrow.lib.Table",), extension="parquet", extra="data"),
        "pyarrow.RecordBatch": Entry(f"{arrow}:BATCH", ("pyarrow.lib.RecordBatch",), extension="parquet", extra="data"),
        "polars.DataFrame": Entry(
            "flownb.artifacts.polars_frames:FRAME",
            _polars("dataframe.frame.DataFrame"),
            extension="parquet",
            extra="data",
        ),
        "polars.Series": Entry(
            "flownb.artifacts.polars_frames:SERIES", _polars("series.series.Series"), extension="parquet", extra="data"
        ),
        "polars.LazyFrame": Entry(
            "flownb.artifacts.polars_frames:LAZY", _polars("lazyframe.frame.LazyFrame"), extra="data"
        ),
    }


def _of_models() -> dict[str, Entry]:
    return {
        "matplotlib.figure.Figure": Entry(
            "flownb.artifacts.figures:FIGURE", takes_subclasses=True, extension="png", extra="models"
        ),
        "flownb.artifacts.figures.StoredFigure": Entry(
            "flownb.artifacts.figures:STORED", extension="png", extra="models"
        ),
        "PIL.Image.Image": Entry(
            "flownb.artifacts.images:IMAGE", takes_subclasses=True, extension="png", extra="models"
        ),
        "sklearn.base.BaseEstimator": Entry(
            "flownb.artifacts.estimators:ESTIMATOR", takes_subclasses=True, extension="skops", extra="models"
        ),
        "torch.Tensor": Entry("flownb.artifacts.tensors:TENSOR", extension="safetensors", extra="models"),
        "torch.state_dict": Entry("flownb.artifacts.tensors:STATE", extension="safetensors", extra="models"),
        "xgboost.Booster": Entry("flownb.artifacts.boosters:XGBOOST", ("xgboost.core.Booster",), extension="xgboost"),
        "lightgbm.Booster": Entry(
            "flownb.artifacts.boosters:LIGHTGBM", ("lightgbm.basic.Booster",), extension="lightgbm"
        ),
        "catboost.CatBoost": Entry(
            "flownb.artifacts.boosters:CATBOOST",
            ("catboost.core.CatBoost",),
            takes_subclasses=True,
            extension="catboost",
        ),
        "xarray.Dataset": Entry("flownb.artifacts.grids:DATASET", ("xarray.core.dataset.Dataset",), extension="nc"),
        "xarray.DataArray": Entry(
            "flownb.artifacts.grids:DATA_ARRAY", ("xarray.core.dataarray.DataArray",), extension="nc"
        ),
    }


def _pandas(name: str, module: str) -> tuple[str, ...]:
    places = f"pandas._libs.tslibs.{module}", f"pandas._libs.{module}", "pandas", "pandas.api.typing"
    return tuple(f"{place}.{name}" for place in places)


def _polars(place: str) -> tuple[str, ...]:
    return (f"polars.{place}", f"polars.{place.rpartition('.')[2]}")


def _indexes() -> tuple[str, ...]:
    modules = {
        "Index": "base",
        "RangeIndex": "range",
        "MultiIndex": "multi",
        "DatetimeIndex": "datetimes",
        "TimedeltaIndex": "timedeltas",
        "PeriodIndex": "period",
        "CategoricalIndex": "category",
        "IntervalIndex": "interval",
    }
    return tuple(
        name for kind, module in modules.items() for name in (f"pandas.{kind}", f"pandas.core.indexes.{module}.{kind}")
    )


KINDS: Final[Mapping[str, Entry]] = MappingProxyType(_of_python() | _of_tables() | _of_models())
"""Tag (what stands in `$type` or `type`) → kind."""
_BY_CLASS: Final[Mapping[str, str]] = MappingProxyType(
    {name: tag for tag, entry in KINDS.items() for name in entry.classes or (tag,)}
)


def tag_for(kind: type) -> str | None:
    """Return the tag of the kind that stores values of a class; None: there is none.

    Args:
        kind: The class. Found by the names of it and of those that it comes from, so that nothing need be imported.

    Raises:
        Unkept: It comes from one that is stored, but may hold more than that.
    """
    near = ""
    for place, one in enumerate(kind.__mro__):
        tag = own_tag(one)
        if tag is None:
            continue
        if not place or (tag in KINDS and KINDS[tag].takes_subclasses):
            return tag
        near = near or name_of(one)
    if near:
        raise Unkept("", name_of(kind), f"it is a {near} and perhaps more than that; return it as a plain {near}")
    return None


def own_tag(kind: type) -> str | None:
    """Return the tag of the kind that stores values of exactly this class; None: there is none.

    Args:
        kind: The class.
    """
    name = name_of(kind)
    return name if name in plugins() else _BY_CLASS.get(name)


def kind_for(tag: str) -> Kind | None:
    """Return the kind with a tag; imported on first use. None: there is none.

    Raises:
        FlowError: What it needs is not installed, or a package's kind cannot be loaded.
    """
    if (entry := KINDS.get(tag)) is not None:
        return _imported(entry.target, entry.extra)
    plugin = plugins().get(tag)
    return _loaded(plugin) if plugin is not None else None


@lru_cache(maxsize=1)
def plugins() -> Mapping[str, EntryPoint]:
    """Return class → entry point, of the kinds that other packages bring; read once, none of them imported."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value), reverse=True)
    return MappingProxyType({entry.name: entry for entry in found if entry.name not in _BY_CLASS})


@lru_cache(maxsize=128)
def _imported(target: str, extra: str) -> Kind:
    module, _, name = target.partition(":")
    try:
        return cast("Kind", getattr(import_module(module), name))  # The literal table above names it.
    except ImportError as error:
        hint = f"pip install 'flownb[{extra}]'" if extra else f"pip install {error.name}"
        raise FlowError(f"{error.name or module} is needed for this value, and is not installed", hint) from error


@lru_cache(maxsize=128)
def _loaded(plugin: EntryPoint) -> Kind:
    try:
        kind = plugin.load()
    except Exception as error:  # A stranger's module may raise anything.
        raise FlowError(
            f"the kind `{plugin.name}` ({plugin.value}) cannot be loaded: {type(error).__name__}"
        ) from error
    if not (callable(getattr(kind, "keep", None)) and callable(getattr(kind, "restore", None))):
        raise FlowError(f"the kind `{plugin.name}` ({plugin.value}) has no `keep` and `restore`")
    return cast("Kind", kind)  # Looked at just above.
