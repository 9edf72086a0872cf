"""The sql runtime on SQLite and DuckDB: values, transactions, tables, stopping, and what nobody may see."""

from __future__ import annotations

import asyncio
import pickle
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

import flownb
from flownb.errors import DatabaseConnectionError, ExpressionError, NodeError, QueryError
from flownb.executors.interrupt import MainInterrupts
from flownb.executors.local import MainExecutor, MainQueue
from flownb.model.sql_node import SqlNode, SqlOutput
from flownb.runs.kept import KeptValues
from flownb.runtimes.sql import databases, duck
from flownb.runtimes.sql.failing import hiding, refused
from flownb.runtimes.sql.query import Database, Query
from flownb.runtimes.sql.runtime import SqlRuntime
from flownb.runtimes.sql.stopping import QueryStoppedError, Stopper
from flownb.templates.expressions import render_statement
from tests.nodes import HereCaller, node_of, run_node, scope_of

FOREVER = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
LONG = "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range % 7 = b.range % 11"
Run = Callable[..., Any]  # Any: the value of whatever statement.


def run(body: str, given: dict[str, object] | None = None, limit_s: float | None = None, /, **fields: object) -> Any:
    return run_node(SqlRuntime(), node_of(SqlNode, body, **fields), scope_of(given or {}), limit_s)


@pytest.fixture
def sqlite(tmp_path: Path) -> Run:
    """Return a function that carries out a statement on one SQLite file."""

    def on(body: str, given: dict[str, object] | None = None, limit_s: float | None = None, /, **fields: object) -> Any:
        return run(body, given, limit_s, connection=f"sqlite:///{tmp_path}/a.db", **fields)

    return on


def threads() -> list[str]:
    """Return the threads that still carry out a query, after a moment to end."""
    found = [thread for thread in threading.enumerate() if thread.name == "flownb-sql"]
    for thread in found:
        thread.join(2)
    return [thread.name for thread in found if thread.is_alive()]


def test_rows_are_objects_and_dml_says_how_many(sqlite: Run) -> None:
    assert sqlite("CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)") == {"rowcount": 0}
    assert sqlite("INSERT INTO t VALUES (1, {{ x }}), (2, {{ none }})", {"x": "it's"}) == {"rowcount": 2}
    assert sqlite('SELECT a, b AS "the b" FROM t ORDER BY a') == [{"a": 1, "the b": "it's"}, {"a": 2, "the b": None}]
    assert sqlite("SELECT a FROM t WHERE a > 5") == []
    assert sqlite("UPDATE t SET b = 'x' WHERE a IN {{ ids }}", {"ids": [2, 3]}) == {"rowcount": 1}
    assert sqlite("DELETE FROM t RETURNING a") == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "body, value",
    [("SELECT 5", 5), ("SELECT 5 WHERE false", None), ("SELECT NULL", None), ("SELECT x'00'", b"\0")],
)
def test_a_scalar_is_one_value(sqlite: Run, body: str, value: object) -> None:
    assert sqlite(body, output="scalar") == value


@pytest.mark.parametrize(
    "body, size", [("SELECT 1, 2", "1 row of 2 columns"), ("SELECT 1 UNION SELECT 2", "2 rows of 1 column")]
)
def test_a_scalar_is_no_more_than_that(sqlite: Run, body: str, size: str) -> None:
    with pytest.raises(NodeError, match=size):
        sqlite(body, output="scalar")


def test_rows_become_a_dataframe(sqlite: Run) -> None:
    frame = sqlite("SELECT 1 AS a, 'x' AS b UNION SELECT 2, NULL", output="dataframe")
    assert list(frame.columns) == ["a", "b"]
    assert frame["a"].tolist() == [1, 2]
    assert list(sqlite("SELECT 1 AS a WHERE false", output="dataframe").columns) == ["a"]


@pytest.mark.parametrize("fields", [{}, {"output": "dataframe"}])
@pytest.mark.parametrize("connection", [None, "sqlite://"])
def test_two_columns_of_one_name_are_an_error(fields: dict[str, object], connection: str | None) -> None:
    with pytest.raises(NodeError, match="two columns are called 'a'"):
        run("SELECT 1 AS a, 2 AS a", connection=connection, **fields)


@pytest.mark.parametrize(
    "value, kept",
    [
        (Decimal("1.5"), 1.5),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02 03:00:00+00:00"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ({"a": [1]}, '{"a": [1]}'),
        (True, 1),
        (b"\0x", b"\0x"),
        (np.int64(5), 5),
        (np.float64(1.5), 1.5),
        (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"),
        (pd.NaT, None),
        (pd.NA, None),
    ],
)
def test_values_become_what_sqlite_has(sqlite: Run, value: object, kept: object) -> None:
    assert sqlite("SELECT {{ x }}", {"x": value}, output="scalar") == kept


# SQLAlchemy 2.0 takes `%(a)s` in a text for one of its own parameters, and says so; 2.1 does not.
PYFORMAT = [] if sa.__version__.startswith("2.0.") else ["%(a)s"]


@pytest.mark.parametrize(
    "text", [*PYFORMAT, "12:30 :x", "100% %s", "\\:x \\", "::int", "?", "$1", "a ':b' \":c\"", ":flownb_1"]
)
@pytest.mark.parametrize("connection", [None, "sqlite://"])
def test_signs_in_texts_are_text(text: str, connection: str | None) -> None:
    quoted = text.replace("'", "''")
    body = f"SELECT '{quoted}' AS a, {{{{ 1 }}}} AS b"
    assert run(body, connection=connection) == [{"a": text, "b": 1}]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_whatever_is_bound_comes_back_as_it_was(value: str) -> None:
    for connection in (None, "sqlite://"):
        assert run("SELECT {{ x }} AS a, '; DROP' AS b", {"x": value}, connection=connection) == [
            {"a": value, "b": "; DROP"}
        ]


@pytest.mark.parametrize("connection", [None, "sqlite://"])
@pytest.mark.parametrize(
    "condition, found",
    [("IN {{ ids }}", [2]), ("NOT IN {{ ids }}", [1, 3]), ("IN ({{ none }}, {{ ids }})", [2]), ("IN {{ no }}", []),
     ("NOT IN {{ no }}", [1, 2, 3]), ("NOT IN ( {{ no }} ) AND a > 1", [2, 3])],
)  # fmt: skip
def test_lists_and_empty_ones(connection: str | None, condition: str, found: list[int]) -> None:
    body = f"SELECT a FROM (SELECT 1 AS a UNION SELECT 2 UNION SELECT 3) AS t WHERE a {condition} ORDER BY a"  # noqa: S608 it is what is tested
    assert [row["a"] for row in run(body, {"ids": [2, 9], "no": []}, connection=connection)] == found


# ---------------------------------------------------------------- many rows


FRAMES = [
    [{"a": 1, "b": "x", "more": 0}, {"a": 2, "b": None}],
    ({"a": 1, "b": "x"}, {"a": 2, "b": None}),
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
    pa.table({"a": [1, 2], "b": ["x", None]}),
]


@pytest.mark.parametrize("rows", FRAMES, ids=["list", "tuple", "pandas", "polars", "arrow"])
@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_many_rows_are_written_at_once(tmp_path: Path, rows: object, scheme: str) -> None:
    connection = f"{scheme}:///a.db"
    scope = scope_of({"rows": rows, "c": 7}, folder=tmp_path)

    def on(body: str, **fields: object) -> Any:
        return run_node(SqlRuntime(), node_of(SqlNode, body, connection=connection, **fields), scope)

    on("CREATE TABLE t (a INTEGER, b TEXT, c INTEGER)")
    body = "INSERT INTO t VALUES ({{ row.a }}, {{ row['b'] }}, {{ c }})"
    assert on(body, values="rows") == {"rowcount": 2}
    assert on("SELECT * FROM t ORDER BY a") == [{"a": 1, "b": "x", "c": 7}, {"a": 2, "b": None, "c": 7}]
    assert on(body, values="rows[:0]") == {"rowcount": 0}


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_many_rows_are_written_all_or_none(tmp_path: Path, scheme: str) -> None:
    scope = scope_of({"rows": [{"a": 1}, {"a": 2}, {"a": 1}]}, folder=tmp_path)

    def on(body: str, **fields: object) -> Any:
        return run_node(SqlRuntime(), node_of(SqlNode, body, connection=f"{scheme}:///a.db", **fields), scope)

    on("CREATE TABLE t (a INTEGER PRIMARY KEY)")
    with pytest.raises(QueryError, match=r"(?i)unique|duplicate"):
        on("INSERT INTO t VALUES ({{ row.a }})", values="rows")
    assert on("SELECT count(*) FROM t", output="scalar") == 0


@pytest.mark.parametrize(
    "rows, message",
    [
        ([{"a": 1}, {"b": 2}], "`values`: row 1 has no 'a'"),
        ([{"a": 1}, 2], "`values`: row 1 is of type int"),
        ({"a": 1}, "`values` is of type dict"),
        (None, "`values` is of type NoneType"),
    ],
)
def test_rows_that_are_none(sqlite: Run, rows: object, message: str) -> None:
    sqlite("CREATE TABLE t (a INTEGER)")
    with pytest.raises(NodeError, match=message):
        sqlite("INSERT INTO t VALUES ({{ row.a }})", {"rows": rows}, values="rows")


# ---------------------------------------------------------------- nodes as tables


@pytest.mark.parametrize("rows", FRAMES, ids=["list", "tuple", "pandas", "polars", "arrow"])
def test_values_are_tables(rows: object) -> None:
    assert run("SELECT a, b FROM ORDERS WHERE a > {{ 1 }}", {"Orders": rows}) == [{"a": 2, "b": None}]


def test_lists_of_objects_keep_the_types_of_their_values() -> None:
    rows = [{"a": None, "d": date(2026, 1, 2), "p": Decimal("1.50"), "n": {"x": [1, 2]}}, {"a": 2.5, "other": True}]
    assert run("SELECT * FROM t ORDER BY a NULLS FIRST", {"t": rows}) == [
        {"a": None, "d": date(2026, 1, 2), "p": Decimal("1.50"), "n": {"x": [1, 2]}, "other": None},
        {"a": 2.5, "d": None, "p": None, "n": None, "other": True},
    ]


def test_tables_are_joined_and_become_a_dataframe() -> None:
    values = {"people": pd.DataFrame({"id": [1, 2], "name": ["ana", "bo"]}), "paid": [{"id": 2, "sum": 5}]}
    frame = run("SELECT name, sum FROM people JOIN paid USING (id)", values, output="dataframe")
    assert frame.to_dict("records") == [{"name": "bo", "sum": 5}]


def test_labels_that_are_no_text_are_names() -> None:
    assert run('SELECT "0" AS a FROM t', {"t": pd.DataFrame([[1], [2]])}) == [{"a": 1}, {"a": 2}]


@pytest.mark.parametrize(
    "value, message",
    [([1, 2], "of type list of int"), ([], "an empty list"), ("x", "of type str"), ({"a": 1}, "of type dict")],
)
def test_what_is_no_table(value: object, message: str) -> None:
    with pytest.raises(NodeError, match=message):
        run("SELECT * FROM t", {"t": value})


@pytest.mark.parametrize(
    "body",
    [
        "SELECT * FROM read_text({{ path }})",
        "SELECT * FROM '{path}'",
        "COPY (SELECT 1) TO '{path}.csv'",
        "ATTACH '{path}.db'",
        "INSTALL httpfs",
        "SELECT * FROM read_csv('http://127.0.0.1:1/x.csv')",
    ],
)
def test_in_memory_no_file_and_no_network_is_reached(tmp_path: Path, body: str) -> None:
    path = tmp_path / "secret.csv"
    path.write_text("a\n1\n")
    with pytest.raises(QueryError) as caught:
        run(body.replace("{path}", str(path)), {"path": str(path)})
    assert "read" in caught.value.hint or "Permission" in caught.value.message
    assert [found.name for found in tmp_path.iterdir()] == ["secret.csv"]


def test_settings_cannot_be_opened_again() -> None:
    with pytest.raises(QueryError):
        run("SET enable_external_access = true")


def test_variables_of_flownbs_own_code_are_no_tables() -> None:
    with pytest.raises(QueryError, match="CatalogException"):
        run("SELECT * FROM rows")


def test_a_table_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(QueryError) as caught:
        run("SELECT * FROM t JOIN {{ 'u' | raw }} USING (a)", {"t": [{"a": 1}]})
    assert caught.value.hint == "the tables are the nodes that the statement names: t"


# ---------------------------------------------------------------- connections


def test_an_sqlite_file_lies_beside_the_document(tmp_path: Path) -> None:
    run_node(
        SqlRuntime(), node_of(SqlNode, "CREATE TABLE t (a)", connection="sqlite:///x.db"), scope_of(folder=tmp_path)
    )
    assert (tmp_path / "x.db").stat().st_size


@pytest.mark.parametrize("connection", ["{{ url }}", "url", "sqlite:///{{ name }}.db"])
def test_a_url_is_a_template_or_an_expression(tmp_path: Path, connection: str) -> None:
    values = {"url": "sqlite:///y.db", "name": "y"}
    run_node(
        SqlRuntime(), node_of(SqlNode, "CREATE TABLE t (a)", connection=connection), scope_of(values, folder=tmp_path)
    )
    assert (tmp_path / "y.db").exists()


def test_an_engine_is_used_on_another_thread(tmp_path: Path) -> None:
    engine, caller = sa.create_engine(f"sqlite:///{tmp_path}/a.db"), HereCaller()
    scope = scope_of({"engine": engine}, caller=caller)
    assert run_node(SqlRuntime(), node_of(SqlNode, "SELECT 1 AS a", connection="engine"), scope) == [{"a": 1}]
    assert caller.calls == []
    engine.dispose()


def bound_to_thread() -> dict[str, Any]:
    """Return what can be used on this thread only, with a table that nobody else sees."""
    connection = sqlite3.connect(":memory:")
    engine = sa.create_engine("sqlite://")
    connection.execute("CREATE TABLE t (a)")
    with engine.begin() as opened:
        opened.execute(sa.text("CREATE TABLE t (a)"))
    return {"connection": connection, "engine": engine, "opened": engine.connect()}


@pytest.mark.parametrize("name", ["connection", "engine", "opened"])
def test_what_is_bound_to_a_thread_is_used_there(name: str) -> None:
    made, caller = bound_to_thread(), HereCaller()

    def on(body: str) -> Any:
        return run_node(SqlRuntime(), node_of(SqlNode, body, connection=name), scope_of(made, caller=caller))

    assert on("INSERT INTO t VALUES (5)") == {"rowcount": 1}
    assert on("SELECT a FROM t") == [{"a": 5}]
    assert caller.calls == ["run", "run"]
    assert made["connection"].execute("SELECT count(*) FROM t").fetchone() is not None  # It stays open.
    made["opened"].close()
    made["connection"].close()
    made["engine"].dispose()


@pytest.mark.parametrize("name", ["connection", "opened", "duck"])
def test_a_transaction_under_way_is_not_touched(name: str) -> None:
    made = bound_to_thread()
    made["duck"] = duckdb.connect()
    made["duck"].execute("CREATE TABLE t (a INTEGER)")
    made["duck"].begin()
    made["connection"].execute("INSERT INTO t VALUES (1)")
    made["opened"].execute(sa.text("INSERT INTO t VALUES (1)"))
    with pytest.raises(NodeError, match="transaction under way"):
        run("SELECT 1 AS a", made, connection=name)
    made["connection"].rollback()
    assert made["connection"].execute("SELECT count(*) FROM t").fetchone() == (0,)
    made["opened"].close()
    made["connection"].close()
    made["engine"].dispose()
    made["duck"].close()


def test_a_connection_that_commits_by_itself_is_one_transaction_all_the_same() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a PRIMARY KEY)")
    values = {"connection": connection, "rows": [{"a": 1}, {"a": 1}]}
    with pytest.raises(QueryError):
        run("INSERT INTO t VALUES ({{ row.a }})", values, connection="connection", values="rows")
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)
    assert connection.isolation_level is None
    connection.close()


def test_duckdbs_own_connection_is_used() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 5 AS a")
        assert run("SELECT a FROM t", {"duck": connection}, connection="duck") == [{"a": 5}]
        assert run("UPDATE t SET a = {{ 6 }}", {"duck": connection}, connection="duck") == {"rowcount": 1}
        assert connection.execute("FROM t").fetchall() == [(6,)]


@pytest.mark.parametrize(
    "value, message",
    [
        (5, "`connection` is of type builtins.int"),
        (None, "NoneType"),
        (sa.text("x"), "TextClause of SQLAlchemy's"),
        ("not a url", "`connection` is no URL"),
        ("nosuch://x", "SQLAlchemy knows no database 'nosuch'"),
        ("mysql+pymysql://ana:pw@h/x", "needs pymysql"),
    ],
)
def test_what_is_no_connection(value: object, message: str) -> None:
    with pytest.raises(NodeError, match=message) as caught:
        run("SELECT 1", {"it": value}, connection="it")
    assert "pw" not in str(caught.value)


# ---------------------------------------------------------------- failing and stopping


@pytest.mark.parametrize(
    "body, message",
    [("{{ 'SELECT 1; SELECT 2' | raw }}", "more than one"), ("{{ '--' | raw }} {{ 1 }}", "no statement")],
)
def test_one_statement_also_when_it_runs(sqlite: Run, body: str, message: str) -> None:
    with pytest.raises(NodeError, match=message):
        sqlite(body)


def test_what_a_database_refuses_is_told_with_its_class_and_without_values(sqlite: Run) -> None:
    with pytest.raises(QueryError) as caught:
        sqlite("SELECT * FROM nope WHERE a = {{ x }}", {"x": "value-of-x"})
    assert caught.value.message == "OperationalError: no such table: nope"
    assert {"OperationalError", "sqlite3.OperationalError", "DatabaseError"} <= set(caught.value.kinds)
    assert not isinstance(caught.value, ConnectionError)


def test_a_file_that_cannot_be_opened_is_no_connection() -> None:
    with pytest.raises(DatabaseConnectionError, match="unable to open"):
        run("SELECT 1", connection="sqlite:////nowhere/a.db")


@pytest.mark.parametrize("kind", [QueryError, DatabaseConnectionError])
def test_errors_survive_pickle(kind: type[QueryError]) -> None:
    error = pickle.loads(pickle.dumps(kind("a", "b", ("c",))))  # noqa: S301 our own
    assert (error.message, error.hint, error.kinds) == ("a", "b", ("c",))


def test_a_query_of_sqlite_stops_at_once(sqlite: Run) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        sqlite(FOREVER, None, 0.3)
    assert time.monotonic() - begun < 3
    assert threads() == []


@pytest.mark.parametrize("connection", [None, "duckdb:///:memory:"])
def test_a_query_of_duckdb_stops_at_once(connection: str | None) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        run(LONG, None, 0.5, connection=connection)
    assert time.monotonic() - begun < 5
    assert threads() == []


def test_a_query_on_the_notebooks_thread_stops_at_once() -> None:
    queue = MainQueue()
    values: dict[str, object] = {}
    done = threading.Event()

    def served() -> None:
        values["connection"] = sqlite3.connect(":memory:")
        done.set()
        with MainInterrupts(lambda: None) as interrupts:
            executor.interrupts = interrupts
            queue.serve(finished.is_set)
        values["connection"].close()  # type: ignore[attr-defined]

    finished = threading.Event()
    executor = MainExecutor(queue.post, MainInterrupts(lambda: None))
    thread = threading.Thread(target=served)
    thread.start()
    done.wait()
    begun = time.monotonic()
    try:
        with pytest.raises(TimeoutError):
            run_node(
                SqlRuntime(), node_of(SqlNode, FOREVER, connection="connection"), scope_of(values, caller=executor), 0.3
            )
    finally:
        finished.set()
        queue.wake()
        thread.join()
        executor.close()
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_nothing_of_a_query_that_was_stopped_is_kept(tmp_path: Path, scheme: str) -> None:
    def on(body: str, limit_s: float | None = None) -> Any:
        node = node_of(SqlNode, body, connection=f"{scheme}:///a.db")
        return run_node(SqlRuntime(), node, scope_of(folder=tmp_path), limit_s)

    on("CREATE TABLE t (a BIGINT)")
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x FROM c"
    with pytest.raises(TimeoutError):
        on(f"INSERT INTO t {numbers}" if scheme == "sqlite" else f"INSERT INTO t {LONG}", 0.4)
    assert on("SELECT count(*) AS n FROM t") == [{"n": 0}]


def test_other_nodes_go_on_while_a_query_runs(sqlite: Run, tmp_path: Path) -> None:
    async def main() -> int:
        node = node_of(SqlNode, FOREVER, connection=f"sqlite:///{tmp_path}/a.db")
        task = asyncio.create_task(SqlRuntime().run(node, scope_of()))
        turns = 0
        for _ in range(20):
            await asyncio.sleep(0.01)
            turns += 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return turns

    assert asyncio.run(main()) == 20


# ---------------------------------------------------------------- whole runs


def finished(text: str, folder: Path, **inputs: object) -> flownb.Run:
    folder.mkdir(exist_ok=True)
    path = folder / "a.flow.md"
    path.write_text(text)
    return flownb.run(path, inputs)


def test_a_run_resumes_with_what_was_written(tmp_path: Path) -> None:
    text = """# A

## Orders

```python
from decimal import Decimal
from datetime import date
[{"id": n, "day": date(2026, 1, n), "price": Decimal(n) / 4} for n in (1, 2, 3)]
```

## Cheap

```sql
SELECT id, day, price FROM orders WHERE price < {{ 0.7 }} ORDER BY id
```

## Broken

```python
cheap[5]
```
"""
    run = finished(text, tmp_path)
    cheap = [
        {"id": 1, "day": date(2026, 1, 1), "price": Decimal("0.25")},
        {"id": 2, "day": date(2026, 1, 2), "price": Decimal("0.50")},
    ]
    assert (run.status, run["cheap"]) == ("failed", cheap)
    (tmp_path / "a.flow.md").write_text(text.replace("cheap[5]", "str(cheap[1]['price'])"))
    resumed = flownb.resume(run.id, state_dir=tmp_path / ".flownb")
    assert (resumed.status, resumed["broken"], resumed["cheap"]) == ("completed", "0.50", cheap)
    assert resumed.nodes["cheap"].attempts == 1


SECRET = """---
secrets: [DATABASE, WORD]
---
# A

## Words

- connection: secrets.DATABASE
- continue_on_error: true

```sql
SELECT {{ secrets.WORD[::-1] }} AS a, nope FROM t
```

## Open

- connection: "{{ secrets.DATABASE }}"

```sql
SELECT 1 AS a
```

## Wrong

- connection: "postgresql://ana:{{ secrets.WORD }}@127.0.0.1:1/x"
- continue_on_error: true

```sql
SELECT 1
```
"""


def test_no_secret_is_in_any_file_or_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE", f"sqlite:///{tmp_path}/hidden-place.db")
    monkeypatch.setenv("WORD", "pass-phrase-17")
    run = finished(SECRET, tmp_path)
    assert (run.status, run["open"]) == ("completed", [{"a": 1}])
    assert [run.nodes[name].status for name in ("words", "wrong")] == ["failed", "failed"]
    kept = [path.read_text() for path in (tmp_path / ".flownb").rglob("*") if path.is_file()]
    for word in ("hidden-place", "pass-phrase-17", "pass-phrase-17"[::-1]):
        assert not [text for text in [*kept, run.log] if word in text]
    assert "OperationalError: •••" in run.log


def test_what_is_retried_is_said_by_the_databases_own_classes(tmp_path: Path) -> None:
    text = "# A\n## A\n- connection: sqlite:///a.db\n- retry: {max: 2, base: 1ms, on: KIND}\n```sql\nSELECT * FROM t\n```\n"
    for kind, attempts in (
        ("OperationalError", 3),
        ("sqlite3.Error", 3),
        ("IntegrityError", 1),
        ("[ConnectionError]", 1),
    ):
        run = finished(text.replace("KIND", kind), tmp_path)
        assert run.nodes["a"].attempts == attempts


def test_connections_are_retried_by_default(tmp_path: Path) -> None:
    text = (
        "# A\n## A\n- connection: sqlite:////nowhere/a.db\n- retry: {max: 2, base: 1ms}\n```sql\nSELECT * FROM t\n```\n"
    )
    assert finished(text, tmp_path).nodes["a"].attempts == 3
    text = text.replace("/nowhere/a.db", "a.db").replace("////", "///")
    assert finished(text, tmp_path).nodes["a"].attempts == 1


def test_a_node_timeout_stops_the_query(tmp_path: Path) -> None:
    run = finished(f"# A\n## A\n- connection: sqlite:///a.db\n- timeout: 300ms\n```sql\n{FOREVER}\n```\n", tmp_path)
    assert run.errors[0].type == "NodeTimeoutError"
    assert threads() == []


def test_items_are_tables_and_values(tmp_path: Path) -> None:
    text = """# A
## Parts
```expr
[[{"a": 1}], [{"a": 2}, {"a": 3}]]
```
## Sums
- foreach: parts
- as: part
- concurrency: 2
- output: scalar
```sql
SELECT sum(a)::INTEGER + {{ index }} FROM part
```
"""
    assert finished(text, tmp_path)["sums"] == [1, 6]


def test_a_template_error_is_the_nodes(sqlite: Run) -> None:
    with pytest.raises(ExpressionError, match="nope"):
        sqlite("SELECT {{ x.nope }}", {"x": {}})


STORED = """# A
## Pandas
```python
import pandas as pd
days = pd.to_datetime(["2026-01-01", None, "2026-01-03"])
pd.DataFrame({"n": [1, 2, 3], "f": [1.5, None, 2.0], "it's": ["x", None, "z"], "d": days}, index=[7, 8, 9])
```
## Polars
```python
import polars as pl
pl.DataFrame({"n": [1, 2], "f": [float("nan"), None], "day": [None, __import__("datetime").date(2026, 1, 1)]})
```
## Arrow
```python
import pyarrow as pa
pa.table({"n": [3, None], "t": ["x", "y"], "b": [True, False]})
```
## Objects
```python
import pandas as pd
pd.DataFrame({"n": [1, 2], "o": [{"a": 1}, None]})
```
## Listed
```python
[{"n": number, "text": "x" * 100} for number in range(1_000)]
```
## Stop
- needs: [pandas, polars, arrow, objects, listed]
```python
assert 0
```
## All pandas
- needs: stop
```sql
SELECT * FROM Pandas
```
## Sum
- needs: stop
- output: scalar
```sql
SELECT sum(f) FROM pandas
```
## All polars
- needs: stop
```sql
SELECT n, isnan(f) AS is_nan, day FROM polars
```
## All arrow
- needs: stop
```sql
SELECT * FROM arrow
```
## Also objects
- needs: stop
```sql
SELECT * FROM objects
```
## Also listed
- needs: stop
```sql
SELECT count(*) AS n, sum(length(text)) AS size FROM listed
```
## Both ways
- needs: stop
```sql
SELECT n, {{ arrow.num_rows }} AS rows FROM arrow ORDER BY n
```
"""


def test_stored_tables_are_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []
    load = KeptValues.load

    def noting(self: KeptValues, key: str, value: Any) -> object:
        loaded.append(key)
        return load(self, key, value)

    whole = finished(STORED.replace("assert 0", "1"), tmp_path / "whole")
    run = finished(STORED, tmp_path / "stored")
    assert (whole.status, run.status) == ("completed", "failed")
    monkeypatch.setattr(KeptValues, "load", noting)
    (tmp_path / "stored/a.flow.md").write_text(STORED.replace("assert 0", "1"))
    resumed = flownb.resume(run.id, state_dir=tmp_path / "stored/.flownb")
    assert resumed.status == "completed", resumed.errors
    during = sorted(loaded)
    for name in ("all_pandas", "sum", "all_polars", "all_arrow", "also_objects", "also_listed", "both_ways"):
        assert resumed[name] == whole[name], name
    assert resumed["sum"] == 3.5
    first: Any = resumed["all_pandas"]
    assert first[1] == {"n": 2, "f": None, "it's": None, "d": None}
    assert set(during) == {"objects", "listed", "arrow"}


def test_a_stored_table_that_is_damaged_is_named(tmp_path: Path) -> None:
    run = finished(STORED, tmp_path)
    for path in tmp_path.rglob("*.parquet"):
        path.chmod(0o600)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    (tmp_path / "a.flow.md").write_text(STORED.replace("assert 0", "1"))
    resumed = flownb.resume(run.id, state_dir=tmp_path / ".flownb")
    assert resumed.status == "failed"
    assert "is damaged" in resumed.errors[0].message


def test_other_files_beside_a_stored_table_are_not_reached(tmp_path: Path) -> None:
    text = STORED.replace(
        "SELECT * FROM arrow", "SELECT * FROM arrow, read_text({{ __file }})".replace("__file", "env.SOME")
    )
    run = finished(text, tmp_path)
    (tmp_path / "a.flow.md").write_text(text.replace("assert 0", "1"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOME", str(tmp_path / "a.flow.md"))
        resumed = flownb.resume(run.id, state_dir=tmp_path / ".flownb")
    assert "PermissionException" in str([error.message for error in resumed.errors])


def test_parsing_needs_neither_duckdb_nor_sqlalchemy(tmp_path: Path) -> None:
    (tmp_path / "a.flow.md").write_text("# A\n## B\n```sql\nSELECT 1\n```\n")
    code = "import sys, flownb; flownb.parse(open('a.flow.md').read()); print([n for n in ('duckdb', 'sqlalchemy', 'pandas') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("missing", ["duckdb", "sqlalchemy"])
def test_a_missing_extra_is_one_error_that_says_what_to_do(tmp_path: Path, missing: str) -> None:
    (tmp_path / "a.flow.md").write_text("# A\n## B\n```sql\nSELECT 1\n```\n")
    code = f"import sys; sys.modules[{missing!r}] = None; import flownb; run = flownb.run('a.flow.md'); print(run.log)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert f"`sql` nodes need {missing}, which is not installed" in done.stdout
    assert "pip install 'flownb[sql]'" in done.stdout


class Late(Stopper):
    """Is stopped when all is done but the commit."""

    def check(self) -> None:
        self.stop()
        super().check()


@pytest.mark.parametrize("scheme", ["sqlite", "duckdb"])
def test_what_is_stopped_just_before_its_commit_is_rolled_back(tmp_path: Path, scheme: str) -> None:
    def database() -> Database:
        url, path = f"sqlite:///{tmp_path}/a.db", tmp_path / "a.duckdb"
        return databases.open_url(url, tmp_path) if scheme == "sqlite" else duck.open_file(path)

    def query(body: str) -> Query:
        return Query(render_statement(body, {}), SqlOutput.SCALAR)

    database().run(query("CREATE TABLE t (a INTEGER)"), Stopper())
    with pytest.raises(QueryStoppedError):
        database().run(query("INSERT INTO t VALUES ({{ 1 }})"), Late())
    assert database().run(query("SELECT count(*) FROM t"), Stopper()) == 0
    early = Stopper()
    early.stop()
    with pytest.raises(QueryStoppedError):
        database().run(query("INSERT INTO t VALUES ({{ 1 }})"), early)


def test_a_driver_that_cannot_stop_is_left_behind_and_nothing_of_it_is_kept(
    tmp_path: Path, sqlite: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    sqlite("CREATE TABLE t (a)")
    monkeypatch.setattr(databases, "_canceller", lambda _connection: None)
    numbers = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 2000000) SELECT x FROM c"
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        sqlite(f"INSERT INTO t {numbers}", None, 0.1)
    assert time.monotonic() - begun < 0.8
    for thread in threading.enumerate():
        if thread.name == "flownb-sql":
            thread.join(20)
    assert sqlite("SELECT count(*) FROM t", output="scalar") == 0


def test_a_password_is_taken_out_of_whatever_a_driver_says() -> None:
    error = refused(
        ValueError("cannot open x://ana:pa%2Fss@h\nLINE 1: SELECT\n  ^\nDETAIL: pa/ss"),
        hiding(["pa/ss", "pa%2Fss", ""]),
    )
    assert error.message == "ValueError: cannot open x://ana:•••@h; DETAIL: •••"


def test_a_table_is_never_some_variable_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duck, "hidden", pd.DataFrame({"a": [1]}), raising=False)
    with pytest.raises(QueryError, match="CatalogException"):
        run("SELECT * FROM hidden", connection="duckdb:///:memory:")
