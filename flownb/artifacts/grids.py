"""Datasets and DataArrays of xarray in netCDF files."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, Final

import h5py
import numpy as np
import xarray as xr
from pydantic import JsonValue

from flownb.artifacts.arrays import texts_of
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, room_for

_ENGINE: Final = "h5netcdf"
_VALUES: Final = "__values__"
"""The name under which a DataArray without one of its own is stored."""
_PREVIEW_LENGTH: Final = 200


def _written(dataset: xr.Dataset) -> bytes:
    return bytes(dataset.to_netcdf(engine=_ENGINE))


def _read(data: bytes) -> xr.Dataset:
    _check(data)
    return xr.load_dataset(BytesIO(data), engine=_ENGINE)


def _check(data: bytes) -> None:
    """Refuse a file that reaches into others, or takes more memory than one of its size can.

    Raises:
        ValueError: It does.
    """
    total = 0
    with h5py.File(BytesIO(data), "r") as file:
        groups = [file]
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name[:40]!r} in it is a link")
                found = group[name]
                if isinstance(found, h5py.Group):
                    raise ValueError(f"{name[:40]!r} in it is a group, as flownb never writes one")
                if found.external or found.is_virtual:
                    raise ValueError(f"{name[:40]!r} in it stands in another file")
                total += int(np.prod(found.shape or (), dtype=object)) * max(1, found.dtype.itemsize)
    if total > room_for(len(data)):
        raise ValueError(f"it says that it takes {total:,} bytes in memory, {len(data):,} in the file")


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
        made = _read(data)
        if not made.identical(dataset) or any(made[one].dtype != dataset[one].dtype for one in dataset.variables):
            raise keeper.unkept(value, "netCDF would give something else back")
        sizes = ", ".join(f"{one}: {size:,}" for one, size in dataset.sizes.items())
        shown = ", ".join(map(str, dataset.data_vars)) if isinstance(value, xr.Dataset) else str(value.name or "")
        kept: dict[str, JsonValue] = {"$artifact": keeper.file("nc", lambda file: _write(file, data))}
        kept |= {} if isinstance(value, xr.Dataset) else {"name": name}
        return kept | {"size": sizes[:_PREVIEW_LENGTH], "preview": shown[:_PREVIEW_LENGTH]}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the value, in memory."""
        made = _read(restorer.open(data, "nc").read_bytes())
        if data.get("type") == "xarray.Dataset":
            return made
        return made[_VALUES].rename(restorer.item(data.get("name")))


def _write(file: Any, data: bytes) -> None:
    file.write(data)


DATASET: Final[Kind] = _Grids()
DATA_ARRAY: Final[Kind] = DATASET
