"""What a body puts into `saved` is on the disk when the assignment returns, and there again in the next attempt (format.md, 5.5)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import flownb
from flownb.model import events as e
from flownb.store.journal import read_journal

TRAIN = """# Train

## Train

- retry: {{max: 3, base: 1ms}}
- executor: {executor}

```python
started = saved.get("epoch", -1) + 1
for epoch in range(started, 6):
    saved["epoch"] = epoch
    if epoch == 3 and "failed" not in saved:
        saved["failed"] = True
        raise ValueError("once")
[started, epoch, dict(saved)]
```
"""


def run(text: str, folder: Path, **more: object) -> flownb.Run:
    return flownb.run(flownb.parse(text), state_dir=folder / ".flownb", run_id="r1", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("executor", ["main", "thread", "process"])
def test_the_next_attempt_goes_on_where_the_last_one_stopped(tmp_path: Path, executor: str) -> None:
    made = run(TRAIN.format(executor=executor), tmp_path)

    assert made["train"] == [4, 5, {"epoch": 5, "failed": True}]
    assert made.nodes["train"].attempts == 2
    assert made.state.saved == {}, "it is dropped when the node is done"


KILLED = """# Killed

## Train

- executor: {executor}

```python
import os, pathlib

log = pathlib.Path({log!r})
for epoch in range(saved.get("epoch", -1) + 1, 6):
    saved["epoch"] = epoch
    with log.open("a") as file:
        file.write(f"{{epoch}} ")
    if epoch in (2, 4) and saved.get("died", 0) < epoch:
        saved["died"] = epoch
        os.kill({pid}, 9)
        import time; time.sleep(60)
list(saved)
```
"""


@pytest.mark.parametrize("executor", ["main", "thread", "process"])
def test_after_kill_9_nothing_that_was_saved_is_done_again(tmp_path: Path, executor: str) -> None:
    log = tmp_path / "log"
    code = """
import os, sys, flownb
text, folder = sys.argv[1], sys.argv[2]
(flownb.resume("r1", state_dir=folder) if os.path.exists(folder) else flownb.run(flownb.parse(text), state_dir=folder, run_id="r1"))
"""
    text = KILLED.format(executor=executor, log=str(log), pid="int(pathlib.Path('pid').read_text())")
    script = f"import os; open('pid', 'w').write(str(os.getpid()))\n{code}"
    ended = [
        subprocess.run(
            [sys.executable, "-c", script, text, str(tmp_path / ".flownb")], cwd=tmp_path, check=False
        ).returncode
        for _ in range(3)
    ]

    assert ended == [-9, -9, 0]
    assert log.read_text().split() == ["0", "1", "2", "3", "4", "5"]


def test_an_assignment_is_in_the_journal_when_it_returns(tmp_path: Path) -> None:
    journal = tmp_path / ".flownb" / "doc" / "r1" / "journal.jsonl"
    text = f"""# Doc

## A

```python
import pathlib

seen = []
saved["x"] = {{"epoch": 41}}
seen.append('"epoch":41' in pathlib.Path({str(journal)!r}).read_text())
del saved["x"]
seen.append('"gone":true' in pathlib.Path({str(journal)!r}).read_text())
[seen, "x" in saved, len(saved), list(saved), saved.get("x", "none")]
```
"""
    assert run(text, tmp_path)["a"] == [[True, True], False, 0, [], "none"]


def test_items_and_rounds_have_mappings_of_their_own(tmp_path: Path) -> None:
    text = """# Doc

## Each

- foreach: [1, 2, 3]

```python
before = dict(saved)
saved["n"] = item
[before, saved["n"]]
```

## Poll

- until: round == 2

```python
before = dict(saved)
saved["n"] = round
[before, saved["n"]]
```
"""
    made = run(text, tmp_path)
    assert made["each"] == [[{}, 1], [{}, 2], [{}, 3]]
    assert made["poll"] == [{}, 2]


def test_what_was_saved_is_dropped_when_the_body_is_another_one(tmp_path: Path) -> None:
    text = '# Doc\n\n## A\n\n```python\nfound = dict(saved)\nsaved["n"] = 1\nassert inputs_ok, found\nfound\n```\n'
    failing, mended = text.replace("inputs_ok", "False"), text.replace("inputs_ok", "True")
    assert run(failing, tmp_path).status == "failed"
    again = flownb.resume("r1", state_dir=tmp_path / ".flownb")
    assert "{'n': 1}" in again.errors[0].message, "the same body finds what it saved"

    made = run(mended, tmp_path)

    assert (made.status, made["a"]) == ("completed", {})
    assert any(isinstance(event, e.SavedDropped) for event in read_journal(made.paths.journal))


def test_a_large_value_is_a_file_and_the_one_before_is_taken_away(tmp_path: Path) -> None:
    text = """# Doc

## A

```python
import numpy as np, pathlib, json

folder = pathlib.Path(FOLDER)
counts = []
for epoch in range(4):
    saved["weights"] = np.full(20_000, epoch, dtype=float)
    saved["same"] = saved["weights"]
    counts.append(len(list(folder.glob("*.npy"))))
if not saved.get("again"):
    saved["again"] = True
    raise ValueError(json.dumps(counts))
[counts, float(saved["weights"].sum())]
```
""".replace("FOLDER", repr(str(tmp_path / ".flownb" / "doc" / "r1" / "artifacts")))
    first = run(text, tmp_path)
    made = flownb.resume("r1", state_dir=tmp_path / ".flownb")

    assert first.errors[0].message == json.dumps([1, 1, 1, 1])
    assert made["a"] == [[1, 1, 1, 1], 60_000.0]
    assert list((tmp_path / ".flownb" / "doc" / "r1" / "artifacts").glob("*.npy")) == []


@pytest.mark.parametrize(
    "line, said",
    [
        ("saved['f'] = (x for x in [])", "saved['f'] cannot be stored"),
        ("saved[1] = 2", "a name in `saved` is text"),
        ("saved['x'] = secrets.API_TOKEN", "holds a secret"),
        ("saved[secrets.API_TOKEN] = 1", "a name holds a secret"),
        ("del saved['missing']", "missing"),
    ],
)
def test_what_cannot_be_saved_is_one_clear_error(
    tmp_path: Path, line: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "tok-9f8e7d")
    made = run(f"---\nsecrets: [API_TOKEN]\n---\n# Doc\n\n## A\n\n```python\n{line}\n```\n", tmp_path)

    assert made.status == "failed"
    assert said in made.errors[0].message
    assert "tok-9f8e7d" not in made.paths.journal.read_text()


def test_saved_is_there_in_python_bodies_only() -> None:
    text = "# Doc\n\n## A\n\n```expr\nsaved.x\n```\n\n## Saved\n\n```text\nx\n```\n"
    with pytest.raises(flownb.FlowSyntaxError) as refused:
        flownb.parse(text)
    assert [(problem.code, problem.span.line) for problem in refused.value.problems] == [
        ("unknown-name", 6),
        ("reserved-id", 9),
    ]


def test_a_body_that_goes_on_after_its_attempt_saves_nothing_more(tmp_path: Path) -> None:
    text = """# Doc

## A

```python
import threading, time

def late():
    time.sleep(0.3)
    try:
        saved["late"] = 1
    except Exception as error:
        told.append(str(error))

told = []
thread = threading.Thread(target=late)
thread.start()
waits = (thread, told)
saved["x"] = 1
waits
```

## B

```python
a[0].join()
a[1]
```
"""
    made = run(text, tmp_path)
    assert made["b"] == ["saved: the attempt of `a` is over\nhint: nothing more is kept of it"]


def test_items_that_save_the_same_large_value_do_not_take_it_from_each_other(tmp_path: Path) -> None:
    text = """# Doc

## Each

- foreach: range(8)
- concurrency: 8

```python
for round_ in range(6):
    saved["same"] = str(round_) * 70_000
if not inputs.get("ok"):
    raise ValueError(saved["same"][:1])
saved["same"][:1]
```
"""
    text = "---\ninputs: {ok: {type: bool, default: false}}\n---\n" + text.replace(
        'inputs.get("ok")', 'pathlib.Path("ok").exists()'
    ).replace("for round_", "import pathlib\nfor round_")
    failed = run(text, tmp_path)
    assert failed.status == "failed"
    files = {path.name for path in (tmp_path / ".flownb").rglob("artifacts/*.txt")}
    named = {value.output["$artifact"] for saved in failed.state.saved.values() for value in saved.values()}  # type: ignore[call-overload, index] # JSON
    assert named <= files
    assert files == named, "the ones before were taken away"
