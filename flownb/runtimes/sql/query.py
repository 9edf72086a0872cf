"""What a database is asked to do, and what its answers become."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Any, Final, Protocol

from flownb.errors import NodeError
from flownb.model.sql_node import SqlOutput
from flownb.runtimes.sql.stopping import Stopper
from flownb.templates.sql.value import Column, NoItems, Parameter, Statement

PREFIX: Final = "flownb_"
"""How the names of bound parameters begin."""
_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_ABSENT: Final = frozenset({"NaTType", "NAType"})
"""The classes of what pandas has in the place of null."""

Cell = Any
"""Any: what a database has in a cell, and takes."""


@dataclass(frozen=True, slots=True)
class Query:
    """One statement with its values."""

    statement: Statement
    """What is to be done."""
    output: SqlOutput = SqlOutput.ROWS
    """What its rows become."""
    rows: Sequence[Mapping[str, object]] | None = field(default=None, repr=False)
    """Many rows, for each of which it is done; None: it is done once."""

    def text(self, put: Callable[[str], str], escape: Callable[[str], str], no_items: Callable[[NoItems], str]) -> str:
        """Return the statement as a driver takes it.

        Args:
            put: A parameter's name → what stands for it.
            escape: Text of the statement's own → the same as the driver takes it.
            no_items: What stands for `IN` and an empty list.
        """
        parts: list[str] = []
        for place, piece in enumerate(self.statement.pieces):
            match piece:
                case str():
                    parts.append(escape(piece))
                case Parameter():
                    parts.append(f" {put(f'{PREFIX}{place}')} ")
                case NoItems():
                    parts.append(no_items(piece))
        return "".join(parts)

    def parameters(self, convert: Callable[[Cell], Cell]) -> dict[str, Cell] | list[dict[str, Cell]]:
        """Return name → value, as a driver takes it; for many rows a list of them.

        Args:
            convert: A value → what this database takes for it.

        Raises:
            NodeError: A row lacks a column.
        """
        bound = {
            f"{PREFIX}{place}": piece.value
            for place, piece in enumerate(self.statement.pieces)
            if isinstance(piece, Parameter)
        }
        if self.rows is None:
            return {name: convert(bindable(value)) for name, value in bound.items()}
        fixed = {name: convert(bindable(value)) for name, value in bound.items() if not isinstance(value, Column)}
        columns = [(name, value.name) for name, value in bound.items() if isinstance(value, Column)]
        return [
            fixed | {name: convert(bindable(_cell(row, column, place))) for name, column in columns}
            for place, row in enumerate(self.rows)
        ]


class Database(Protocol):
    """Where a statement is carried out."""

    is_thread_bound: bool
    """Whether it can be used on the thread only that made it."""

    def run(self, query: Query, stopper: Stopper) -> object:
        """Carry out a statement in one transaction, and return what it comes to. Blocks.

        Raises:
            QueryError: The database refused it.
            DatabaseConnectionError: There is no connection, or it was lost.
            QueryStoppedError: It was stopped; nothing of it is kept.
        """
        ...


def _cell(row: Mapping[str, object], column: str, place: int) -> object:
    try:
        return row[column]
    except KeyError:
        known = ", ".join(map(str, row))
        raise NodeError(f"`values`: row {place} has no '{column}'", f"it has {known}") from None


def bindable(value: Cell) -> Cell:
    """Return a value as drivers take it: of objects and lists their JSON, of arrays' and tables' cells Python's own values."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, default=str, ensure_ascii=False)
    if type(value).__name__ in _ABSENT:
        return None
    if isinstance(value, datetime) and hasattr(value, "to_pydatetime"):
        return value.to_pydatetime(warn=False)
    return value.item() if type(value).__module__ == "numpy" and hasattr(value, "item") else value


def rows_in(value: Cell) -> list[Mapping[str, object]]:
    """Return the rows that a list of objects or a DataFrame holds; what pandas has for null is None.

    Raises:
        NodeError: It is neither.
    """
    package = type(value).__module__.partition(".")[0]
    if package == "pandas" and hasattr(value, "columns"):
        plain = value.astype(object).where(value.notna(), None)
        names = [str(name) for name in plain.columns]
        return [dict(zip(names, row, strict=True)) for row in plain.itertuples(index=False, name=None)]
    if package == "polars" and hasattr(value, "to_dicts"):
        return list(value.to_dicts())
    if package == "pyarrow" and hasattr(value, "to_pylist"):
        value = value.to_pylist()
    if not isinstance(value, list | tuple):
        raise NodeError(f"`values` is {_kind(value)}", "give a list of objects or a DataFrame")
    for place, row in enumerate(value):
        if not isinstance(row, Mapping):
            raise NodeError(f"`values`: row {place} is {_kind(row)}", "give a list of objects or a DataFrame")
    return list(value)


def _kind(value: object) -> str:
    return f"of type {type(value).__name__}"


def result_of(output: SqlOutput, columns: Sequence[str], rows: Callable[[], Iterable[Sequence[Cell]]]) -> object:
    """Return what the rows of a statement become.

    Args:
        output: What they are to become.
        columns: The names of their columns.
        rows: Gives them.

    Raises:
        NodeError: Columns have the same name, or there is more than one value for `scalar`.
    """
    match output:
        case SqlOutput.SCALAR:
            return _scalar(columns, rows())
        case SqlOutput.ROWS:
            check_names(columns)
            return [dict(zip(columns, row, strict=True)) for row in rows()]
        case SqlOutput.DATAFRAME:
            check_names(columns)
            return data_frames().DataFrame.from_records(list(rows()), columns=columns, coerce_float=True)


def _scalar(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> object:
    found = list(rows)
    if len(columns) != 1 or len(found) > 1:
        size = f"{len(found):,} {'row' if len(found) == 1 else 'rows'} of {len(columns)} {'column' if len(columns) == 1 else 'columns'}"
        raise NodeError(f"`output: scalar` is one value, and there are {size}", "select one column of one row")
    return found[0][0] if found else None


def check_names(columns: Sequence[str]) -> None:
    """Raise NodeError where two columns have the same name: one would hide the other."""
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise NodeError(f"two columns are called '{twice}'", "name them: `SELECT a.id AS a_id, b.id AS b_id`")


def data_frames() -> Any:  # Any: pandas carries no types here.
    """Return pandas.

    Raises:
        NodeError: It is not installed.
    """
    try:
        import pandas as pd  # noqa: PLC0415 an extra
    except ImportError:
        raise NodeError(
            "`output: dataframe` needs pandas, which is not installed", "pip install 'flownb[data]'"
        ) from None
    return pd


def names_of(rows: Iterable[Mapping[str, object]]) -> dict[str, None]:
    """Return the names of all columns that rows have, in the order in which they come up."""
    return dict.fromkeys(map(str, chain.from_iterable(rows)))
