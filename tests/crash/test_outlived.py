"""Nothing that a killed runner had started works beside the run that is resumed at once.

`python tests/crash/test_outlived.py 200` kills so often and says what it saw.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # When this is run as a script.

import psutil  # noqa: E402

from flownb.model.events import RunResumed, RunStarted  # noqa: E402
from flownb.store.journal import read_journal  # noqa: E402
from flownb.store.lock import RunLock  # noqa: E402
from flownb.store.paths import RunPaths  # noqa: E402

RUN = "outlive-run"
TURN = "FLOWNB_TEST_TURN"
"""The variable by which whatever a turn started, however deep, can be told."""

SCRIPTS = {
    "busy": "while :; do note busy; sleep 0.04; done",
    "trap": "trap '' TERM HUP INT; while :; do note trap; sleep 0.04; done",
    "later": "while :; do (sleep 0.2; note later) & sleep 0.04; done",
    "nohup": 'nohup bash -c "$again" nohup > /dev/null 2>&1 & sleep 600',
    "pipe": 'bash -c "$again" pipe | while read -r line; do echo "$line" >> effects.txt; done',
    "subshell": '( ( ( bash -c "$again" subshell & wait ) ) )',
    "setsid": 'setsid bash -c "$again" setsid & sleep 600',
    "daemon": 'setsid bash -c \'(setsid bash -c "$0" daemon < /dev/null > /dev/null 2>&1 &)\' "$again"; sleep 600',
    "unmarked": 'export again; env -i PATH="$PATH" FLOWNB_TEST_TURN="$FLOWNB_TEST_TURN" setsid nohup bash -c "$again" unmarked & wait',
}
"""What it is → a script that has effects for ever."""

AGAIN = 'while :; do echo "${FLOWNB_TEST_TURN} $0 ${EPOCHREALTIME}" >> effects.txt; sleep 0.04; done'

PROCESS = """
import os, subprocess, threading, time
again = AGAIN
subprocess.Popen(["bash", "-c", again, "child"])
subprocess.Popen(["bash", "-c", again, "stranger"], start_new_session=True)
def note():
    while True:
        with open("effects.txt", "a") as file:
            file.write(f"{os.environ['FLOWNB_TEST_TURN']} body {time.time():.6f}\\n")
        time.sleep(0.04)
threading.Thread(target=note, daemon=True).start()
time.sleep(0.05)
while True:
    sum(range(10 ** 9))  # Nothing else of this process gets a turn meanwhile.
""".replace("AGAIN", repr(AGAIN))

DOCUMENT = (
    "---\nconcurrency: 20\n---\n\n# Outlive\n\n## Before\n\n```bash\necho ready\n```\n\n## All\n\n- type: parallel\n- needs: before\n\n"
    + "".join(
        f"### {name.capitalize()}\n\n```bash\nagain='{AGAIN}'\n"
        f'note() {{ echo "${TURN} $1 $EPOCHREALTIME" >> effects.txt; }}\n{script}\n```\n\n'
        for name, script in SCRIPTS.items()
    )
    + f"### Body\n\n- executor: process\n\n```python\n{PROCESS}```\n"
)


KINDS = {*SCRIPTS, "body", "child", "stranger"}


class Effect(NamedTuple):
    """One line that something wrote."""

    turn: int
    kind: str
    moment: float


class Seen(NamedTuple):
    """What many kills showed."""

    kills: int
    effects: int
    kinds: set[str]
    """What had effects at all."""
    late: list[Effect]
    """Those of a turn after the next one had begun."""
    left: list[psutil.Process]
    """What ran still when the lock could be taken."""
    longest_s: float
    """Most seconds from a kill to where the lock could be taken."""


def paths_in(folder: Path) -> RunPaths:
    return RunPaths(folder / ".flownb", "outlive", RUN)


def begin(folder: Path, turn: int) -> subprocess.Popen[bytes]:
    arguments = ["resume", RUN] if turn else ["run", "outlive.flow.md", "--run-id", RUN, "--no-log"]
    with (folder / f"errors-{turn}").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "flownb", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), TURN: f"{folder.name}-{turn}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def effects_in(folder: Path) -> list[Effect]:
    path = folder / "effects.txt"
    fields = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
    # One that was killed in the middle of a line is no effect that can be told.
    return [Effect(int(each[0].rpartition("-")[2]), each[1], float(each[2])) for each in fields if len(each) == 3]


def works(child: subprocess.Popen[bytes], folder: Path, turn: int, kinds: int) -> bool:
    """Wait until effects of so many kinds are seen of a turn; return whether it lives then."""
    while child.poll() is None:
        if len({effect.kind for effect in effects_in(folder) if effect.turn == turn}) >= kinds:
            return True
        time.sleep(0.005)
    return False


def left_in(folder: Path) -> list[psutil.Process]:
    """Return what still runs of all that the turns in a folder started; multiprocessing's trackers end by themselves."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            is_ours = process.environ().get(TURN, "").startswith(f"{folder.name}-")
            if is_ours and process.status() != psutil.STATUS_ZOMBIE and "tracker" not in " ".join(process.cmdline()):
                found.append(process)
    return found


def beginnings(folder: Path) -> list[float]:
    """Return when each turn had the run, as the journal says."""
    events = read_journal(paths_in(folder).journal)
    return [event.at.timestamp() for event in events if isinstance(event, RunStarted | RunResumed)]


def late_in(effects: list[Effect], begun: list[float]) -> list[Effect]:
    """Return the effects of each turn after the next one had begun."""
    newest, late = 0, []
    for effect in effects:
        newest = max(newest, effect.turn)
        following = begun[effect.turn + 1] if effect.turn + 1 < len(begun) else float("inf")
        if effect.turn < newest or effect.moment > following:
            late.append(effect)
    return late


def kill_often(folder: Path, kills: int, dice: random.Random) -> Seen:
    """Kill a run so often, each time once some or all of it works, and resume it at once."""
    (folder / "outlive.flow.md").write_text(DOCUMENT)
    longest, left = 0.0, list[psutil.Process]()
    for turn in range(kills):
        kinds = dice.choice((1, len(KINDS) // 2, len(KINDS), len(KINDS)))
        with begin(folder, turn) as child:
            in_time = works(child, folder, turn, kinds)
            time.sleep(dice.random() * 0.05)
            child.send_signal(signal.SIGKILL)
            began = time.monotonic()
        assert in_time, (folder / f"errors-{turn}").read_text()
        if turn % 2 == 0:  # The other resumes come at once.
            with RunLock(paths_in(folder)):
                longest = max(longest, time.monotonic() - began)
                left += left_in(folder)
    effects, begun = effects_in(folder), beginnings(folder)
    return Seen(kills, len(effects), {each.kind for each in effects}, late_in(effects, begun), left, longest)


def test_nothing_of_a_killed_run_works_beside_the_resumed_one(tmp_path: Path) -> None:
    seen = kill_often(tmp_path, 5, random.Random(7))  # noqa: S311 the same moments each time
    assert seen.kinds == KINDS
    assert seen.late == []
    assert seen.left == []


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        print(kill_often(Path(name), int(sys.argv[1]), random.Random()))  # noqa: S311, T201
