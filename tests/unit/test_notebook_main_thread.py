from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from flownb.notebook.main_thread import MainThread


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def thread(loop: asyncio.AbstractEventLoop) -> MainThread:
    """A kernel's thread that the pump does not know, with a loop that stands still until `turn`."""
    return MainThread(SimpleNamespace(io_loop=SimpleNamespace(asyncio_loop=loop)))


def turn(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(0))


def session() -> Any:
    return SimpleNamespace(error=None, cancelled=0, cancel=lambda: None)


def test_what_is_posted_as_a_cell_ends_is_made_by_the_kernels_loop(loop: asyncio.AbstractEventLoop) -> None:
    main, made = thread(loop), list[str]()

    def until() -> bool:
        main.post(lambda: made.append("late"))
        return True

    main.serve(session(), until)
    assert made == []
    turn(loop)
    assert made == ["late"]


def test_while_a_cell_waits_only_it_makes_calls(loop: asyncio.AbstractEventLoop) -> None:
    main, made = thread(loop), list[str]()
    main.post(lambda: made.append("first"))

    def until() -> bool:
        if not made:
            main._make_one_between_cells()
            assert made == []
        return bool(made)

    main.serve(session(), until)
    assert made == ["first"]
    turn(loop)
    assert made == ["first"], "once"


def test_a_call_that_fails_ends_its_run_and_no_other(loop: asyncio.AbstractEventLoop) -> None:
    main, cancelled = thread(loop), list[str]()

    def run_thread(name: str) -> Callable[[Callable[[], None]], None]:
        one, its = main.for_run(), session()
        its.cancel = lambda: cancelled.append(f"{name}: {its.error}")
        one.session = its
        return one.post

    bad, good = run_thread("bad"), run_thread("good")
    bad(lambda: 1 / 0)  # type: ignore[arg-type] # it raises
    good(lambda: cancelled.append("made"))
    turn(loop)
    assert cancelled == ["bad: division by zero", "made"]
