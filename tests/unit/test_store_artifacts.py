"""Files by their hash: whole or not there, whatever call of the system fails; read only when they match their name."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from flownb.artifacts.kind import Refused
from flownb.store import artifacts
from flownb.store.artifacts import ArtifactStore
from flownb.store.files import Disk
from tests.kept import writes


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class Counted:
    """A disk whose n-th call fails, once; and which knows what was called."""

    def __init__(self, fails_at: int = -1, error: int = errno.EIO) -> None:
        self.calls: list[str] = []
        self._fails_at, self._error = fails_at, error

    def disk(self) -> Disk:
        plain = Disk()
        return Disk(**{field.name: self._watched(field.name, getattr(plain, field.name)) for field in fields(Disk)})

    def _watched(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*arguments: object) -> object:
            self.calls.append(name)
            if len(self.calls) - 1 == self._fails_at:
                raise OSError(self._error, os.strerror(self._error))
            return call(*arguments)

        return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "run" / "artifacts"


@pytest.mark.parametrize("size", [0, 1, artifacts._SMALL, artifacts._SMALL + 1, 3 * artifacts._CHUNK + 5])
def test_a_file_is_named_by_its_hash_and_holds_what_was_written(folder: Path, size: int) -> None:
    data = os.urandom(size)
    store = ArtifactStore(folder)
    name = store.put("bin", writes(data[: size // 3], data[size // 3 :]))
    assert name == f"{hashlib.sha256(data).hexdigest()}.bin"
    assert store.open(name).read_bytes() == data
    assert names(folder) == [name]


def test_only_its_owner_reads_it(folder: Path) -> None:
    old = os.umask(0)
    try:
        path = ArtifactStore(folder).open(ArtifactStore(folder).put("bin", writes(b"x")))
    finally:
        os.umask(old)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(folder.stat().st_mode)) == (0o600, 0o700)


def test_it_is_synced_before_it_has_its_name_and_its_name_before_put_returns(folder: Path) -> None:
    for data in (b"x", os.urandom(artifacts._SMALL * 2)):
        watch = Counted()
        ArtifactStore(folder, watch.disk()).put("bin", writes(data))
        order = [name for name in watch.calls if name in ("write", "sync", "move")]
        assert order[-3:] == ["sync", "move", "sync"]
        assert "write" in order[:-3]


def test_what_is_there_is_not_written_again(folder: Path) -> None:
    name = ArtifactStore(folder).put("bin", writes(b"x"))
    before = (folder / name).stat()
    watch = Counted()
    assert ArtifactStore(folder, watch.disk()).put("bin", writes(b"x")) == name
    after = (folder / name).stat()
    assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_ino,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert "move" not in watch.calls
    assert names(folder) == [name]


def test_what_is_there_but_damaged_is_put_right(folder: Path) -> None:
    store = ArtifactStore(folder)
    name = store.put("bin", writes(b"good"))
    (folder / name).write_bytes(b"evil")
    assert ArtifactStore(folder).put("bin", writes(b"good")) == name
    assert store.open(name).read_bytes() == b"good"


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("size", [1, artifacts._SMALL * 2])
def test_whichever_call_fails_no_half_file_is_left(tmp_path: Path, error: int, size: int) -> None:
    data = os.urandom(size)
    watch = Counted()
    ArtifactStore(tmp_path / "all" / "artifacts", watch.disk()).put("bin", writes(data))
    failed = 0
    for place in range(len(watch.calls)):
        folder = tmp_path / f"{place}" / "artifacts"
        try:
            ArtifactStore(folder, Counted(place, error).disk()).put("bin", writes(data))
        except OSError as found:
            failed += found.errno == error
        left = [path.read_bytes() for path in folder.iterdir()] if folder.exists() else []
        assert left in ([], [data])
        name = ArtifactStore(folder).put("bin", writes(data))
        assert ArtifactStore(folder).open(name).read_bytes() == data
    assert failed >= len(watch.calls) - 3


def test_a_short_write_is_gone_on_with(folder: Path) -> None:
    disk = Disk(write=lambda descriptor, data: os.write(descriptor, memoryview(data)[:7]))
    name = ArtifactStore(folder, disk).put("bin", writes(b"x" * 100))
    assert ArtifactStore(folder).open(name).read_bytes() == b"x" * 100


def test_what_the_writer_raises_leaves_nothing(folder: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(os.urandom(artifacts._SMALL * 2))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ArtifactStore(folder).put("bin", write)
    assert names(folder) == []


def test_a_file_that_is_too_large_is_not_put(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artifacts, "LARGEST_BYTES", 10)
    with pytest.raises(OSError, match="larger than 10 bytes"):
        ArtifactStore(folder).put("bin", writes(b"x" * 11))
    assert names(folder) == []


def test_a_file_that_is_too_large_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ArtifactStore(folder).put("bin", writes(b"x" * 11))
    monkeypatch.setattr(artifacts, "LARGEST_BYTES", 10)
    with pytest.raises(Refused, match="too large: 11 bytes"):
        ArtifactStore(folder).open(name)


def test_threads_put_the_same_and_others_at_once(folder: Path) -> None:
    store = ArtifactStore(folder)
    parts = [bytes([number % 5]) * (artifacts._SMALL * 2) for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        put = list(pool.map(lambda part: store.put("bin", writes(part)), parts))
    assert sorted(names(folder)) == sorted(set(put))
    assert [store.open(name).read_bytes() for name in put] == parts


def test_a_file_is_read_for_its_hash_once_and_again_when_it_changed(folder: Path) -> None:
    name = ArtifactStore(folder).put("bin", writes(b"x" * 10))
    watch = Counted()
    store = ArtifactStore(folder, watch.disk())
    store.open(name)
    reads = watch.calls.count("read")
    store.open(name)
    assert (reads, watch.calls.count("read")) == (2, 2)
    (folder / name).write_bytes(b"y" * 10)
    with pytest.raises(Refused, match="damaged: its 10 bytes do not match its name"):
        store.open(name)


DIGEST = hashlib.sha256(b"x").hexdigest()


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            "x",
            ".",
            "..",
            "../../etc/passwd",
            "/etc/passwd",
            DIGEST,
            f"{DIGEST}.",
            f"{DIGEST}.BIN",
            f"{DIGEST}.b/n",
        ),
        *(f"../{DIGEST}.bin", f"{DIGEST}.bin\n", f"{DIGEST.upper()}.bin", f"{DIGEST}.bin\0", f"{DIGEST}.{'x' * 17}"),
    ],
)
def test_only_names_that_put_gives_are_opened(folder: Path, name: str) -> None:
    ArtifactStore(folder).put("bin", writes(b"x"))
    with pytest.raises(Refused, match="is no name of a stored value"):
        ArtifactStore(folder).open(name)


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(Refused, match=rf"(?s){DIGEST}.bin cannot be read: No such file.*hint: run the node"):
        ArtifactStore(folder).open(f"{DIGEST}.bin")


def test_a_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x")
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.bin").symlink_to(tmp_path / "outside")
    with pytest.raises(Refused, match="a symbolic link stands in its place"):
        ArtifactStore(folder).open(f"{DIGEST}.bin")


def test_a_pipe_is_not_waited_for(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.mkfifo(folder / f"{DIGEST}.bin")
    with pytest.raises(Refused, match="a pipe stands in its place"):
        ArtifactStore(folder).open(f"{DIGEST}.bin")


def test_a_link_in_place_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere"
    name = ArtifactStore(real).put("bin", writes(b"x"))
    folder.parent.mkdir()
    folder.symlink_to(real)
    with pytest.raises(Refused, match="a symbolic link stands in place of its folder"):
        ArtifactStore(folder).open(name)
    with pytest.raises(OSError, match="a symbolic link stands in place of a folder"):
        ArtifactStore(folder).put("bin", writes(b"y"))
