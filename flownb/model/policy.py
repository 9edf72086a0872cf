"""How a node is run: when, how often, for how long, and what happens when it fails."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, model_validator

from flownb.model.frozen import Frozen

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PLAIN: Final = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_ISO: Final = re.compile(
    r"P(?:(?P<d>\d+(?:\.\d+)?)D)?(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?"
)
_EXAMPLES: Final = "write a duration as `500ms`, `90s`, `5m`, `1h30m`, `2d` or `PT5M`"


def parse_duration(text: object) -> float:
    """Return a duration's length in seconds.

    Source: format.md section 2; ISO 8601 durations without years, months and weeks.

    Raises:
        ValueError: It is no duration; the message says what to write.
    """
    if isinstance(text, bool) or not isinstance(text, str):
        raise ValueError(f"{text!r} is no duration: {_EXAMPLES}")  # noqa: TRY004 pydantic wants it
    compact = text.strip()
    if _PLAIN.fullmatch(compact):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(compact))
    iso = _ISO.fullmatch(compact)
    if iso and any(iso.groups()) and not compact.endswith("T"):
        return sum(float(number) * _UNITS[unit] for unit, number in iso.groupdict().items() if number)
    raise ValueError(f"{text!r} is no duration: {_EXAMPLES}")


def _seconds(value: object) -> object:
    return value if isinstance(value, float) else parse_duration(value)


def _id(value: object) -> object:
    """Return an id in the form that ids have (NFKC)."""
    return unicodedata.normalize("NFKC", value) if isinstance(value, str) else value


def _ids(value: object) -> object:
    items = (value,) if isinstance(value, str) else value
    return tuple(_id(item) for item in items) if isinstance(items, list | tuple) else items


def _texts(value: object) -> object:
    """Let one text stand for a list of it."""
    return (value,) if isinstance(value, str) else value


def _words(value: object) -> object:
    """Let `on: 429` and `on: [429, timeout]` both be a list of words."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(str(item) if isinstance(item, int) and not isinstance(item, bool) else item for item in items)


Duration = Annotated[float, BeforeValidator(_seconds)]
"""Seconds, read from a text as `1h30m`."""
NodeIds = Annotated[tuple[str, ...], BeforeValidator(_ids)]
"""One id or a list of ids."""


class Backoff(StrEnum):
    """How the wait grows from one attempt to the next."""

    EXPONENTIAL = "exponential"
    """base · 2ⁿ."""
    LINEAR = "linear"
    """base · (n + 1)."""
    FIXED = "fixed"
    """base."""


class Jitter(StrEnum):
    """How much of the wait is left to chance (AWS Architecture Blog, "Exponential Backoff And Jitter")."""

    FULL = "full"
    """Uniform from 0 to the wait."""
    EQUAL = "equal"
    """Half the wait, and uniform from 0 to the other half."""
    NONE = "none"
    """The wait itself."""


class Retry(Frozen):
    """Which failures are tried again, how often, and how long is waited in between."""

    max: int = Field(default=0, ge=0)
    """Further attempts after the first."""
    backoff: Backoff = Backoff.EXPONENTIAL
    """How the wait grows."""
    base: Duration = 1.0
    """The first wait, in seconds."""
    cap: Duration = 32.0
    """The longest wait, in seconds."""
    jitter: Jitter = Jitter.FULL
    """How much of the wait is left to chance."""
    on: Annotated[tuple[str, ...], BeforeValidator(_words)] | None = None
    """Error class names, HTTP statuses (`429`, `5xx`) and `timeout`; None: what the runtime thinks worth retrying."""

    @model_validator(mode="before")
    @classmethod
    def _count(cls, value: object) -> object:
        """Let `retry: 3` stand for `retry: {max: 3}`."""
        if isinstance(value, bool):
            raise ValueError(f"{value!r} is no retry policy: write a count, as `retry: 3`")  # noqa: TRY004 pydantic wants it
        return {"max": value} if isinstance(value, int) else value


class ExecutorName(StrEnum):
    """Where a python body runs."""

    MAIN = "main"
    """The notebook's own thread, one body at a time."""
    THREAD = "thread"
    """A thread of its own."""
    PROCESS = "process"
    """A process of its own."""
    DASK = "dask"
    """A Dask cluster."""


class Policy(Frozen):
    """How one node is run, whatever its kind. Every field is None or False where the text does not set it."""

    needs: NodeIds | None = None
    """What must be done first besides what the node refers to; `()`: start at once; None: not said."""
    when: str | None = None
    """An expression; the node is skipped where it is false."""
    retry: Retry | None = None
    """Further attempts."""
    timeout: Duration | None = Field(default=None, gt=0)
    """The limit for each attempt, in seconds."""
    fallback: Annotated[str | None, BeforeValidator(_id)] = None
    """The id of the node that runs in its place when all attempts failed."""
    continue_on_error: bool = False
    """Whether a failure is recorded and the run goes on."""
    delay: Duration | None = None
    """Seconds to wait before starting."""
    cache: bool | Duration | None = None
    """Whether, and for how many seconds, the value of an earlier run is used again."""
    once: bool = False
    """Whether it is never repeated without asking."""
    files: Annotated[tuple[str, ...], BeforeValidator(_texts)] | None = None
    """Paths or globs of files that it reads by itself, relative to the document's folder; templates."""
    executor: ExecutorName | None = None
    """Where a python body runs; None: the default for its place."""
