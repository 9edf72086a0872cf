"""A main thread that serves, and an engine's loop on another: what executors are made for."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import TypeVar

from flownb.executors.capture import capturing
from flownb.executors.interrupt import MainInterrupts
from flownb.executors.local import MainExecutor, MainQueue

T = TypeVar("T")


def serve(
    scenario: Callable[[MainExecutor], Coroutine[object, object, T]],
    *,
    grace: float = 3.0,
    on_interrupt: Callable[[], None] = lambda: None,
) -> T:
    """Run a scenario on a loop in another thread while this thread serves its main executor; return what it returns."""
    calls = MainQueue()
    ended = threading.Event()
    values: list[T] = []
    errors: list[BaseException] = []
    with MainInterrupts(on_interrupt) as interrupts, capturing():
        executor = MainExecutor(calls.post, interrupts, grace)

        def play() -> None:
            try:
                values.append(asyncio.run(scenario(executor)))
            except BaseException as error:  # noqa: BLE001 It is raised in the test's own thread.
                errors.append(error)
            ended.set()
            calls.wake()

        thread = threading.Thread(target=play)
        thread.start()
        calls.serve(ended.is_set)
        thread.join()
        executor.close()
    if errors:
        raise errors[0]
    return values[0]
