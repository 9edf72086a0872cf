"""A disk that knows what a power cut would leave of it: data and names that a sync brought there, and of the rest what chance says."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, assert_never

from flownb.store.files import Disk

UNSYNCED: Final = Disk(sync=lambda _: None, sync_data=lambda _: None)
"""The disk, without the wait for it: here the power goes only where a test says so."""

Image = dict[str, "bytes | Image"]
"""Name → what is in the file, or in the folder."""


class Left(StrEnum):
    """What is left after the power went."""

    SYNCED = "synced"
    """Only what was synced: data, names, and a file's new name too."""
    NAMES = "names"
    """All names, as after a rename that went ahead of the data; of the data only what was synced."""
    SOME = "some"
    """Of each name and of each file's data either the synced or the last, or a torn part of what came since."""


@dataclass(slots=True)
class Shadow:
    """Watches a `Disk` under one folder, whose own name is there for good. Thread-safe."""

    root: Path
    """The folder; nothing that is in it yet counts as synced."""
    data: dict[int, bytes] = field(default_factory=dict)
    """Inode → what is in the file, as last synced."""
    names: dict[int, dict[str, int]] = field(default_factory=dict)
    """Inode of a folder → name → inode, as last synced."""
    held: dict[int, int] = field(default_factory=dict)
    """Inode → a descriptor: while it is open no other file gets that number."""
    lock: threading.RLock = field(default_factory=threading.RLock)

    def disk(self, call: Callable[[str, Callable[..., Any], tuple[Any, ...]], Any]) -> Disk:  # Any: each as its field
        """Return a disk whose every call goes through `call(name, real, arguments)` and is noted if it went well."""

        def watched(name: str, real: Callable[..., Any]) -> Any:
            note = getattr(self, f"_{name}", None)

            def perform(*arguments: Any) -> Any:
                with self.lock:
                    made = real(*arguments)
                    if note is not None:
                        note(made, *arguments)
                    return made

            return lambda *arguments: call(name, perform, arguments)

        names = [item.name for item in fields(Disk)]
        return Disk(**{name: watched(name, getattr(UNSYNCED, name)) for name in names})

    def take_in(self) -> None:
        """Count all that is there as synced."""
        for folder, _, names in os.walk(self.root):
            self._note_names(Path(folder))
            for name in names:
                with (Path(folder) / name).open("rb") as file:
                    self._hold(file.fileno())
                    self.data[os.fstat(file.fileno()).st_ino] = file.read()

    def _open(self, made: int, _path: Path, flags: int, _mode: int) -> None:
        if flags & os.O_CREAT:
            self._hold(made)

    def _sync(self, _made: None, descriptor: int) -> None:
        self._sync_data(None, descriptor)

    def _sync_data(self, _made: None, descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        path = Path(f"/proc/self/fd/{descriptor}")
        if path.is_dir():
            self._note_names(path)
        else:
            self.data[inode] = path.read_bytes()

    def _hold(self, descriptor: int) -> None:
        inode = os.fstat(descriptor).st_ino
        if inode not in self.held:
            self.held[inode] = os.dup(descriptor)

    def _note_names(self, folder: Path) -> None:
        with os.scandir(folder) as entries:
            self.names[folder.stat().st_ino] = {entry.name: entry.inode() for entry in entries}

    def cut_power(self, left: Left, dice: random.Random, store: str = ".flownb") -> None:
        """Put in place of the store what is left of it; what is beside it stays, as other programs' files."""
        image = self._folder(self.root, self.root.stat().st_ino, left, dice, only=store)
        shutil.rmtree(self.root / store, ignore_errors=True)
        _write(self.root, image)
        self.close()

    def close(self) -> None:
        """Let go of the files."""
        while self.held:
            os.close(self.held.popitem()[1])

    def _folder(self, path: Path, inode: int, left: Left, dice: random.Random, only: str = "") -> Image:
        with suppress(FileNotFoundError), os.scandir(path) as entries:
            now = {entry.name: entry.inode() for entry in sorted(entries, key=lambda entry: entry.name)}
        synced = self.names.get(inode, {})
        image: Image = {}
        for name in [only] if only else sorted({*synced, *now}):
            before, last = synced.get(name), now.get(name)
            match left:
                case Left.SYNCED:
                    found = before
                case Left.NAMES:
                    found = last
                case Left.SOME:
                    found = dice.choice([before, last])
                case _:
                    assert_never(left)
            if found is not None:
                is_folder = (path / name).is_dir()  # No folder is ever renamed or taken away.
                image[name] = (
                    self._folder(path / name, found, left, dice) if is_folder else self._file(found, left, dice)
                )
        return image

    def _file(self, inode: int, left: Left, dice: random.Random) -> bytes:
        synced = self.data.get(inode, b"")
        if left is not Left.SOME or inode not in self.held:
            return synced
        last = Path(f"/proc/self/fd/{self.held[inode]}").read_bytes()
        shared = next(
            (at for at, (a, b) in enumerate(zip(synced, last, strict=False)) if a != b), min(len(synced), len(last))
        )
        torn = last[: shared + dice.randrange(len(last) - shared + 1)]
        return dice.choice([synced, last, torn, torn + b"\0" * (len(last) - len(torn))])


def _write(folder: Path, image: Image) -> None:
    for name, found in image.items():
        if isinstance(found, bytes):
            (folder / name).write_bytes(found)
            (folder / name).chmod(0o600)
        else:
            (folder / name).mkdir(mode=0o700)
            _write(folder / name, found)
