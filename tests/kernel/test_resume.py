"""A kernel dies in the middle of a run: a new one goes on, and nothing that was done is done again."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.harness import kernel

JOB = """\
%%flow -o run
# Job
## First
```python
open("first.txt", "a").write("1")
"first"
```
## Each
- foreach: range(4) | list
```python
open(f"item{item}.txt", "a").write("1")
if item == 2:
    print("in the middle")
    import time, os
    while not os.path.exists("go"):
        time.sleep(0.01)
item * 10
```
## Review
```checkpoint
Go on with {{ each }}?
```
## Last
```python
open("last.txt", "a").write("1")
[first, each]
```
"""


def test_after_kill_9_the_run_goes_on_in_a_new_kernel_without_repeating_anything(tmp_path: Path) -> None:
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb")
        k.start(JOB).wait_for("in the middle")
        k.kill()
        (tmp_path / "go").touch()
        k.restart()
        k.run("%load_ext flownb")
        assert "| interrupted |" in k.run("%flow_runs").text
        cell = k.start("%flow_resume last -o run")
        k.click("Approve")
        assert "**reuse**: `first`, `each` (" in cell.text
        assert cell.finish().ok, cell.text
        assert "**Status:** completed" in cell.text
        assert k.value("run['last']") == "['first', [0, 10, 20, 30]]"
    counts = {path.name: path.read_text() for path in tmp_path.glob("*.txt")}
    assert counts.pop("item2.txt") == "11"  # It was under way.
    assert set(counts.values()) == {"1"}


def test_a_question_that_was_open_is_asked_again_in_a_new_kernel(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb")
        k.start(JOB)
        k.button("Approve")
        k.kill()
        k.restart()
        k.run("%load_ext flownb")
        cell = k.start("%flow_resume last -o run")
        k.click("Approve")
        assert cell.finish().ok, cell.text
        assert k.value("run['last']") == "['first', [0, 10, 20, 30]]"
    assert {path.read_text() for path in tmp_path.glob("*.txt")} == {"1"}


def test_a_cancelled_run_goes_on_in_the_same_kernel(tmp_path: Path) -> None:
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb")
        cell = k.start(JOB)
        cell.wait_for("in the middle")
        k.interrupt()
        assert cell.finish().status == "error"
        (tmp_path / "go").touch()
        again = k.start("%flow_resume last -o run")
        k.click("Approve")
        assert again.finish().ok, again.text
        assert k.value("run['each']") == "[0, 10, 20, 30]"
    assert (tmp_path / "first.txt").read_text() == "1"
    assert (tmp_path / "item0.txt").read_text() == "1"


def test_from_runs_a_node_and_all_below_it_again(tmp_path: Path) -> None:
    with kernel(cwd=tmp_path) as k:
        k.run("%load_ext flownb")
        source = "%%flow --run-id r1\n## A\n```python\nopen('a', 'a').write('1')\n```\n## B\n```python\nopen('b', 'a').write('1')\n```\n"
        assert k.run(source).ok
        refused = k.run("%flow_resume r1")
        assert refused.error is not None
        assert "is completed" in refused.text
        assert k.run("%flow_resume r1 --from b").ok
    assert (tmp_path / "a").read_text() == "1"
    assert (tmp_path / "b").read_text() == "11"
