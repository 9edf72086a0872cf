"""`read` and `write` in a real kernel: DataFrames in and out, a restart, and the stop button in the middle of a read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from tests.kernel.harness import kernel

TEXT = """# Orders
## Orders
- type: read
- path: orders.csv
- output: dataframe
## Total
```python
orders["amount"].sum()
```
## Keep
- type: write
- path: out/orders.parquet
- value: frame
## Log
- path: out/total.log
- append: true
```write
{{ total }}
```
"""
LARGE = "# Large\n## Lines\n- type: read\n- path: large.txt\n- format: lines\n"


def test_frames_go_in_and_out_and_stand_after_a_restart(tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("customer,amount\nana,2\nbo,5\n")
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb\nimport pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})")
        assert "**Status:** completed" in k.run(f"%%flow -o run\n{TEXT}").text
        assert k.value("(run['orders'].shape, int(run['total']))") == "((2, 2), 7)"
        assert pd.read_parquet(tmp_path / "out/orders.parquet").to_dict("list") == {"a": [1, 2]}
        (tmp_path / "out/orders.parquet").unlink()
        k.restart()
        k.run("%load_ext flownb\nimport pandas as pd\nframe = pd.DataFrame({'a': [1, 2]})")
        again = k.run(f"%%flow --reuse -o run\n{TEXT}").text
        assert "| orders | reused |" in again
        assert "| log | reused |" in again
        assert "| keep | completed |" in again
        assert k.value("run['orders'].shape") == "(2, 2)"
        assert (tmp_path / "out/total.log").read_text() == "7\n"
        assert (tmp_path / "out/orders.parquet").exists()


def test_the_stop_button_ends_a_read_and_the_kernel_goes_on(tmp_path: Path) -> None:
    with (tmp_path / "large.txt").open("w") as file:
        for _ in range(60):
            file.write("some words in a line\n" * 200_000)
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb")
        cell = k.start(f"%%flow -o run\n{LARGE}")
        cell.wait_for("running")
        k.interrupt()
        cell.finish()
        assert k.value("str(run.status)") == "'cancelled'"
        assert k.value("1 + 1") == "2"
