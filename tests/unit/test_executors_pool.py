from __future__ import annotations

import asyncio
import threading
from contextlib import AbstractContextManager, nullcontext

from flownb.executors.base import Job, Returns
from flownb.executors.pool import Pool, Task


class Once:
    """Carries out one job, and no other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.ended = threading.Event()

    def perform(self, job: Task) -> bool:
        job.perform(NeverStops())
        return False

    def end(self) -> None:
        self.ended.set()


class NeverStops:
    def body(self, key: object = None) -> AbstractContextManager[None]:
        return nullcontext()

    def stop(self, error: BaseException, key: object = None) -> None:
        raise AssertionError


def test_a_worker_that_may_carry_out_no_other_job_has_ended_before_its_job_has() -> None:
    pool = Pool(Once, "once", 60)

    async def one(number: int) -> tuple[str, bool]:
        thread = pool.take()
        job = Job(lambda: number, lambda _printed: None, Returns(asyncio.get_running_loop()))
        thread.jobs.put(job)
        assert await job.result() == number
        return thread.name, thread.worker.ended.is_set()

    async def scenario() -> list[tuple[str, bool]]:
        return [await one(number) for number in range(2)]

    (first, first_ended), (second, second_ended) = asyncio.run(scenario())
    assert first != second
    assert first_ended
    assert second_ended
    assert pool.close() == []


def test_after_closing_nothing_is_kept() -> None:
    pool = Pool(Once, "once", 60)
    thread = pool.take()
    assert pool.close() == [thread]
    assert not pool.rest(thread)
    thread.jobs.put(None)
    thread.join()
    assert thread.worker.ended.is_set()
