from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from functools import partial

import pytest

from flownb.errors import NodeError
from flownb.executors import base
from flownb.executors.base import Executor, Stopped
from flownb.executors.local import MainExecutor, MainQueue, ThreadExecutor
from flownb.runtimes.base import Printed
from flownb.runtimes.frames import person_frames, person_place
from flownb.runtimes.python import PythonBody
from tests.serving import serve

Scenario = Callable[[Executor], Coroutine[object, object, object]]


def play_on_main(scenario: Scenario, grace: float) -> object:
    return serve(scenario, grace=grace)


def play_on_threads(scenario: Scenario, grace: float) -> object:
    executor = ThreadExecutor(grace)

    async def main() -> object:
        return await scenario(executor)

    try:
        return serve(lambda _: main())
    finally:
        executor.close()


@pytest.fixture(params=[play_on_main, play_on_threads], ids=["main", "thread"])
def play(request: pytest.FixtureRequest) -> Callable[..., object]:
    """Play a scenario with an executor of one kind and then of the other."""

    def start(scenario: Scenario, grace: float = 3.0) -> object:
        return request.param(scenario, grace)

    return start


def nobody(_: Printed) -> None:
    """Take what a body prints."""


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.001)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 The body sets no event of this loop.
        await asyncio.sleep(0.001)


def test_a_body_returns_its_value(play: Callable[..., object]) -> None:
    async def scenario(executor: Executor) -> object:
        return await executor.run(lambda: 42, nobody)

    assert play(scenario) == 42


def test_main_bodies_run_on_the_serving_thread_in_order_one_at_a_time() -> None:
    seen: list[tuple[int, bool]] = []

    def body(n: int) -> None:
        seen.append((n, threading.current_thread() is threading.main_thread()))

    async def scenario(executor: Executor) -> None:
        await asyncio.gather(*(executor.run(partial(body, n), nobody) for n in range(100)))

    serve(scenario)

    assert seen == [(n, True) for n in range(100)]


def test_thread_bodies_run_at_the_same_time() -> None:
    barrier = threading.Barrier(8, timeout=10)

    async def scenario(executor: Executor) -> object:
        return await asyncio.gather(*(executor.run(lambda: barrier.wait() >= 0, nobody) for _ in range(8)))

    assert play_on_threads(scenario, 3) == [True] * 8


def test_threads_are_used_again_and_end_when_nobody_needs_them() -> None:
    names: list[str] = []

    async def scenario(executor: Executor) -> None:
        for _ in range(20):
            await executor.run(lambda: names.append(threading.current_thread().name), nobody)

    executor = ThreadExecutor(idle=0.05)
    asyncio.run(scenario(executor))
    assert len(set(names)) == 1
    wait_for(lambda: names[0] not in {thread.name for thread in threading.enumerate()})

    asyncio.run(scenario(executor))
    assert len(set(names)) == 2


def test_closing_ends_idle_threads() -> None:
    executor = ThreadExecutor()
    threads: list[threading.Thread] = []

    async def scenario() -> None:
        await executor.run(lambda: threads.append(threading.current_thread()), nobody)

    asyncio.run(scenario())
    executor.close()
    executor.close()
    threads[0].join()


def test_thread_bodies_see_the_context_of_where_the_executor_was_made() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    variable.set(7)
    executor = ThreadExecutor()

    async def scenario(_: Executor) -> object:
        first = await executor.run(lambda: (variable.get(), variable.set(8))[0], nobody)
        return first, await executor.run(variable.get, nobody)

    try:
        assert serve(scenario) == (7, 7)
    finally:
        executor.close()


def test_main_bodies_can_use_what_belongs_to_the_main_thread() -> None:
    connection = sqlite3.connect(":memory:")

    async def scenario(executor: Executor) -> object:
        return await executor.run(lambda: connection.execute("select 1").fetchone(), nobody)

    assert serve(scenario) == (1,)
    connection.close()


def raise_it(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("slow"), ConnectionError()])
def test_an_error_comes_back_as_it_is(play: Callable[..., object], error: Exception) -> None:
    async def scenario(executor: Executor) -> object:
        with pytest.raises(type(error)) as caught:
            await executor.run(lambda: raise_it(error), nobody)
        return caught.value

    assert play(scenario) is error


@pytest.mark.parametrize(
    "error, message",
    [
        (SystemExit(3), "the body raised SystemExit: 3"),
        (KeyboardInterrupt(), "the body raised KeyboardInterrupt"),
        (GeneratorExit(), "the body raised GeneratorExit"),
        (asyncio.CancelledError(), "the body raised CancelledError"),
        (StopIteration("x"), "the body raised StopIteration: x"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_would_end_more_than_the_node_is_a_failure_of_the_node(
    play: Callable[..., object], error: BaseException, message: str
) -> None:
    async def scenario(executor: Executor) -> object:
        with pytest.raises(NodeError) as caught:
            await executor.run(lambda: raise_it(error), nobody)
        assert caught.value.message == message
        assert caught.value.__cause__ is error
        with pytest.raises(
            RuntimeError if isinstance(error, StopIteration) else NodeError
        ):  # Python itself turns that one.
            await executor.run_async(_raising(error), nobody)
        return await executor.run(lambda: "goes on", nobody), await executor.run_async(_returning, nobody)

    assert play(scenario) == ("goes on", "too")


def _raising(error: BaseException) -> Callable[[], Coroutine[object, object, None]]:
    async def body() -> None:
        await asyncio.sleep(0)
        raise error

    return body


async def _returning() -> str:
    return "too"


def test_exit_in_a_body_shows_the_persons_line(play: Callable[..., object]) -> None:
    async def scenario(executor: Executor) -> object:
        with pytest.raises(NodeError) as caught:
            await executor.run(PythonBody("x = 1\nexit(3)", "In[7]", 12), nobody)
        return person_place(caught.value), "flownb/" in person_frames(caught.value)

    assert play(scenario) == ("In[7]:13", False)


STUBBORN = {
    "busy loop": "began.append(1)\nwhile True: pass",
    "except Exception": "began.append(1)\nwhile True:\n    try:\n        while True: sum(range(100))\n    except Exception: pass",
    "finally": "try:\n    began.append(1)\n    while True: pass\nfinally:\n    tidied.append(1)",
    "short sleeps": "import time\nbegan.append(1)\nwhile True: time.sleep(0.01)",
}


@pytest.mark.parametrize("body", STUBBORN.values(), ids=STUBBORN.keys())
def test_cancelling_really_stops_a_body(play: Callable[..., object], body: str) -> None:
    began: list[int] = []
    tidied: list[int] = []
    code = PythonBody(body, "In[7]", 1, {"began": began, "tidied": tidied})
    ended = threading.Event()

    def run() -> None:
        try:
            code()
        finally:
            ended.set()

    async def scenario(executor: Executor) -> object:
        task = asyncio.ensure_future(executor.run(run, nobody))
        await until(lambda: began)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()  # It is not only given up.
        return await executor.run(lambda: "goes on", nobody)

    assert play(scenario, grace=20) == "goes on"
    assert tidied == ([1] if "tidied" in body else [])


def test_a_sleep_on_the_main_thread_is_stopped_at_once() -> None:
    began: list[float] = []

    def sleep() -> None:
        began.append(1)
        time.sleep(600)

    async def scenario(executor: Executor) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await executor.run(sleep, nobody)

    serve(scenario, grace=20)
    assert began == [1]


def test_a_body_that_catches_the_first_stop_is_stopped_again(
    play: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "STOP_AGAIN", 0.05)
    caught: list[type[BaseException]] = []
    began = threading.Event()

    def body() -> None:
        try:
            began.set()
            while True:
                time.sleep(0.001)
        except BaseException as error:  # noqa: BLE001
            caught.append(type(error))
        while True:
            time.sleep(0.001)

    async def scenario(executor: Executor) -> None:
        task = asyncio.ensure_future(executor.run(body, nobody))
        await until(began.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(scenario, grace=20)
    assert len(caught) == 1


def test_a_body_that_cannot_be_stopped_is_given_up_and_said_so() -> None:
    release = threading.Event()
    shown: list[Printed] = []

    def body() -> None:  # A lock without a time limit lets no exception in.
        release.wait()

    executor = ThreadExecutor(grace=0.1)

    async def scenario(_: Executor) -> object:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await executor.run(body, shown.append)
        return await executor.run(lambda: "goes on", nobody)

    try:
        assert serve(scenario) == "goes on"
    finally:
        release.set()
        executor.close()
    assert [printed.mime for printed in shown] == ["stderr"]
    assert "did not stop within 0.1 s" in str(shown[0].data)


def test_a_stop_that_comes_before_the_body_is_reached_is_not_lost() -> None:
    ran: list[int] = []

    class StopsTooEarly:
        @contextlib.contextmanager
        def body(self, key: object = None) -> Iterator[None]:
            assert isinstance(key, base.Job)
            assert key._stop(again=False)
            yield

        def stop(self, error: BaseException, key: object = None) -> None:
            """Do nothing: the body does not run yet."""

    async def main() -> None:
        job = base.Job(lambda: ran.append(1), nobody, base.Returns(asyncio.get_running_loop()))
        job.perform(StopsTooEarly())
        job.hand_back()
        with pytest.raises(NodeError):
            await job.result()

    asyncio.run(main())
    assert ran == []


def test_a_body_that_has_not_begun_is_dropped_at_once() -> None:
    ran: list[str] = []
    shown: list[Printed] = []
    release = threading.Event()

    async def scenario(executor: Executor) -> None:
        first = asyncio.ensure_future(executor.run(release.wait, nobody))
        second = asyncio.ensure_future(executor.run(lambda: ran.append("second"), shown.append))
        third = asyncio.ensure_future(executor.run(lambda: ran.append("third"), nobody))
        await asyncio.sleep(0.01)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert not first.done()
        release.set()
        await asyncio.gather(first, third)

    serve(scenario)
    assert ran == ["third"]
    assert shown == []


def test_stopping_one_body_never_hits_the_next(play: Callable[..., object]) -> None:
    ends: list[int] = []

    async def scenario(executor: Executor) -> None:
        for n in range(150):
            task = asyncio.ensure_future(executor.run(lambda: sum(range(200)), nobody))
            await asyncio.sleep(0.0005 * (n % 3))
            follower = asyncio.ensure_future(executor.run(partial(ends.append, n), nobody))
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await follower

    play(scenario)
    assert ends == list(range(150))


def test_cancelling_twice_still_waits_for_the_body() -> None:
    tidied = threading.Event()
    began = threading.Event()

    def body() -> None:
        try:
            began.set()
            time.sleep(600)
        finally:
            time.sleep(0.1)
            tidied.set()

    async def scenario(executor: Executor) -> bool:
        task = asyncio.ensure_future(executor.run(body, nobody))
        await until(began.is_set)
        task.cancel()
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return tidied.is_set()

    assert serve(scenario, grace=20)


def test_a_stop_is_no_exception() -> None:
    assert not issubclass(Stopped, Exception)


def test_the_persons_interrupt_raises_in_the_body_and_nowhere_else() -> None:
    heard: list[int] = []

    def body() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)

    async def scenario(executor: Executor) -> object:
        with pytest.raises(NodeError) as caught:
            await executor.run(body, nobody)
        os.kill(os.getpid(), signal.SIGINT)  # While the main thread only waits.
        await until(lambda: len(heard) == 2)
        return caught.value.message

    assert serve(scenario, on_interrupt=lambda: heard.append(1)) == "the body raised KeyboardInterrupt"


def test_the_way_to_the_thread_may_be_replaced_while_it_runs() -> None:
    posted: list[str] = []

    async def scenario(executor: MainExecutor) -> None:
        first = executor.post
        await executor.run(lambda: None, nobody)

        def other(call: Callable[[], None]) -> None:
            posted.append("other")
            first(call)

        executor.post = other
        await executor.run(lambda: None, nobody)

    serve(scenario)
    assert posted == ["other"]


def test_a_thousand_bodies_wake_the_loop_far_less_often() -> None:
    async def scenario(executor: MainExecutor) -> int:
        loop = asyncio.get_running_loop()
        woken = 0
        call_soon = loop.call_soon_threadsafe

        def counted(*args, **options):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN003, ANN202
            nonlocal woken
            woken += 1
            return call_soon(*args, **options)

        loop.call_soon_threadsafe = counted  # type: ignore[assignment, method-assign]
        gate = threading.Event()
        held = asyncio.ensure_future(executor.run(gate.wait, nobody))
        many = asyncio.gather(*(executor.run(lambda: None, nobody) for _ in range(1000)))
        await asyncio.sleep(0)
        loop.call_soon(time.sleep, 0.05)  # All bodies end while the loop is busy.
        gate.set()
        await held
        await many
        return woken

    assert serve(scenario) < 500


def test_one_executor_serves_one_loop_after_another() -> None:
    executor = ThreadExecutor()
    try:
        assert asyncio.run(executor.run(lambda: 1, nobody)) == 1
        assert asyncio.run(executor.run(lambda: 2, nobody)) == 2
        assert asyncio.run(executor.run_async(_returning, nobody)) == "too"
        assert asyncio.run(executor.run_async(_returning, nobody)) == "too"
    finally:
        executor.close()


def test_a_body_that_ends_after_its_loop_was_closed_hurts_nobody() -> None:
    release = threading.Event()
    executor = ThreadExecutor(grace=0.01)

    async def scenario() -> None:
        async with asyncio.timeout(0.01):
            await executor.run(release.wait, nobody)

    with pytest.raises(TimeoutError):
        asyncio.run(scenario())
    release.set()
    assert asyncio.run(executor.run(lambda: 1, nobody)) == 1
    executor.close()


def test_serving_makes_calls_until_the_condition_holds() -> None:
    calls = MainQueue()
    seen: list[int] = []
    for n in range(5):
        calls.post(partial(seen.append, n))

    calls.serve(lambda: len(seen) == 3)
    assert seen == [0, 1, 2]

    calls.serve(lambda: len(seen) == 5)
    assert seen == [0, 1, 2, 3, 4]


def test_serving_looks_again_when_woken() -> None:
    calls = MainQueue()
    ended = threading.Event()

    def end() -> None:
        ended.set()
        calls.wake()

    threading.Timer(0.01, end).start()
    calls.serve(ended.is_set)


def test_a_process_ends_although_a_body_does_not() -> None:
    code = (
        "import asyncio, threading\n"
        "from flownb.executors.local import ThreadExecutor\n"
        "executor = ThreadExecutor(grace=0.1)\n"
        "async def main():\n"
        "    async with asyncio.timeout(0.1):\n"
        "        await executor.run(threading.Event().wait, lambda printed: None)\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except TimeoutError:\n"
        "    print('stopped')\n"
        "executor.close()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=20)

    assert done.stdout == "stopped\n"
    assert done.stderr == ""
