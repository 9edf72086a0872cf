"""SIGTERM and SIGHUP end a run as Ctrl-C does: it is cancelled, nothing that it started lives on, and it can be resumed."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest

from flownb.model.events import RunStatus
from flownb.store.journal import load_state
from flownb.store.paths import RunPaths

ROOT = Path(__file__).parents[2]
MARK = "FLOWNB_TEST_MARK"
CODES = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]

WORKS = """# Flow

## First

```bash
echo first >> first.txt
```

## Work

- needs: first

```bash
test -e again && exit 0
setsid sleep 600 &
(nohup sleep 600 > /dev/null 2>&1 &)
touch started
while :; do sleep 0.05; done
```
"""
LINGERS = WORKS.replace("setsid sleep", "trap '' TERM; setsid sleep")
MAIN = """# Flow

## Work

```python
import pathlib, time
if not pathlib.Path("again").exists():
    pathlib.Path("started").touch()
    time.sleep(600)
```
"""
PROCESS = MAIN.replace("```python", "- executor: process\n\n```python").replace(
    "import pathlib", "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)\nimport pathlib"
)
ASKS = """# Flow

## Work

```checkpoint
Go on?
```
"""


@contextmanager
def command(
    folder: Path, *arguments: str, start: Callable[[], object] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a command; what is left of it at the end is killed."""
    with subprocess.Popen(
        arguments,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=start,  # noqa: PLW1509 It only sets what a signal does.
    ) as child:
        try:
            yield child
        finally:
            child.kill()


RUN = (sys.executable, "-m", "flownb", "run", "flow.flow.md", "--run-id", "r", "--no-log")
RESUME = (sys.executable, "-m", "flownb", "resume", "r")


def wait_for(child: subprocess.Popen[str] | subprocess.Popen[bytes], path: Path) -> None:
    while not path.exists():
        assert child.poll() is None, child.communicate()[0]
        time.sleep(0.01)


def state_of(folder: Path) -> RunStatus:
    return load_state(RunPaths(folder / ".flownb", "flow", "r")).status


def left_in(folder: Path) -> list[str]:
    """Return what still runs of all that was started for a folder, but for multiprocessing's trackers."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            text = " ".join(process.cmdline())
            if process.environ().get(MARK) == str(folder) and process.status() != "zombie" and "tracker" not in text:
                found.append(text)
    return found


def write(folder: Path, document: str) -> None:
    (folder / "flow.flow.md").write_text(document)


@pytest.mark.parametrize("document", [WORKS, MAIN, PROCESS], ids=["bash", "main", "process"])
@pytest.mark.parametrize("number, code", CODES)
def test_a_signal_cancels_the_run_and_all_that_it_started(
    tmp_path: Path, document: str, number: signal.Signals, code: int
) -> None:
    write(tmp_path, document)
    for arguments in (RUN, RESUME):
        (tmp_path / "started").unlink(missing_ok=True)
        with command(tmp_path, *arguments) as child:
            wait_for(child, tmp_path / "started")
            child.send_signal(number)
            output = child.communicate()[0]
        assert child.returncode == code, output
        assert "Traceback" not in output
        assert "flownb resume r" in output
        assert state_of(tmp_path) is RunStatus.CANCELLED
        assert left_in(tmp_path) == []
    (tmp_path / "again").touch()
    with command(tmp_path, *RESUME) as child:
        output = child.communicate()[0]
    assert child.returncode == 0, output
    assert document is not WORKS or (tmp_path / "first.txt").read_text() == "first\n"


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_second_signal_ends_at_once_what_does_not_end_by_itself(tmp_path: Path, second: signal.Signals) -> None:
    write(tmp_path, LINGERS)
    with command(tmp_path, *RUN) as child:
        wait_for(child, tmp_path / "started")
        child.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert child.poll() is None, "the script takes its time"
        began = time.monotonic()
        child.send_signal(second)
        output = child.communicate()[0]
    assert child.returncode == 143, output
    assert time.monotonic() - began < 1.5
    assert state_of(tmp_path) is RunStatus.CANCELLED
    assert left_in(tmp_path) == []


@contextmanager
def at_a_terminal(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a command whose controlling terminal is ours; what is left of it at the end is killed."""
    ours, theirs = pty.openpty()
    # A new terminal belongs to the session that opens it first.
    opener = "import os, sys; os.close(os.open(os.ttyname(0), os.O_RDWR)); os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", opener, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: str(folder), "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    ) as child:
        os.close(theirs)
        try:
            yield child, ours
        finally:
            child.kill()
            with suppress(OSError):
                os.close(ours)


def read_until(terminal: int, wanted: str) -> str:
    seen = ""
    while wanted not in seen:
        seen += os.read(terminal, 4096).decode(errors="replace")
    return seen


@pytest.mark.parametrize("number, code", CODES[1:])
def test_a_signal_at_a_prompt_cancels_and_answers_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    write(tmp_path, ASKS)
    with at_a_terminal(tmp_path, *RUN) as (child, terminal):
        read_until(terminal, "eject: ")
        child.send_signal(number)
        seen = read_until(terminal, "flownb resume r")
        assert child.wait() == code, seen
    state = load_state(RunPaths(tmp_path / ".flownb", "flow", "r"))
    assert state.status is RunStatus.CANCELLED
    assert not state.decisions


@pytest.mark.parametrize("document, prompt", [(ASKS, "eject: "), (WORKS, "work")], ids=["prompt", "bash"])
def test_a_terminal_that_is_closed_cancels_and_answers_nothing(tmp_path: Path, document: str, prompt: str) -> None:
    write(tmp_path, document)
    with at_a_terminal(tmp_path, *RUN) as (child, terminal):
        read_until(terminal, prompt)
        if document is WORKS:
            wait_for(child, tmp_path / "started")
        os.close(terminal)
        assert child.wait() == 129
    state = load_state(RunPaths(tmp_path / ".flownb", "flow", "r"))
    assert state.status is RunStatus.CANCELLED
    assert not state.decisions
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path, number: signal.Signals) -> None:
    write(tmp_path, WORKS.replace("while :", "while [ ! -e again ]"))
    with command(tmp_path, *RUN, start=partial(signal.signal, number, signal.SIG_IGN)) as child:
        wait_for(child, tmp_path / "started")
        child.send_signal(number)
        time.sleep(0.2)
        (tmp_path / "again").touch()
        output = child.communicate()[0]
    assert child.returncode == 0, output
    assert state_of(tmp_path) is RunStatus.COMPLETED
    for process in psutil.process_iter():  # A script that went well may leave something behind, with `setsid`.
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.environ().get(MARK) == str(tmp_path):
                process.kill()


PROGRAM = """
import flownb, sys
{before}
made = flownb.run("flow.flow.md", run_id="r"{more})
print("after", made.status, flush=True)
"""
ASYNC = """
import asyncio, flownb, sys
asyncio.run(flownb.run_async("flow.flow.md", run_id="r"))
print("after", flush=True)
"""


@pytest.mark.parametrize("program", [PROGRAM.format(before="", more=""), ASYNC], ids=["run", "run_async"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_program_ends_by_the_signal_once_its_run_is_cancelled(
    tmp_path: Path, program: str, number: signal.Signals
) -> None:
    write(tmp_path, WORKS)
    with command(tmp_path, sys.executable, "-c", program) as child:
        wait_for(child, tmp_path / "started")
        child.send_signal(number)
        output = child.communicate()[0]
    assert child.returncode == -number, output
    assert "after" not in output
    assert state_of(tmp_path) is RunStatus.CANCELLED
    assert left_in(tmp_path) == []


def test_a_programs_own_handler_is_left_to_it(tmp_path: Path) -> None:
    write(tmp_path, MAIN.replace("time.sleep(600)", "time.sleep(0.5)"))
    own = "import signal; signal.signal(signal.SIGTERM, lambda *_: print('own', flush=True))"
    with command(tmp_path, sys.executable, "-c", PROGRAM.format(before=own, more="")) as child:
        wait_for(child, tmp_path / "started")
        child.send_signal(signal.SIGTERM)
        output = child.communicate()[0]
    assert child.returncode == 0, output
    assert output == "own\nafter completed\n"


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 1), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_programs_own_prompt_is_left_at_a_signal(tmp_path: Path, number: signal.Signals, code: int) -> None:
    write(tmp_path, ASKS)
    before = "def decide(request):\n    open('started', 'w').close()\n    import time; time.sleep(600)"
    with command(tmp_path, sys.executable, "-c", PROGRAM.format(before=before, more=", decide=decide")) as child:
        wait_for(child, tmp_path / "started")
        child.send_signal(number)
        output = child.communicate()[0]
    assert child.returncode in (code, -number), output
    assert state_of(tmp_path) is RunStatus.CANCELLED
