"""The kinds of node that read and write files."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Final

from pydantic import BeforeValidator

from flownb.model.nodes import BodyKind, Leaf


class FileFormat(StrEnum):
    """What a file holds."""

    AUTO = "auto"
    """What its name says."""
    JSON = "json"
    """JSON (RFC 8259)."""
    YAML = "yaml"
    """YAML 1.2, one document."""
    CSV = "csv"
    """A table as text, its first line the names of its columns."""
    LINES = "lines"
    """Lines of text; in a `.jsonl` or `.ndjson` file each is JSON."""
    TEXT = "text"
    """UTF-8 text."""
    PARQUET = "parquet"
    """A table as Apache Parquet."""
    BYTES = "bytes"
    """Bytes, as they are."""


class ReadOutput(StrEnum):
    """What becomes of what was read."""

    AUTO = "auto"
    """What the format gives: of Parquet a DataFrame."""
    ROWS = "rows"
    """A list of objects."""
    DATAFRAME = "dataframe"
    """A pandas DataFrame."""
    FILES = "files"
    """A list of `path` and `content`, one for each file: so a glob keeps the names."""


CELL_WORDS: Final = ("str", "int", "float", "bool", "date", "datetime")
"""The types that a cell of a text table can have. An empty cell is null, but for `str`."""


class ReadNode(Leaf):
    """A file, or all that a glob names."""

    TITLE: ClassVar[str] = "read"
    BODY: ClassVar[BodyKind] = BodyKind.NONE
    LITERALS: ClassVar[frozenset[str]] = frozenset({"format", "output", "dtypes"})
    READS: ClassVar[frozenset[str]] = frozenset({"path"})

    path: str
    """A path or a glob, from the document's folder on."""
    format: FileFormat = FileFormat.AUTO
    """What it holds."""
    output: ReadOutput = ReadOutput.AUTO
    """What the value is."""
    dtypes: dict[str, str] = {}
    """Column → `str`, `int`, `float`, `bool`, `date` or `datetime`; for a DataFrame also what pandas calls a type."""


def _one_expression(value: object) -> object:
    """Let `value: [a, b]` be the expression that is written there."""
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list | tuple) else value


class WriteNode(Leaf):
    """A file that is written: its body's text, or a value."""

    TITLE: ClassVar[str] = "write"
    BODY_ELSE: ClassVar[str] = "value"
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"value"})
    LITERALS: ClassVar[frozenset[str]] = frozenset({"format"})

    path: str
    """A path, from the document's folder on."""
    format: FileFormat = FileFormat.AUTO
    """What it will hold."""
    value: Annotated[str | None, BeforeValidator(_one_expression)] = None
    """An expression for the content; None: the body is."""
    append: bool = False
    """Whether lines are added at the file's end."""
