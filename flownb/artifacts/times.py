"""Dates, times and time zones of Python itself, as tagged text."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.scalars import Textual, int_in, text_in

_LONGEST_KEY: Final = 80


def zone_fields(zone: tzinfo | None) -> dict[str, JsonValue] | None:
    """Return a time zone as fields: a key of the time zone database, or an offset in seconds.

    Args:
        zone: The zone; None: there is none, and the fields are empty.

    Returns:
        None: it is a zone of another kind.
    """
    if zone is None:
        return {}
    if type(zone) is ZoneInfo and zone.key:
        return {"zone": zone.key}
    if type(zone) is timezone:
        offset, name = zone.utcoffset(None), zone.tzname(None)
        fields: dict[str, JsonValue] = {"offset_us": offset // _MICROSECOND}
        return fields if name == timezone(offset).tzname(None) else fields | {"name": name}
    return None


def zone_in(data: Fields) -> tzinfo | None:
    """Return the time zone that fields name; None where they name none.

    Raises:
        ValueError: There is no such zone.
    """
    if "zone" in data:
        key = text_in(data, "zone")
        if len(key) > _LONGEST_KEY:
            raise ValueError("the name of the time zone is too long")
        return ZoneInfo(key)  # It refuses names that lead out of its folder.
    if "offset_us" in data:
        offset = timedelta(microseconds=int_in(data, "offset_us"))
        if "name" in data:
            return timezone(offset, text_in(data, "name"))
        return timezone(offset) if offset else UTC
    return None


_MICROSECOND: Final = timedelta(microseconds=1)


class _Instants:
    """A datetime, or a time of day: what ISO 8601 says, the zone, and which of two equal times on the clock is meant."""

    def __init__(self, kind: type[datetime | time]) -> None:
        self._kind = kind

    def keep(self, value: datetime | time, keeper: Keeper) -> dict[str, JsonValue]:
        """Return the text and the zone."""
        zone = zone_fields(value.tzinfo)
        if zone is None:
            raise keeper.unkept(value, "its time zone is of another kind than zoneinfo's; use zoneinfo.ZoneInfo")
        fold: dict[str, JsonValue] = {"fold": 1} if value.fold else {}
        return {"value": value.replace(tzinfo=None).isoformat(), **zone, **fold}

    def restore(self, data: Fields, _restorer: Restorer) -> datetime | time:
        """Return the value."""
        made = self._kind.fromisoformat(text_in(data))
        if made.tzinfo is not None:
            raise ValueError("the zone stands beside the text")
        return made.replace(tzinfo=zone_in(data), fold=1 if data.get("fold") == 1 else 0)


class _Zones:
    """A time zone by itself."""

    def keep(self, value: tzinfo, keeper: Keeper) -> dict[str, JsonValue]:
        """Return its key or its offset."""
        fields = zone_fields(value)
        if fields is None:
            raise keeper.unkept(value, "it has no key by which it could be found again")
        return fields

    def restore(self, data: Fields, restorer: Restorer) -> tzinfo:
        """Return the zone."""
        zone = zone_in(data)
        if zone is None:
            raise restorer.refused(data, "it names no zone")
        return zone


class _Spans:
    """A timedelta: days, seconds and microseconds."""

    def keep(self, value: timedelta, _keeper: Keeper) -> dict[str, JsonValue]:
        """Return the parts."""
        return {"days": value.days, "seconds": value.seconds, "microseconds": value.microseconds}

    def restore(self, data: Fields, _restorer: Restorer) -> timedelta:
        """Return the value."""
        return timedelta(int_in(data, "days"), int_in(data, "seconds"), int_in(data, "microseconds"))


INSTANT: Final[Kind] = _Instants(datetime)
HOUR: Final[Kind] = _Instants(time)
DAY: Final[Kind] = Textual(date.isoformat, date.fromisoformat)
SPAN: Final[Kind] = _Spans()
ZONE: Final[Kind] = _Zones()
