"""Datasets and DataArrays of xarray in netCDF files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr
from pydantic import JsonValue

from flownb.artifacts.arrays import texts_of
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, room_for

_ENGINE: Final = "h5netcdf"
_VALUES: Final = "array_values"
"""The name under which a DataArray without one of its own is stored."""
_PREVIEW_LENGTH: Final = 200


def _written(dataset: xr.Dataset) -> bytes:
    return bytes(dataset.to_netcdf(engine=_ENGINE))


def _read(data: bytes, types: Mapping[str, JsonValue]) -> xr.Dataset:
    _check(data)
    made = xr.load_dataset(BytesIO(data), engine=_ENGINE)
    # netCDF counts time in one unit: nanoseconds.
    units = {name: np.dtype(str(types[name])) for name in map(str, made.variables) if name in types}
    if any(dtype.kind not in "mM" for dtype in units.values()):
        raise ValueError("only the unit of times is told beside the file")
    for name, dtype in units.items():
        made = (
            made.assign_coords({name: made[name].astype(dtype)})
            if name in made.coords
            else made.assign({name: made[name].astype(dtype)})
        )
    return made


def _check(data: bytes) -> None:
    """Refuse a file that reaches into others, or takes more memory than one of its size can.

    Raises:
        ValueError: It does.
    """
    with h5py.File(BytesIO(data), "r") as file:
        total = sum(_size(file, name) for name in file)
    if total > room_for(len(data)):
        raise ValueError(f"it says that it takes {total:,} bytes in memory, {len(data):,} in the file")


def _size(file: Any, name: str) -> int:
    """Return the bytes that one part of a file takes in memory."""
    if not isinstance(file.get(name, getlink=True), h5py.HardLink):
        raise ValueError(f"{name[:40]!r} in it is a link")  # noqa: TRY004 what is wrong is the file
    found = file[name]
    if not isinstance(found, h5py.Dataset) or found.external or found.is_virtual:
        raise ValueError(f"{name[:40]!r} in it is a group, or stands in another file")
    size: int = found.dtype.itemsize or 1
    for length in found.shape or ():
        size *= length
    return size


def _texts(dataset: xr.Dataset) -> Iterator[str | bytes]:
    for name, variable in dataset.variables.items():
        yield str(name)
        yield from _attributes(variable.attrs)
        values = np.asarray(variable.values)
        if values.dtype == object:
            yield "\n".join(str(item) for item in values.ravel().tolist())
        else:
            yield from texts_of(values)
    yield from map(str, dataset.sizes)
    yield from _attributes(dataset.attrs)


def _attributes(attributes: dict[Any, Any]) -> Iterator[str]:
    for name, value in attributes.items():
        yield from (str(name), str(value))


class _Grids:
    """A Dataset, or a DataArray, which is stored as the dataset of it alone; read back and compared before it counts."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A Dataset or a DataArray.
        """Return where the file is, and sizes."""
        name = None if isinstance(value, xr.Dataset) else keeper.item(value.name, ".name")
        dataset = value if isinstance(value, xr.Dataset) else value.to_dataset(name=_VALUES)
        keeper.ask(_texts(dataset) if keeper.asks else ())
        data = _written(dataset)
        types: dict[str, JsonValue] = {
            str(key): one.dtype.str for key, one in dataset.variables.items() if one.dtype.kind in "mM"
        }
        made = _read(data, types)
        if not made.identical(dataset) or any(made[one].dtype != dataset[one].dtype for one in dataset.variables):
            raise keeper.unkept(value, "netCDF would give something else back")
        sizes = ", ".join(f"{one}: {size:,}" for one, size in dataset.sizes.items())
        shown = ", ".join(map(str, dataset.data_vars)) if isinstance(value, xr.Dataset) else str(value.name or "")
        kept: dict[str, JsonValue] = {"$artifact": keeper.file("nc", lambda file: _write(file, data))}
        kept |= {"types": types} if types else {}
        kept |= {} if isinstance(value, xr.Dataset) else {"name": name}
        return kept | {"size": sizes[:_PREVIEW_LENGTH], "preview": shown[:_PREVIEW_LENGTH]}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the value, in memory."""
        types = data.get("types")
        made = _read(restorer.open(data, "nc").read_bytes(), types if isinstance(types, dict) else {})
        if data.get("type") == "xarray.Dataset":
            return made
        return made[_VALUES].rename(restorer.item(data.get("name")))


def _write(file: Any, data: bytes) -> None:
    file.write(data)


DATASET: Final[Kind] = _Grids()
DATA_ARRAY: Final[Kind] = DATASET
