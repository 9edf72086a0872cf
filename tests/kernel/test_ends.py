"""However a kernel ends, nothing that its runs had started lives on, and they can be resumed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.kernel.harness import Kernel, kernel

MARK = "FLOWNB_TEST_MARK"
JOB = """\
%%flow {option}
# Job
## All
- type: parallel
### Script
```bash
test -e again && exit 0
setsid sleep 600 &
(nohup sleep 600 > /dev/null 2>&1 &)
touch script
while :; do sleep 0.05; done
```
### Body
- executor: process
```python
import pathlib, subprocess, time
if not pathlib.Path("again").exists():
    subprocess.Popen(["sleep", "600"], start_new_session=True)
    pathlib.Path("body").touch()
    time.sleep(600)
```
"""


def left_in(folder: Path) -> list[str]:
    """Return what still runs of all that was started for a folder, but for multiprocessing's trackers."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            text = " ".join(process.cmdline())
            if process.environ().get(MARK) == str(folder) and process.status() != "zombie" and "tracker" not in text:
                found.append(text)
    return found


def killed(k: Kernel) -> None:
    k.kill()


def shut_down(k: Kernel) -> None:
    """End it as JupyterLab does: an interrupt, a request, and signals where that does not help."""
    k.manager.shutdown_kernel(now=False)


def terminated(k: Kernel) -> None:
    os.kill(k.pid, signal.SIGTERM)
    provisioner = k.manager.provisioner
    assert provisioner is not None
    provisioner.process.wait()  # type: ignore[attr-defined]  # The local provisioner has one.


@pytest.mark.parametrize("option", ["", "--no-wait"])
@pytest.mark.parametrize("end", [killed, shut_down, terminated])
def test_nothing_of_a_run_outlives_its_kernel(tmp_path: Path, end: Callable[[Kernel], None], option: str) -> None:
    with kernel(cwd=tmp_path, **{MARK: str(tmp_path)}) as k:
        k.run("%load_ext flownb")
        k.start(JOB.format(option=option))
        k.wait_until(lambda: (tmp_path / "script").exists() and (tmp_path / "body").exists(), "both nodes")
        end(k)
        deadline = time.monotonic() + 10
        while left_in(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left_in(tmp_path) == []
        (tmp_path / "again").touch()
        k.restart()
        k.run("%load_ext flownb")
        cell = k.run("%flow_resume last --wait")
        assert cell.ok, cell.text
        assert "**Status:** completed" in cell.text
