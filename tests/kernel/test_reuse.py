"""`--reuse` and `--from` in a real kernel: what was done in an earlier cell is taken over."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.harness import kernel

TEXT = """---
name: pair
---
## First
```python
open("ran", "a").write("1")
len(rows)
```
## Second
```python
open("ran", "a").write("2")
first * 10
```
"""


def test_a_cell_takes_over_from_the_run_before_it_and_a_file_too(tmp_path: Path) -> None:
    (tmp_path / "pair.flow.md").write_text("# Pair\n\n## A\n\n```expr\n1\n```\n")
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb")
        k.run("rows = [1, 2]")
        assert "no earlier run" in k.run(f"%%flow --reuse\n{TEXT}").text
        again = k.run(f"%%flow --reuse -o run\n{TEXT.replace('* 10', '* 20')}").text
        assert "- **reuse**: `first`" in again
        assert "- **run again**: `second` (body changed)" in again
        assert "| first | reused |" in again
        assert (k.value("run['second']"), (tmp_path / "ran").read_text()) == ("40", "122")
        k.run("rows = [1, 2, 3]")
        assert "`first` (the variable rows changed)" in k.run(f"%%flow --reuse\n{TEXT}").text
        assert "- **run again**: `second` (from here on)" in k.run(f"%%flow --run-id last --from second\n{TEXT}").text
        k.run("%flow pair.flow.md")
        assert "| a | reused |" in k.run("%flow --reuse pair.flow.md").text
        assert "from which run?" in k.run("%flow pair.flow.md --from a").text
