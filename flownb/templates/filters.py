"""The filters of expressions: those of Jinja made safe to any size, and flownb's own (format.md, 5.3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import shlex
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import reduce, wraps
from pathlib import PurePath
from types import BuiltinMethodType
from typing import Any, Final, TypeVar
from uuid import UUID

from jinja2.filters import FILTERS, make_attrgetter
from jinja2.runtime import Undefined
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import pass_environment

from flownb.templates.limits import BUDGET, MAX_ITEMS, fill, operate
from flownb.templates.terms import LimitError

F = TypeVar("F", bound=Callable[..., Any])  # Any: Jinja's filters take and return whatever a template has.
_LONG: Final = 1_000_000
"""The longest text, in characters, for filters that work slowly."""
_MOST_DIGITS: Final = 300
_UNSAFE_JSON: Final = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60))
_ON_TEXT: Final = frozenset(
    [
        "capitalize",
        "center",
        "e",
        "escape",
        "forceescape",
        "indent",
        "lower",
        "replace",
        "string",
        "striptags",
        "title",
        "trim",
        "truncate",
        "upper",
        "urlencode",
        "urlize",
        "wordcount",
        "wordwrap",
    ]
)
"""Jinja's filters that turn what they are given into text first."""
_SLOW: Final = frozenset({"striptags", "title", "urlize", "wordwrap", "wordcount"})


def plain(value: object) -> object:
    """Return a value as JSON knows it, for `json.dumps`: dates in ISO 8601, mappings as dicts, all other rows as lists.

    Raises:
        TypeError: JSON has nothing like it.
    """
    if isinstance(value, Undefined):
        str(value)  # Raises the error that says what is missing.
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case AbstractSet() | Sequence() if not isinstance(value, bytes | bytearray | memoryview):
            return list(value)
        case Decimal():
            return float(value)
        case UUID() | PurePath():
            return str(value)
        case timedelta():
            return value.total_seconds()
        case _:
            pass
    for method in ("item", "tolist"):  # numpy's scalars and arrays, without importing it.
        convert = getattr(value, method, None)
        if (
            type(value).__module__ == "numpy"
            and callable(convert)
            and (method == "tolist" or not getattr(value, "ndim", 1))
        ):
            converted: object = convert()
            return converted
    raise TypeError(f"a {type(value).__name__} cannot become JSON")


def to_json(value: object, indent: int | None = None) -> str:
    """Return a value as JSON that is YAML 1.2 as well, on one line unless indented.

    Args:
        value: Data; dates become ISO 8601 texts.
        indent: Spaces per level; None: all on one line.

    Raises:
        TypeError: JSON has nothing like it.
        ValueError: It holds a number that JSON does not have.
    """
    budget = BUDGET.get()
    budget.weigh(value)
    if indent is not None and not 0 <= int(indent) <= 16:  # noqa: PLR2004 wider than any person indents
        raise LimitError(f"an indent of {indent} is too wide")
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=plain, indent=indent)
    parts, size = [], 0
    for part in encoder.iterencode(value):
        parts.append(part)
        size += len(part)
        if size > budget.limits.size:
            budget.spend(size)
    text = _UNSAFE_JSON.sub(lambda match: f"\\u{ord(match[0]):04x}", "".join(parts))
    budget.spend(len(text))
    return text


def to_text(value: object) -> str:
    """Return a value as text, as Jinja prints it; dates and times in ISO 8601."""
    if type(value) is str:
        return value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("utf-8", "replace")
    if isinstance(value, BuiltinMethodType):
        raise TypeError(f"`{value.__name__}` is a method; write `{value.__name__}()` to call it")
    if isinstance(value, Mapping | Sequence | AbstractSet) and not isinstance(value, str):
        BUDGET.get().weigh(value)
    return str(value)


def to_argument(value: object) -> str:
    """Return a value as the text that a bash script gets of it.

    The text of a list, an object, true, false and null is JSON.

    Raises:
        ValueError: It holds what bash cannot hold.
    """
    flat = value is not None and not isinstance(value, bool | Mapping | list | tuple | AbstractSet | range)
    text = to_text(value) if flat else to_json(value)
    if "\0" in text:
        raise ValueError("bash cannot take a text that holds a NUL character")
    if not text.isascii() and any("\ud800" <= sign < "\udc80" or "\udcff" < sign <= "\udfff" for sign in text):
        raise ValueError("bash cannot take a text that holds half a character (a lone surrogate)")
    return text


def to_word(value: object) -> str:
    """Return a value as one word of a shell's text, so that the shell reads exactly its text.

    Raises:
        ValueError: It holds what bash cannot hold.
    """
    text = to_argument(value)
    quoted = shlex.quote(text)
    if quoted == text and type(value) is not int and (text.isdecimal() or "=" in text):
        return f"'{text}'"  # `2>file` must not name a file descriptor, nor `a=b cmd` set a variable.
    return quoted


def _jmespath(value: object, expression: str) -> object:
    """Return what a JMESPath expression finds; null where it finds nothing."""
    from flownb.templates.search import search  # noqa: PLC0415 40 ms that few templates need

    return search(expression, value)


def _date(value: object, form: str = "%Y-%m-%d") -> str:
    """Return a date, a datetime, an ISO 8601 text or a timestamp in seconds (UTC) in a format of strftime."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        value = datetime.fromtimestamp(value, UTC)
    if not isinstance(value, date | time):
        raise TypeError(f"{_short(value)} is no date")
    return value.strftime(form)


def _duration(value: object) -> str:
    """Return seconds, or a timedelta, as a duration: 90 is `1m30s`, 0.25 is `250ms`, 5400 is `1h30m`."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | Decimal) or not math.isfinite(seconds):
        raise TypeError(f"{_short(value)} is no number of seconds")
    rest = round(abs(float(seconds)), 3)
    sign = "-" if seconds < 0 and rest else ""
    if 0 < rest < 1:
        return f"{sign}{round(rest * 1000)}ms"
    parts = []
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{int(count)}{unit}")
    rest = round(rest, 3)
    if rest or not parts:
        parts.append(f"{rest:.3f}".rstrip("0").rstrip(".") + "s")
    return sign + "".join(parts)


def _bytes_of(value: object) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return (value if isinstance(value, str) else to_json(value)).encode()


def _hash(value: object, algorithm: str = "sha256") -> str:
    """Return the hash of a text (as UTF-8), of bytes or of data (as JSON), in hexadecimal."""
    known = sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake"))
    if algorithm not in known:
        raise ValueError(f"{algorithm!r} is no hash; known are {', '.join(known)}")
    return hashlib.new(algorithm, _bytes_of(value), usedforsecurity=False).hexdigest()


def _b64encode(value: object) -> str:
    """Return a text (as UTF-8), bytes or data (as JSON) in base64."""
    return base64.b64encode(_bytes_of(value)).decode("ascii")


def _b64decode(value: object) -> str | bytes:
    """Return what base64 stands for: text where it is UTF-8, else bytes."""
    try:
        decoded = base64.b64decode(value if isinstance(value, bytes) else to_text(value), validate=False)
    except binascii.Error as error:
        raise ValueError(f"{_short(value)} is no base64: {error}") from error
    try:
        return decoded.decode()
    except UnicodeDecodeError:
        return decoded


def _slug(value: object) -> str:
    """Return a text as part of a name: lower case, no accents, one `-` for every run of anything but letters and digits."""
    decomposed = unicodedata.normalize("NFKD", to_text(value))
    bare = "".join(sign for sign in decomposed if not "\u0300" <= sign <= "\u036f")
    return re.sub(r"[\W_]+", "-", unicodedata.normalize("NFC", bare).casefold()).strip("-")


def _fromjson(value: object) -> object:
    """Return the data that a JSON text stands for."""
    try:
        return json.loads(value if isinstance(value, bytes) else to_text(value))
    except json.JSONDecodeError as error:
        raise ValueError(f"{_short(value)} is no JSON: {error}") from error


def _regex(value: object, pattern: str) -> str | None:
    """Return the first match: its first group where the pattern has groups, else all of it; null where nothing matches."""
    from flownb.templates.search import first_match  # noqa: PLC0415 40 ms that few templates need

    return first_match(pattern, to_text(value))


def _sum(
    environment: SandboxedEnvironment, items: Iterable[object], attribute: str | None = None, start: object = 0
) -> object:
    """Return the sum of the items, or of one attribute of each."""
    taken = items if attribute is None else map(make_attrgetter(environment, attribute), items)
    return reduce(lambda left, right: operate("+", left, right), taken, start)


def _join(
    environment: SandboxedEnvironment, items: Iterable[object], d: object = "", attribute: str | None = None
) -> str:
    """Return the items' texts with `d` between them."""
    taken = items if attribute is None else map(make_attrgetter(environment, attribute), items)
    budget, between, texts = BUDGET.get(), to_text(d), []
    for item in budget.each(taken):
        texts.append(to_text(item))
        budget.spend(len(texts[-1]) + len(between))
    return between.join(texts)


def _format(value: object, *values: object, **named: object) -> str:
    """Return the text with its `%` fields filled."""
    return fill(to_text(value), named or values)


def _raw(value: object) -> object:
    """Return the value itself; as the last filter of what is put in it switches quoting off (format.md, 5.4)."""
    return value


def _count(number: object, most: int) -> None:
    if isinstance(number, int) and abs(number) > most:
        raise LimitError(f"{number} is too large a number here")


def _look(name: str, arguments: list[Any], named: Mapping[str, Any]) -> None:
    """Look at the arguments of one of Jinja's filters; raise LimitError if its result would be too large."""
    budget, value, rest = BUDGET.get(), arguments[0], [*arguments[1:], *named.values()]
    if name in _SLOW and len(value) > _LONG:
        raise LimitError(f"a text of {len(value):,} characters is too long for `{name}`")
    match name:
        case "center":
            budget.spend(len(value) + sum(item for item in rest if isinstance(item, int)))
        case "indent":
            width = max(
                (item if isinstance(item, int) else len(item) for item in rest if isinstance(item, int | str)),
                default=4,
            )
            budget.spend(len(value) + (value.count("\n") + 1) * width)
        case "replace" if len(rest) > 1:
            old, new = to_text(rest[0]), to_text(rest[1])
            budget.spend(len(value) + value.count(old) * len(new))
        case "wordwrap":
            width = max(1, next((item for item in rest if isinstance(item, int)), 79))
            longest = max((len(item) for item in rest if isinstance(item, str)), default=1)
            budget.spend(len(value) + (len(value) // width + value.count("\n") + 1) * longest)
        case "batch" | "slice" | "round":
            for item in rest:
                _count(item, _MOST_DIGITS if name == "round" else MAX_ITEMS)
        case "pprint" | "xmlattr" if budget.weigh(value) > _LONG:
            raise LimitError(f"the value is too large for `{name}`")


def _guarded(name: str, function: F) -> F:
    """Return a filter that looks at the size of what it makes, and makes lists and plain text."""
    skip = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def filtered(*arguments: Any, **named: Any) -> Any:  # Any: as the filter's own.
        budget = BUDGET.get()
        given = list(arguments)
        if isinstance(given[skip], range):
            budget.turn(len(given[skip]))
        if name in _ON_TEXT and not isinstance(given[skip], Undefined):
            given[skip] = to_text(given[skip])
        _look(name, given[skip:], named)
        return budget.settle(function(*given, **named))

    return filtered  # type: ignore[return-value]  # The same parameters, which mypy cannot know of `Any`.


_OWN: Final[Mapping[str, Callable[..., object]]] = {
    "b64decode": _b64decode,
    "b64encode": _b64encode,
    "date": _date,
    "duration": _duration,
    "format": _format,
    "fromjson": _fromjson,
    "hash": _hash,
    "jmespath": _jmespath,
    "join": pass_environment(_join),
    "quote": to_word,
    "raw": _raw,
    "regex": _regex,
    "slug": _slug,
    "sum": pass_environment(_sum),
    "tojson": to_json,
}


def filters() -> dict[str, Callable[..., object]]:
    """Return every filter that a template may use, by name."""
    return {name: _guarded(name, function) for name, function in {**FILTERS, **_OWN}.items()}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"  # noqa: PLR2004 fits in a message
