"""Whatever order ready callbacks are made in, a run comes to what a plain interpreter says; and one order gives one journal.

A thousand seeds, each with a document of its own, run twice on the same shuffled loop, then cut off somewhere and taken up again.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
from pathlib import Path
from typing import Any

import pytest

from flownb.api import take_up
from flownb.executors.interrupt import MainInterrupts
from flownb.model import events as e
from flownb.model.decision import Decision, Question, Request
from flownb.model.events import Event
from flownb.model.policy import ExecutorName
from flownb.model.state import RunState
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings, load
from flownb.runs.session import Prepared, Session
from flownb.runs.start import start
from flownb.runs.stop import Stop
from flownb.store.journal import fold, read_journal
from flownb.store.paths import RunPaths
from tests.crash.generated import Document, Maker, Step, every, written
from tests.crash.reference import TRIES, Reference
from tests.crash.shadow import UNSYNCED
from tests.crash.shuffled import Here, ShuffledLoop

SEEDS, PARTS = 1000, 10


def run_shuffled(prepared: Prepared, document: Document, seed: int) -> RunState:
    """Run on this thread, on the loop of a seed; return what came of it."""
    answers = {step.id: step.answer for step in every(document.steps)}
    told: list[Event] = []
    unstored: list[str] = []

    def ask(request: Request) -> None:
        stored = read_journal(prepared.paths.journal)
        if request.question not in questions_in(stored):
            unstored.append(request.node)
        session.decide(request.node, Decision(action=answers[request.node], by="ana", at=request.question.asked_at))

    stop = Stop()
    hooks = Hooks(ask=ask, watch=lambda event, _: told.append(event))
    session = Session(prepared, hooks, lambda call: call(), MainInterrupts(stop, stop.end))
    session._executors[ExecutorName.MAIN] = session._executors[ExecutorName.THREAD] = Here()
    with pytest.MonkeyPatch.context() as patch:  # What `asyncio.run` asks for its loop.
        patch.setattr(asyncio.events, "new_event_loop", lambda: ShuffledLoop(seed))
        patch.setattr("tests.crash.reference.LOOK", [lambda key: must_be_begun(prepared.paths, key)])
        session._work()
    if session.error is not None:
        raise session.error
    stored = read_journal(prepared.paths.journal)
    assert told == stored[-len(told) :], "it tells what it stores, in that order"
    assert fold(stored) == session.state
    assert not unstored, "it asks what is stored"
    assert session.engine.ledger.tasks == 0, "it knows that nothing is under way any more"
    return session.state


def questions_in(events: list[Event]) -> list[Question]:
    return [event.question for event in events if isinstance(event, e.Asked)]


def must_be_begun(paths: RunPaths, key: str) -> None:
    """Look whether it is stored that a body begins, as it does."""
    begun = {event.key for event in read_journal(paths.journal) if isinstance(event, e.NodeStarted)}
    if key not in {key_for(paths.run_id, known) for known in begun}:
        raise SystemError("its beginning is not stored")


def begin(folder: Path, run_id: str) -> Prepared:
    TRIES.clear()
    return start(load(folder / "made.flow.md"), {}, RunSettings(folder / ".flownb", folder, disk=UNSYNCED), run_id)[0]


def take_up_cut(paths: RunPaths, document: Document, dice: random.Random) -> tuple[Prepared, RunState]:
    """Cut a run's journal off behind one of its lines, and take it up; return what it is and what was known then."""
    lines = paths.journal.read_bytes().splitlines(keepends=True)
    paths.journal.write_bytes(b"".join(lines[: dice.randrange(1, len(lines))]))
    kept = read_journal(paths.journal)
    TRIES.clear()  # As the world is when the run was killed there: what failed for good is begun anew.
    failed = {event.key for event in kept if isinstance(event, e.NodeFailed) and not event.continued}
    for event in kept:
        match event:
            case e.AttemptFailed(key=key) if key not in failed:
                TRIES[key_for(paths.run_id, key)] += 1
            case e.NodeFailed(key=key) if step_of(document, key).is_saved:
                TRIES[key_for(paths.run_id, key)] += 1
            case _:
                pass
    folder = paths.root.parent
    return take_up(paths.run_id, RunSettings(paths.root, folder, disk=UNSYNCED), {})[0], fold(kept)


def key_for(run_id: str, key: str) -> str:
    """Return the idempotency key of a node."""
    return hashlib.sha256(f"{run_id}\0{key}".encode()).hexdigest()[:32]


def value_of(output: Any) -> Any:  # Any: JSON
    """Return a value as the interpreter gives it: of a decision what was decided."""
    if isinstance(output, dict):
        return output["action"] if "timed_out" in output else {name: value_of(item) for name, item in output.items()}
    return [value_of(item) for item in output] if isinstance(output, list) else output


def check(document: Document, state: RunState, text: str, *, is_resumed: bool = False) -> None:
    """Compare a run with what the interpreter says."""
    wanted = Reference(document).run()
    assert state.status == wanted.status, (text, state.errors)
    found = {key: (str(node.status), value_of(node.output)) for key, node in state.nodes.items()}
    if wanted.is_loose:
        found = {key: known for key, known in found.items() if known[0] in ("completed", "skipped", "failed")}
        expected = {key: known for key, known in wanted.found.items() if key in found}
    else:
        expected = wanted.found
    # Of a race those that did not win may not have begun, when what won had done so before the crash.
    lost = {key for key, known in expected.items() if known[0] in ("cancelled", "failed") and is_in_race(document, key)}
    for key in lost:
        if is_resumed or expected[key][0] == "cancelled":
            assert found.pop(key, ("pending", None))[0] in ("pending", "cancelled", "failed"), (key, text)
            del expected[key]
    assert found == expected, text
    attempts = {key: node.attempts for key, node in state.nodes.items() if node.status == "completed"}
    assert all(attempts[key] == wanted.attempts.get(key, attempts[key]) for key in attempts), text


def step_of(document: Document, key: str) -> Step:
    """Return the step that a key is of."""
    name = re.sub(r"[\[{]\d+[\]}]$", "", key.rsplit("/", maxsplit=1)[-1])
    return next(step for step in every([*document.steps, *document.spare]) if step.id == name)


def nothing_new_after_a_failure(paths: RunPaths, document: Document, text: str) -> None:
    """Look whether nothing began once something had failed that nothing catches, but what answers a failure."""
    has_failed = False
    for event in read_journal(paths.journal):
        if isinstance(event, e.NodeStarted) and event.attempt == 1 and has_failed:
            assert step_of(document, event.key) in document.spare, (event.key, text)
        if isinstance(event, e.NodeFailed) and not event.continued:
            has_failed = has_failed or not is_caught(document, step_of(document, event.key))


def is_caught(document: Document, step: Step) -> bool:
    """Return whether a failure of a step may be caught by what holds it."""
    holders = [other for other in every(document.steps) if other.wait or (other.kind == "parallel" and other.retry)]
    return any(step in (holder, *every(holder.children)) for holder in holders)


def is_in_race(document: Document, key: str) -> bool:
    return any(
        key.rsplit("/", maxsplit=1)[-1] == child.id
        for step in every(document.steps)
        if step.wait
        for child in step.children
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_every_order_comes_to_what_the_interpreter_says(
    tmp_path: Path,
    part: int,
    is_torture: bool,  # noqa: FBT001 a fixture
) -> None:
    kinds: set[str] = set()
    for seed in range(part, SEEDS * (20 if is_torture else 1), PARTS):
        document = Maker(seed).document()
        text, files = written(document)
        kinds |= {step.kind for step in every(document.steps)}
        folder = tmp_path / str(seed)
        folder.mkdir()
        for name, content in {"made.flow.md": text, **files}.items():
            (folder / name).write_text(content)
        about = f"seed {seed}\n{text}\n{files}"
        one, other = (begun_and_ended(folder, run_id, document, seed, about) for run_id in ("one", "two"))
        assert told_in(one) == told_in(other), about
        go_on(one, document, seed, about)
    assert kinds >= {"expr", "text", "json", "python", "checkpoint", "group", "branch", "parallel", "block", "flow"}


def begun_and_ended(folder: Path, run_id: str, document: Document, seed: int, about: str) -> RunPaths:
    prepared = begin(folder, run_id)
    check(document, run_shuffled(prepared, document, seed), about)
    nothing_new_after_a_failure(prepared.paths, document, about)
    return prepared.paths


def told_in(paths: RunPaths) -> list[tuple[str, str]]:
    """Return what a journal says happened, and to what, in that order."""
    return [(event.kind, getattr(event, "key", "")) for event in read_journal(paths.journal)]


def go_on(paths: RunPaths, document: Document, seed: int, about: str) -> None:
    """Kill the run at some event, go on in another order, and look whether that comes to the same."""
    prepared, before = take_up_cut(paths, document, random.Random(seed))  # noqa: S311 the same each time
    state = run_shuffled(prepared, document, seed + 1)
    check(document, state, about, is_resumed=True)
    events = read_journal(paths.journal)
    resumed = max(number for number, event in enumerate(events) if isinstance(event, e.RunResumed))
    begun = {
        event.key for event in events[resumed:] if isinstance(event, e.NodeStarted | e.NodeCompleted | e.NodeSkipped)
    }
    assert begun.isdisjoint(key for key, node in before.nodes.items() if node.is_settled), about
    assert before.decisions.keys().isdisjoint(question.key for question in questions_in(events[resumed:])), about
