"""Interrupts strike inside a body, with the right error, and nowhere else."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from flownb.executors.interrupt import MainInterrupts, ThreadInterrupt
from tests.runs import line_of, process


class Late(BaseException):
    """What a timeout raises."""


def nothing() -> None:
    """Hear of no interrupt."""


def soon(function: Callable[[], None]) -> threading.Thread:
    """Call `function` from another thread as soon as this one waits."""

    def wait_and_call() -> None:
        time.sleep(0.05)
        function()

    thread = threading.Thread(target=wait_and_call)
    thread.start()
    return thread


def press() -> None:
    """Press Ctrl-C."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def test_stop_raises_its_error_inside_a_sleeping_body() -> None:
    error = Late("over")
    with MainInterrupts(nothing) as interrupts:
        thread = soon(lambda: interrupts.stop(error))
        with pytest.raises(Late) as caught, interrupts.body():
            time.sleep(20)
    thread.join()
    assert caught.value is error


def test_a_stop_that_is_delivered_late_spares_the_next_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "pthread_kill", lambda thread, number: None)  # The system takes its time.
    with MainInterrupts(nothing) as interrupts:
        with interrupts.body():
            interrupts.stop(Late())
        signal.raise_signal(signal.SIGURG)
        with interrupts.body():
            signal.raise_signal(signal.SIGURG)


def sleep_stubbornly() -> None:
    """Sleep on whatever happens, as some people's code does."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(20)


def test_stop_passes_an_except_exception() -> None:
    with MainInterrupts(nothing) as interrupts:
        thread = soon(lambda: interrupts.stop(Late()))
        with pytest.raises(Late), interrupts.body():
            sleep_stubbornly()
    thread.join()


def test_stop_without_a_body_does_nothing_now_and_later() -> None:
    with MainInterrupts(nothing) as interrupts:
        interrupts.stop(Late())
        with interrupts.body():
            sum(range(1000))


def test_stop_of_an_ended_body_spares_the_next_one() -> None:
    with MainInterrupts(nothing) as interrupts:
        with interrupts.body("first"):
            pass
        with interrupts.body("second"):
            interrupts.stop(Late(), "first")
            sum(range(1000))


@contextlib.contextmanager
def shooting(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` from another thread all the time, with threads taking turns often."""
    over, interval = threading.Event(), sys.getswitchinterval()

    def shoot() -> None:
        while not over.wait(0.0001):
            stop()

    thread = threading.Thread(target=shoot)
    sys.setswitchinterval(1e-4)
    gc.disable()  # hypothesis' gc callback is Python: what strikes in there Python itself swallows, as in `__del__`.
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        gc.enable()
        sys.setswitchinterval(interval)


def struck_until(body: Callable[[], None], enough: int) -> None:
    """Run short bodies until `enough` of them were struck; what strikes outside of them comes through."""
    struck = 0
    while struck < enough:
        try:
            body()
        except Late:
            struck += 1
        sum(range(50))


def test_stop_raises_nothing_outside_while_bodies_begin_and_end() -> None:
    with MainInterrupts(nothing) as interrupts:

        def body() -> None:
            with interrupts.body():
                sum(range(50))

        with shooting(lambda: interrupts.stop(Late())):
            struck_until(body, 50)


def test_interrupt_is_told_and_raises_keyboard_interrupt_in_the_body() -> None:
    told: list[str] = []
    with MainInterrupts(lambda: told.append("stop")) as interrupts:
        thread = soon(press)
        with pytest.raises(KeyboardInterrupt), interrupts.body():
            time.sleep(20)
    thread.join()
    assert told == ["stop"]


def test_interrupt_outside_a_body_is_told_and_raises_nothing() -> None:
    told = threading.Event()
    with MainInterrupts(told.set) as interrupts:
        with interrupts.body():
            pass
        thread = soon(press)
        assert told.wait(20)
    thread.join()


def test_handlers_from_before_are_put_back() -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGURG)
    with MainInterrupts(nothing):
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGURG)) == before


def test_interrupt_raises_again_after_the_block() -> None:
    with MainInterrupts(nothing):
        pass
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_body_on_a_foreign_thread_is_refused() -> None:
    refused: list[str] = []
    with MainInterrupts(nothing) as interrupts:

        def enter() -> None:
            try:
                interrupts.body()
            except RuntimeError as error:
                refused.append(str(error))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
    assert refused == ["MainInterrupts.body() belongs to the thread that entered MainInterrupts"]


def spin() -> None:
    """Run until stopped."""
    while True:
        pass


def in_thread(function: Callable[[], None]) -> BaseException | None:
    """Run `function` on a thread of its own and return what it raised."""
    raised: list[BaseException] = []

    def catch() -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  the test looks at it
            raised.append(error)

    thread = threading.Thread(target=catch)
    thread.start()
    thread.join()
    return raised[0] if raised else None


def test_main_interrupts_off_the_main_thread_stop_all_the_same() -> None:
    error = Late("over")

    def run() -> None:
        with MainInterrupts(nothing) as interrupts:
            soon(lambda: interrupts.stop(error, "a"))
            with interrupts.body("a"):
                spin()

    assert in_thread(run) is error


def test_thread_interrupt_stops_a_busy_body_with_its_error() -> None:
    interrupt, error = ThreadInterrupt(), Late("over")
    soon(lambda: interrupt.stop(error))
    assert in_thread(lambda: interrupt.run(spin)) is error


def test_thread_interrupt_returns_what_the_body_returns() -> None:
    assert ThreadInterrupt().run(lambda: 42) == 42


def test_thread_interrupt_spares_a_body_of_another_name() -> None:
    interrupt = ThreadInterrupt()

    def body() -> None:
        interrupt.stop(Late(), "other")
        sum(range(1000))

    assert in_thread(lambda: interrupt.run(body, "mine")) is None


PROFILES = """
import asyncio, cProfile, sys, threading, time
from flownb.executors.base import Stopped
from flownb.executors.coroutine import LoopThread
from flownb.executors.interrupt import ThreadInterrupt
from flownb.executors.local import ThreadExecutor

def work():
    return sum(number for number in range(1000))

async def work_async():
    await asyncio.sleep(0)
    return work()

def endless():
    while True:
        pass

def swallows():
    try:
        endless()
    except BaseException:
        return "swallowed"

def sleeps():
    time.sleep(0.3)  # The stop that comes meanwhile is on its way when this returns.

async def bodies():
    executor = ThreadExecutor()
    await executor.run(work, lambda _: None)
    await executor.run_async(work_async, lambda _: None)
    executor.close()

def stopped(body):
    interrupt = ThreadInterrupt()
    def run():
        try:
            interrupt.run(body)
        except Stopped:
            pass
    thread = threading.Thread(target=run)
    thread.start()
    time.sleep(0.1)
    interrupt.stop(Stopped())
    thread.join()

def trace(frame, event, argument):
    return trace

asyncio.run(bodies()) if sys.argv[1] == "bodies" else stopped(globals()[sys.argv[1]])
profile = cProfile.Profile()
profile.enable()
work()
profile.disable()
sys.settrace(trace)
work()
sys.settrace(None)
print("profiled and traced")
"""


@pytest.mark.parametrize("bodies", ["bodies", "endless", "swallows", "sleeps"])
def test_what_profiles_and_traces_works_after_bodies_on_threads(bodies: str) -> None:
    with process(PROFILES, bodies) as child:
        assert line_of(child) == "profiled and traced"


def test_an_interrupt_that_is_ignored_stays_so_unless_it_is_wanted() -> None:
    told: list[str] = []
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with MainInterrupts(lambda: told.append("one")) as interrupts, interrupts.body():
            signal.raise_signal(signal.SIGINT)
        with MainInterrupts(lambda: told.append("two"), even_ignored=True):
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert told == ["two"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_end_is_told_and_leaves_the_body(number: signal.Signals) -> None:
    told: list[int] = []
    before = signal.signal(number, signal.SIG_DFL)
    try:
        with MainInterrupts(nothing, told.append) as interrupts:
            signal.raise_signal(number)
            with pytest.raises(SystemExit) as caught, interrupts.body():
                signal.raise_signal(number)
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert caught.value.code == 128 + number
    assert told == [number, number]


def test_an_end_that_someone_handles_or_nobody_asked_for_is_left_alone() -> None:
    own: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: own.append(number))
    try:
        with MainInterrupts(nothing, lambda _: pytest.fail("it is theirs")) as interrupts, interrupts.body():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert own == [signal.SIGTERM]
    with MainInterrupts(nothing):
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_thread_interrupt_strikes_nothing_outside_while_bodies_begin_and_end() -> None:
    interrupt = ThreadInterrupt(pause_s=0.004)

    def body() -> None:
        interrupt.run(lambda: sum(range(50)))

    with shooting(lambda: interrupt.stop(Late())):
        assert in_thread(lambda: struck_until(body, 50)) is None
