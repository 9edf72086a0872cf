"""DuckDB: in memory with the values of nodes as tables, in a file, or as a notebook's own connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import duckdb

from flownb.artifacts.lazy_table import LazyTable
from flownb.errors import NodeError
from flownb.model.sql_node import SqlOutput
from flownb.runtimes.sql.failing import hiding, refused
from flownb.runtimes.sql.in_place import literal, quoted_name, view_of
from flownb.runtimes.sql.query import Cell, Query, check_names, data_frames, names_of, result_of
from flownb.runtimes.sql.stopping import Stopper
from flownb.templates.sql.value import NoItems

_OWN: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
"""Nothing is fetched from the network by itself, and a table is never some variable of flownb's own code."""
_CLOSED: Final[dict[str, str | bool | int | float | list[str]]] = {**_OWN, "enable_external_access": "false"}
"""In memory there are the tables and nothing else: no file, no network, no other database."""
_TABLES: Final = frozenset({"pandas", "polars", "pyarrow"})
"""Packages whose tables DuckDB reads where they are."""
_READ: Final = "read the file with a `read` node, and name that as the table"


class DuckDatabase:
    """One DuckDB, made for one query."""

    is_thread_bound = False
    """DuckDB's connections are used on one thread at a time, on any."""

    def __init__(self, connect: Callable[[], Any], tables: Mapping[str, object], *, is_own: bool = True) -> None:
        """Say which.

        Args:
            connect: Returns a connection.
            tables: Name → table, as `register` takes it.
            is_own: Whether the connection is closed afterwards.
        """
        self._connect, self._tables, self._is_own = connect, tables, is_own

    def run(self, query: Query, stopper: Stopper) -> object:
        """Carry out a statement in one transaction; see `Database`."""
        try:
            connection = self._connect()
        except duckdb.Error as error:
            raise refused(error, hiding(()), is_lost=isinstance(error, duckdb.IOException)) from None
        try:
            with _told(self._tables), stopper.armed(connection.interrupt):
                for name, table in self._tables.items():
                    _register(connection, name, table)
                return _run(connection, query, stopper)
        finally:
            if self._is_own:
                connection.close()


def in_memory(tables: Mapping[str, object]) -> DuckDatabase:
    """Return a DuckDB in memory in which values are tables."""
    return DuckDatabase(lambda: _closed([table for table in tables.values() if isinstance(table, LazyTable)]), tables)


def _closed(stored: Sequence[LazyTable]) -> Any:  # Any: DuckDB's connection.
    """Return a connection in memory that reaches some stored tables and nothing else."""
    if not stored:
        return duckdb.connect(":memory:", config=_CLOSED)
    connection = duckdb.connect(":memory:", config=_OWN)
    paths = ", ".join(literal(str(table.path())) for table in stored)
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    return connection


def open_file(path: Path | None) -> DuckDatabase:
    """Return the DuckDB in a file; None: an empty one in memory."""
    return DuckDatabase(lambda: duckdb.connect(":memory:" if path is None else str(path), config=_OWN), {})


def of_connection(value: Any) -> DuckDatabase:  # Any: DuckDB's own class, which is told by its module.
    """Return the DuckDB of a notebook's connection; it stays open."""
    return DuckDatabase(lambda: value, {}, is_own=False)


def is_duckdb(value: object) -> bool:
    """Return whether a value is DuckDB's connection."""
    return isinstance(value, duckdb.DuckDBPyConnection)


def _register(connection: Any, name: str, value: Any) -> None:  # Any: DuckDB's connection, and any node's value.
    """Make a value a table.

    Raises:
        NodeError: It is none.
    """
    if isinstance(value, LazyTable):
        view = view_of(connection, value)
        if view is not None:
            connection.execute(f"CREATE VIEW {quoted_name(name)} AS {view}")
            return
        value = value.load()
    package = type(value).__module__.partition(".")[0]
    if package in _TABLES and not isinstance(value, list):
        if package == "pandas" and getattr(value, "columns", None) is not None:
            value = value.set_axis([str(label) for label in value.columns], axis=1)
        try:
            connection.register(name, value)
        except (duckdb.Error, TypeError, ValueError) as error:
            raise NodeError(f"'{name}' cannot be a table: {str(error).splitlines()[0]}") from None
        return
    if not isinstance(value, list | tuple) or not all(isinstance(row, Mapping) for row in value):
        hint = "a table is a DataFrame or a list of objects"
        raise NodeError(f"'{name}' is no table: it is of type {_kind_of(value)}", hint)
    columns = names_of(value)
    if not columns:
        hint = f"skip the node where there is nothing: `- when: {name}`, or give a DataFrame with its columns"
        raise NodeError(f"'{name}' is no table: it is an empty list, whose columns are not known", hint)
    rows = [{column: row.get(column) for column in columns} for row in value]
    connection.execute(f"CREATE TABLE {quoted_name(name)} AS SELECT unnest($rows, max_depth := 2)", {"rows": rows})


def _kind_of(value: object) -> str:
    inner = f" of {type(value[0]).__name__}" if isinstance(value, list) and value else ""
    return f"{type(value).__name__}{inner}"


def _run(connection: Any, query: Query, stopper: Stopper) -> object:  # Any: DuckDB's connection.
    text = query.text("${}".format, str, _no_items)
    parameters = query.parameters(lambda value: value)
    statements = connection.extract_statements(
        text
    )  # Some are several for DuckDB, as a PIVOT; the last one says what they are.
    with _transaction(connection):
        if isinstance(parameters, list):
            for row in parameters:
                connection.execute(statements[-1], row)
                stopper.check()
            return {"rowcount": len(parameters)}
        result = connection.execute(text, parameters or None)
        value = _value(result, statements[-1].type, query.output)
        stopper.check()
        return value


def _value(result: Any, kind: Any, output: SqlOutput) -> object:  # Any: DuckDB's result, and its kind of statement.
    columns = [column[0] for column in result.description or ()]
    if kind in _CHANGES and columns in (["Count"], []):
        found = result.fetchone() if columns else None
        return {"rowcount": found[0] if found else 0}
    if output is SqlOutput.DATAFRAME:
        check_names(columns)
        data_frames()
        return result.df()
    return result_of(output, columns, result.fetchall)


_CHANGES: Final = frozenset(
    kind
    for name in (
        "INSERT",
        "UPDATE",
        "DELETE",
        "CREATE",
        "DROP",
        "ALTER",
        "COPY",
        "MERGE_INTO",
        "CREATE_FUNC",
        "ATTACH",
        "DETACH",
    )
    if (kind := getattr(duckdb.StatementType, name, None)) is not None
)
"""Kinds of statement that give no rows, but where they say RETURNING."""


def _no_items(piece: NoItems) -> str:
    return f"{'NOT ' if piece.is_not else ''}IN (SELECT NULL WHERE false)"


@contextmanager
def _transaction(connection: Any) -> Iterator[None]:  # Any: DuckDB's connection.
    try:
        connection.begin()
    except duckdb.TransactionException:
        raise NodeError(
            "`connection`: there is a transaction under way on it", "call its `commit()` or `rollback()` before"
        ) from None
    try:
        yield
    except BaseException:
        with suppress(duckdb.Error):  # It ended with the error.
            connection.rollback()
        raise
    connection.commit()


@contextmanager
def _told(tables: Mapping[str, Cell]) -> Iterator[None]:
    """Tell what goes wrong in plain words."""
    try:
        yield
    except duckdb.Error as error:
        hint = ""
        if isinstance(error, duckdb.PermissionException):
            hint = _READ
        elif isinstance(error, duckdb.CatalogException) and tables:
            hint = f"the tables are the nodes that the statement names: {', '.join(tables)}"
        raise refused(error, hiding(()), hint) from None
