"""NumPy arrays in `.npy` files, and NumPy's single values as tags."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

import numpy as np
from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.npy import read_npy, why_not, write_npy
from flownb.artifacts.scalars import list_in, text_in

_SHOWN: Final = 6
_PREVIEW_LENGTH: Final = 200
_PLAIN: Final = {"b": bool, "i": int, "u": int, "f": float}
_BLOCK: Final = 1 << 24


def shown_size(shape: tuple[int, ...]) -> str:
    """Return a shape as people write it, rows first: rows, columns."""
    return " \N{MULTIPLICATION SIGN} ".join(f"{part:,}" for part in shape) or "1"


def texts_of(array: np.ndarray[Any, Any]) -> Iterator[str | bytes]:
    """Give the texts and the bytes in an array, in pieces of some 16 MiB; each item with whole neighbours.

    Args:
        array: Of any type besides `object`.
    """
    if array.dtype.names:
        for name in array.dtype.names:
            yield name
            yield from texts_of(array[name])
        return
    step = max(1, _BLOCK // max(1, array.dtype.itemsize))
    flat = array.reshape(-1)
    if array.dtype.kind in "US":
        for start in range(0, flat.size, step):
            items = flat[start : start + step].tolist()
            yield "\n".join(items) if array.dtype.kind == "U" else b"\n".join(items)
        return
    # Two steps at a time: what stands across the border of one is whole in the other.
    for start in range(0, flat.size, step):
        yield flat[start : start + 2 * step].tobytes()


class _Arrays:
    """An array of any type whose items lie in it; of Python objects, as a list of them."""

    def keep(self, value: np.ndarray[Any, Any], keeper: Keeper) -> dict[str, JsonValue]:
        """Return where the file is, size and first items."""
        if value.dtype == object:
            items: list[JsonValue] = [
                keeper.item(item, f"[{', '.join(map(str, place))}]") for place, item in np.ndenumerate(value)
            ]
            return {"shape": list(value.shape), "value": items}
        if why := why_not(value.dtype):
            raise keeper.unkept(value, why)
        if keeper.asks:
            keeper.ask(texts_of(value))
        first = value.reshape(-1)[:_SHOWN] if value.flags.c_contiguous else value.ravel()[:_SHOWN]
        more = ", …" if value.size > _SHOWN else ""
        shown = (
            f"{value.dtype.str if not value.dtype.names else 'records'}: {', '.join(map(str, first.tolist()))}{more}"
        )
        name = keeper.file("npy", lambda file: write_npy(file, value))
        return {"$artifact": name, "size": shown_size(value.shape), "preview": shown[:_PREVIEW_LENGTH]}

    def restore(self, data: Fields, restorer: Restorer) -> np.ndarray[Any, Any]:
        """Return the array; nobody else has it, and it can be changed."""
        if "$artifact" in data:
            return read_npy(restorer.open(data, "npy"))
        items = list_in(data)
        made = np.empty(len(items), dtype=object)
        for place, item in enumerate(items):
            made[place] = restorer.item(item)
        shape = [length for length in list_in(data, "shape") if type(length) is int]
        return made.reshape(shape)


class _Scalars:
    """A single value of NumPy: as a number or text where it is one, else as an array of one item."""

    def keep(self, value: np.generic, keeper: Keeper) -> dict[str, JsonValue]:
        """Return the type and the value."""
        dtype = value.dtype
        if type(value) not in (dtype.type, np.void, np.record) or type(value) is np.record:
            raise keeper.unkept(value, "it is perhaps more than a value of NumPy; use .item()")
        if why := why_not(dtype):
            raise keeper.unkept(value, why)
        if dtype.kind in _PLAIN and dtype.itemsize <= 8:  # noqa: PLR2004 bytes of what Python's float holds
            return {"dtype": dtype.str, "value": keeper.item(value.item(), "")}
        array = np.array(value, dtype=dtype)
        keeper.ask(texts_of(array.reshape(1)))
        file = BytesIO()
        write_npy(file, array)
        return {"value": b64encode(file.getvalue()).decode()}

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the value."""
        if "dtype" in data:
            dtype, value = np.dtype(text_in(data, "dtype")), restorer.item(data.get("value"))
            if dtype.kind not in _PLAIN or type(value) is not _PLAIN[dtype.kind]:
                raise restorer.refused(data, f"a {dtype} is something else")
            return dtype.type(value)
        array = read_npy(b64decode(text_in(data), validate=True))
        if array.shape:
            raise restorer.refused(data, "it is a whole array")
        return array[()]


ARRAY: Final[Kind] = _Arrays()
SCALAR: Final[Kind] = _Scalars()
