"""NumPy's own file format, written and read without pickle, and never larger in memory than in the file."""

from __future__ import annotations

import ast
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.lib import format as npy

_LONGEST_HEADER: Final = 10_000
"""Bytes; NumPy reads no longer ones unless told to trust the file."""
_MOST_ITEMS: Final = 1 << 40
"""Of a type that takes no room, of which any number stands in an empty file."""


def why_not(dtype: np.dtype[Any]) -> str:
    """Return why arrays of a type cannot be written so that they come back equal; empty where they can.

    Args:
        dtype: The type.
    """
    if dtype.hasobject:
        return "it holds Python objects; return a list, or a DataFrame"
    if dtype.metadata:
        return "its type carries metadata, which no file keeps; use .astype(…)"
    if dtype.kind == "T":
        return "arrays of StringDType cannot be written; use .astype(str)"
    descr = npy.dtype_to_descr(dtype)
    if len(repr(descr)) > _LONGEST_HEADER // 2:
        return "its type has too many fields"
    return "" if npy.descr_to_dtype(descr) == dtype else "its type cannot be written to .npy; use .astype(…)"


def write_npy(file: BinaryIO, array: np.ndarray[Any, Any]) -> None:
    """Write an array as `numpy.save` does, without its copies where it lies in one piece.

    Args:
        file: Where to.
        array: Of a type of which `why_not` says nothing.
    """
    flat = array if array.flags.c_contiguous else array.T
    if array.dtype.names or not array.nbytes or not flat.flags.c_contiguous:
        # Version 3 is for names beyond Latin-1; NumPy warns where it chooses it itself.
        version = None if _is_latin(repr(npy.dtype_to_descr(array.dtype))) else (3, 0)
        npy.write_array(file, array, version=version, allow_pickle=False)
        return
    npy.write_array_header_1_0(file, npy.header_data_from_array_1_0(array))
    file.write(flat.reshape(-1).view(np.uint8).data)


def _is_latin(text: str) -> bool:
    return all(character <= "\xff" for character in text)


def read_npy(source: Path | bytes) -> np.ndarray[Any, Any]:
    """Return the array in a file or in bytes.

    Args:
        source: The file, or what stands in it.

    Raises:
        ValueError: It is no such file, holds Python objects, or says another size than it has.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    with BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        shape, dtype = _header(file)
        told = dtype.itemsize
        for length in shape:
            told *= length
        if told != size - file.tell() or (not dtype.itemsize and max(shape, default=0) > _MOST_ITEMS):
            raise ValueError(f"it says that {told} bytes follow, and {size - file.tell()} do")
        file.seek(0)
        return np.asarray(npy.read_array(file, allow_pickle=False))


def _header(file: BinaryIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type, as the header says; NEP 1 describes it."""
    version = npy.read_magic(file)
    length = int.from_bytes(file.read(2 if version == (1, 0) else 4), "little")
    if version not in ((1, 0), (2, 0), (3, 0)) or length > _LONGEST_HEADER:
        raise ValueError(f"its header is {length} bytes long, of version {version}")
    text = file.read(length)
    header = ast.literal_eval(text.decode("utf-8" if version == (3, 0) else "latin-1"))
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header says something else than type, order and shape")
    shape, dtype = header["shape"], npy.descr_to_dtype(header["descr"])
    if not isinstance(shape, tuple) or any(type(length) is not int or length < 0 for length in shape):
        raise ValueError("its shape is none")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which only pickle reads")
    return shape, dtype
