"""A value from its JSON and its files; whoever wrote them, nothing in them is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue
from pydantic_core import from_json

from flownb.artifacts.kind import Fields, Refused
from flownb.artifacts.registry import KINDS, kind_for
from flownb.errors import FlowError

__all__ = ["Refused", "artifact_names", "decode"]

_REMEDY: Final = "run the node again: `flownb resume RUN --from NODE`"
_SHOWN: Final = 80


def decode(
    output: JsonValue,
    open_artifact: Callable[[str], Path],
    find_class: Callable[[str], type | None],
    notes: Callable[[str], None],
) -> object:
    """Return the value that `encode` made tagged JSON of. Blocks while files are read. Thread-safe.

    Args:
        output: What `encode` returned as tagged.
        open_artifact: The name of a file → where it is, checked against its hash.
        find_class: `module.Class` → that class, where the document's own code defines or imports it; else None.
        notes: Told, in a sentence each, what did not come back as it was.

    Raises:
        Refused: Something is damaged or hostile; it names the file or the tag.
    """
    try:
        return Restoring(open_artifact, find_class, notes).item(output)
    except RecursionError as error:
        raise Refused("a stored value is nested too deeply", _REMEDY) from error
    except MemoryError as error:
        raise Refused("a stored value needs more memory than there is", _REMEDY) from error


def artifact_names(output: JsonValue) -> Iterator[str]:
    """Give the name of every file that a value needs, also through other files; some perhaps twice.

    Args:
        output: What `encode` returned; plain JSON with such keys by chance gives names that no file has.
    """
    to_see = [output]
    while to_see:
        match to_see.pop():
            case list() as items:
                to_see.extend(items)
            case dict() as fields:
                if isinstance(name := fields.get("$artifact"), str):
                    yield name
                    uses = fields.get("uses")
                    yield from (one for one in (uses if isinstance(uses, list) else ()) if isinstance(one, str))
                to_see.extend(fields.values())
            case _:
                pass


@dataclass(frozen=True, slots=True)
class Restoring:
    """One value on its way back: the `Restorer` that kinds are given."""

    open_artifact: Callable[[str], Path]
    find_class: Callable[[str], type | None]
    note: Callable[[str], None]

    def item(self, data: JsonValue) -> object:
        """Return the value of tagged JSON."""
        if isinstance(data, list):
            return [self.item(item) for item in data]
        if not isinstance(data, dict):
            return data
        if "$artifact" in data:
            return self._file(data)
        if "$type" not in data:
            return {key: self.item(item) for key, item in data.items()}
        if not isinstance(tag := data["$type"], str):
            raise self.refused(data, "the tag is no text")
        return self._restored(tag, data)

    def open(self, data: Fields, extension: str) -> Path:
        """Return where the file of an artifact is."""
        name = data.get("$artifact")
        if not isinstance(name, str) or name.rpartition(".")[2] != extension:
            raise self.refused(data, f"the file of a {data.get('type')} ends in .{extension}")
        return self.open_artifact(name)

    def refused(self, data: Fields, why: str) -> Refused:
        """Return the error that names the file or the tag."""
        name, tag = data.get("$artifact"), data.get("type", data.get("$type"))
        place = (
            f"the file {str(name)[:_SHOWN]!r} ({str(tag)[:_SHOWN]})"
            if name is not None
            else f"a stored {str(tag)[:_SHOWN]}"
        )
        return Refused(f"{place} is not loaded: {why}", _REMEDY)

    def _file(self, data: dict[str, JsonValue]) -> object:
        tag = data.get("type")
        if not isinstance(tag, str):
            raise self.refused(data, "it says no type")
        if str(data["$artifact"]).endswith(".json") and not (tag in KINDS and KINDS[tag].extension):
            path = self.open(data, "json")
            return self._guarded(data, lambda: self._tree(path.read_bytes()))
        return self._restored(tag, data)

    def _tree(self, text: bytes) -> object:
        tree = from_json(text)
        return self.item(tree) if b'"$' in text else tree

    def _restored(self, tag: str, data: dict[str, JsonValue]) -> object:
        try:
            kind = kind_for(tag)
        except FlowError as error:
            raise Refused(f"a stored {tag} is not loaded: {error.message}", error.hint) from error
        if kind is None:
            raise self.refused(data, "there is no such kind of value")
        return self._guarded(data, lambda: kind.restore(data, self))

    def _guarded(self, data: Fields, restore: Callable[[], object]) -> object:
        try:
            return restore()
        except (FlowError, OSError, RecursionError, MemoryError):
            raise
        except Exception as error:  # Damaged data makes a library raise anything.
            raise self.refused(data, f"it is damaged ({type(error).__name__}: {error})"[:300]) from error
