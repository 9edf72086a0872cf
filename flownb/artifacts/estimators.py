"""Estimators of scikit-learn in skops files, of types that skops trusts by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any, Final
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import skops.io as sio
from pydantic import JsonValue
from skops.io.exceptions import UntrustedTypesFoundException

from flownb.artifacts.arrays import texts_of
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, name_of, texts_in
from flownb.artifacts.npy import read_npy

_SCHEMA: Final = "schema.json"
_PREVIEW_LENGTH: Final = 200
_LARGEST_SCHEMA: Final = 1 << 27
"""Bytes."""


def _dumped(value: object) -> dict[str, bytes]:
    """Return what skops writes, name → bytes, with names and numbers that are the same each time.

    skops numbers objects by where they lie in memory. Single values get numbers of their own: whether two of them were
    one object tells nothing of the estimator.
    """
    with ZipFile(BytesIO(sio.dumps(value))) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    numbers: dict[object, int] = {}
    names: dict[str, str] = {}

    def renumbered(node: Any) -> Any:  # What `json.loads` gives.
        if isinstance(node, list):
            return [renumbered(item) for item in node]
        if not isinstance(node, dict):
            return node
        made = dict(node)
        if "__id__" in made:
            key = object() if made.get("__loader__") == "JsonNode" else made["__id__"]
            made["__id__"] = numbers.setdefault(key, len(numbers) + 1)
        if isinstance(file := made.get("file"), str) and file in files:
            made["file"] = names.setdefault(file, f"{len(names)}.{file.rpartition('.')[2]}")
        return {key: item if key in ("__id__", "file") else renumbered(item) for key, item in made.items()}

    schema = renumbered(json.loads(files.pop(_SCHEMA)))
    made = {names[name]: data for name, data in files.items() if name in names}
    return dict(sorted(made.items())) | {_SCHEMA: json.dumps(schema).encode()}


def _zipped(files: dict[str, bytes]) -> bytes:
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_STORED) as file:
        for name, data in files.items():
            file.writestr(ZipInfo(name), data)  # Its date is 1980: that of the day would change the hash.
    return packed.getvalue()


def _texts(files: dict[str, bytes]) -> Iterator[str | bytes]:
    for name, data in files.items():
        yield data
        if name == _SCHEMA:
            yield from texts_in(json.loads(data))
        elif name.endswith(".npy"):
            yield from texts_of(read_npy(data))


def _checked(data: bytes) -> None:
    """Refuse a file that is larger unpacked, or written in another way than by today's skops.

    Raises:
        ValueError: It is.
    """
    with ZipFile(BytesIO(data)) as packed:
        entries = packed.infolist()
        if any(entry.compress_type != ZIP_STORED or entry.file_size != entry.compress_size for entry in entries):
            raise ValueError("something in it is packed, as flownb never writes it")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("it says that it is larger inside than outside")
        if packed.getinfo(_SCHEMA).file_size > _LARGEST_SCHEMA:
            raise ValueError("its description is too large")
        for entry in entries:
            if entry.filename.endswith(".npy"):
                read_npy(packed.read(entry))
            elif entry.filename != _SCHEMA:
                _check_inner(packed.read(entry), entry.filename)


def _check_inner(data: bytes, name: str) -> None:
    if not name.endswith(".npz"):
        return
    with ZipFile(BytesIO(data)) as packed:  # A sparse matrix, which SciPy packs.
        for entry in packed.infolist():
            if entry.file_size > 1100 * entry.compress_size + 1024:
                raise ValueError("it says that it is larger inside than can be")
            read_npy(packed.read(entry))


class _Estimators:
    """An estimator, fitted or not."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A BaseEstimator, which carries no types.
        """Return where the file is."""
        name = name_of(type(value))
        files = _dumped(value)
        data = _zipped(files)
        if untrusted := sio.get_untrusted_types(data=data):
            listed = ", ".join(untrusted[:3])
            raise keeper.unkept(value, f"skops does not trust a file with {listed} in it; keep what it was fitted on")
        if keeper.asks:
            keeper.ask(_texts(files))
        _checked(data)
        shown = " ".join(repr(value).split())[:_PREVIEW_LENGTH]
        return {"$artifact": keeper.file("skops", _writer(data)), "class": name, "preview": shown}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the estimator; types that skops does not trust by itself are refused."""
        packed = restorer.open(data, "skops").read_bytes()
        _checked(packed)
        try:
            made = sio.loads(packed, trusted=[])
        except UntrustedTypesFoundException as error:
            raise restorer.refused(data, str(error).splitlines()[0][:300]) from error
        if name_of(type(made)) != data.get("class"):
            raise restorer.refused(data, f"it holds a {name_of(type(made))}")
        return made


def _writer(data: bytes) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        file.write(data)

    return write


ESTIMATOR: Final[Kind] = _Estimators()
