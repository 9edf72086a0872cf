"""SQL over 1,000,000 rows against bare DuckDB: `python -m tests.benchmarks.sql`.

Each case is carried out by the runtime and by DuckDB alone, in turn and in the same process; the limit is 1.2 times. What a whole run
takes besides, as for keeping the value, is shown and has no limit here.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

import duckdb
import numpy as np
import pandas as pd

import flownb
from flownb.model.nodes import Leaf
from flownb.model.sql_node import SqlNode
from flownb.runtimes.sql.runtime import SqlRuntime
from tests.nodes import node_of, scope_of

ROWS: Final = 1_000_000
TURNS: Final = 7
LIMIT: Final = 1.2
GROUPED: Final = "SELECT key, count(*) AS n, sum(amount) AS total FROM orders GROUP BY key ORDER BY key"
JOINED: Final = "SELECT name, avg(amount) AS mean FROM orders JOIN people USING (key) GROUP BY name ORDER BY name"
WHOLE: Final = "SELECT id, key, amount * 2 AS twice FROM orders"
TENTH: Final = "SELECT id, key, amount FROM orders WHERE id % 10 = 0"

DOCUMENT: Final = f"""# A
## Orders
```python
from tests.benchmarks.sql import frames
frames()["orders"]
```
## Grouped
```sql
{GROUPED}
```
## Whole
- output: dataframe
```sql
{WHOLE}
```
"""


def frames() -> dict[str, Any]:  # Any: pandas' tables.
    """Return a million orders of a thousand people."""
    chance = np.random.default_rng(7)
    orders = pd.DataFrame(
        {"id": np.arange(ROWS), "key": chance.integers(0, 1_000, ROWS), "amount": chance.random(ROWS) * 100}
    )
    people = pd.DataFrame({"key": np.arange(1_000), "name": [f"person {number}" for number in range(1_000)]})
    return {"orders": orders, "people": people}


def rows_of(result: Any) -> list[dict[str, Any]]:
    """Return what a result gives, as a person would write it."""
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def as_frame(result: Any) -> object:
    """Return what a result gives, as a DataFrame."""
    return result.df()


def bare(tables: dict[str, Any], sql: str, fetch: Callable[[Any], object]) -> object:
    """Carry a statement out by DuckDB alone."""
    with duckdb.connect() as connection:
        for name, table in tables.items():
            if name in sql:
                connection.register(name, table)
        return fetch(connection.execute(sql))


def compare(title: str, own: Callable[[], object], other: Callable[[], object]) -> bool:
    """Print how long both take, the median of some turns; return whether it is within the limit."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS + 1):
        for times, work in zip(taken, (own, other), strict=True):
            begun = time.perf_counter()
            work()
            if turn:
                times.append(time.perf_counter() - begun)
    ours, theirs = map(median, taken)
    print(f"{title:44} {ours * 1e3:9.1f} ms {theirs * 1e3:9.1f} ms {ours / theirs:6.2f} times")
    return ours / theirs <= LIMIT


def whole_run() -> None:
    """Print how long the nodes of a whole run take, with what is kept of their values."""
    workflow = flownb.parse(DOCUMENT)
    with tempfile.TemporaryDirectory() as folder:
        run = flownb.run(workflow, state_dir=Path(folder))
        assert run.status == "completed", run.errors
        for name in ("orders", "grouped", "whole"):
            print(f"in a run, with its value kept: {name:13} {(run.nodes[name].duration_s or 0) * 1e3:9.1f} ms")


def main() -> int:
    """Measure, and return 1 where a case is over the limit."""
    tables = frames()
    runtime = SqlRuntime()

    def run(node: Leaf, values: dict[str, Any]) -> object:
        return asyncio.run(runtime.run(node, scope_of(values)))

    print(f"{'':44} {'flownb':>12} {'duckdb':>12}")
    good = True
    for title, sql, output, fetch in (
        ("GROUP BY over a million rows", GROUPED, "rows", rows_of),
        ("JOIN of a million with a thousand", JOINED, "rows", rows_of),
        ("100,000 rows as objects", TENTH, "rows", rows_of),
        ("a million rows as objects", WHOLE, "rows", rows_of),
        ("a million rows as a DataFrame", WHOLE, "dataframe", as_frame),
    ):
        node = node_of(SqlNode, sql, output=output)
        good &= compare(title, partial(run, node, tables), partial(bare, tables, sql, fetch))
    whole_run()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
