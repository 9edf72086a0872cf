"""Runs `sql` nodes: one statement with its values bound, on a database or on the values of nodes."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final, cast

from flownb.errors import NodeError, QueryError
from flownb.model.nodes import Leaf
from flownb.model.sql_node import SqlNode
from flownb.runtimes.base import Scope
from flownb.runtimes.output import redacted
from flownb.runtimes.sql import databases, duck
from flownb.runtimes.sql.query import Database, Query, rows_in
from flownb.runtimes.sql.stopping import Stopper, in_thread, stoppable
from flownb.templates.expressions import evaluate_apart, render_apart, render_statement
from flownb.templates.sql.tables import table_names
from flownb.templates.sql.tokens import count_statements
from flownb.templates.sql.value import ROW, EachRow, Statement
from flownb.templates.terms import REDACTED

_DUCKDB: Final = "duckdb:///"


class SqlRuntime:
    """Runs `sql` nodes.

    Each is one transaction on a connection of its own, on a thread of its own; a connection that only the notebook's thread may
    use (sqlite3's, an engine of an SQLite in memory) is used where the node's executor says.
    """

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Carry out the statement and return its rows, or `{"rowcount": N}`.

        Cancelling tells the driver to stop the query, waits until it has, and rolls back.

        Raises:
            QueryError: The database refused it.
            DatabaseConnectionError: There is no connection, or it was lost.
            NodeError: It cannot be carried out with the values at hand.
        """
        sql = cast("SqlNode", node)  # The registry hands over no other kind.
        database = await _database(sql, scope)
        rows = None if sql.values is None else await evaluate_apart(sql.values, scope.values)
        stopper = Stopper()
        work = partial(_carry_out, sql, scope, database, rows, stopper)
        show = redacted(scope)
        working = scope.caller.run(work, show) if database is not None and database.is_thread_bound else in_thread(work)
        try:
            return await stoppable(working, stopper)
        except QueryError as error:
            if _reads_secret(sql, scope):
                raise _without_message(error) from None
            raise
        finally:
            show.end()


def _carry_out(
    node: SqlNode, scope: Scope, database: Database | None, rows: Any, stopper: Stopper
) -> object:  # Any: what `values` gives.
    is_once = node.values is None
    values = scope.values if is_once else {**scope.values, ROW: EachRow()}
    statement = render_statement(node.body, values)
    _check_one(statement)
    database = database or duck.in_memory(_tables(statement, scope))
    return database.run(Query(statement, node.output, None if is_once else rows_in(rows)), stopper)


def _check_one(statement: Statement) -> None:
    count, _ = count_statements(statement.text)
    if count != 1:
        what = "the body comes to no statement" if count == 0 else "the body comes to more than one statement"
        raise NodeError(what, "a node is one statement: put each into a node of its own")


async def _database(node: SqlNode, scope: Scope) -> Database | None:
    """Return where the statement is carried out; None: on the values of nodes.

    Raises:
        NodeError: `connection` is nothing that can be used.
    """
    if node.connection is None:
        return None
    if node.is_expression("connection", node.connection):
        value = await evaluate_apart(node.connection, scope.values)
    else:
        value = await render_apart(node.connection, scope.values)
    if not isinstance(value, str):
        return _of_object(value)
    if value.startswith(_DUCKDB):
        name = value.removeprefix(_DUCKDB)
        return duck.open_file(None if name in {"", ":memory:"} else scope.folder / name)
    return await asyncio.to_thread(databases.open_url, value.strip(), scope.folder)


def _of_object(value: object) -> Database:
    if duck.is_duckdb(value):
        return duck.of_connection(value)
    return databases.of_sqlalchemy(value) if databases.is_sqlalchemy(value) else databases.of_driver(value)


def _tables(statement: Statement, scope: Scope) -> dict[str, object]:
    """Return name → value, of those that the statement names as tables. DuckDB knows no capitals."""
    folded = {name.casefold(): name for name in scope.values}
    named = (folded.get(table.name.casefold(), "") for table in table_names(statement.text))
    return {name: scope.values[name] for name in named if name}


def _reads_secret(node: SqlNode, scope: Scope) -> bool:
    """Return whether values are bound that hold something of a secret: what the database says may show it."""
    return any(use.field != "connection" and (use.name, use.attribute) in scope.tainted for use in node.uses)


def _without_message(error: QueryError) -> QueryError:
    kind, _, _ = error.message.partition(":")
    message = f"{kind}: {REDACTED} (what it says is not kept: it may show something of a secret)"
    return type(error)(message, error.hint, error.kinds)
