"""A value as the bytes of a file."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import PurePath
from typing import Any, BinaryIO, Final, cast
from uuid import UUID

import yaml
from pydantic_core import PydanticSerializationError, to_jsonable_python

from flownb.errors import NodeError
from flownb.model.file_names import has_json_lines, has_tabs, is_packed
from flownb.model.file_nodes import FileFormat
from flownb.runtimes.files.csvs import write_rows
from flownb.runtimes.files.tables import is_frame, rows_of, write_csv_frame, write_parquet

_TOGETHER: Final = 10_000
"""Lines that are written at a time."""
_ODD: Final = re.compile("[^\\t\\n\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd]")
"""What YAML 1.1 and 1.2 do not both read as itself outside double quotes."""
_SCALARS: Final = (str, int, float, Decimal, date, PurePath, UUID)


@dataclass(frozen=True, slots=True)
class Content:
    """What a file is to hold. Its errors name types, never values: those may be secrets."""

    value: object
    """The value."""
    is_text: bool
    """Whether it is a body's text, which is the file's own."""
    format: FileFormat
    """What the file is to hold; never `auto`."""
    name: str
    """The file's name."""

    def write(self, file: BinaryIO, check: Callable[[], None]) -> None:
        """Write it. Blocks.

        Args:
            file: Where to.
            check: Called now and then; may raise.

        Raises:
            NodeError: The format cannot hold the value.
            OSError: The file cannot be written.
        """
        if self.is_text and self._is_its_own_text():
            file.write(self._encoded(self._ended(str(self.value))))
            return
        _WRITERS[self.format](self, file, check)

    def _is_its_own_text(self) -> bool:
        """Return whether a body came to text that is the file's, or in a text to a number."""
        if isinstance(self.value, str):
            return self.format not in (FileFormat.PARQUET, FileFormat.BYTES)
        return _is_one(self.value) and self.format in (FileFormat.TEXT, FileFormat.LINES)

    def _ended(self, text: str) -> str:
        return text if text.endswith("\n") or not text else text + "\n"

    def text(self, file: BinaryIO, _check: Callable[[], None]) -> None:
        """Write text to the letter; a number as it is written."""
        if not _is_one(self.value):
            raise self._refused("text", "say a `format` that holds it, as `json`")
        file.write(self._encoded(str(self.value)))

    def octets(self, file: BinaryIO, _check: Callable[[], None]) -> None:
        """Write bytes."""
        if not isinstance(self.value, bytes | bytearray | memoryview):
            raise self._refused("bytes", "give bytes, or say another `format`")
        file.write(self.value)

    def json(self, file: BinaryIO, _check: Callable[[], None]) -> None:
        """Write JSON, indented by two."""
        try:
            text = json.dumps(self._data(), ensure_ascii=False, indent=2, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise self._no_json(error) from None
        file.write(self._encoded(text + "\n"))

    def yaml(self, file: BinaryIO, _check: Callable[[], None]) -> None:
        """Write YAML that reads back as the same data."""
        text = yaml.dump(self._data(), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)
        file.write(self._encoded(text))

    def csv(self, file: BinaryIO, check: Callable[[], None]) -> None:
        """Write a text table."""
        delimiter = "\t" if has_tabs(self.name) else ","
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=False)
        try:
            if is_frame(self.value):
                write_csv_frame(text, self.value, delimiter)
            else:
                write_rows(text, self._rows("csv"), check, delimiter)
            text.flush()
        except UnicodeEncodeError:
            raise self._no_text() from None
        finally:
            _detach(text)

    def lines(self, file: BinaryIO, check: Callable[[], None]) -> None:
        """Write lines: texts as they are, anything else, and everything in a `.jsonl` file, as JSON."""
        value = rows_of(self.value) if is_frame(self.value) else self.value
        if not isinstance(value, list | tuple):
            raise self._refused("lines", "give a list, one item a line")
        is_json = has_json_lines(self.name)
        for start in range(0, len(value), _TOGETHER):
            check()
            part = value[start : start + _TOGETHER]
            lines = [item if type(item) is str and not is_json else self._json_line(item) for item in part]
            text = "\n".join(lines)
            if "\r" in text or text.count("\n") >= len(lines):
                raise NodeError(f"{self.name}: a line holds a line break", "split it, or name the file `.jsonl`")
            file.write(self._encoded(text + "\n"))

    def _json_line(self, item: object) -> str:
        try:
            return json.dumps(_plain(item), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise self._no_json(error) from None

    def parquet(self, file: BinaryIO, check: Callable[[], None]) -> None:
        """Write Parquet."""
        if is_packed(self.name):
            raise NodeError(f"{self.name}: Parquet is packed by itself", "take `.gz` out of the path")
        write_parquet(file, self.value if is_frame(self.value) else self._rows("parquet"), check)

    def _rows(self, wanted: str) -> list[dict[str, object]]:
        if not isinstance(self.value, list | tuple) or not all(isinstance(row, Mapping) for row in self.value):
            raise self._refused(wanted, "give a DataFrame or a list of objects")
        return cast("list[dict[str, object]]", list(self.value))

    def _data(self) -> Any:  # JSON.
        return _plain(rows_of(self.value) if is_frame(self.value) else self.value)

    def _encoded(self, text: str) -> bytes:
        try:
            return text.encode()
        except UnicodeEncodeError:
            raise self._no_text() from None

    def _refused(self, wanted: str, hint: str) -> NodeError:
        kind = type(self.value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        return NodeError(f"{self.name} is written as {wanted}, and the value is of type {name}", hint)

    def _no_json(self, error: Exception) -> NodeError:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else "NaN and infinity are none"
        return NodeError(
            f"{self.name}: the value is no JSON: {said}", "put null in its place, or shape it in a node above"
        )

    def _no_text(self) -> NodeError:
        return NodeError(
            f"{self.name}: the text holds half of a surrogate pair, which UTF-8 does not have",
            "clean it in a node above",
        )


def _is_one(value: object) -> bool:
    """Return whether a value is one word of text: a text, a number, also of numpy, a date and the like."""
    return isinstance(value, _SCALARS) or (getattr(value, "shape", None) == () and hasattr(value, "item"))


def _plain(value: object) -> Any:  # JSON.
    """Return a value as JSON has it: dates and the like as text, numbers of numpy as numbers."""
    try:
        return to_jsonable_python(value, fallback=_item, inf_nan_mode="constants")
    except (PydanticSerializationError, ValueError) as error:
        said = str(error).splitlines()[0]
        raise NodeError(f"the value is no data: {said}", "shape it in a node above") from None


def _item(value: Any) -> object:  # What JSON does not have.
    if type(value).__module__.partition(".")[0] == "numpy" and callable(getattr(value, "tolist", None)):
        return value.tolist()
    raise ValueError(f"{type(value).__module__}.{type(value).__qualname__} is no data".removeprefix("builtins."))


def _detach(text: io.TextIOWrapper) -> None:
    try:
        text.detach()
    except Exception:  # noqa: BLE001 the error under way says it already
        return


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc] # PyYAML with or without libyaml
    """Writes YAML 1.1 that YAML 1.2 reads as the same."""


def _text(dumper: Any, value: str) -> Any:  # PyYAML has no types here.
    """Quote what looks like a number in YAML 1.2, and what one of the two would not read as itself."""
    style = '"' if _ODD.search(value) else "'" if value[:1] in frozenset("+-.0123456789") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
_WRITERS: Final[Mapping[FileFormat, Callable[[Content, BinaryIO, Callable[[], None]], None]]] = {
    FileFormat.TEXT: Content.text,
    FileFormat.BYTES: Content.octets,
    FileFormat.JSON: Content.json,
    FileFormat.YAML: Content.yaml,
    FileFormat.CSV: Content.csv,
    FileFormat.LINES: Content.lines,
    FileFormat.PARQUET: Content.parquet,
}
