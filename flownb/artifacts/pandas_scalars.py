"""Single values of pandas: instants, spans, periods, intervals, and what stands for a missing one."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.scalars import int_in, text_in
from flownb.artifacts.times import zone_fields, zone_in

_UNITS: Final = ("s", "ms", "us", "ns")


def _ticks(data: Fields, kind: type[Any]) -> Any:
    unit = text_in(data, "unit")
    if unit not in _UNITS:
        raise ValueError(f"{unit[:20]!r} is no unit of time")
    return kind(int_in(data), unit)


class _Timestamps:
    """An instant, in its unit and its zone."""

    def keep(self, value: pd.Timestamp, keeper: Keeper) -> dict[str, JsonValue]:
        """Return its ticks since 1970 in UTC, or on its own clock where it has no zone."""
        zone = zone_fields(value.tzinfo)
        if zone is None:
            raise keeper.unkept(value, "its time zone is of another kind than zoneinfo's; use .tz_convert('Area/City')")
        return {"value": int(value.asm8.view("i8")), "unit": value.unit, "text": value.isoformat(), **zone}

    def restore(self, data: Fields, _restorer: Restorer) -> Any:
        """Return the instant."""
        made, zone = pd.Timestamp(_ticks(data, np.datetime64)), zone_in(data)
        return made if zone is None else made.tz_localize("UTC").tz_convert(zone)


class _Timedeltas:
    """A span of time, in its unit."""

    def keep(self, value: pd.Timedelta, _keeper: Keeper) -> dict[str, JsonValue]:
        """Return its ticks."""
        return {"value": int(value.asm8.view("i8")), "unit": value.unit, "text": value.isoformat()}

    def restore(self, data: Fields, _restorer: Restorer) -> Any:
        """Return the span."""
        return pd.Timedelta(_ticks(data, np.timedelta64))


class _Periods:
    """A period, as a month or a quarter."""

    def keep(self, value: pd.Period, _keeper: Keeper) -> dict[str, JsonValue]:
        """Return its number and its frequency."""
        return {"value": value.ordinal, "freq": value.freqstr}

    def restore(self, data: Fields, _restorer: Restorer) -> Any:
        """Return the period."""
        return pd.Period(ordinal=int_in(data), freq=text_in(data, "freq"))


class _Intervals:
    """An interval between two values."""

    def keep(self, value: pd.Interval, keeper: Keeper) -> dict[str, JsonValue]:
        """Return its ends, and which of them belong to it."""
        left, right = keeper.item(value.left, ".left"), keeper.item(value.right, ".right")
        return {"left": left, "right": right, "closed": value.closed}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the interval."""
        left, right = restorer.item(data.get("left")), restorer.item(data.get("right"))
        return pd.Interval(left, right, closed=text_in(data, "closed"))


class _Ones:
    """The one value of its class."""

    def __init__(self, value: object) -> None:
        self._value = value

    def keep(self, _value: object, _keeper: Keeper) -> dict[str, JsonValue]:
        """Return nothing: the class says it all."""
        return {}

    def restore(self, _data: Fields, _restorer: Restorer) -> object:
        """Return the value."""
        return self._value


TIMESTAMP: Final[Kind] = _Timestamps()
TIMEDELTA: Final[Kind] = _Timedeltas()
PERIOD: Final[Kind] = _Periods()
INTERVAL: Final[Kind] = _Intervals()
NOT_A_TIME: Final[Kind] = _Ones(pd.NaT)
MISSING: Final[Kind] = _Ones(pd.NA)
