"""Whole files and folders that are on the disk, or are not, whenever the power goes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

Sync: TypeAlias = Callable[[int], None]
"""Returns when what was written to a file descriptor is on the disk, as `os.fsync`."""

MARK: Final = ".tmp"
"""How the names of files end that are not whole yet."""


TO_WRITE: Final = "make room there, or make it writable, and try again"
"""What to do where something cannot be written."""


def sync_folder(folder: Path, sync: Sync = os.fsync) -> None:
    """Return when the names in a folder are on the disk.

    Args:
        folder: The folder; not those inside it.
        sync: What brings a descriptor to the disk.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def write_beside(path: Path, data: bytes, sync: Sync = os.fsync) -> Path:
    """Write a file that is to become `path`, and return where it is.

    It is on the disk and whole; its name is nobody else's. Where it cannot be written, nothing is left of it.

    Args:
        path: What it is to become.
        data: What is in it.
        sync: What brings a descriptor to the disk.

    Raises:
        OSError: It cannot be written.
    """
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}{MARK}")
    try:
        with beside.open("xb", buffering=0) as file:
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            sync(file.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


def write_atomically(path: Path, data: bytes, sync: Sync = os.fsync) -> None:
    """Write a whole file: whoever reads it, also after a crash, sees the old one or the new one.

    Args:
        path: The file; its folder exists.
        data: What is in it.
        sync: What brings a descriptor to the disk.

    Raises:
        OSError: It cannot be written; the old one is still there.
    """
    beside = write_beside(path, data, sync)
    try:
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent, sync)
