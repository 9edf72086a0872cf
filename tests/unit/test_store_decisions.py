"""Answers: the first wins, wherever it comes from, and stays until it is withdrawn."""

from __future__ import annotations

import errno
import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from flownb.errors import FlowStateError
from flownb.model import events as e
from flownb.model.decision import Decision, Question
from flownb.model.state import RunState
from flownb.secrets import Redactor
from flownb.store.decisions import answer, offer, stored, withdraw
from flownb.store.files import Disk
from flownb.store.journal import fold
from flownb.store.paths import RunPaths, create_run
from tests.runs import AT, later, line_of, make_run, names_in, process, started

YES = Decision(action="approve", by="ana", at=AT, via="notebook")
NO = Decision(action="reject", by="bob", at=AT, via="command")

FIGHT = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from flownb.model.decision import Decision
from flownb.store.decisions import offer
from flownb.store.paths import RunPaths
paths = RunPaths(Path(sys.argv[1]), "flow", "r1")
print("ready", flush=True)
sys.stdin.readline()
own = [Decision(action="approve", by=sys.argv[2], at=datetime.now(UTC)) for _ in range(50)]
print(*[offer(paths, f"q{number}", decision).by for number, decision in enumerate(own)])
"""


@pytest.fixture
def paths(state_dir: Path) -> RunPaths:
    return create_run(state_dir, "flow", "r1")


def without_links(error: int = errno.EPERM) -> Disk:
    def refuse(source: Path, target: Path) -> None:
        raise OSError(error, "no links here")

    return Disk(link=refuse)


@pytest.fixture(params=["with links", "without links"])
def anywhere(request: pytest.FixtureRequest, paths: RunPaths) -> RunPaths:
    return replace(paths, disk=without_links()) if request.param == "without links" else paths


def test_the_first_answer_stands_and_a_later_one_is_told_so(anywhere: RunPaths) -> None:
    paths = anywhere
    assert stored(paths, "review") is None
    assert offer(paths, "review", YES) is YES
    assert offer(paths, "review", NO) == YES
    assert stored(paths, "review") == YES


def test_of_many_threads_one_decides(anywhere: RunPaths) -> None:
    paths = anywhere
    start = threading.Barrier(8)
    standing: list[str] = []

    def answer(name: str) -> None:
        start.wait()
        standing.append(offer(paths, "review", YES.model_copy(update={"by": name})).by)

    threads = [threading.Thread(target=answer, args=(f"person {number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    decided = stored(paths, "review")
    assert decided is not None
    assert standing == [decided.by] * 8


def test_of_two_processes_the_first_decides_and_both_know(paths: RunPaths) -> None:
    with process(FIGHT, paths.root, "one") as one, process(FIGHT, paths.root, "two") as two:
        both = (one, two)
        assert [line_of(child) for child in both] == ["ready", "ready"]
        for child in both:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        first, second = (line_of(child).split() for child in both)
    assert first == second
    assert first == [decision.by for number in range(50) if (decision := stored(paths, f"q{number}"))]


def test_a_loser_of_the_race_reads_the_winner(paths: RunPaths) -> None:
    def beaten(source: Path, target: Path) -> None:
        offer(paths, "review", NO)
        os.link(source, target)

    assert offer(replace(paths, disk=Disk(link=beaten)), "review", YES) == NO


def test_a_loser_without_links_reads_the_winner(paths: RunPaths) -> None:
    def beaten(source: Path, target: Path) -> None:
        offer(replace(paths, disk=without_links()), "review", NO)
        raise OSError(errno.ENOTSUP, "no links here")

    assert offer(replace(paths, disk=Disk(link=beaten)), "review", YES) == NO


def test_an_answer_is_a_small_json_file(paths: RunPaths) -> None:
    offer(paths, "review", YES)
    assert json.loads((paths.decisions / "review.json").read_text()) == {
        "action": "approve",
        "input": None,
        "by": "ana",
        "at": "2026-11-23T10:15:02.114Z",
        "via": "notebook",
        "timed_out": False,
    }


@pytest.mark.parametrize(
    "key, name",
    [
        ("review", "review.json"),
        ("加载_2", "加载_2.json"),
        ("score[3]", "score%5B3%5D.json"),
        ("poll{2}/check", "poll%7B2%7D%2Fcheck.json"),
        ("../x", "..%2Fx.json"),
    ],
)
def test_every_key_has_a_file_of_its_own_in_the_folder(paths: RunPaths, key: str, name: str) -> None:
    offer(paths, key, YES)
    assert names_in(paths.decisions) == [name]
    assert stored(paths, key) == YES


def test_keys_too_long_for_a_file_name_stay_apart(paths: RunPaths) -> None:
    long = "载" * 200
    offer(paths, f"{long}1", YES)
    offer(paths, f"{long}2", NO)
    assert (stored(paths, f"{long}1"), stored(paths, f"{long}2")) == (YES, NO)
    assert stored(paths, f"{long}3") is None


def test_nothing_but_answers_is_left_in_the_folder(paths: RunPaths) -> None:
    offer(paths, "review", YES)
    offer(paths, "review", NO)
    assert names_in(paths.decisions) == ["review.json"]


def test_an_answer_is_on_the_disk_with_its_name_when_offer_returns(paths: RunPaths) -> None:
    synced: list[int] = []
    disk = Disk(sync=lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    offer(replace(paths, disk=disk), "review", YES)
    assert synced == [(paths.decisions / "review.json").stat().st_ino, paths.decisions.stat().st_ino]


def test_an_answer_that_cannot_be_written_is_none(paths: RunPaths) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(FlowStateError, match=r"cannot write the decision on 'review' .*full"):
        offer(replace(paths, disk=Disk(sync=full)), "review", YES)
    assert names_in(paths.decisions) == []


def test_an_answer_that_cannot_get_its_name_is_an_error(paths: RunPaths) -> None:
    with pytest.raises(FlowStateError, match="no links here"):
        offer(replace(paths, disk=without_links(errno.EIO)), "review", YES)
    assert names_in(paths.decisions) == []


@pytest.mark.parametrize("text", ['{"action": "appr', '{"action": "approve", "colour": "red"}', "[]"])
def test_an_answer_that_cannot_be_read_names_its_file(paths: RunPaths, text: str) -> None:
    (paths.decisions / "review.json").write_text(text)
    with pytest.raises(FlowStateError, match=r"cannot read the decision on 'review' .*review\.json"):
        stored(paths, "review")


def test_secrets_do_not_reach_the_file(paths: RunPaths) -> None:
    told = YES.model_copy(update={"input": {"token": "hunter2hunter2"}})
    standing = offer(paths, "review", told, redactor=Redactor(["hunter2hunter2"]))
    assert standing.input == {"token": "•••"}
    assert standing == stored(paths, "review")


def test_a_secret_that_another_process_did_not_know_is_taken_out_when_the_run_reads_it(paths: RunPaths) -> None:
    offer(paths, "review", YES.model_copy(update={"input": "hunter2hunter2", "by": "hunter2hunter2"}))
    decided = stored(paths, "review", Redactor(["hunter2hunter2"]))
    assert decided is not None
    assert (decided.input, decided.by) == ("•••", "•••")
    assert "hunter2" not in (paths.decisions / "review.json").read_text()
    assert names_in(paths.decisions) == ["review.json"]
    assert stored(paths, "review") == decided


def test_an_input_that_json_cannot_hold_is_stored_as_far_as_it_goes(paths: RunPaths) -> None:
    offer(paths, "review", YES.model_copy(update={"input": "x\udce9"}))
    decided = stored(paths, "review")
    assert decided is not None
    assert decided.input == "x\\udce9"


def test_a_withdrawn_answer_is_asked_for_again_and_stays_beside(paths: RunPaths) -> None:
    for decision in (YES, NO):
        assert offer(paths, "review", decision) is decision
        withdraw(paths, ["review", "never_asked"])
        assert stored(paths, "review") is None
    assert names_in(paths.decisions) == ["review.json.1", "review.json.2"]


def test_only_the_named_answers_are_withdrawn(paths: RunPaths) -> None:
    offer(paths, "ask", YES)
    offer(paths, "ask[1]", NO)
    withdraw(paths, ["ask"])
    assert (stored(paths, "ask"), stored(paths, "ask[1]")) == (None, NO)


def test_an_answer_that_cannot_be_withdrawn_is_an_error(paths: RunPaths) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is gone")

    offer(paths, "review", YES)
    with pytest.raises(FlowStateError, match=r"cannot move decisions aside .*the disk is gone"):
        withdraw(replace(paths, disk=Disk(sync=broken)), ["review"])


def question(key: str = "review", **fields: object) -> Question:
    return Question.model_validate({"key": key, "heading": key, "text": "Go on?", "asked_at": AT, **fields})


def waiting(*questions: Question) -> RunState:
    return fold([started(), *(e.Asked(at=AT, question=item) for item in questions)])


def test_an_answer_after_its_time_is_refused_and_the_default_holds(state_dir: Path) -> None:
    paths = make_run(state_dir)
    state = waiting(question(deadline=later(5)))
    with pytest.raises(FlowStateError, match="until 2026-11-23 10:15:07 UTC: reject holds"):
        answer(paths, state, "review", Decision(action="approve", at=later(5)))
    assert stored(paths, "review") is None
    in_time = Decision(action="approve", at=later(4.9))
    assert answer(paths, state, "review", in_time) == in_time


def test_only_what_is_asked_can_be_answered(state_dir: Path) -> None:
    with pytest.raises(FlowStateError, match="does not ask `publish`") as caught:
        answer(make_run(state_dir), waiting(question()), "publish", Decision(action="approve", at=AT))
    assert caught.value.hint == "it waits for: `review`"


def test_what_was_answered_before_stands_also_when_its_time_is_over(state_dir: Path) -> None:
    paths = make_run(state_dir)
    first = Decision(action="approve", by="ana", at=AT)
    offer(paths, "review", first)
    late = Decision(action="reject", by="bo", at=later(9))
    assert answer(paths, waiting(question(deadline=later(5))), "review", late) == first
