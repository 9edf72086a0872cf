"""What a kind of value says of itself: how it is stored, and how it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, TypeAlias

from pydantic import JsonValue

from flownb.errors import FlowError

Put: TypeAlias = Callable[[str, Callable[[BinaryIO], None]], str]
"""Extension, what writes the bytes → `<sha256>.<extension>`; the file is on the disk when it returns."""
Holds: TypeAlias = Callable[[str | bytes], bool]
"""Whether a secret stands in a text or in bytes."""
Fields: TypeAlias = Mapping[str, JsonValue]
"""One tag or one artifact, as it stands in JSON."""

_FLOOR: Final = 1 << 30
_TIMES: Final = 1100
"""No packer that is used here makes bytes shorter than 1032 times (deflate)."""


class Unkept(Exception):  # noqa: N818 it is no error of the run: the value is kept in memory only
    """A value, or a part of one, that fits no kind. Says where, of what type and why."""

    def __init__(self, path: str, type_name: str, why: str) -> None:
        """Say what cannot be kept.

        Args:
            path: Where it stands in the value, as `["rows"][3]`; empty: it is the value itself.
            type_name: Its class, as `module.Class`.
            why: Why, and what to do, in plain words; it holds nothing of the value.
        """
        super().__init__(path, type_name, why)
        self.path, self.type_name, self.why = path, type_name, why

    def __str__(self) -> str:
        return f"{self.path or 'the value'} ({self.type_name}): {self.why}"


class HoldsSecret(Exception):  # noqa: N818 as above
    """A value holds a secret: nothing of it was put."""


class Refused(FlowError):  # noqa: N818 as above
    """A stored value that is not brought back: it is damaged, or was made to do harm."""


class Keeper(Protocol):
    """What a kind is given to store a value with. Nothing is put before the whole value was looked at."""

    def item(self, value: object, step: str) -> JsonValue:
        """Return a value inside this one as JSON.

        Args:
            value: Any value.
            step: How it is reached, as `["rows"]`.

        Raises:
            Unkept: It fits no kind.
        """
        ...

    def ask(self, texts: Iterable[str | bytes]) -> None:
        """Ask whether a secret stands in texts or bytes that go into a file; what stands in the JSON is asked anyway.

        Raises:
            HoldsSecret: One does.
        """
        ...

    @property
    def asks(self) -> bool:
        """Whether there are secrets at all; else `ask` does nothing, and the texts need not be gathered."""
        ...

    def file(self, extension: str, write: Callable[[BinaryIO], None]) -> JsonValue:
        """Return what stands for a file in JSON, in the field `$artifact`; its name is filled in at the end.

        Args:
            extension: The kind's own.
            write: Writes the bytes; called once, after the whole value was looked at. May raise `Unkept`.
        """
        ...

    def restorer(self) -> Restorer:
        """Return what brings a value back, to try whether it comes back equal before it counts as kept."""
        ...

    def unkept(self, value: object, why: str) -> Unkept:
        """Return the error that says why a value is not kept, with the place where it stands."""
        ...


class Restorer(Protocol):
    """What a kind is given to bring a value back with."""

    def item(self, data: JsonValue) -> object:
        """Return the value that stands inside this one.

        Raises:
            Refused: It is damaged or hostile.
        """
        ...

    def open(self, data: Fields, extension: str) -> Path:
        """Return the file of an artifact.

        Args:
            data: The artifact, with its name in `$artifact`.
            extension: What the file's name must end in.

        Raises:
            Refused: It has another extension, is missing or damaged.
        """
        ...

    def find_class(self, name: str) -> type | None:
        """Return the class of that name (`module.Class`), where the document's own code defines or imports it."""
        ...

    def note(self, text: str) -> None:
        """Tell the person that something did not come back as it was."""
        ...

    def refused(self, data: Fields, why: str) -> Refused:
        """Return the error that names the file or the tag, what is wrong with it, and what to do."""
        ...


class Kind(Protocol):
    """How the values of a class are stored, and come back. Packages add their own.

    In the package, an object with both methods (a module will do):

        def keep(value, keeper):
            keeper.ask([value.title])           # every text and all bytes that go into the file
            return {"$artifact": keeper.file("csv", value.write_csv), "size": f"{len(value)} rows", "preview": value.title}

        def restore(data, restorer):
            return Ledger.read_csv(restorer.open(data, "csv"))

    and in its pyproject.toml, with the qualified name of the class as the name

        [project.entry-points."flownb.artifacts"]
        "my_package.ledger.Ledger" = "my_package.ledger_kind"

    Equal values must give equal JSON and equal bytes: it is compared when a run is resumed. `restore` must not run
    anything that it reads. What is small needs no file: `{"value": …}` stands in the journal itself.
    """

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # Of the class that it is registered for.
        """Return a value as JSON: fields besides `$type` and `type`, which are set by whoever calls.

        Args:
            value: The value; of exactly the registered class.
            keeper: Stores what is in it.

        Raises:
            Unkept: It cannot be stored so that it comes back equal.
            HoldsSecret: It holds a secret.
        """
        ...

    def restore(self, data: Fields, restorer: Restorer) -> object:
        """Return the value.

        Args:
            data: What `keep` returned.
            restorer: Opens files, and brings back what is inside.

        Raises:
            Refused: The data is damaged or hostile. Any other exception is made into one.
        """
        ...


def name_of(kind: type) -> str:
    """Return a class as `module.Class`; those of Python itself without `builtins`."""
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def room_for(size_bytes: int) -> int:
    """Return how many bytes in memory a file may become: the same bound for writing and reading.

    A value that would need more is not kept; a file that says it needs more is a bomb.

    Args:
        size_bytes: Of the file.
    """
    return _FLOOR + _TIMES * size_bytes


def texts_in(output: JsonValue) -> Iterator[str]:
    """Give every text that stands in JSON, keys too."""
    to_see = [output]
    while to_see:
        match to_see.pop():
            case str() as text:
                yield text
            case list() as items:
                to_see.extend(items)
            case dict() as fields:
                to_see.extend(fields)
                to_see.extend(fields.values())
            case _:
                pass
