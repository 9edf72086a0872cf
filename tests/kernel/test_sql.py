"""SQL nodes in a real kernel: the notebook's own connections and tables, and the stop button."""

from __future__ import annotations

import time
from pathlib import Path

from tests.kernel.harness import kernel

CELL = """%%flow
## Put
- connection: shop
- values: frame
```sql
INSERT INTO t VALUES ({{ row.a }})
```
## Sum
- connection: shop
- needs: put
- output: scalar
```sql
SELECT sum(a) FROM t
```
## Joined
```sql
SELECT a, {{ sum }} AS total FROM frame ORDER BY a
```
"""
FOREVER = """%%flow
## Long
- connection: shop
```sql
WITH RECURSIVE c(x) AS (SELECT begun() UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c
```
"""


def test_a_notebooks_connection_and_its_tables(tmp_path: Path) -> None:
    with kernel(cwd=tmp_path) as k:
        setup = "%load_ext flownb\nimport sqlite3, pandas as pd\nshop = sqlite3.connect(':memory:')\n"
        assert k.run(setup + "shop.execute('CREATE TABLE t (a)')\nframe = pd.DataFrame({'a': [1, 2]})").ok
        cell = k.run(CELL.replace("%%flow", "%%flow -o made", 1))
        assert cell.ok, cell.text
        shown = k.run("print(made['sum'], made['joined'], shop.execute('SELECT count(*) FROM t').fetchone())").text
        assert "3 [{'a': 1, 'total': 3}, {'a': 2, 'total': 3}] (2,)" in shown


def test_the_stop_button_stops_a_query_on_the_notebooks_own_thread(tmp_path: Path) -> None:
    with kernel(cwd=tmp_path) as k:
        setup = "%load_ext flownb\nimport pathlib, sqlite3\nshop = sqlite3.connect(':memory:')\n"
        assert k.run(setup + "shop.create_function('begun', 0, lambda: pathlib.Path('begun').write_text('1'))").ok
        cell = k.start(FOREVER)
        k.wait_until((tmp_path / "begun").exists, "the query")
        begun = time.monotonic()
        k.interrupt()
        cell.finish()
        assert time.monotonic() - begun < 10
        assert "cancelled" in cell.text
        assert "(1,)" in k.run("print(shop.execute('SELECT 1').fetchone())").text
