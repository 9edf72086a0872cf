"""Databases that SQLAlchemy talks to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time
from decimal import Decimal
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from threading import current_thread, main_thread
from typing import Any, Final
from urllib.parse import quote, quote_plus
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool, SingletonThreadPool, StaticPool

from flownb.errors import NodeError
from flownb.runtimes.sql.failing import Hide, hiding, refused
from flownb.runtimes.sql.query import Cell, Query, result_of
from flownb.runtimes.sql.stopping import Stopper
from flownb.templates.sql.value import NoItems

_STEPS: Final = 100_000
"""Steps of SQLite's machine, some milliseconds, between two looks for a signal."""
_CANCEL_S: Final = 5.0
"""Seconds that a server may take to hear that a query is to stop."""
_DRIVERS: Final = {
    "sqlite3": "sqlite://",
    "psycopg": "postgresql+psycopg://",
    "psycopg2": "postgresql+psycopg2://",
    "pymysql": "mysql+pymysql://",
    "MySQLdb": "mysql+mysqldb://",
    "oracledb": "oracle+oracledb://",
    "pymssql": "mssql+pymssql://",
}
"""Package of a driver → the URL by which SQLAlchemy knows it."""
_LOST: Final = ("08", "57P0")
"""How PostgreSQL's codes for a connection that is no more begin (Appendix A: connection exception, operator intervention)."""


class SqlDatabase:
    """A database that an engine of SQLAlchemy opens. Thread-safe as far as the engine is."""

    def __init__(self, engine: sa.Engine, *, is_thread_bound: bool = False) -> None:
        """Say which.

        Args:
            engine: What opens connections.
            is_thread_bound: Whether it can be used on the thread only that made it.
        """
        self.is_thread_bound = is_thread_bound or isinstance(engine.pool, SingletonThreadPool)
        """Whether it can be used on the thread only that made it."""
        self._engine = engine
        password = engine.url.password or ""
        self._hide = hiding([password, quote(password, safe=""), quote_plus(password)])

    def run(self, query: Query, stopper: Stopper) -> object:
        """Carry out a statement in one transaction; see `Database`."""
        with _told(self._hide, is_connecting=True), stopper.armed(None):
            connection = self._engine.connect()
        try:
            return _run(connection, query, stopper, self._hide)
        finally:
            with suppress(SQLAlchemyError):  # It is lost: what was wrong is told already.
                connection.close()


class SqlConnection:
    """A connection of SQLAlchemy that is the person's own: it stays open."""

    def __init__(self, connection: sa.Connection) -> None:
        """Say which."""
        self.is_thread_bound = isinstance(connection.engine.pool, SingletonThreadPool)
        """Whether it can be used on the thread only that made it."""
        self._connection = connection

    def run(self, query: Query, stopper: Stopper) -> object:
        """Carry out a statement in one transaction; see `Database`."""
        if self._connection.in_transaction():
            raise NodeError("`connection`: there is a transaction under way on it", _END_IT)
        return _run(self._connection, query, stopper, hiding([self._connection.engine.url.password or ""]))


_END_IT: Final = "call its `commit()` or `rollback()` before, or give its engine: a node is one transaction"


def open_url(text: str, folder: Path) -> SqlDatabase:
    """Return the database of a URL. Nothing is connected yet.

    Args:
        text: The URL.
        folder: Where the relative path of an SQLite file begins.

    Raises:
        NodeError: It is no URL, or its driver is not installed. Nothing of the URL but its scheme is shown.
    """
    return SqlDatabase(_engine(text, folder))


@lru_cache(maxsize=32)
def _engine(text: str, folder: Path) -> sa.Engine:
    """Return the engine of a URL; kept, because a new one asks its server first what it is. It keeps no connections."""
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError):
        raise NodeError(
            "`connection` is no URL", "write one as `postgresql://user:password@host/name` or `sqlite:///file.db`"
        ) from None
    url = _with_driver(url)
    if (
        url.get_backend_name() == "sqlite"
        and url.database
        and url.database != ":memory:"
        and not url.database.startswith("file:")
    ):
        url = url.set(database=str(folder / url.database))
    try:
        return sa.create_engine(url, poolclass=NullPool, hide_parameters=True)
    except NoSuchModuleError:
        raise NodeError(
            f"`connection`: SQLAlchemy knows no database '{url.drivername}'", "install the package that brings it"
        ) from None
    except ModuleNotFoundError as error:
        raise NodeError(
            f"`connection`: '{url.drivername}' needs {error.name}, which is not installed", f"pip install {error.name}"
        ) from None
    except (ArgumentError, TypeError, ValueError) as error:
        hide = hiding([text, url.password or ""])
        raise NodeError(f"`connection`: {hide(str(error).splitlines()[0])}") from None


def _with_driver(url: sa.URL) -> sa.URL:
    """Return a URL that names the driver that is there: of PostgreSQL's the newer one."""
    if url.drivername not in {"postgres", "postgresql"}:
        return url
    is_new = find_spec("psycopg") is not None or find_spec("psycopg2") is None
    return url.set(drivername="postgresql+psycopg" if is_new else "postgresql+psycopg2")


def is_sqlalchemy(value: object) -> bool:
    """Return whether a value is something of SQLAlchemy's."""
    return type(value).__module__.partition(".")[0] == "sqlalchemy"


def of_sqlalchemy(value: Any) -> SqlDatabase | SqlConnection:  # Any: whatever a notebook's variable holds.
    """Return the database of an engine or a connection.

    Raises:
        NodeError: It is neither.
    """
    match value:
        case sa.Engine():
            return SqlDatabase(value)
        case sa.Connection():
            return SqlConnection(value)
        case sa.URL():
            return SqlDatabase(_engine(value.render_as_string(hide_password=False), Path()))
        case _:
            hint = "give an engine: `sqlalchemy.create_engine(…)`"
            raise NodeError(f"`connection` is a {type(value).__name__} of SQLAlchemy's", hint)


def of_driver(value: Any) -> SqlDatabase:  # Any: the connection of some driver.
    """Return the database of a connection that a driver made; it is the person's own, and stays open.

    Raises:
        NodeError: The driver is not known.
    """
    package = type(value).__module__.partition(".")[0]
    url = _DRIVERS.get(package)
    if url is None or not hasattr(value, "cursor"):
        known = "a URL, an engine of SQLAlchemy, or a connection of DuckDB, " + ", ".join(_DRIVERS)
        raise NodeError(f"`connection` is of type {type(value).__module__}.{type(value).__qualname__}", f"give {known}")
    engine = sa.create_engine(url, creator=lambda: _idle(value), poolclass=StaticPool, hide_parameters=True)
    return SqlDatabase(engine, is_thread_bound=package == "sqlite3")


def _idle(connection: Any) -> Any:  # Any: as `of_driver`.
    status = getattr(getattr(connection, "info", None), "transaction_status", 0)
    if getattr(connection, "in_transaction", False) is True or status:
        raise NodeError(
            "`connection`: there is a transaction under way on it",
            "call its `commit()` or `rollback()` before: a node is one transaction",
        )
    return connection


def _run(connection: sa.Connection, query: Query, stopper: Stopper, hide: Hide) -> object:
    dialect = connection.dialect
    statement = sa.text(
        query.text(":{}".format, lambda text: text.replace(":", r"\:"), lambda piece: _no_items(piece, dialect))
    )
    parameters = query.parameters(_for_sqlite if dialect.name == "sqlite" else _as_it_is)
    if query.rows is not None and not parameters:
        return {"rowcount": 0}
    with (
        _told(hide),
        _manual_commit(connection),
        _hearing(connection),
        stopper.armed(_canceller(connection)),
        connection.begin(),
    ):
        result = connection.execute(statement, parameters)
        value: object = {"rowcount": max(result.rowcount, 0)}
        if result.returns_rows:
            value = result_of(query.output, list(result.keys()), partial(_fetched, result, dialect))
        stopper.check()
        return value


def _fetched(result: sa.CursorResult[Any], dialect: sa.Dialect) -> Sequence[Sequence[Cell]]:
    """Return all rows, with bytes as bytes."""
    rows: Sequence[Sequence[Cell]] = [tuple(row) for row in result.fetchall()]
    if dialect.driver == "psycopg2":  # It gives memoryviews.
        rows = [[bytes(cell) if isinstance(cell, memoryview) else cell for cell in row] for row in rows]
    return rows


def _as_it_is(value: Cell) -> Cell:
    return value


def _for_sqlite(value: Cell) -> Cell:
    """Return what SQLite takes for a value: it has no decimals, dates and times, and UUIDs."""
    match value:
        case Decimal():
            return float(value)
        case datetime():
            return value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
        case _:
            return value


def _no_items(piece: NoItems, dialect: sa.Dialect) -> str:
    """Return what stands for `IN` and an empty list: nothing is in it, whatever its type."""
    if dialect.name == "postgresql":  # A query would have a type, and must have the right one; this takes on any.
        return "<> ALL ('{}')" if piece.is_not else "= ANY ('{}')"
    compiler: Any = dialect.statement_compiler(dialect, None)  # Any: this method of it carries no types.
    empty = compiler.visit_empty_set_expr([sa.types.NULLTYPE])
    return f"{'NOT ' if piece.is_not else ''}IN ({empty})"


def _canceller(connection: sa.Connection) -> Callable[[], object] | None:
    """Return what stops the query under way on a connection, from another thread; None: its driver has nothing for that."""
    driver: Any = connection.connection.driver_connection  # Any: the connection of some driver.
    if hasattr(driver, "cancel_safe"):
        return lambda: driver.cancel_safe(timeout=_CANCEL_S)
    stop: Callable[[], object] | None = getattr(driver, "interrupt", None) or getattr(driver, "cancel", None)
    return stop


@contextmanager
def _manual_commit(connection: sa.Connection) -> Iterator[None]:
    """Take a connection that commits by itself out of that, for as long as the context lasts: a node is one transaction."""
    driver: Any = connection.connection.driver_connection  # Any: as above.
    name, value = ("isolation_level", "DEFERRED") if connection.dialect.name == "sqlite" else ("autocommit", False)
    before = getattr(driver, name, value)
    if before is not None and before is not True:
        yield
        return
    setattr(driver, name, value)
    try:
        yield
    finally:
        with suppress(Exception):  # It is lost, and what was wrong is told already.
            setattr(driver, name, before)


@contextmanager
def _hearing(connection: sa.Connection) -> Iterator[None]:
    """Let Python hear of the stop button while SQLite works on the main thread: it looks for signals between bytecodes only."""
    driver: Any = connection.connection.driver_connection  # Any: as above.
    if current_thread() is not main_thread() or not hasattr(driver, "set_progress_handler"):
        yield
        return
    driver.set_progress_handler(lambda: 0, _STEPS)
    try:
        yield
    finally:
        driver.set_progress_handler(None, 0)


@contextmanager
def _told(hide: Hide, *, is_connecting: bool = False) -> Iterator[None]:
    """Tell what goes wrong in plain words, without the statement, its values and passwords."""
    try:
        yield
    except DBAPIError as error:
        origin = error.orig if error.orig is not None else error
        code = getattr(origin, "sqlstate", None) or ""
        is_lost = is_connecting or error.connection_invalidated or str(code).startswith(_LOST)
        raise refused(origin, hide, is_lost=is_lost) from None
    except SQLAlchemyError as error:
        raise refused(error, hide) from None
