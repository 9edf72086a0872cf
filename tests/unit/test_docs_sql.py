"""The example of docs/runtime-sql.md runs and gives what one would expect."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import flownb

PAGE = (Path(__file__).parents[2] / "docs/runtime-sql.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"^````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "monthly.flow.md"
    path.write_text(example)
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.executescript(
            """
            CREATE TABLE orders (id INTEGER PRIMARY KEY, country TEXT, amount REAL, day TEXT);
            CREATE TABLE totals (country TEXT PRIMARY KEY, total REAL);
            INSERT INTO orders VALUES
              (1, 'DE', 100, '2026-01-05'), (2, 'DE', 50, '2025-12-31'), (3, 'FR', 10, '2026-02-01'), (4, 'PL', 7, '2026-02-01');
            INSERT INTO totals VALUES ('DE', 0);
            """
        )
    run = flownb.run(path)
    assert (run.status, run["keep"], run["best"]) == ("completed", {"rowcount": 2}, "DE"), run.errors
    assert run["taxed"] == [{"country": "DE", "total": 119.0}, {"country": "FR", "total": 12.0}]
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        assert shop.execute("SELECT * FROM totals ORDER BY country").fetchall() == [("DE", 119.0), ("FR", 12.0)]
