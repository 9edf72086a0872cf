"""The kind of node that is one SQL statement."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, Final

from pydantic import field_validator

from flownb.model.nodes import Leaf

_FILES: Final = (".db", ".sqlite", ".sqlite3", ".duckdb")
"""How the names of databases' files end."""


class SqlOutput(StrEnum):
    """What becomes of the rows that a statement gives."""

    ROWS = "rows"
    """A list of objects, column → value."""
    DATAFRAME = "dataframe"
    """A pandas DataFrame."""
    SCALAR = "scalar"
    """The one value of the one row; null where there is no row."""


class SqlNode(Leaf):
    """One SQL statement, for a database or for the values of nodes."""

    TITLE: ClassVar[str] = "sql"
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"values"})
    LITERALS: ClassVar[frozenset[str]] = frozenset({"output"})
    DEFAULT_RETRY_ON: ClassVar[tuple[str, ...]] = ("429", "5xx", "ConnectionError", "timeout")

    connection: str | None = None
    """A URL, or an expression that gives one or an engine; None: DuckDB in memory, in which nodes are tables."""
    output: SqlOutput = SqlOutput.ROWS
    """What its value is, where the statement gives rows."""
    values: str | None = None
    """The expression for many rows: the statement is carried out for each, all in one transaction."""

    @field_validator("connection")
    @classmethod
    def _is_no_file(cls, value: str | None) -> str | None:
        """Refuse a file's name, which would be read as an expression."""
        if value is not None and "://" not in value and value.endswith(_FILES):
            raise ValueError(f"{value!r} is a file's name and no URL")
        return value

    @classmethod
    def is_expression(cls, key: str, text: str) -> bool:
        """Return whether a property's text is a bare expression: a connection is one where it is no URL and no template."""
        if key == "connection":
            return "://" not in text and "{{" not in text and "{%" not in text
        return super().is_expression(key, text)
