"""Whole files: the old one or the new one, and nothing else is left."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from flownb.store.files import Disk, make_folder, read_file, sync_folder, write_atomically, write_beside, write_private
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

    write_atomically(path, b"new", Disk(sync=sync))
    assert seen == [(False, False), (True, True)]


def test_a_file_that_cannot_be_synced_leaves_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="the disk is gone"):
        write_atomically(path, b"new", Disk(sync=broken))
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
    sync_folder(tmp_path, Disk(sync=lambda descriptor: seen.append(os.fstat(descriptor).st_ino)))
    assert seen == [tmp_path.stat().st_ino]


@pytest.fixture(params=[0o000, 0o022, 0o277, 0o777], ids=oct)
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.usefixtures("_umask")
def test_what_is_kept_of_a_run_is_its_owners_whatever_the_umask(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    make_folder(folder)
    write_private(folder / "state.json", b"x")
    assert [mode_of(path) for path in (folder.parent, folder, folder / "state.json")] == [0o700, 0o700, 0o600]


def test_a_persons_own_file_has_the_mode_that_the_umask_gives_it(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "weekly.flow.md", b"# Weekly")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "weekly.flow.md") == 0o640


def test_every_folder_that_is_made_has_its_name_on_the_disk(tmp_path: Path) -> None:
    seen: list[int] = []
    make_folder(tmp_path / "a" / "b", Disk(sync=lambda descriptor: seen.append(os.fstat(descriptor).st_ino)))
    assert seen == [tmp_path.stat().st_ino, (tmp_path / "a").stat().st_ino]


@pytest.fixture(params=["link", "dangling link", "pipe", "socket", "folder"])
def strange(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a path at which something stands that is no file."""
    path, elsewhere = tmp_path / "strange", tmp_path / "elsewhere"
    match request.param:
        case "link":
            elsewhere.write_bytes(b"mine")
            path.symlink_to(elsewhere)
        case "dangling link":
            path.symlink_to(elsewhere)
        case "pipe":
            os.mkfifo(path)
        case "socket":
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(path))
        case _:
            path.mkdir()
    return path


def test_what_is_no_file_is_neither_read_nor_written_over_and_never_waited_for(strange: Path) -> None:
    before = strange.lstat()
    with pytest.raises(OSError, match=r"stands in place of a file"):
        read_file(strange)
    with pytest.raises(OSError, match="stands in place of a file"):
        write_private(strange, b"x")
    assert (strange.lstat().st_ino, strange.lstat().st_mode) == (before.st_ino, before.st_mode)
    elsewhere = strange.with_name("elsewhere")
    assert not elsewhere.exists() or elsewhere.read_bytes() == b"mine"


def test_what_is_no_folder_is_not_taken_for_one(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(OSError, match="a symbolic link stands in place of a folder"):
        make_folder(tmp_path / "link")
    make_folder(tmp_path / "link" / "inside")  # What lies above the state folder is the person's own.
    assert (tmp_path / "real" / "inside").is_dir()


def test_of_a_file_no_more_is_read_than_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    assert len(read_file(tmp_path / "a")) == 3_000_000
    assert read_file(tmp_path / "a", limit=3) == b"xxx"
    assert (
        read_file(tmp_path / "a", Disk(read=lambda descriptor, count: os.read(descriptor, min(count, 2))), 5)
        == b"xxxxx"
    )
