"""The n-th thing that the store asks of the disk goes wrong, for every n: the run says so once, and a resume ends as if it had not.

For each document of `tests.crash.documents`, each n, each kind of fault, once and from then on; and after half of them the power goes
too. `make torture` tries all of that; `make test` for every n a crash and one error, once or from then on by turns, and one way to
lose power.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import random
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from flownb.api import serve, take_up
from flownb.artifacts.decode import artifact_names
from flownb.errors import FlowError
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.events import Event, RunStatus
from flownb.model.state import RunState
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings, load
from flownb.runs.run import Run
from flownb.runs.start import start
from flownb.store import decisions
from flownb.store.artifacts import ArtifactStore
from flownb.store.files import Disk
from flownb.store.journal import has_begun, load_state, read_journal
from flownb.store.paths import RunPaths
from tests.crash.documents import CASES, Case
from tests.crash.effects import MARKS
from tests.crash.shadow import UNSYNCED, Left, Shadow


class Kind(StrEnum):
    """What goes wrong."""

    FULL = "full"
    """No room is left."""
    BROKEN = "broken"
    """The device does not answer."""
    INTERRUPTED = "interrupted"
    """A signal came in between."""
    SHORT = "short"
    """Only a part is written, or read, which is no error."""
    CRASH = "crash"
    """The process dies with the power, where it writes in the middle of that."""
    KILL = "kill"
    """The process dies; another one goes on with the run and ends it, and then the power goes."""


CODES = {
    Kind.FULL: errno.ENOSPC,
    Kind.BROKEN: errno.EIO,
    Kind.INTERRUPTED: errno.EINTR,
    Kind.CRASH: errno.ESHUTDOWN,
    Kind.KILL: errno.ESHUTDOWN,
}
CUTS: tuple[Left | None, ...] = (None, *Left)
"""What is left where the power goes afterwards; None: it does not."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What goes wrong, and when."""

    kind: Kind | None = None
    number: int = 0
    """Which call, from 1."""
    lasting: bool = False
    """Whether all calls after it go wrong too."""
    cut: Left | None = None

    def __str__(self) -> str:
        return f"{self.kind} at {self.number}{' and on' if self.lasting else ''}, power: {self.cut}"


@dataclass(slots=True)
class Faults:
    """Counts what is asked of the disk, and lets it go wrong."""

    trial: Trial
    calls: list[str] = field(default_factory=list)
    met: str = ""
    """The first call that went wrong."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, name: str, perform: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:  # Any: as the call
        with self.lock:
            self.calls.append(name)
            number = len(self.calls)
        trial = self.trial
        is_dead = trial.lasting or trial.kind in (Kind.CRASH, Kind.KILL)
        is_hit = number == trial.number or (number > trial.number and is_dead)
        if trial.kind is None or not is_hit:
            return perform(*arguments)
        if trial.kind is Kind.SHORT:
            if name == "write":
                self.met = self.met or name
                return perform(arguments[0], arguments[1][: max(1, len(arguments[1]) // 2)])
            if name == "read":
                self.met = self.met or name
                return perform(arguments[0], max(1, arguments[1] // 2))
            return perform(*arguments)
        if trial.kind in (Kind.CRASH, Kind.KILL) and number == trial.number and name == "write":
            perform(arguments[0], arguments[1][: len(arguments[1]) // 2])
        self.met = self.met or f"{name} {arguments[0]}"
        raise OSError(CODES[trial.kind], os.strerror(CODES[trial.kind]))


def answer(request: Request, text: str = "fine") -> Decision:
    """Answer as a person would; `Reject?` with a rejection, what may have happened with `again`."""
    if "again" in request.question.actions:
        return Decision(action="again", by="ana")
    if request.question.text.startswith("Reject"):
        return Decision(action="reject", by="ana")
    return Decision(action="input" if request.question.input else "approve", input=text, by="ana")


def paths_in(folder: Path, run_id: str = "r1") -> RunPaths:
    return RunPaths(folder / ".flownb", "doc", run_id)


def attempt(
    case: Case,
    folder: Path,
    disk: Disk,
    told: list[Event],
    *,
    run_id: str = "r1",
    decide: Callable[[Request], Decision | None] = answer,
) -> Run:
    """Begin the run, or go on with it."""
    settings = RunSettings(state_dir=folder / ".flownb", folder=folder, disk=disk)

    def watch(event: Event, _state: RunState) -> None:
        told.append(event)

    if has_begun(paths_in(folder, run_id)):
        stored = read_journal(paths_in(folder, run_id).journal)
        is_new = not any(isinstance(event, e.RunResumed) for event in stored)
        prepared, _ = take_up(run_id, settings, {}, from_node=case.again if case.again and is_new else None)
    else:
        reuse = "r0" if case.earlier and run_id == "r1" else None
        prepared, _ = start(load(folder / "doc.flow.md"), {}, settings, run_id, reuse=reuse)
    return serve(prepared, Hooks(decide=decide, watch=watch))


def prepared_in(folder: Path, case: Case) -> set[str]:
    """Make what is there before anything goes wrong; return the keys of what is done then."""
    folder.mkdir()
    MARKS.clear()
    for name, text in {"doc.flow.md": case.text, **case.files}.items():
        (folder / name).write_text(text)
    if case.earlier:
        assert attempt(case, folder, UNSYNCED, [], run_id="r0").status == "completed"
    if case.waits:
        assert attempt(case, folder, UNSYNCED, [], decide=lambda _: None).status == "waiting"
    if case.again:
        assert attempt(case, folder, UNSYNCED, [], decide=lambda asked: answer(asked, "old")).status == "completed"
    if not has_begun(paths_in(folder)):
        return set()
    return {key for key, known in load_state(paths_in(folder)).nodes.items() if known.is_settled}


@dataclass(frozen=True, slots=True)
class Seen:
    """What is left of a run."""

    status: RunStatus
    outputs: dict[str, object]
    nodes: dict[str, tuple[object, object]]
    """Key → status and value, without when it was decided."""


def artifacts_must_be_whole(folder: Path, about: str) -> None:
    """Look whether every file that the journal relies on is there, and what it was."""
    paths = paths_in(folder)
    if not has_begun(paths):
        return
    state, store = load_state(paths), ArtifactStore(paths.artifacts)
    values = [node.value for node in state.nodes.values()]
    values += [value for saved in state.saved.values() for value in saved.values()]
    for name in {name for value in values if value.tagged for name in artifact_names(value.output)}:
        assert store.open(name).is_file(), about


def seen_in(folder: Path) -> Seen:
    state = load_state(paths_in(folder))
    nodes: dict[str, tuple[object, object]] = {
        key: (known.status, timeless(known.output)) for key, known in state.nodes.items()
    }
    return Seen(state.status, timeless(state.outputs), nodes)


def timeless(value: Any) -> Any:  # Any: JSON
    """Return a value without when decisions in it were made."""
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if key != "at"}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def is_over(case: Case, folder: Path) -> bool:
    """Return whether there is nothing to go on with."""
    paths = paths_in(folder)
    stored = read_journal(paths.journal) if has_begun(paths) else []
    is_begun = any(isinstance(event, e.RunResumed) for event in stored) if case.again else bool(stored)
    return is_begun and load_state(paths).status is case.status


def keys_of(events: list[Event], *kinds: type[Event]) -> set[str]:
    return {event.key for event in events if isinstance(event, kinds)}  # type: ignore[union-attr] # all have one


@dataclass(frozen=True, slots=True)
class Whole:
    """A document, and how an undisturbed run of it goes."""

    case: Case
    begun: Path
    """A folder as it is before anything goes wrong."""
    marks: Counter[str]
    """What had been done then."""
    kept: set[str]
    """Keys of what had been done then and is not done again."""
    calls: list[str]
    """All that it asks of the disk."""
    seen: Seen


def files_must_be_there(whole: Whole, paths: RunPaths, told: list[Event], about: str) -> None:
    """Look whether the state file says what was told of the end, and whether nothing that was there is missing."""
    for ended in (event for event in told[-1:] if isinstance(event, e.RunFinished)):
        assert json.loads(paths.snapshot.read_text())["status"] == ended.status, about
    for path in ("doc/r1.json", "doc/r1/source.flow.md"):  # What was there is there still, the old or the new.
        assert (paths.root / path).exists() or not (whole.begun / ".flownb" / path).exists(), about


def check(whole: Whole, folder: Path, trial: Trial) -> Faults:
    """Run with faults, then without; everything told was stored, nothing told done is done again, and the end is the same."""
    case, kept = whole.case, whole.kept
    shutil.copytree(whole.begun, folder)
    MARKS.clear()
    MARKS.update(whole.marks)
    shadow, faults, told, first = Shadow(folder), Faults(trial), list[Event](), whole.marks
    shadow.take_in()
    made, said = None, ""
    try:
        made = attempt(case, folder, shadow.disk(faults), told)
    except FlowError as error:
        said = error.message
    if trial.kind is Kind.KILL and not is_over(case, folder):
        made = attempt(case, folder, shadow.disk(Faults(Trial())), told)
    if trial.cut is not None:
        shadow.cut_power(trial.cut, random.Random(f"{trial}"))  # noqa: S311 the same each time
    shadow.close()
    paths, about = paths_in(folder), f"{trial}: {faults.met}: {said}"
    artifacts_must_be_whole(folder, about)
    if trial.kind is Kind.SHORT:
        assert not said, about
    elif said and not faults.met.startswith("scan"):
        assert trial.kind is not None
        assert os.strerror(CODES[trial.kind]) in said, about
    stored = read_journal(paths.journal) if has_begun(paths) else []
    assert all(event in stored for event in told), about
    if made is not None:
        assert (load_state(paths).status, load_state(paths).outputs) == (made.status, made.state.outputs), about
        assert json.loads(paths.snapshot.read_text())["status"] == made.status, about
    elif paths.snapshot.exists():
        json.loads(paths.snapshot.read_text())
    files_must_be_there(whole, paths, told, about)
    settled = (e.NodeCompleted, e.NodeSkipped, e.NodeReused)
    done, before, again = keys_of(told, *settled[:2]), Counter(MARKS), list[Event]()
    if not is_over(case, folder):
        attempt(case, folder, UNSYNCED, again)
    begins = (e.NodeStarted, e.NodeCompleted, e.NodeSkipped)
    assert done.isdisjoint(keys_of(again, *begins)), about
    assert kept.isdisjoint(keys_of([*told, *again], *begins)), about
    assert seen_in(folder) == whole.seen, about
    assert all(MARKS[key] == before[key] for key in done), about
    assert all(MARKS[key] == first[key] for key in kept), about
    return faults


def whole_of(case: Case, folder: Path) -> Whole:
    """Run a document undisturbed."""
    begun, folder = folder / "begun", folder / "whole"
    kept = prepared_in(begun, case)
    marks = Counter(MARKS)
    shutil.copytree(begun, folder)
    faults, told = Faults(Trial()), list[Event]()
    attempt(case, folder, Shadow(folder).disk(faults), told)
    repeated = keys_of(told, e.NodeStarted, e.NodeCompleted, e.NodeSkipped)
    seen = seen_in(folder)
    assert seen.status is case.status
    return Whole(case, begun, marks, kept - repeated, faults.calls, seen)


def trials(calls: list[str], *, is_full: bool) -> Iterator[Trial]:
    """Yield what to try on a run that asks the disk for these things; some more, since threads do not always take turns so."""
    cuts = itertools.cycle(Left)
    for number in range(1, len(calls) + 4):
        kinds = [Kind.FULL, Kind.BROKEN, Kind.INTERRUPTED]
        kinds += [Kind.SHORT] if calls[number - 1 : number] in (["write"], ["read"]) else []
        if is_full:
            for kind, lasting, cut in itertools.product(kinds, (False, True), CUTS):
                yield Trial(kind, number, lasting, cut)
            for kind, cut in itertools.product((Kind.CRASH, Kind.KILL), Left):
                yield Trial(kind, number, cut=cut)
        else:
            kind = kinds[-1] if kinds[-1] is Kind.SHORT and number % 3 else kinds[number % 3]
            yield Trial(kind, number, lasting=number // 3 % 2 == 0, cut=CUTS[number // 2 % len(CUTS)])
            yield Trial(Kind.KILL if number % 4 == 0 else Kind.CRASH, number, cut=next(cuts))
            if number < 20:  # While the folders are made.
                yield Trial(Kind.KILL, number, cut=Left.SYNCED)


@pytest.mark.parametrize("name", CASES)
def test_a_disk_that_fails_at_any_moment_costs_nothing_that_was_done(
    name: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    is_torture: bool,  # noqa: FBT001 a fixture
) -> None:
    whole = whole_of(CASES[name], tmp_path)
    assert len(whole.calls) > 20
    met = [
        bool(check(whole, tmp_path / str(number), trial).met)
        for number, trial in enumerate(trials(whole.calls, is_full=is_torture))
    ]
    assert sum(met) >= 0.9 * len(met)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_an_answer_from_outside_that_was_taken_stands_whatever_the_disk_does(
    lasting: bool,  # noqa: FBT001 a parameter of the test
    tmp_path: Path,
) -> None:
    case, taken, waiting = CASES["resume"], 0, tmp_path / "waiting"
    prepared_in(waiting, case)
    ends = [(Kind.BROKEN, None), (Kind.BROKEN, Left.SYNCED), (Kind.CRASH, Left.SYNCED)]
    for number, (kind, cut) in itertools.product(range(1, 25), ends):
        folder = tmp_path / f"{number}-{kind}-{cut}"
        shutil.copytree(waiting, folder)
        shadow, faults = Shadow(folder), Faults(Trial(kind, number, lasting))
        shadow.take_in()
        said = Decision(action="input", input="outside", by="bob", at=datetime.now(UTC))
        paths = replace(paths_in(folder), disk=shadow.disk(faults))
        is_taken = False
        with suppress(FlowError):
            is_taken = decisions.answer(paths, load_state(paths_in(folder)), "ask", said).input == "outside"
        taken += is_taken
        if cut is not None:
            shadow.cut_power(cut, random.Random(number))  # noqa: S311 the same each time
        shadow.close()
        made = attempt(case, folder, UNSYNCED, [])
        given = made.state.decisions["ask"].input
        assert given == "outside" if is_taken else given in ("outside", "fine"), (number, kind, cut)
    assert 0 < taken < 24 * 3, "some calls come too late to matter, and some do not"
