"""Values after the kernel died: tables and figures come back in a new one, shown and as objects."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.harness import kernel

CELL = """%%flow -o run
# Doc

## Table

```python
import pandas as pd
pd.DataFrame({"n": [1, 2]})
```

## Picture

```python
import matplotlib
matplotlib.use("Agg")
from matplotlib.figure import Figure

figure = Figure(figsize=(1, 1))
figure.subplots().plot(table.n)
figure
```

## Train

```python
import os, time
for epoch in range(saved.get("epoch", -1) + 1, 3):
    saved["epoch"] = epoch
    print("epoch", epoch)
    while epoch == 1 and not os.path.exists("go"):
        time.sleep(0.05)
epoch
```
"""


def test_a_new_kernel_goes_on_and_shows_what_the_dead_one_made(tmp_path: Path) -> None:
    with kernel(cwd=tmp_path) as k:
        assert k.run("%load_ext flownb").ok
        k.start(CELL)
        journal = tmp_path / ".flownb" / "doc"
        k.wait_until(
            lambda: any('"name":"epoch","output":1' in path.read_text() for path in journal.glob("*/journal.jsonl")),
            "the second epoch",
        )
        k.kill()
        (tmp_path / "go").touch()
        k.restart()
        assert k.run("%load_ext flownb").ok
        assert k.run("%flow_resume last -o run").ok
        told = k.run(
            "print(run['train'], type(run['table']).__name__, list(run['table'].n), run.nodes['table'].attempts)"
        )
        assert told.stdout == "2 DataFrame [1, 2] 1\n"
        assert "epoch 0" not in k.run("%flow_show last").text

        k.restart()
        assert k.run("%load_ext flownb").ok
        shown = k.run("run = %flow_show last")
        assert "pandas.DataFrame: 2" in shown.text
        assert any("image/png" in output.data for output in shown.outputs)
        assert k.run("print(int(run['table'].n.sum()), run.outputs['train'])").stdout == "3 2\n"


def test_a_stop_just_as_the_run_begins_stops_it(tmp_path: Path) -> None:
    early = """
import os, signal
from flownb.notebook.view import View

begin = View.start
def start(self):
    begin(self)
    os.kill(os.getpid(), signal.SIGINT)
View.start = start
"""
    with kernel(cwd=tmp_path) as k:
        assert k.run(f"%load_ext flownb\n{early}").ok
        cell = k.run("%%flow -o run\n# Doc\n\n## A\n\n```bash\nsleep 600\n```\n")
        assert cell.error is not None
        assert (cell.error["ename"], "cancelled" in cell.error["evalue"]) == ("FlowRunError", True)
        assert k.run("print(run.status)").stdout == "cancelled\n"
        assert k.run("1 + 1").ok
