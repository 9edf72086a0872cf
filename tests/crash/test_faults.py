"""The n-th thing that the store asks of the disk fails, for every n: the run says so once, and a resume ends as if it had not."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

import flownb
from flownb.api import serve, take_up
from flownb.errors import FlowError
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.events import Event
from flownb.model.state import RunState
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.run import Run
from flownb.runs.start import start
from flownb.store.files import Disk
from flownb.store.journal import has_begun, load_state, read_journal
from flownb.store.paths import RunPaths

CHAIN = """# Doc

## Load

```bash
echo load >> effects.txt
echo 3
```

## Each

- foreach: range(4)
- concurrency: 2

```bash
echo each{{ index }} >> effects.txt
echo {{ item }}
```

## Total

```expr
(each | length) + (load | int)
```
"""
ASKS = """# Doc

## Before

```bash
echo before >> effects.txt
```

## Ask

- input: text

```checkpoint
Go on?
```

## After

```bash
echo after >> effects.txt
echo {{ ask.input }}
```

## Again

```checkpoint
Sure?
```

## End

```expr
[ask.input, after, again.action]
```
"""
RETRIES = """# Doc

## Shaky

- retry: {max: 2, base: 1ms}
- fallback: calm

```bash
echo shaky >> effects.txt
exit 1
```

## Calm

```bash
echo calm >> effects.txt
echo calm
```

## Poll

- until: poll | int >= 2

```bash
echo poll{{ round }} >> effects.txt
echo {{ round + 1 }}
```

## End

```expr
[shaky, poll]
```
"""
DOCUMENTS = {"chain": CHAIN, "asks": ASKS, "retries": RETRIES}
ERRORS = (errno.ENOSPC, errno.EIO)


@dataclass(slots=True)
class Faults:
    """Counts what is asked of the disk, and lets what is named by number fail."""

    fails: Callable[[int], bool]
    count: int = 0
    failed: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def disk(self) -> Disk:
        return Disk(**{item.name: self._watched(item.name, getattr(Disk(), item.name)) for item in fields(Disk)})

    def _watched(self, name: str, real: Callable[..., Any]) -> Any:  # Any: each as its field in Disk
        def call(*arguments: Any) -> Any:  # Any: as the real one
            with self.lock:
                self.count += 1
                number = self.count
            if self.fails(number):
                self.failed.append(f"{name} {arguments[0]}")
                code = ERRORS[number % 2]
                raise OSError(code, os.strerror(code))
            return real(*arguments)

        return call


def answer(request: Request) -> Decision:
    return Decision(action="input" if request.question.input else "approve", input="fine", by="ana")


def attempt(text: str, folder: Path, disk: Disk, told: list[Event]) -> Run:
    """Begin the run, or go on with it."""
    settings = RunSettings(state_dir=folder / ".flownb", folder=folder, disk=disk)
    paths = RunPaths(folder / ".flownb", "doc", "r1")

    def watch(event: Event, _state: RunState) -> None:
        told.append(event)

    if has_begun(paths):
        prepared, _ = take_up("r1", settings, {})
    else:
        prepared, _ = start(flownb.parse(text), {}, settings, "r1")
    return serve(prepared, Hooks(decide=answer, watch=watch))


def effects(folder: Path) -> Counter[str]:
    path = folder / "effects.txt"
    return Counter(path.read_text().split()) if path.exists() else Counter()


def check(text: str, folder: Path, fails: Callable[[int], bool], outputs: dict[str, object]) -> Faults:
    """Run with faults, then without; everything told was stored, nothing told done is done again, and the end is the same."""
    folder.mkdir()
    faults, told = Faults(fails), list[Event]()
    said = ""
    try:
        attempt(text, folder, faults.disk(), told)
    except FlowError as error:
        said = error.message
    assert not said or any(os.strerror(code) in said for code in ERRORS), (said, faults.failed)
    paths = RunPaths(folder / ".flownb", "doc", "r1")
    stored = read_journal(paths.journal) if has_begun(paths) else []
    assert all(event in stored for event in told), faults.failed
    done = {event.key for event in told if isinstance(event, e.NodeCompleted)}
    before = effects(folder)
    again: list[Event] = []
    if not stored or load_state(paths).status != "completed":
        assert attempt(text, folder, Disk(), again).state.status == "completed"
    assert done.isdisjoint(event.key for event in again if isinstance(event, e.NodeStarted)), faults.failed
    state = load_state(paths)
    assert state.outputs == outputs, faults.failed
    names = {f"each[{number}]": f"each{number}" for number in range(4)} | {f"poll{{{n}}}": f"poll{n}" for n in range(2)}
    for key in done:
        name = names.get(key, key)
        assert effects(folder)[name] == before[name], (key, faults.failed)
    return faults


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, object], int]]:
    """Return name → outputs of an undisturbed run, and how much it asked of the disk."""
    found: dict[str, tuple[dict[str, object], int]] = {}
    for name, text in DOCUMENTS.items():
        folder = tmp_path_factory.mktemp(name)
        faults = Faults(lambda _: False)
        made = attempt(text, folder, faults.disk(), [])
        found[name] = (dict(made.state.outputs), faults.count)
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_a_disk_that_fails_at_any_moment_costs_nothing_that_was_done(
    name: str,
    lasting: bool,  # noqa: FBT001 a parameter of the test
    whole: dict[str, tuple[dict[str, object], int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    outputs, count = whole[name]
    assert count > 50
    met = 0
    for number in itertools.count(1):
        faults = check(
            DOCUMENTS[name],
            tmp_path / str(number),
            lambda asked, number=number: asked >= number if lasting else asked == number,  # type: ignore[misc] # a default binds it now
            outputs,
        )
        met += bool(faults.failed)
        if number > count and not faults.failed:
            break
    assert met >= count * 0.9
    assert "Traceback" not in capsys.readouterr().err
