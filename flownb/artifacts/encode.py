"""Any value as JSON for the journal, with what is large or no JSON in files beside it."""

from __future__ import annotations

import json
import marshal
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from sys import modules
from typing import BinaryIO, Final, cast

from pydantic import JsonValue
from pydantic_core import from_json

from flownb.artifacts.decode import Restoring
from flownb.artifacts.kind import Holds, HoldsSecret, Put, Refused, Restorer, Unkept, name_of, texts_in
from flownb.artifacts.registry import kind_for, own_tag, tag_for
from flownb.errors import FlowError

__all__ = ["LARGEST_BYTES", "Encoded", "Holds", "HoldsSecret", "Put", "Unkept", "encode"]

LARGEST_BYTES: Final = 1 << 16
"""What is larger as JSON in UTF-8 stands in a file."""
_TOGETHER: Final = 10_000
"""Texts that are written at a time."""
PREVIEW_LENGTH: Final = 200
"""Characters."""

_DUMPS: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_RECORD: Final = "flownb.model.record.Record"
_STATES: Final = (dict, OrderedDict)
_LONGEST_INT: Final = 14_000
"""Bits of an integer that Python, and whoever else reads JSON, takes from its digits (4,300 of them)."""
_OPEN, _CLOSE = b"[" * 12, b"]" * 12
"""Around a value: some levels are for what it will stand in; 200 is the most that can be read."""
_EXACT: Final = 2
"""The version of marshal that writes equal values of equal types as equal bytes: no references, no interning."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as the journal holds it."""

    output: JsonValue
    """Plain JSON, or JSON with tags; a copy that nobody else has."""
    is_tagged: bool
    """Whether it must go through `decode`; False: it is the value as it is."""


def encode(value: object, put: Put, holds: Holds | None) -> Encoded:
    """Return a value as JSON that `decode` makes an equal value of the same kind of.

    Equal values give equal JSON; the order of keys counts. Blocks until all files are on the disk. Thread-safe as long
    as nobody changes the value meanwhile.

    Args:
        value: Anything.
        put: Puts a file into the store.
        holds: Is asked with every text and all bytes in the value (of numbers, not with their digits). None: there is
            no secret.

    Raises:
        Unkept: It, or something in it, fits no kind; what was put by then is named by nothing.
        HoldsSecret: A secret stands in it; nothing was put.
        OSError: A file cannot be written.
    """
    if _are_many_texts(value) and (listed := _texts_file(cast("list[str]", value), put, holds)) is not None:
        return listed
    plain = None if type(value) is str else _plain(value)
    if plain is not None:
        copy, text = plain
        if holds is not None:
            _ask(holds, set(texts_in(copy)))  # Keys stand there many times.
        if len(text) <= LARGEST_BYTES:
            return Encoded(copy, is_tagged=False)
        return Encoded(_json_file(text, value, put, ()), is_tagged=True)
    keeping = Keeping(holds)
    try:
        output = keeping.item(value, "")
    except RecursionError as error:
        raise Unkept("", name_of(type(value)), "it is nested too deeply to be stored") from error
    if holds is not None:
        _ask(holds, set(texts_in(output)))
    text = _DUMPS(output).encode()
    _check_depth(text, value)
    names = keeping.put_all(put)
    if names:
        output = _named(output, names)
        text = _DUMPS(output).encode()
    if len(text) <= LARGEST_BYTES:
        return Encoded(output, is_tagged=keeping.is_tagged)
    return Encoded(_json_file(text, value, put, sorted(set(names.values()))), is_tagged=True)


def _plain(value: object) -> tuple[JsonValue, bytes] | None:
    """Return a copy of plain JSON data and its text; None for all else. All in C: what most values go through.

    JSON reads back as equal, but of other types, where there were tuples, keys that are no text, members of an IntEnum
    and the like: marshal takes no subclasses, and tells the types apart.
    """
    try:
        text = _DUMPS(value).encode()
        if b'"$' in text:  # Perhaps a key that looks like a tag.
            return None
        copy: JsonValue = from_json(_OPEN + text + _CLOSE)
        for _ in _OPEN:
            copy = cast("list[JsonValue]", copy)[0]
        return (
            (copy, text)
            if marshal.dumps(copy, _EXACT) == marshal.dumps(cast("dict[str, JsonValue]", value), _EXACT)
            else None
        )
    except (TypeError, ValueError, RecursionError):  # Also half a character, which is no UTF-8.
        return None


def _check_depth(text: bytes, value: object) -> None:
    try:
        from_json(_OPEN + text + _CLOSE)
    except ValueError as error:
        raise Unkept("", name_of(type(value)), "it is nested too deeply to be stored") from error


def _are_many_texts(value: object) -> bool:
    """Return whether something is a list of so many plain texts that it stands in a file whatever they are."""
    return type(value) is list and len(value) > LARGEST_BYTES and set(map(type, value)) == {str}


def _texts_file(value: list[str], put: Put, holds: Holds | None) -> Encoded | None:
    """Return many texts, written piece by piece: there is never a second gigabyte of them in memory. None: one is no Unicode."""
    if holds is not None:
        _ask(holds, value)
    first = _DUMPS(value[:_TOGETHER])[: 4 * PREVIEW_LENGTH]

    def write(file: BinaryIO) -> None:
        for start in range(0, len(value), _TOGETHER):
            file.write(b"," if start else b"[")
            file.write(_DUMPS(value[start : start + _TOGETHER])[1:-1].encode())
        file.write(b"]")

    try:
        name = put("json", write)
    except UnicodeEncodeError:
        return None
    size = f"{len(value)} items"
    return Encoded({"$artifact": name, "type": "list", "size": size, "preview": first[:PREVIEW_LENGTH]}, is_tagged=True)


def _json_file(text: bytes, value: object, put: Put, uses: Iterable[str]) -> JsonValue:
    name = put("json", lambda file: _write(file, text))
    size = f"{len(value)} items" if isinstance(value, dict | list | tuple | set | frozenset) else f"{len(text)} bytes"
    shown = text[: 4 * PREVIEW_LENGTH].decode("utf-8", "ignore")[:PREVIEW_LENGTH]
    made: dict[str, JsonValue] = {"$artifact": name, "type": name_of(type(value)), "size": size, "preview": shown}
    listed: list[JsonValue] = list(uses)
    return made | ({"uses": listed} if listed else {})


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def _ask(holds: Holds, texts: Iterable[str | bytes]) -> None:
    if any(holds(text) for text in texts):
        raise HoldsSecret("a secret stands in the value")


def _named(output: JsonValue, names: dict[str, str]) -> JsonValue:
    """Return JSON with the names of the files in the place of their numbers."""
    if isinstance(output, list):
        return [_named(item, names) for item in output]
    if not isinstance(output, dict):
        return output
    return {key: names[str(item)] if key == "$artifact" else _named(item, names) for key, item in output.items()}


@dataclass(slots=True)
class Keeping:
    """One value on its way into JSON: the `Keeper` that kinds are given."""

    holds: Holds | None
    is_tagged: bool = False
    _path: list[object] = field(default_factory=list)
    _within: set[int] = field(default_factory=set)
    _files: list[tuple[str, Callable[[BinaryIO], None]]] = field(default_factory=list)

    @property
    def asks(self) -> bool:
        """Whether there are secrets at all."""
        return self.holds is not None

    def ask(self, texts: Iterable[str | bytes]) -> None:
        """Ask whether a secret stands in what goes into a file."""
        if self.holds is not None:
            _ask(self.holds, texts)

    def file(self, extension: str, write: Callable[[BinaryIO], None]) -> JsonValue:
        """Return what stands for a file until all are put: its number."""
        self._files.append((extension, write))
        return str(len(self._files) - 1)

    def put_all(self, put: Put) -> dict[str, str]:
        """Put the files, and return number → name."""
        return {str(number): put(*file) for number, file in enumerate(self._files)}

    def restorer(self) -> Restorer:
        """Return what brings back what was not put yet, to try whether it comes back equal."""
        return Restoring(_no_file, _loaded_class, _no_note)

    def unkept(self, value: object, why: str) -> Unkept:
        """Return the error that names the place."""
        path = "".join(map(_step, self._path))
        if self.holds is not None and self.holds(path):
            path = "[•••]"
        return Unkept(path, name_of(type(value)), why)

    def item(self, value: object, step: object) -> JsonValue:
        """Return a value as JSON.

        Args:
            value: Anything.
            step: How it is reached: a text as it is shown, or a `Key`.
        """
        kind = type(value)
        if value is None or kind is bool:
            return cast("JsonValue", value)
        if kind is str and len(text := cast("str", value)) < LARGEST_BYTES // 4 and text.isascii():
            return text
        if kind is int and cast("int", value).bit_length() < _LONGEST_INT:
            return cast("int", value)
        if kind is float and isfinite(cast("float", value)):
            return cast("float", value)
        if id(value) in self._within:
            self._path.append(step)
            raise self.unkept(value, "it contains itself")
        self._path.append(step)
        self._within.add(id(value))
        made = self._made(value, kind)
        self._within.discard(id(value))
        self._path.pop()
        return made

    def _made(self, value: object, kind: type) -> JsonValue:
        if kind is list:
            return [self.item(item, place) for place, item in enumerate(cast("list[object]", value))]
        if kind is str and not _is_large(cast("str", value)) and _is_whole(cast("str", value)):
            return cast("str", value)
        if isinstance(value, dict) and (kind is dict or name_of(kind) == _RECORD):
            if _is_state(value):
                return self._tagged(value, "torch.state_dict")
            if all(type(key) is str and not key.startswith("$") and _is_whole(key) for key in dict.keys(value)):
                return {key: self.item(item, Key(key)) for key, item in dict.items(value)}
            return self._tagged(value, "dict")
        return self._tagged(value, self._tag(value, kind))

    def _tag(self, value: object, kind: type) -> str:
        if _is_state(value):
            return "torch.state_dict"
        if (tag := own_tag(kind)) is not None:
            return tag
        try:
            if issubclass(kind, tuple) and isinstance(getattr(kind, "_fields", None), tuple):
                return "namedtuple"
            if "__dataclass_fields__" in vars(kind) and "enum.Enum" not in map(name_of, kind.__mro__):
                return "dataclass"
            tag = tag_for(kind)
        except Unkept as error:
            raise self.unkept(value, error.why) from error
        if tag is None:
            raise self.unkept(value, "it is of no kind that can be stored; return its data (a dict, a list, a table)")
        return tag

    def _tagged(self, value: object, tag: str) -> JsonValue:
        self.is_tagged = True
        try:
            kind = kind_for(tag)
            assert kind is not None
            fields = kind.keep(value, self)
        except (Unkept, HoldsSecret, RecursionError, MemoryError):
            raise
        except FlowError as error:
            raise self.unkept(value, str(error)) from error
        except Exception as error:  # A library, or a stranger's class, may raise anything.
            said = f": {error}"[:PREVIEW_LENGTH] if self.holds is None else ""  # It may show the value.
            raise self.unkept(value, f"it cannot be written ({type(error).__name__}{said})") from error
        if "$artifact" in fields:
            return {"$artifact": fields.pop("$artifact"), "type": tag, **fields}
        return {"$type": tag, **fields}


@dataclass(frozen=True, slots=True)
class Key:
    """A step into a dict."""

    key: str


def _step(step: object) -> str:
    match step:
        case Key(key):
            return f"[{json.dumps(key, ensure_ascii=False)}]"
        case int():
            return f"[{step}]"
        case _:
            return str(step)


def _no_file(name: str) -> Path:
    raise Refused(f"{name} was not put yet")


def _no_note(_text: str) -> None:
    pass  # What comes back as data does not compare equal.


def _loaded_class(name: str) -> type | None:
    """Return a class of that name that is in memory already."""
    module = name
    found: object = None
    while found is None and "." in module:
        module = module.rpartition(".")[0]
        found = modules.get(module)
    for part in name[len(module) + 1 :].split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _is_large(text: str) -> bool:
    return len(text) > LARGEST_BYTES // 4 and len(text.encode("utf-8", "surrogatepass")) > LARGEST_BYTES


def _is_whole(text: str) -> bool:
    """Return whether there is no half of a character in a text."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_state(value: object) -> bool:
    """Return whether something is a dict of tensors."""
    tensor = getattr(modules.get("torch"), "Tensor", None)
    if tensor is None or not isinstance(value, dict) or type(value) not in _STATES or not value:
        return False
    return all(type(key) is str and isinstance(item, tensor) for key, item in value.items())
