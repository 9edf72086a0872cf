"""Single values of Python itself: numbers, bytes, paths and the like, as tagged text."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any, Final
from uuid import UUID

from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer

_LARGEST_BYTES: Final = 1 << 16
_PREVIEW_LENGTH: Final = 200
BYTES_SHOWN: Final = 50
"""Bytes of a preview."""


def text_in(data: Fields, name: str = "value") -> str:
    """Return a field that is text.

    Raises:
        ValueError: It is missing, or none.
    """
    if not isinstance(found := data.get(name), str):
        raise ValueError(f"`{name}` is no text")  # noqa: TRY004 what is wrong is the data
    return found


def int_in(data: Fields, name: str = "value") -> int:
    """Return a field that is an integer.

    Raises:
        ValueError: It is missing, or none.
    """
    found = data.get(name)
    if type(found) is not int:
        raise ValueError(f"`{name}` is no integer")
    return found


def list_in(data: Fields, name: str = "value") -> list[JsonValue]:
    """Return a field that is a list.

    Raises:
        ValueError: It is missing, or none.
    """
    if not isinstance(found := data.get(name), list):
        raise ValueError(f"`{name}` is no list")  # noqa: TRY004 as above
    return found


@dataclass(frozen=True, slots=True)
class Textual:
    """A kind whose values are written as one short text, and read from it."""

    write: Callable[[Any], str]  # Of the class that it is registered for.
    read: Callable[[str], object]

    def keep(self, value: object, _keeper: Keeper) -> dict[str, JsonValue]:
        """Return the text."""
        return {"value": self.write(value)}

    def restore(self, data: Fields, _restorer: Restorer) -> object:
        """Return the value."""
        return self.read(text_in(data))


class _Text:
    """Text with halves of characters in it, which is no UTF-8, or text that is large."""

    def keep(self, value: str, keeper: Keeper) -> dict[str, JsonValue]:
        """Return where it stands, or its bytes."""
        data = value.encode("utf-8", "surrogatepass")
        keeper.ask([value])
        try:
            data.decode()
        except UnicodeDecodeError:
            return {"value": b64encode(data).decode()}
        preview = value[:_PREVIEW_LENGTH]
        name = keeper.file("txt", lambda file: _write(file, data))
        return {"$artifact": name, "size": f"{len(value)} characters", "preview": preview}

    def restore(self, data: Fields, restorer: Restorer) -> str:
        """Return the text."""
        if "$artifact" in data:
            return restorer.open(data, "txt").read_bytes().decode()
        return b64decode(text_in(data), validate=True).decode("utf-8", "surrogatepass")


def bytes_fields(name: JsonValue, size_bytes: int, beginning: bytes) -> dict[str, JsonValue]:
    """Return what stands for bytes that are in a file.

    Args:
        name: The file's name, or what stands for it.
        size_bytes: How many they are.
        beginning: The first `BYTES_SHOWN` of them, or more.
    """
    return {"$artifact": name, "size": f"{size_bytes} bytes", "preview": repr(beginning[:BYTES_SHOWN])}


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Bytes: in base64, or in a file where they are many."""

    make: Callable[[bytes], object]

    def keep(self, value: bytes | bytearray, keeper: Keeper) -> dict[str, JsonValue]:
        """Return where they stand, or the bytes."""
        data = bytes(value)
        keeper.ask([data])
        if len(data) <= _LARGEST_BYTES // 2:
            return {"value": b64encode(data).decode()}
        return bytes_fields(keeper.file("bin", lambda file: _write(file, data)), len(data), data)

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the bytes."""
        if "$artifact" in data:
            return self.make(restorer.open(data, "bin").read_bytes())
        return self.make(b64decode(text_in(data), validate=True))


class _Paths:
    """A path; it comes back as one of this system, and else as one that only has parts."""

    def keep(self, value: PurePath, keeper: Keeper) -> dict[str, JsonValue]:
        """Return its text and its flavour."""
        pure = "" if isinstance(value, Path) else "Pure"
        flavour = "Windows" if isinstance(value, PureWindowsPath) else "Posix"
        return {"value": keeper.item(str(value), ""), "flavour": f"{pure}{flavour}"}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the path."""
        text, flavour = restorer.item(data.get("value")), text_in(data, "flavour")
        pure = PureWindowsPath if flavour.endswith("Windows") else PurePosixPath
        if not isinstance(text, str) or flavour not in ("Posix", "Windows", "PurePosix", "PureWindows"):
            raise restorer.refused(data, f"there is no path of flavour {flavour[:20]!r}")
        return Path(text) if flavour in ("Posix", "Windows") and isinstance(Path(), pure) else pure(text)


def _write(file: Any, data: bytes) -> None:
    file.write(data)


def _integer(text: str) -> int:
    return int(text, 16)  # From other bases than 10 Python takes any number of digits, in linear time.


def _complex_text(value: complex) -> str:
    return f"{value.real!r} {value.imag!r}"


def _complex(text: str) -> complex:
    real, imaginary = map(float, text.split(" "))
    return complex(real, imaginary)


def _range(text: str) -> range:
    return range(*map(_integer, text.split(" ")))


def _fraction(text: str) -> Fraction:
    above, _, below = text.partition("/")
    return Fraction(_integer(above), _integer(below))


TEXT: Final[Kind] = _Text()
INTEGER: Final[Kind] = Textual(hex, _integer)
FLOAT: Final[Kind] = Textual(repr, float)
COMPLEX: Final[Kind] = Textual(_complex_text, _complex)
BYTES: Final[Kind] = _Bytes(bytes)
BYTEARRAY: Final[Kind] = _Bytes(bytearray)
DECIMAL: Final[Kind] = Textual(str, Decimal)
FRACTION: Final[Kind] = Textual(lambda value: f"{value.numerator:x}/{value.denominator:x}", _fraction)
UNIQUE: Final[Kind] = Textual(str, UUID)
RANGE: Final[Kind] = Textual(lambda value: f"{value.start:x} {value.stop:x} {value.step:x}", _range)
PATH: Final[Kind] = _Paths()
