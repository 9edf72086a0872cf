from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from flownb.model import events as e
from flownb.model.decision import Decision, Question, Request, Via
from flownb.model.state import RunState
from flownb.notebook.cards import Cards
from flownb.notebook.publishing import BUNDLE, Display
from flownb.notebook.view import PAUSE_S, View
from flownb.runtimes.base import Printed

NOW = datetime.now(UTC)
VIEW = "application/vnd.jupyter.widget-view+json"


class Publisher:
    """Keeps what a notebook would show: display id → MIME type → data, in the order in which they came."""

    def __init__(self) -> None:
        self.shown: dict[str, dict[str, Any]] = {}
        self.count = 0

    def publish(self, data: Any, _metadata: Any = None, *, transient: Any = None, update: bool = False) -> None:
        name = transient["display_id"]
        assert update is (name in self.shown)
        self.shown[name] = dict(data)
        self.count += 1

    @property
    def text(self) -> str:
        return "\n".join(str(data.get("text/markdown", "")) for data in self.shown.values())

    @property
    def widgets(self) -> int:
        return sum(VIEW in data for data in self.shown.values())


class Shown:
    """A view with its cards, drawn only when a test says so."""

    def __init__(self) -> None:
        self.publisher, self.state = Publisher(), RunState(run_id="r", workflow="weekly")
        self.view = View(self.publisher, self.state, lambda data: data)
        self.cards = Cards(self.view, self.publisher, "r", lambda value: [Display({"text/plain": repr(value)})])

    def ask(self, key: str, *, settled: bool = False) -> None:
        self.cards.ask(Request(question(key), {}, lambda: settled))
        self.view._paint()

    def decide(self, key: str, action: str = "approve") -> None:
        decision = Decision(action=action, by="ana", at=NOW, via=Via.NOTEBOOK)
        self.cards.watch(e.Decided(at=NOW, key=key, decision=decision), self.state)
        self.view._paint()

    @property
    def buttons(self) -> int:
        return len(self.cards._open)


def question(key: str) -> Question:
    return Question(key=key, heading=key.title(), text="Go on?", asked_at=NOW)


@pytest.fixture
def shown() -> Iterator[Shown]:
    made = Shown()
    yield made
    made.cards._over.set()


def test_a_question_that_is_settled_by_the_time_it_is_drawn_gets_no_card(shown: Shown) -> None:
    shown.ask("one", settled=True)
    assert (shown.buttons, shown.publisher.widgets) == (0, 0)


def test_a_text_stands_in_the_cards_place_while_no_question_is_open_and_the_same_box_comes_back(shown: Shown) -> None:
    shown.ask("one")
    box = shown.cards._box
    assert shown.publisher.widgets == 1
    shown.decide("one")
    assert shown.publisher.widgets == 0
    assert "**One** · ✔\ufe0e approved by ana" in shown.publisher.text
    shown.ask("two")
    assert shown.publisher.widgets == 1
    assert shown.cards._box is box
    assert "approved by ana" in str(shown.cards._told.outputs)


def test_a_question_that_is_asked_again_is_open_again(shown: Shown) -> None:
    shown.ask("one")
    shown.decide("one", "reject")
    shown.ask("one")
    assert shown.buttons == 1
    assert "rejected" not in str(shown.cards._told.outputs)


def test_the_end_says_what_was_not_answered_and_closes_the_box(shown: Shown) -> None:
    shown.ask("one")
    box = shown.cards._box
    shown.cards.finish("run r: cancelled")
    shown.view._paint()
    assert "**One** · not answered: the run ended" in shown.publisher.text
    assert shown.publisher.widgets == 0
    assert box.comm is None, "it is closed"


def test_after_the_cell_the_box_stays_with_how_the_run_ended_until_it_is_closed(shown: Shown) -> None:
    shown.ask("one")
    shown.view.leave_cell()
    shown.decide("one")
    shown.cards.finish("run r: completed")
    shown.view._paint()
    box = shown.cards._box
    assert "run r: completed" in str(shown.cards._told.outputs)
    assert box.comm is not None
    shown.cards.close()
    assert box.comm is None


def test_moving_shows_box_log_and_late_displays_where_the_cell_is_now(shown: Shown) -> None:
    shown.view._paint()
    shown.ask("one")
    shown.view.leave_cell()
    shown.view.printed("one", Printed(BUNDLE, Display({"text/html": "<i>late</i>"})))
    shown.view._paint()
    before = set(shown.publisher.shown)
    shown.view.move_here()
    shown.cards.move_here()
    new = [data for name, data in shown.publisher.shown.items() if name not in before]
    assert sum("**weekly**" in str(data.get("text/markdown")) for data in new) == 1
    assert sum("<i>late</i>" in str(data.get("text/html")) for data in new) == 1
    assert sum(VIEW in data for data in new) == 1


def test_many_events_are_drawn_at_most_ten_times_a_second(shown: Shown) -> None:
    pauses: list[float] = []

    def wait(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 3:
            shown.view._over.set()
        shown.view._bell.set()

    shown.view._over.wait = wait  # type: ignore[assignment, method-assign] # nothing really waits
    shown.view._bell.set()
    shown.view._work()
    assert pauses == [PAUSE_S] * 3


def test_what_cannot_be_drawn_is_told_once_below_the_log(shown: Shown) -> None:
    def bad() -> None:
        raise ValueError("no\npicture")

    for _ in range(3):
        shown.view.do(bad)
    shown.view._paint()
    assert "ValueError" not in shown.publisher.text
    shown.view.finish()
    shown.view._is_final = True
    shown.view._paint()
    assert shown.publisher.text.count("- ValueError: no\\\\npicture") == 1
