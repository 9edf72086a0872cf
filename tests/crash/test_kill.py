"""A real `flownb run` that is killed at any moment goes on where it was, and does nothing twice that it reported done."""

from __future__ import annotations

import itertools
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flownb.model.events import RunStatus
from flownb.model.node_state import NodeStatus
from flownb.model.state import RunState
from flownb.store.journal import load_state
from flownb.store.paths import RunPaths

ROOT = Path(__file__).parents[2]
KILLS, TORTURE = 12, 100
"""How often runs of each of the five documents are killed: 60 times in all, and 500 by `make torture`."""
RUN = "crash-run"

MARK = """
import os
def mark(key):
    file = os.open("effects.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, (key + "\\n").encode())
    os.close(file)
"""

CHAIN = "# Chain\n\n" + "\n".join(
    f"## N{number}\n\n```python\n{MARK}\nmark('n{number}')\n{f'n{number - 1} + 1' if number else '0'}\n```\n"
    if number % 3
    else f"## N{number}\n\n- output: json\n{f'- needs: n{number - 1}' if number else ''}\n\n"
    f"```bash\necho n{number} >> effects.txt\necho {number}\n```\n"
    for number in range(30)
)

ITEMS = f"""# Items

## Each

- foreach: range(200)

```python
{MARK}
mark(f"each[{{index}}]")
item * item
```

## Several

- foreach: each[:40]
- as: square
- concurrency: 4
- collect: twice + 1

### Half

```python
{MARK}
mark(f"several[{{index}}]/half")
square / 2
```

### Twice

```python
{MARK}
mark(f"several[{{index}}]/twice")
half * 4
```

## Total

```expr
(each | sum) + (several | sum)
```
"""

ROUNDS = """# Rounds

## Count

- until: count >= 60

```python
MARK
mark(f"count{{{round}}}")
(previous or 0) + 1
```

## Halve

- while: previous is none or (previous.rest | int) > 1
- max: 50

### Rest

```bash
echo "halve{"{{ round }}"}/rest" >> effects.txt
echo {{ (previous.rest | int) // 2 if previous else 1000000 }}
```

## Result

```text
{{ count }} {{ halve.rest }}
```
""".replace("MARK", MARK)

RETRIES = "# Retries\n\n" + "\n".join(
    f"""## Try{number}

- retry: {{max: 2, backoff: fixed, base: 2ms, jitter: none}}

```python
{MARK}
from pathlib import Path
tries = Path("tries{number}")
done = len(tries.read_text()) if tries.exists() else 0
with tries.open("a") as file:
    file.write("x")
if done < 2:
    raise ConnectionError(f"try {{done}}")
mark("try{number}")
{number}{f" + try{number - 1}" if number else ""}
```
"""
    for number in range(12)
)

PARALLEL = (
    "# Parallel\n\n## All\n\n- type: parallel\n\n"
    + "\n".join(
        f"""### Line{number}

#### First{number}

- output: json

```bash
echo first{number} >> effects.txt
echo {number}
```

#### Second{number}

```python
{MARK}
mark("second{number}")
first{number} * 10
```

#### Third{number}

```expr
second{number} + 1
```
"""
        for number in range(8)
    )
    + "\n## Together\n\n```expr\nall\n```\n"
)

DOCUMENTS = {"chain": CHAIN, "items": ITEMS, "rounds": ROUNDS, "retries": RETRIES, "parallel": PARALLEL}

ASKS = """# Asks

## Before

```bash
echo before >> effects.txt
```

## Review

```checkpoint
Go on?
```

## After

```bash
echo after >> effects.txt
echo {{ review.action }} by {{ review.via }}
```
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flownb", *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def flownb(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def paths_in(folder: Path, workflow: str) -> RunPaths:
    return RunPaths(folder / ".flownb", workflow, RUN)


def effects_in(folder: Path) -> Counter[str]:
    path = folder / "effects.txt"
    return Counter(path.read_text().splitlines() if path.exists() else [])


def written(paths: RunPaths) -> int:
    return paths.journal.read_bytes().count(b"\n") if paths.journal.exists() else 0


def run_until_killed(folder: Path, paths: RunPaths, arguments: list[str], more_lines: int, pause: float) -> bool:
    """Start a command, kill it so many seconds after the journal has so many lines more; return whether it was in time."""
    wanted = written(paths) + more_lines
    with subprocess.Popen(
        command(*arguments),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        while child.poll() is None and written(paths) < wanted:
            time.sleep(0.0005)
        time.sleep(pause)
        in_time = child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
    return in_time


def done_in(state: RunState) -> set[str]:
    return {key for key, node in state.nodes.items() if node.status is NodeStatus.COMPLETED}


def arguments_for(turn: int, name: str, paths: RunPaths) -> list[str]:
    """Take turns between the two ways to go on with a run."""
    if not written(paths) or turn % 2:
        return ["run", f"{name}.flow.md", "--run-id", RUN, "--no-log"]
    return ["resume", RUN]


def moments(dice: random.Random, turn: int, length: int) -> tuple[int, float]:
    """Return after how many lines more, and how many seconds then, a run is killed: by turns as it writes, or at any time."""
    if turn % 3 == 2:
        return 0, dice.random() * 1.2
    return dice.randrange(0, max(2, length // KILLS * 2)), dice.random() * 0.004


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_run_killed_at_any_moment_repeats_nothing_that_was_done(
    tmp_path: Path,
    name: str,
    is_torture: bool,  # noqa: FBT001 a fixture
) -> None:
    undisturbed = tmp_path / "undisturbed"
    undisturbed.mkdir()
    (undisturbed / f"{name}.flow.md").write_text(DOCUMENTS[name])
    whole = flownb(undisturbed, "run", f"{name}.flow.md", "--run-id", RUN, "--no-log")
    assert whole.returncode == 0, whole.stderr
    kills = 0
    for number in itertools.count():
        if kills >= (TORTURE if is_torture else KILLS):
            break
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"{name}.flow.md").write_text(DOCUMENTS[name])
        dice = random.Random(f"{name}-{number + 7}")  # noqa: S311 the same each time
        kills += kill_and_go_on(name, folder, undisturbed, dice)


def kill_and_go_on(name: str, folder: Path, undisturbed: Path, dice: random.Random) -> int:
    """Kill a run again and again, let it end, and compare it with one that was left alone; return how often it was killed."""
    paths, expected = paths_in(folder, name), load_state(paths_in(undisturbed, name))
    length = written(paths_in(undisturbed, name))
    kills, known = 0, Counter[str]()
    for turn in range(KILLS):
        lines, pause = (dice.randrange(0, 6), 0.0) if turn % 2 else moments(dice, turn // 2, length)
        kills += run_until_killed(folder, paths, arguments_for(turn // 2 + turn % 2, name, paths), lines, pause)
        if not written(paths):
            continue
        state = load_state(paths)
        assert state.status in (RunStatus.INTERRUPTED, RunStatus.COMPLETED)
        if paths.snapshot.exists():
            json.loads(paths.snapshot.read_text())
        # What one kill left is looked at after every one that follows.
        assert known.keys() <= done_in(state)
        effects = effects_in(folder)
        assert {key: effects[key] for key in known} == known
        known = Counter({key: effects[key] for key in done_in(state)})
        if state.status is RunStatus.COMPLETED:
            break
    if load_state(paths).status is not RunStatus.COMPLETED:
        last = flownb(folder, "resume", RUN, "--json")
        assert last.returncode == 0, last.stderr
    end = load_state(paths)
    assert end.status is RunStatus.COMPLETED
    assert end.outputs == expected.outputs
    assert {key: node.output for key, node in end.nodes.items()} == {
        key: node.output for key, node in expected.nodes.items()
    }
    effects = effects_in(folder)
    assert effects.keys() == effects_in(undisturbed).keys()
    assert {key: effects[key] for key in known} == known
    assert max(effects.values()) <= 1 + kills
    return kills


@contextmanager
def at_a_terminal(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command whose standard input and output are a terminal; what is left of it at the end is killed."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(), stdin=theirs, stdout=theirs, stderr=theirs
    ) as child:
        os.close(theirs)
        try:
            yield child, ours
        finally:
            child.kill()
            child.wait()
            os.close(ours)


def read_until(terminal: int, wanted: str) -> str:
    seen = ""
    while wanted not in seen:
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    (tmp_path / "asks.flow.md").write_text(ASKS)
    return tmp_path


def test_a_run_killed_at_its_question_takes_an_answer_given_while_nothing_runs(asking: Path) -> None:
    with at_a_terminal(asking, "run", "asks.flow.md", "--run-id", RUN, "--no-log") as (child, terminal):
        read_until(terminal, "pprove")
        child.kill()
        child.wait()
    paths = paths_in(asking, "asks")
    assert load_state(paths).status is RunStatus.INTERRUPTED
    assert [question.key for question in load_state(paths).open_questions] == ["review"]
    decided = flownb(asking, "decide", RUN, "review", "approve")
    assert decided.returncode == 0, decided.stderr
    late = flownb(asking, "decide", RUN, "review", "reject")
    assert late.returncode == 1
    assert "approve" in late.stderr
    resumed = flownb(asking, "resume", RUN, "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout)["outputs"]["after"] == "approve by command"
    assert effects_in(asking) == {"before": 1, "after": 1}


def test_a_reject_given_while_nothing_runs_stops_the_resumed_run(asking: Path) -> None:
    suspended = flownb(asking, "run", "asks.flow.md", "--run-id", RUN, "--suspend", "--no-log")
    assert suspended.returncode == 75, suspended.stderr
    assert flownb(asking, "decide", RUN, "review", "reject").returncode == 0
    assert flownb(asking, "resume", RUN).returncode == 3
    assert effects_in(asking) == {"before": 1}


def test_the_second_process_on_a_run_is_told_who_holds_it(asking: Path) -> None:
    with at_a_terminal(asking, "run", "asks.flow.md", "--run-id", RUN, "--no-log") as (child, terminal):
        read_until(terminal, "pprove")
        second = flownb(asking, "resume", RUN)
        assert second.returncode == 2
        assert str(child.pid) in second.stderr
        again = flownb(asking, "run", "asks.flow.md", "--run-id", RUN, "--no-log")
        assert again.returncode == 2
        os.write(terminal, b"a\n")
        assert child.wait(timeout=20) == 0
    assert effects_in(asking) == {"before": 1, "after": 1}


def test_attempts_made_before_a_crash_count(tmp_path: Path) -> None:
    body = """
import os, signal
from pathlib import Path
with open("tries.txt", "a") as tries:
    tries.write("x")
if Path("tries.txt").stat().st_size == 3:
    os.kill(os.getpid(), signal.SIGKILL)
raise OSError("no")
"""
    text = f"# Tries\n\n## Fetch\n\n- retry: {{max: 3, backoff: fixed, base: 1ms}}\n\n```python\n{body}```\n"
    (tmp_path / "tries.flow.md").write_text(text)
    assert flownb(tmp_path, "run", "tries.flow.md", "--run-id", RUN).returncode == -signal.SIGKILL
    assert flownb(tmp_path, "resume", RUN).returncode == 1
    # Two failed, the third was under way: of four attempts it and one more are left.
    assert (tmp_path / "tries.txt").read_text() == "xxxxx"
