"""Whatever goes wrong beside the nodes, the run ends with one error or goes on; it never hangs."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flownb
from flownb.api import serve, survey
from flownb.errors import FlowStateError
from flownb.executors.interrupt import MainInterrupts
from flownb.executors.local import MainQueue
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.events import Event, RunStatus
from flownb.model.state import RunState
from flownb.model.state_file import state_json
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.session import Session
from flownb.runs.start import start
from flownb.store.files import Disk
from flownb.store.journal import Journal, load_state, read_journal
from flownb.store.snapshot import stored_state, write_snapshot

WORK = "# Work\n\n## One\n\n- output: json\n\n```bash\necho 1\n```\n\n## Two\n\n```expr\none + 1\n```\n"
ASKS = (
    "# Asks\n\n## One\n\n```expr\n1\n```\n\n## Ask\n\n```checkpoint\nGo on?\n```\n\n## Two\n\n```expr\none + 1\n```\n"
)
MANY = "# Many\n\n## Ask\n\n- foreach: range(60)\n- concurrency: 60\n\n```checkpoint\nTake {{ item }}?\n```\n"
YES = Decision(action="approve", by="ana")


@contextmanager
def begun(text: str, state_dir: Path, hooks: Hooks, disk: Disk | None = None, **more: Any) -> Iterator[Session]:
    """Begin a run as a notebook does that returns at once; nothing of it is left at the end."""
    prepared, _ = start(flownb.parse(text), {}, RunSettings(state_dir=state_dir, disk=disk or Disk()), **more)
    queue = MainQueue()
    session = Session(prepared, hooks, queue.post, MainInterrupts(lambda: None))
    served = threading.Thread(target=queue.serve, args=(lambda: session.is_finished,))
    session.when_finished(queue.wake)
    session.start()
    served.start()
    try:
        yield session
    finally:
        session.cancel()
        assert session.wait(20)
        queue.wake()
        served.join(20)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def waits(session: Session) -> bool:
    return bool(session.state.open_questions)


def full(source: Path, target: Path) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def _nothing_in_the_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where asyncio logged an error that nobody took."""
    with caplog.at_level(logging.WARNING, "asyncio"):
        yield
    assert [record.getMessage() for record in caplog.records] == []


def test_a_state_file_that_cannot_be_written_while_the_run_waits_ends_it(state_dir: Path) -> None:
    moves: list[Path] = []

    def full_later(source: Path, target: Path) -> None:
        moves.append(target)
        if target.name == "r1.json" and len(moves) > 3:
            full(source, target)
        Path(source).replace(target)

    with begun(ASKS, state_dir, Hooks(ask=lambda _: None), Disk(move=full_later), run_id="r1") as session:
        assert session.wait(20)
        assert isinstance(session.error, FlowStateError)
        assert "cannot write the state file" in session.error.message
        assert "No space left" in session.error.message
    assert load_state(session.paths).status_of("ask") == "waiting"
    again = flownb.resume("r1", state_dir=state_dir, decide=lambda _: YES)
    assert (again.status, again["two"]) == ("completed", 2)


def test_a_state_folder_that_is_removed_while_the_run_waits_ends_it(state_dir: Path) -> None:
    with begun(ASKS, state_dir, Hooks(ask=lambda _: None)) as session:
        until(lambda: '"status": "waiting"' in session.paths.snapshot.read_text())
        time.sleep(0.2)  # Nothing happens any more: only the look for an answer can notice.
        shutil.rmtree(state_dir)
        assert session.wait(20)
    assert isinstance(session.error, FlowStateError)
    assert "removed" in session.error.message
    assert not state_dir.exists()


@pytest.mark.parametrize("how", ["shutil.rmtree(folder)", "folder.rename(folder.with_name('elsewhere'))"])
def test_a_state_folder_that_goes_in_mid_run_ends_the_run_at_the_next_event(state_dir: Path, how: str) -> None:
    text = f"# Gone\n\n## One\n\n```python\nimport pathlib, shutil\nfolder = pathlib.Path({str(state_dir)!r})\n{how}\n```\n"
    text += "\n## Two\n\n- needs: one\n\n```python\n2\n```\n"
    with pytest.raises(FlowStateError, match="was removed or replaced while the run went on"):
        flownb.run(flownb.parse(text), state_dir=state_dir)
    assert not state_dir.exists()


def test_a_journal_that_another_file_replaced_is_not_written_on(state_dir: Path) -> None:
    text = f"# Gone\n\n## One\n\n```bash\ncd {state_dir}/gone/r1 && cp journal.jsonl x && mv x journal.jsonl\n```\n"
    with pytest.raises(FlowStateError, match="was removed or replaced"):
        flownb.run(flownb.parse(text), state_dir=state_dir, run_id="r1")


def test_completed_is_seen_only_when_the_state_file_says_so(state_dir: Path) -> None:
    seen: list[tuple[str, str]] = []
    states: list[RunState] = []

    def watch(event: Event, state: RunState) -> None:
        states.append(state)
        if isinstance(event, e.RunFinished):
            seen.append((state.status, json.loads(session.paths.snapshot.read_text())["status"]))

    def slow(source: Path, target: Path) -> None:
        if target.suffix == ".json" and states:
            seen.append((states[-1].status, json.loads(source.read_text())["status"]))
            time.sleep(0.05)
            assert states[-1].status == "running"
        Path(source).replace(target)

    with begun(WORK, state_dir, Hooks(watch=watch), Disk(move=slow)) as session:
        assert session.wait(20)
    assert seen == [("running", "completed"), ("completed", "completed")]


def test_a_state_file_that_cannot_be_written_at_the_end_shows_no_completed(state_dir: Path) -> None:
    told: list[Event] = []

    def watch(event: Event, state: RunState) -> None:
        told.append(event)

    def move(source: Path, target: Path) -> None:
        if told:
            full(source, target)
        Path(source).replace(target)

    with begun(WORK, state_dir, Hooks(watch=watch), Disk(move=move)) as session:
        assert session.wait(20)
        assert isinstance(session.error, FlowStateError)
    assert not any(isinstance(event, e.RunFinished) for event in told)
    assert json.loads(session.paths.snapshot.read_text())["status"] == "running"
    assert flownb.show(session.paths.run_id, state_dir).status is RunStatus.COMPLETED
    assert json.loads(session.paths.snapshot.read_text())["status"] == "completed"


def test_sixty_open_questions_write_the_state_once(state_dir: Path) -> None:
    written: Counter[str] = Counter()
    where: set[str] = set()

    def move(source: Path, target: Path) -> None:
        written[target.name] += 1
        where.add(threading.current_thread().name)
        Path(source).replace(target)

    with begun(MANY, state_dir, Hooks(ask=lambda _: None), Disk(move=move), run_id="r1") as session:
        until(lambda: len(session.state.open_questions) == 60)
        until(lambda: written["r1.json"] > 1)
        for _ in range(5):
            session.engine.look_for_quiet()  # As after each question that is left open.
            time.sleep(0.1)
        assert written["r1.json"] <= 3
        assert len(json.loads(session.paths.snapshot.read_text())["nodes"]) == 61
        assert f"flownb-{session.paths.run_id}" not in where


def test_an_older_state_is_never_written_after_a_later_one(state_dir: Path) -> None:
    first = threading.Event()

    def slow(source: Path, target: Path) -> None:
        if target.suffix == ".json" and '"waiting"' in source.read_text():
            first.set()
            time.sleep(0.3)
        Path(source).replace(target)

    with begun(ASKS, state_dir, Hooks(ask=lambda _: None), Disk(move=slow)) as session:
        assert first.wait(20)
        session.decide("ask", YES)
        assert session.wait(20)
    assert json.loads(session.paths.snapshot.read_text())["status"] == "completed"


def test_of_two_states_the_later_one_stays_whichever_is_written_last(state_dir: Path) -> None:
    with begun(WORK, state_dir, Hooks()) as session:
        assert session.wait(20)
        before = session.paths.snapshot.read_bytes()
        session._write_state(0, RunState("r1", "work"))
    assert session.paths.snapshot.read_bytes() == before


def test_what_a_signal_raises_on_the_serving_thread_cancels_the_run(state_dir: Path) -> None:
    def ring(*_: object) -> None:
        raise ValueError("the alarm rang")

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(ValueError, match="the alarm rang"):
            flownb.run(flownb.parse("# Long\n\n## One\n\n```bash\nsleep 30\n```\n"), state_dir=state_dir)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert flownb.show("last", state_dir).status is RunStatus.CANCELLED


@pytest.mark.parametrize("hook", ["watch", "printed", "ask", "quiet"])
def test_what_a_hook_raises_is_reported_once_and_the_run_goes_on(
    state_dir: Path, hook: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("the hook \x1b[31m is broken")

    text = WORK if hook in ("watch", "printed") else ASKS
    hooks = Hooks(ask=lambda _: None)
    setattr(hooks, hook, broken)
    with begun(text, state_dir, hooks) as session:
        if text is ASKS:
            until(lambda: waits(session))
            time.sleep(0.3)
            assert not session.is_finished
            session.decide("ask", YES)
        assert session.wait(20)
        assert (session.error, session.state.status) == (None, "completed")
    told = capsys.readouterr().err
    assert told.count("ValueError: the hook \\x1b[31m is broken") == 1


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(7), KeyboardInterrupt()], ids=repr)
def test_what_decide_raises_ends_the_run_and_is_raised(state_dir: Path, error: BaseException) -> None:
    def decide(_: Request) -> Decision:
        raise error

    with pytest.raises(type(error)) as caught:
        flownb.run(flownb.parse(ASKS), state_dir=state_dir, run_id="r1", decide=decide)
    assert caught.value is error
    assert load_state(flownb.show("r1", state_dir).paths).status is RunStatus.CANCELLED


def test_what_a_callback_of_the_loop_raises_ends_the_run_with_one_error(state_dir: Path) -> None:
    with begun(ASKS, state_dir, Hooks(ask=lambda _: None)) as session:
        until(lambda: waits(session))
        loop = session.engine._loop
        assert loop is not None
        loop.call_soon_threadsafe(lambda: 1 // 0)
        assert session.wait(20)
        assert isinstance(session.error, FlowStateError)
        assert "broke off: ZeroDivisionError" in session.error.message
        assert isinstance(session.error.__cause__, ZeroDivisionError)
    assert flownb.resume("last", state_dir=state_dir, decide=lambda _: YES).status is RunStatus.COMPLETED


def test_a_listener_that_leaves_the_program_ends_the_run(state_dir: Path) -> None:
    def leave(event: Event) -> None:
        if isinstance(event, e.NodeCompleted):
            raise SystemExit(7)

    with pytest.raises(SystemExit):
        flownb.run(flownb.parse(WORK), state_dir=state_dir, listen=leave)
    assert flownb.resume("last", state_dir=state_dir).outputs == {"two": 2}


def test_what_ends_with_an_error_at_the_end_hangs_nobody(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: object) -> None:
        close(self)  # type: ignore[arg-type] # the journal
        raise OSError(5, "the disk is gone")

    def first() -> None:
        called.append("first")
        raise ValueError("first")

    close = Journal.close
    called: list[str] = []
    with begun(WORK, state_dir, Hooks()) as session:
        monkeypatch.setattr(Journal, "close", broken)
        session.when_finished(first)
        session.when_finished(lambda: called.append("second"))
        assert session.wait(20)
    until(lambda: called == ["first", "second"])
    assert session.state.status is RunStatus.COMPLETED
    assert "the disk is gone" in capsys.readouterr().err


def test_what_could_not_be_stored_has_not_happened(state_dir: Path) -> None:
    def write(descriptor: int, data: bytes | memoryview) -> int:
        if b'"key":"two"' in bytes(data):
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data)

    with begun(WORK, state_dir, Hooks(), Disk(write=write)) as session:
        assert session.wait(20)
        assert isinstance(session.error, FlowStateError)
    assert state_json(session.state) == state_json(load_state(session.paths))
    assert session.state.status is RunStatus.INTERRUPTED


def test_a_run_that_ran_too_long_and_is_cancelled_in_its_handler_ends(state_dir: Path) -> None:
    text = "---\ntimeout: 100ms\non_error: after\n---\n# Long\n\n## One\n\n```bash\nsleep 30\n```\n\n## After\n\n```bash\nsleep 30\n```\n"
    with begun(text, state_dir, Hooks()) as session:
        until(lambda: session.state.status_of("after") == "running")
        session.cancel()
        assert session.wait(20)
        assert (session.error, session.state.status) == (None, "failed")


@pytest.mark.parametrize("opened", ["show", "resume", "runs"])
def test_a_state_file_that_is_behind_is_written_anew_by_the_next_who_opens_the_run(
    state_dir: Path, opened: str
) -> None:
    made = flownb.run(flownb.parse(ASKS), state_dir=state_dir, run_id="r1", decide=lambda _: None)
    behind = made.state.copy()
    behind.nodes.clear()
    behind.status = RunStatus.RUNNING
    write_snapshot(made.paths, behind)
    os.utime(made.paths.snapshot, (0, 0))
    match opened:
        case "show":
            flownb.show("r1", state_dir)
        case "resume":
            seen: list[str] = []

            def watch(event: Event, state: RunState) -> None:
                seen.append(json.loads(made.paths.snapshot.read_text())["status"])

            prepared, _ = start(flownb.parse(ASKS), {}, RunSettings(state_dir=state_dir), "r1")
            kept = json.loads(made.paths.snapshot.read_text())
            assert (kept["status"], kept["nodes"]["one"]["status"]) == ("running", "completed")
            serve(prepared, Hooks(decide=lambda _: YES, watch=watch))
            return
        case _:
            survey(None, state_dir)
    assert json.loads(made.paths.snapshot.read_text()) == json.loads(json.dumps(state_json(made.state)))


def test_a_state_file_never_says_interrupted_and_is_written_by_who_works_on_the_run(state_dir: Path) -> None:
    made = flownb.run(flownb.parse(ASKS), state_dir=state_dir, run_id="r1", decide=lambda _: None)
    lines = made.paths.journal.read_bytes().split(b"\n")
    made.paths.journal.write_bytes(b"\n".join(lines[:-2]) + b"\n")
    assert len(read_journal(made.paths.journal)) == len(lines) - 2
    made.paths.snapshot.write_text("{}")
    assert flownb.show("r1", state_dir).status is RunStatus.INTERRUPTED
    kept = made.paths.snapshot.read_text()
    assert json.loads(kept)["status"] == "waiting"
    with Journal.open_for_append(made.paths):
        made.paths.snapshot.write_text("{}")
        flownb.show("r1", state_dir)
        assert made.paths.snapshot.read_text() == "{}"  # Whoever works on it writes it.


def test_a_run_that_cannot_be_written_is_shown_all_the_same(state_dir: Path) -> None:
    made = flownb.run(flownb.parse(WORK), state_dir=state_dir, run_id="r1")
    write_snapshot(made.paths, replace(made.state, nodes={}))
    before = made.paths.snapshot.read_bytes()
    paths = replace(made.paths, disk=Disk(move=full))
    assert stored_state(paths).status is RunStatus.COMPLETED
    assert made.paths.snapshot.read_bytes() == before


def test_run_async_ends_with_one_error_too(state_dir: Path) -> None:
    text = f"# Gone\n\n## One\n\n```python\nimport shutil\nshutil.rmtree({str(state_dir)!r})\n```\n"
    with pytest.raises(FlowStateError, match="was removed"):
        asyncio.run(flownb.run_async(flownb.parse(text), state_dir=state_dir))


BOTH = (
    "# Both\n\n## All\n\n- type: parallel\n\n### One\n\n```checkpoint\nOne?\n```\n\n### Two\n\n```checkpoint\nTwo?\n```\n\n"
    "### Slow\n\n- executor: thread\n\n```python\nimport time\ntime.sleep(1)\n```\n"
)


def test_a_person_is_asked_nothing_more_once_the_process_was_told_to_end(state_dir: Path) -> None:
    asked: list[str] = []

    def decide(request: Request) -> None:
        asked.append(request.node)
        while len(session.state.open_questions) < 2:  # So that the other one is next in line.
            time.sleep(0.005)
        session.end(signal.SIGTERM)

    hooks = Hooks(decide=decide)
    prepared, _ = start(flownb.parse(BOTH), {}, RunSettings(state_dir=state_dir))
    queue = MainQueue()
    with MainInterrupts(lambda: None) as interrupts:
        session = Session(prepared, hooks, queue.post, interrupts)
        session.when_finished(queue.wake)
        session.start()
        queue.serve(lambda: session.is_finished)
    assert (session.error, session.state.status, len(asked)) == (None, "cancelled", 1)
