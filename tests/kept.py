"""Stores a value in real files and brings it back, as a run and its resume do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from flownb.artifacts.decode import decode
from flownb.artifacts.encode import Encoded, encode
from flownb.artifacts.kind import Holds
from flownb.store.artifacts import ArtifactStore


class Shelf:
    """A folder of artifacts, the classes that the document has, and what was said when a value came back."""

    def __init__(self, folder: Path, *classes: type) -> None:
        self.folder = folder / "artifacts"
        self.classes = {f"{one.__module__}.{one.__qualname__}": one for one in classes}
        self.notes: list[str] = []

    def keep(self, value: object, holds: Holds | None = None) -> Encoded:
        """Return a value as it would be read from the journal."""
        made = encode(value, ArtifactStore(self.folder).put, holds)
        return Encoded(json.loads(json.dumps(made.output, allow_nan=False)), is_tagged=made.is_tagged)

    def back(self, made: Encoded) -> object:
        """Return the value, through a store that has seen none of its files."""
        if not made.is_tagged:
            return made.output
        return decode(made.output, ArtifactStore(self.folder).open, self.classes.get, self.notes.append)

    def there_and_back(self, value: object) -> object:
        """Return what comes back of a value, once it is seen that it is stored the same way twice."""
        made = self.keep(value)
        assert self.keep(value) == made
        return self.back(made)

    @property
    def names(self) -> list[str]:
        """Names of the files, in order."""
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


SECRET = "hunter2"


def holds(text: str | bytes) -> bool:
    """Return whether the made-up secret stands in a text."""
    return SECRET in text if isinstance(text, str) else SECRET.encode() in text


def writes(*parts: bytes) -> Callable[[BinaryIO], None]:
    """Return what writes these bytes."""

    def write(file: BinaryIO) -> None:
        for part in parts:
            assert file.write(part) == len(part)

    return write
