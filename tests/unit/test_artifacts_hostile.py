"""Files that were made to do harm, or are damaged: each is refused by name, and nothing in it is run."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import struct
import zipfile
import zlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skops.io as sio
from matplotlib.figure import Figure
from PIL import Image
from pydantic import JsonValue
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from flownb.artifacts import kind
from flownb.artifacts.decode import Refused, decode
from flownb.store.artifacts import ArtifactStore
from tests.kept import Shelf, writes


class Harm:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (_harm, ("pickle",))


RAN: list[str] = []


def _harm(how: str) -> str:
    RAN.append(how)
    return how


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    RAN.clear()
    return Shelf(tmp_path)


def refused(shelf: Shelf, data: bytes, extension: str, type_name: str, **fields: JsonValue) -> str:
    """Put bytes as whoever wrote the folder would, with their right hash, and return what is said of them."""
    shelf.folder.mkdir(parents=True, exist_ok=True)
    name = f"{hashlib.sha256(data).hexdigest()}.{extension}"
    (shelf.folder / name).write_bytes(data)
    output: JsonValue = {"$artifact": name, "type": type_name, "preview": "", **fields}
    with pytest.raises(Refused) as found:
        decode([output], ArtifactStore(shelf.folder).open, lambda _name: None, shelf.notes.append)
    assert RAN == []
    assert name in str(found.value)
    assert "hint: run the node again" in str(found.value)
    return str(found.value)


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    "data, said",
    [
        (npy("'|O'", "(1,)", pickle.dumps([Harm()])), "Python objects"),
        (npy("[('a', '|O')]", "(1,)", pickle.dumps([Harm()])), "Python objects"),
        (npy("'<f8'", "(1000000000000,)", b"x" * 8), "8000000000000 bytes follow, and 8 do"),
        (npy("'<f8'", "(2,)", b"x" * 24), "16 bytes follow, and 24 do"),
        (npy("'<f8'", "(-1,)"), "shape is none"),
        (npy("'<f8'", "(4294967296, 4294967296)"), "bytes follow"),
        (npy("'|S0'", "(99999999999999,)"), "bytes follow"),
        (npy("'<f8'", "(True,)"), "shape is none"),
        (npy("__import__('os').system('x')", "(1,)"), "it is damaged"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535, "header is 65535 bytes long"),
        (b"\x93NUMPY\x09\x00\x10\x00", "of version (9, 0)"),
        (b"", "it is damaged"),
        (pickle.dumps(Harm()), "it is damaged"),
    ],
    ids=range(13),
)
def test_a_hostile_npy_is_refused(shelf: Shelf, data: bytes, said: str) -> None:
    assert said in refused(shelf, data, "npy", "numpy.ndarray")


def test_a_hostile_array_in_the_journal_itself_is_refused(shelf: Shelf) -> None:
    data = b64encode(npy("'|O'", "()", pickle.dumps(Harm()))).decode()
    with pytest.raises(Refused, match="Python objects"):
        decode({"$type": "numpy.scalar", "value": data}, Path, lambda _name: None, shelf.notes.append)
    with pytest.raises(Refused, match="is something else"):
        decode({"$type": "numpy.scalar", "dtype": "O", "value": 1}, Path, lambda _name: None, shelf.notes.append)
    assert RAN == []


def parquet(table: pa.Table, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


class Foreign(pa.ExtensionType):  # type: ignore[misc] # pyarrow carries no types
    def __init__(self) -> None:
        super().__init__(pa.int64(), "evil.type")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, _storage: object, _data: bytes) -> Foreign:
        _harm("extension")
        return cls()


def foreign(name: bytes) -> pa.Table:
    field = pa.field(
        "a", pa.int64(), metadata={b"ARROW:extension:name": name, b"ARROW:extension:metadata": pickle.dumps(Harm())}
    )
    return pa.table([pa.array([1])], schema=pa.schema([field]))


TYPES = [
    "pyarrow.Table",
    "pyarrow.RecordBatch",
    "pandas.DataFrame",
    "pandas.Series",
    "pandas.Index",
    "polars.DataFrame",
]


@pytest.mark.parametrize("type_name", TYPES)
@pytest.mark.parametrize("name", [b"evil.type", b"arrow.py_extension_type"])
def test_a_type_with_code_of_its_own_is_refused(shelf: Shelf, type_name: str, name: bytes) -> None:
    assert "which needs code of its own" in refused(shelf, parquet(foreign(name)), "parquet", type_name)


def test_such_a_type_is_refused_inside_others_too(shelf: Shelf) -> None:
    inner = pa.field("b", pa.int64(), metadata={b"ARROW:extension:name": b"evil.type"})
    table = pa.table([pa.array([[{"b": 1}]], pa.list_(pa.struct([inner])))], names=["a"])
    assert "which needs code of its own" in refused(shelf, parquet(table), "parquet", "pyarrow.Table")


@pytest.mark.parametrize("type_name", TYPES)
def test_a_parquet_bomb_is_refused_before_it_is_read(
    shelf: Shelf, type_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, "_FLOOR", 1 << 20)  # The real one is 1 GiB: the test need not write as much.
    data = parquet(pa.table({"a": pa.nulls(3_000_000, pa.int64())}))
    assert len(data) < 10_000
    assert "it says that it takes" in refused(shelf, data, "parquet", type_name)


def test_a_text_that_stands_once_for_a_million_rows_is_refused(shelf: Shelf) -> None:
    data = parquet(pa.table({"a": ["x" * 100_000] * 1000}), use_dictionary=True)
    assert "texts of it stand once for many rows" in refused(shelf, data, "parquet", "pyarrow.Table")


def described(known: JsonValue, **columns: list[Any]) -> bytes:
    return parquet(pa.table(columns).replace_schema_metadata({"flownb": json.dumps(known)}), use_dictionary=False)


RANGE: dict[str, JsonValue] = {"index": "range", "start": 0, "stop": 1, "step": 1, "name": None}


@pytest.mark.parametrize(
    "known",
    [
        None,
        [],
        {"is": "frame"},
        {"is": "frame", "index": RANGE, "columns": [{"as": "pickle"}], "labels": RANGE},
        {"is": "frame", "index": RANGE, "columns": [{"as": "numpy", "dtype": "O"}], "labels": RANGE},
        {"is": "frame", "index": RANGE, "columns": [{"as": "masked", "dtype": "category"}], "labels": RANGE},
        {"is": "frame", "index": RANGE, "columns": [{"as": "items"}], "labels": RANGE},
        {
            "is": "frame",
            "index": RANGE | {"stop": 10**12},
            "columns": [{"as": "numpy", "dtype": "<i8"}],
            "labels": RANGE,
        },
        {"is": "frame", "index": RANGE, "columns": [{"as": "numpy", "dtype": "<i8"}] * 2, "labels": RANGE},
        {
            "is": "frame",
            "index": RANGE,
            "columns": [],
            "labels": {"index": "labels", "packed": {"known": {"as": "text"}}},
        },
        {"is": "index", "index": {"index": "labels", "labels": {"as": "period", "freq": "x"}, "name": None}},
    ],
    ids=range(11),
)
def test_a_description_that_does_not_fit_is_refused(shelf: Shelf, known: JsonValue) -> None:
    assert "is not loaded" in refused(shelf, described(known, a=[1]), "parquet", "pandas.DataFrame")


def test_what_pandas_says_of_itself_in_a_file_is_not_believed(shelf: Shelf) -> None:
    file = io.BytesIO()
    pd.DataFrame({"a": [1]}).to_parquet(file)
    assert "not written by flownb" in refused(shelf, file.getvalue(), "parquet", "pandas.DataFrame")


def png(width: int, height: int) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize(
    "data, said",
    [
        (png(100_000, 100_000), "100000 \N{MULTIPLICATION SIGN} 100000 pixels"),
        (png(0, 5), "0 \N{MULTIPLICATION SIGN} 5 pixels"),
        (png(50, 50), "it is damaged"),
        (b"GIF89a" + b"\0" * 100, "no PNG file"),
        (b"", "no PNG file"),
    ],
    ids=range(5),
)
def test_a_hostile_picture_is_refused(shelf: Shelf, data: bytes, said: str) -> None:
    assert said in refused(shelf, data, "png", "PIL.Image.Image", mode="RGB")


def test_a_picture_of_another_mode_than_was_told_is_refused(shelf: Shelf) -> None:
    file = io.BytesIO()
    Image.new("L", (2, 2)).save(file, "PNG")
    assert "it is of mode L" in refused(shelf, file.getvalue(), "png", "PIL.Image.Image", mode="RGB")


SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">%s</svg>'


@pytest.mark.parametrize(
    "inner",
    [
        "<script>alert(1)</script>",
        "<g onload='alert(1)'/>",
        "<image xlink:href='http://x/y.png'/>",
        "<use href='data:image/svg+xml;base64,xx'/>",
        "<a href='javascript:alert(1)'/>",
        "<foreignObject/>",
        "<style>@import 'http://x'</style>",
        "<style>a { background: url(http://x) }</style>",
        "<path style='fill: url( http://x )'/>",
        "<g>" * 200 + "</g>" * 200,
        "<g>",
    ],
    ids=range(11),
)
def test_a_drawing_that_does_more_than_draw_is_refused(shelf: Shelf, inner: str) -> None:
    svg = (SVG % inner).encode()
    shelf.folder.mkdir(parents=True)
    name = f"{hashlib.sha256(svg).hexdigest()}.svg"
    (shelf.folder / name).write_bytes(svg)
    file = io.BytesIO()
    Figure().savefig(file)
    output = ArtifactStore(shelf.folder).put("png", writes(file.getvalue()))
    with pytest.raises(Refused, match=name):
        decode(
            {"$artifact": output, "type": "matplotlib.figure.Figure", "svg": {"$artifact": name}},
            ArtifactStore(shelf.folder).open,
            lambda _name: None,
            shelf.notes.append,
        )


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return file.getvalue()


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        return {name: packed.read(name) for name in packed.namelist()}


def skops_with(**changes: object) -> bytes:
    files = files_of(sio.dumps(LogisticRegression()))
    schema = json.loads(files["schema.json"]) | changes
    return zipped(files | {"schema.json": json.dumps(schema).encode()})


FIT = LogisticRegression().fit(np.array([[0.0], [1.0]]), np.array([0, 1]))


@pytest.mark.parametrize(
    "data, said",
    [
        (sio.dumps(DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])), "Untrusted types"),
        (skops_with(__module__="os", __class__="system"), "is not loaded"),
        (skops_with(__module__="subprocess", __class__="Popen"), "Untrusted types"),
        (skops_with(__loader__="FunctionNode", content="os.system"), "is not loaded"),
        (zipped(files_of(sio.dumps(FIT)), zipfile.ZIP_DEFLATED), "something in it is packed"),
        (zipped({name: npy("'|O'", "(1,)", pickle.dumps([Harm()])) if name.endswith(".npy") else data for name, data in files_of(sio.dumps(FIT)).items()}), "Python objects"),
        (zipped({}), "it is damaged"),
        (b"PK", "it is damaged"),
        (pickle.dumps(Harm()), "it is damaged"),
        (sio.dumps(FIT), "it holds a sklearn.linear_model"),
    ],
    ids=range(10),
)  # fmt: skip
def test_a_hostile_estimator_is_refused(shelf: Shelf, data: bytes, said: str) -> None:
    message = refused(shelf, data, "skops", "sklearn.base.BaseEstimator", **{"class": "sklearn.Other"})
    assert said in message


def hdf(make: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO()
    with h5py.File(file, "w") as made:
        make(made)
    return file.getvalue()


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((1,), "i8")
    layout[0:1] = h5py.VirtualSource("/etc/passwd", "x", (1,))
    file.create_virtual_dataset("a", layout)


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "x")), "is a link"),
        (lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "is a link"),
        (lambda file: file.create_dataset("a", (4,), "i1", external=[("/etc/passwd", 0, 4)]), "another file"),
        (virtual, "another file"),
        (lambda file: file.create_group("a"), "is a group"),
        (lambda file: file.create_dataset("a", (1 << 40,), "i1", chunks=(1 << 20,)), "it says that it takes"),
    ],
    ids=range(6),
)
def test_a_hostile_grid_is_refused(shelf: Shelf, make: Callable[[Any], object], said: str) -> None:
    assert said in refused(shelf, hdf(make), "nc", "xarray.Dataset")


@pytest.mark.parametrize(
    "extension, type_name", [("xgboost", "xgboost.Booster"), ("lightgbm", "lightgbm.Booster"), ("txt", "str")]
)
def test_a_damaged_text_is_refused(shelf: Shelf, extension: str, type_name: str) -> None:
    assert "it is damaged" in refused(shelf, b"\xff\xfe not this", extension, type_name)


def test_json_in_a_file_is_no_deeper_than_elsewhere(shelf: Shelf) -> None:
    assert "it is damaged" in refused(shelf, b"[" * 100_000, "json", "list")
    assert "no such kind" in refused_inside(shelf, b'{"$type": "os.system"}')


def refused_inside(shelf: Shelf, data: bytes) -> str:
    name = ArtifactStore(shelf.folder).put("json", writes(data))
    with pytest.raises(Refused) as found:
        decode(
            {"$artifact": name, "type": "dict"},
            ArtifactStore(shelf.folder).open,
            lambda _name: None,
            shelf.notes.append,
        )
    return str(found.value)


@pytest.mark.parametrize(
    "extension, type_name",
    [
        *(("json", "pandas.DataFrame"), ("npy", "pandas.DataFrame"), ("parquet", "numpy.ndarray"), ("bin", "str")),
        *(("txt", "PIL.Image.Image"), ("svg", "matplotlib.figure.Figure"), ("pkl", "sklearn.base.BaseEstimator")),
    ],
)
def test_a_file_with_the_wrong_extension_for_its_type_is_refused(shelf: Shelf, extension: str, type_name: str) -> None:
    assert "ends in ." in refused(shelf, b"x", extension, type_name)


@pytest.mark.parametrize(
    "value", [pd.DataFrame({"a": [1]}), np.arange(3), pl.DataFrame({"a": ["x"]}), FIT], ids=range(4)
)
def test_a_file_with_one_byte_changed_is_refused(shelf: Shelf, value: object) -> None:
    made = shelf.keep(value)
    path = shelf.folder / shelf.names[0]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(Refused, match=f"{path.name} is damaged"):
        shelf.back(made)
