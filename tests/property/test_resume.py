"""A run that was cut off at any byte of its journal resumes to the same outputs, and repeats nothing that was done."""

from __future__ import annotations

import shutil
import tempfile
from functools import lru_cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import flownb
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.state import RunState
from flownb.store.journal import fold, load_state, read_journal
from flownb.store.paths import RunPaths

TEXT = """---
name: whole
inputs:
  n: {type: int, default: 4}
---
# Whole

## Numbers

```python
list(range(inputs.n))
```

## Squares

- foreach: numbers
- concurrency: 2

```python
item * item
```

## Deep

- foreach: numbers
- as: number
- collect: "[low, high]"

### Low

```expr
number - 1
```

### High

```python
low + 2
```

## Poll

- until: poll >= 3

```expr
round + 1
```

## Climb

- while: round < 2

### Step

```python
(previous.step if previous else 0) + 10
```

## Choice

- type: branch

### Many

- when: numbers | length > 3

```text
many
```

### Few

```text
few
```

## Both

- type: parallel

### Left

```bash
echo left
```

### Right

```yaml
side: {{ poll }}
```

## Skipped

- when: poll > 100

```text
never
```

## Caught

- continue_on_error: true

```python
1 / 0
```

## Shaky

- fallback: calm

```python
raise ValueError("shaky")
```

## Calm

```text
calm after {{ error.type }}
```

## Ask

- input: text

```checkpoint
All {{ squares | length }} of them?
```

## End

```python
[squares, deep, poll, climb, choice, both, skipped, caught, shaky, ask.action, ask.input]
```
"""


def answer(_request: Request) -> Decision:
    return Decision(action="input", input="yes, all", by="ana")


@lru_cache(maxsize=1)
def whole() -> tuple[Path, RunPaths, dict[str, object]]:
    """Return a state folder that holds one undisturbed run, the run, and its outputs."""
    folder = Path(tempfile.mkdtemp())
    run = flownb.run(flownb.parse(TEXT), state_dir=folder, decide=answer)
    assert run.status == "completed", run.errors
    return folder, run.paths, run.outputs


def test_replaying_the_journal_gives_the_live_state() -> None:
    live: list[RunState] = []
    with tempfile.TemporaryDirectory() as folder:
        run = flownb.run(flownb.parse(TEXT), state_dir=folder, decide=answer)
        live.append(run.state)
        assert fold(read_journal(run.paths.journal)) == run.state


@settings(max_examples=80, deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_run_cut_off_anywhere_resumes_to_the_same_outputs(where: float) -> None:
    folder, paths, outputs = whole()
    data = paths.journal.read_bytes()
    first = data.index(b"\n") + 1  # Before its first event a run does not exist.
    kept = data[: first + int(where * (len(data) - first))]
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        cut = RunPaths(Path(copy), paths.workflow, paths.run_id)
        cut.journal.write_bytes(kept)
        before = load_state(cut)
        if before.status == "completed":
            return
        begun: list[str] = []

        def listen(event: e.Event) -> None:
            if isinstance(event, e.NodeStarted):
                begun.append(event.key)

        run = flownb.resume(paths.run_id, state_dir=copy, decide=answer, listen=listen)
        assert run.errors == []
        assert run.outputs == outputs
        done = {key for key, node in before.nodes.items() if node.status in ("completed", "skipped") and node.reusable}
        assert done.isdisjoint(begun)
        assert fold(read_journal(cut.journal)) == run.state
