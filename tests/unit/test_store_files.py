"""Whole files: the old one or the new one, and nothing else is left."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from flownb.store.files import sync_folder, write_atomically, write_beside
from tests.runs import names_in


def broken(descriptor: int) -> None:
    raise OSError(errno.EIO, "the disk is gone")


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    write_atomically(path, b"old")
    inode = path.stat().st_ino
    write_atomically(path, b"new and longer")
    assert path.read_bytes() == b"new and longer"
    assert path.stat().st_ino != inode
    assert names_in(tmp_path) == ["state.json"]


def test_the_content_is_synced_before_the_name_and_the_name_after(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    seen: list[tuple[bool, bool]] = []
    folder = tmp_path.stat().st_ino

    def sync(descriptor: int) -> None:
        seen.append((os.fstat(descriptor).st_ino == folder, path.exists()))

    write_atomically(path, b"new", sync)
    assert seen == [(False, False), (True, True)]


def test_a_file_that_cannot_be_synced_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="the disk is gone"):
        write_atomically(path, b"new", broken)
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["state.json"]


def test_a_file_that_cannot_get_its_name_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomically(path, b"new")
    assert names_in(tmp_path) == ["folder"]


def test_what_is_written_beside_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)
    first, second = write_beside(path, b"1"), write_beside(path, b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")
    assert not path.exists()


def test_a_folder_is_synced_by_its_descriptor(tmp_path: Path) -> None:
    seen: list[int] = []
    sync_folder(tmp_path, lambda descriptor: seen.append(os.fstat(descriptor).st_ino))
    assert seen == [tmp_path.stat().st_ino]
