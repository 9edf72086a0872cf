"""The sql runtime on a real PostgreSQL: types, lists, transactions, stopping, and a server that goes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

import flownb
from flownb.errors import DatabaseConnectionError, NodeError, QueryError
from flownb.model.sql_node import SqlNode
from flownb.runtimes.sql.runtime import SqlRuntime
from tests.nodes import HereCaller, node_of, run_node, scope_of
from tests.postgres import PASSWORD, Postgres

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    made = Postgres()
    yield made
    made.close()


@pytest.fixture
def own(server: Postgres) -> Iterator[psycopg.Connection[Any]]:
    """Return a connection beside flownb's, with an empty table `t`."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS t")
        connection.execute(
            "CREATE TABLE t (id bigint PRIMARY KEY, name text, day date, doc jsonb, price numeric(10, 2), tags text[])"
        )
        yield connection


def run(server: Postgres, body: str, given: dict[str, object] | None = None, /, **fields: object) -> Any:
    limit_s: Any = fields.pop("limit_s", None)
    node = node_of(SqlNode, body, **{"connection": server.url, **fields})
    return run_node(SqlRuntime(), node, scope_of(given or {}), limit_s)


def test_values_keep_their_types(server: Postgres) -> None:
    body = """
        SELECT 1 AS i, 2.50 AS n, 1.5::float8 AS f, true AS b, NULL AS nothing, DATE '2026-01-02' AS d,
          TIMESTAMPTZ '2026-01-02 03:00Z' AS t, INTERVAL '3 days' AS v, '{"a": [1]}'::jsonb AS j, ARRAY[1, 2] AS l,
          '\\x00ff'::bytea AS y, '00000000-0000-0000-0000-000000000001'::uuid AS u, '50% :x ::y' AS s
    """
    (row,) = run(server, body)
    assert row.pop("t") == datetime(2026, 1, 2, 3, tzinfo=UTC)
    assert row == {
        "i": 1, "n": Decimal("2.50"), "f": 1.5, "b": True, "nothing": None, "d": date(2026, 1, 2), "v": timedelta(3),
        "j": {"a": [1]}, "l": [1, 2], "y": b"\0\xff", "u": UUID(int=1), "s": "50% :x ::y",
    }  # fmt: skip


def test_texts_become_what_the_column_is(server: Postgres, own: psycopg.Connection[Any]) -> None:
    row = {"id": 1, "name": "'; DROP TABLE t; --", "day": "2026-01-02", "doc": {"a": [1]}, "price": "1.5"}
    body = "INSERT INTO t VALUES ({{ r.id }}, {{ r.name }}, {{ r.day }}, {{ r.doc }}, {{ r.price }}, ARRAY[{{ tags }}])"
    assert run(server, body, {"r": row, "tags": ["a", "b"]}) == {"rowcount": 1}
    kept = own.execute("SELECT * FROM t").fetchall()
    assert kept == [(1, row["name"], date(2026, 1, 2), {"a": [1]}, Decimal("1.50"), ["a", "b"])]


@pytest.mark.parametrize(
    "condition, found",
    [
        ("id IN {{ ids }}", [2]),
        ("id NOT IN {{ ids }}", [1, 3]),
        ("id IN ({{ ids }})", [2]),
        ("id IN {{ no }} OR id = 3", [3]),
        ("name IN {{ no }}", []),
        ("name NOT IN {{ no }} AND day NOT IN ({{ no }})", [1, 2, 3]),
        ("NOT id IN {{ no }} AND id > 2", [3]),
        ("doc IN {{ no }}", []),
        ("(id, name) IN {{ pairs }}", [1]),
        ("(id, name) NOT IN {{ no }}", [1, 2, 3]),
        ("day >= {{ day }} AND day < {{ '2026-02-01' }}", [1, 2, 3]),
        ("name LIKE {{ 'n%' }} AND name LIKE 'n%'", [1, 2, 3]),
        ("id::text = {{ '2' }} AND {{ 2 }}::int = 2", [2]),
    ],
)
def test_lists_and_empty_ones_of_any_type(
    server: Postgres, own: psycopg.Connection[Any], condition: str, found: list[int]
) -> None:
    own.execute("INSERT INTO t SELECT i, 'n' || i, DATE '2026-01-01' + i::int FROM generate_series(1, 3) AS i")
    values = {"ids": [2, 9], "no": [], "pairs": [[1, "n1"], [2, "x"]], "day": date(2026, 1, 2)}
    assert [row["id"] for row in run(server, f"SELECT id FROM t WHERE {condition} ORDER BY id", values)] == found  # noqa: S608


@settings(max_examples=40)
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_whatever_is_bound_comes_back_as_it_was(server: Postgres, value: str) -> None:
    assert run(server, "SELECT {{ x }}::text", {"x": value}, output="scalar") == value


def test_many_rows_are_written_all_or_none(server: Postgres, own: psycopg.Connection[Any]) -> None:
    rows = [{"id": n, "name": f"n{n}", "doc": [n]} for n in range(5_000)]
    body = "INSERT INTO t (id, name, doc) VALUES ({{ row.id }}, {{ row.name }}, {{ row.doc }})"
    assert run(server, body, {"rows": rows}, values="rows") == {"rowcount": 5_000}
    with pytest.raises(QueryError, match=r"UniqueViolation.*Key \(id\)=\(0\) already exists"):
        run(server, body, {"rows": [{"id": 5_001, "name": "", "doc": []}, *rows]}, values="rows")
    assert own.execute("SELECT count(*) FROM t").fetchone() == (5_000,)


def test_rows_of_dml_are_returned_and_become_a_dataframe(server: Postgres, own: psycopg.Connection[Any]) -> None:
    made = run(server, "INSERT INTO t (id, price) VALUES (1, 2.5) RETURNING id, price, day", output="dataframe")
    assert made.to_dict("records") == [{"id": 1, "price": 2.5, "day": None}]
    assert own.execute("SELECT count(*) FROM t").fetchone() == (1,)


def running(own: psycopg.Connection[Any], words: str) -> int:
    """Return how many queries with some words the server carries out."""
    found = own.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE %s AND state = 'active' AND pid <> pg_backend_pid()",
        [f"%{words}%"],
    ).fetchone()
    assert found is not None
    return int(found[0])


def test_a_query_that_is_stopped_ends_in_the_server_and_is_rolled_back(
    server: Postgres, own: psycopg.Connection[Any]
) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        run(server, "INSERT INTO t (id) SELECT 1 FROM pg_sleep(47)", limit_s=0.5)
    assert time.monotonic() - begun < 5
    assert running(own, "pg_sleep(47)") == 0
    assert own.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_many_rows_that_are_stopped_are_rolled_back(server: Postgres, own: psycopg.Connection[Any]) -> None:
    body = "INSERT INTO t (id) SELECT {{ row.id }}::bigint FROM pg_sleep(0.05)"
    with pytest.raises(TimeoutError):
        run(server, body, {"rows": [{"id": n} for n in range(1_000)]}, values="rows", limit_s=0.5)
    time.sleep(0.1)
    assert running(own, "pg_sleep(0.05)") == 0
    assert own.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_query_that_waits_for_a_lock_is_stopped(server: Postgres, own: psycopg.Connection[Any]) -> None:
    with psycopg.connect(server.url) as holder:
        holder.execute("LOCK TABLE t")
        with pytest.raises(TimeoutError):
            run(server, "INSERT INTO t (id) VALUES (1)", limit_s=0.4)
    assert own.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_an_engine_and_connections_of_the_notebook(server: Postgres, own: psycopg.Connection[Any]) -> None:
    engine = sa.create_engine(server.url.replace("postgresql:", "postgresql+psycopg:"))
    with psycopg.connect(server.url) as plain, engine.connect() as opened:
        values = {"engine": engine, "plain": plain, "opened": opened, "by_itself": own, "rows": [{"id": 9}, {"id": 9}]}
        caller = HereCaller()
        for number, name in enumerate(("engine", "plain", "opened", "by_itself")):
            scope = scope_of({**values, "number": number}, caller=caller)
            node = node_of(SqlNode, "INSERT INTO t (id) VALUES ({{ number }})", connection=name)
            assert run_node(SqlRuntime(), node, scope) == {"rowcount": 1}
        with pytest.raises(QueryError):
            run(server, "INSERT INTO t (id) VALUES ({{ row.id }})", values, values="rows", connection="by_itself")
        assert own.autocommit
        assert own.execute("SELECT array_agg(id ORDER BY id) FROM t").fetchone() == ([0, 1, 2, 3],)
        plain.execute("SELECT 1")
        with pytest.raises(NodeError, match="transaction under way"):
            run(server, "SELECT 1", values, connection="plain")
        assert caller.calls == []
    engine.dispose()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_urls_as_they_are_given_everywhere(server: Postgres, scheme: str) -> None:
    assert run(server, "SELECT 1", connection=server.url.replace("postgresql", scheme, 1), output="scalar") == 1


def test_no_password_is_shown(server: Postgres) -> None:
    wrong = server.url.replace(PASSWORD, "wr%C3%B6ng-pa%2Fss")
    with pytest.raises(DatabaseConnectionError, match="password authentication failed") as caught:
        run(server, "SELECT 1", connection=wrong)
    for word in ("wr%C3", "wröng", "pa/ss", "pa%2Fss"):
        assert word not in str(caught.value)
    with pytest.raises(NodeError) as badly:
        run(server, "SELECT 1", connection=server.url.replace(f":{server.port}", ":no-port"))
    assert PASSWORD not in str(badly.value)


def test_a_server_that_is_not_there_is_no_connection(server: Postgres) -> None:
    with pytest.raises(DatabaseConnectionError, match="refused"):
        run(server, "SELECT 1", connection=server.url.replace(str(server.port), "1"))


def test_a_server_that_dies_and_comes_back_in_mid_run(
    server: Postgres, own: psycopg.Connection[Any], tmp_path: Path
) -> None:
    path = tmp_path / "a.flow.md"
    path.write_text(
        """---
secrets: [DATABASE]
defaults:
  retry: {max: 8, base: 200ms, backoff: fixed, jitter: none}
---
# A

## Numbers

```expr
range(6)
```

## Put

- foreach: numbers
- as: number
- concurrency: 1
- connection: secrets.DATABASE

```sql
INSERT INTO t (id, name) SELECT {{ number }}::bigint, 'x' FROM pg_sleep(0.3)
```

## Check

- connection: secrets.DATABASE
- needs: put
- output: scalar

```sql
SELECT count(*) FROM t
```
"""
    )
    own.close()

    def die_and_come_back() -> None:
        time.sleep(0.8)
        server.stop()
        time.sleep(0.5)
        server.start()

    killer = threading.Thread(target=die_and_come_back)
    killer.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATABASE", server.url)
        made = flownb.run(path)
    killer.join()
    assert (made.status, made["check"]) == ("completed", 6), made.errors
    attempts = [made.nodes[f"put[{number}]"].attempts for number in range(6)]
    assert max(attempts) > 1
    kept = [found.read_text() for found in (tmp_path / ".flownb").rglob("*") if found.is_file()]
    assert not [text for text in [*kept, made.log] if PASSWORD in text]


def test_what_can_be_tried_again_is_told_by_its_class(server: Postgres, own: psycopg.Connection[Any]) -> None:
    with pytest.raises(QueryError) as caught:
        run(server, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
    assert {"SerializationFailure", "psycopg.errors.SerializationFailure", "OperationalError"} <= set(
        caught.value.kinds
    )
    assert not isinstance(caught.value, DatabaseConnectionError)
