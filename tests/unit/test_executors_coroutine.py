from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context

import pytest

from flownb.executors import base
from flownb.executors.capture import current_printed
from flownb.executors.coroutine import LoopThread
from flownb.runtimes.base import Printed


@pytest.fixture
def loop_thread() -> Iterator[LoopThread]:
    made = LoopThread(copy_context(), 20)
    yield made
    made.close()


def nobody(_: Printed) -> None:
    """Take what a body prints."""


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 The body sets no event of this loop.
        await asyncio.sleep(0.001)


async def where() -> int:
    await asyncio.sleep(0)
    return threading.get_ident()


def test_bodies_share_one_thread_that_is_not_the_engines(loop_thread: LoopThread) -> None:
    async def main() -> list[int]:
        return list(await asyncio.gather(*(loop_thread.run(where, nobody) for _ in range(5))))

    threads = asyncio.run(main())

    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_bodies_run_at_the_same_time(loop_thread: LoopThread) -> None:
    async def main() -> list[str]:
        barrier = asyncio.Barrier(5)

        async def meet() -> str:
            async with asyncio.timeout(10):
                await barrier.wait()
            return "met"

        return list(await asyncio.gather(*(loop_thread.run(meet, nobody) for _ in range(5))))

    assert asyncio.run(main()) == ["met"] * 5


def test_no_thread_is_started_before_the_first_body() -> None:
    before = threading.active_count()
    made = LoopThread(copy_context())

    assert threading.active_count() == before
    made.close()


def test_closing_ends_the_thread_and_what_runs_on_it() -> None:
    made = LoopThread(copy_context())
    before = set(threading.enumerate())
    asyncio.run(made.run(where, nobody))
    threads = set(threading.enumerate()) - before

    made.close()

    assert len(threads) == 1
    assert not threads.pop().is_alive()


def test_cancelling_cancels_the_body_and_waits_for_its_end(loop_thread: LoopThread) -> None:
    seen: list[str] = []

    async def body() -> None:
        try:
            seen.append("began")
            await asyncio.sleep(600)
        finally:
            await asyncio.sleep(0.01)
            seen.append("tidied")

    async def main() -> None:
        task = asyncio.ensure_future(loop_thread.run(body, nobody))
        await until(lambda: seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["began", "tidied"]


def test_cancelling_before_the_beginning_drops_the_body(loop_thread: LoopThread) -> None:
    ran: list[int] = []

    async def body() -> None:
        ran.append(1)

    async def main() -> None:
        gate = threading.Event()

        async def block() -> None:
            gate.wait()

        first = asyncio.ensure_future(loop_thread.run(block, nobody))
        await asyncio.sleep(0.01)
        second = asyncio.ensure_future(loop_thread.run(body, nobody))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await second
        await first

    asyncio.run(main())
    assert ran == []


@pytest.mark.parametrize("in_a_task", [False, True], ids=["itself", "in a task of its own"])
def test_a_body_that_blocks_the_loop_is_interrupted(
    loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch, *, in_a_task: bool
) -> None:
    monkeypatch.setattr(base, "STOP_AGAIN", 0.05)
    seen: list[str] = []

    async def block() -> None:
        try:
            seen.append("began")
            while True:
                time.sleep(0.01)  # noqa: ASYNC251
        finally:
            seen.append("ended")

    async def body() -> None:
        await (asyncio.create_task(block()) if in_a_task else block())

    async def main() -> object:
        task = asyncio.ensure_future(loop_thread.run(body, nobody))
        await until(lambda: seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await loop_thread.run(where, nobody)

    assert asyncio.run(main())
    assert seen == ["began", "ended"]


def test_interrupting_one_body_never_hits_another(loop_thread: LoopThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "STOP_AGAIN", 0.002)
    steps: list[int] = []

    async def deaf() -> None:
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            try:
                await asyncio.sleep(0.001)
                sum(range(3000))
            except BaseException:  # noqa: BLE001, S110
                pass

    async def other() -> int:
        for step in range(100):
            sum(range(3000))
            steps.append(step)
            await asyncio.sleep(0.002)
        return 7

    async def main() -> object:
        first = asyncio.ensure_future(loop_thread.run(deaf, nobody))
        second = asyncio.ensure_future(loop_thread.run(other, nobody))
        await until(lambda: steps)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        return await second

    assert asyncio.run(main()) == 7
    assert steps == list(range(100))


def test_a_loop_that_is_stuck_is_left_and_others_get_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "STOP_AGAIN", 0.02)
    made = LoopThread(copy_context(), 0.05)
    release = threading.Event()
    shown: list[Printed] = []

    async def stuck() -> None:
        release.wait()

    async def main() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await made.run(stuck, shown.append)
        return await made.run(where, nobody)

    assert asyncio.run(main())
    assert "did not stop" in str(shown[0].data)
    release.set()
    made.close()


def test_exit_in_a_task_of_the_body_does_not_end_the_loop(loop_thread: LoopThread) -> None:
    async def body() -> None:
        async def leave() -> None:
            raise SystemExit(3)

        task = asyncio.create_task(leave())
        with pytest.raises(SystemExit):
            await task

    async def main() -> object:
        await loop_thread.run(body, nobody)
        return await loop_thread.run(where, nobody)

    assert asyncio.run(main())


def test_tasks_that_a_body_started_end_with_it(loop_thread: LoopThread) -> None:
    ended = threading.Event()

    async def forever() -> None:
        try:
            await asyncio.sleep(600)
        finally:
            ended.set()

    async def body() -> object:
        started = asyncio.create_task(forever())
        await asyncio.sleep(0.01)
        return started.done()

    assert asyncio.run(loop_thread.run(body, nobody)) is False
    assert ended.wait(10)


def test_bodies_have_the_context_given_and_their_own_output() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    variable.set(7)
    made = LoopThread(copy_context())
    variable.set(8)
    shown: list[Printed] = []

    async def body() -> int:
        async def child() -> object:
            return current_printed()

        printed = current_printed()
        assert printed is not None
        assert await asyncio.create_task(child()) is printed
        printed(Printed("stdout", "x"))
        return variable.get()

    assert asyncio.run(made.run(body, shown.append)) == 7
    made.close()
    assert shown == [Printed("stdout", "x")]
