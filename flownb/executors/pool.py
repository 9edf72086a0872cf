"""Threads that carry out jobs one after the other, kept a while for the next ones."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from flownb.executors.base import Job

Task = Job[Any]
"""Any: the jobs of one thread have values of different types, and it looks at none."""


class Worker(Protocol):
    """What carries out jobs on a thread of a pool."""

    def perform(self, job: Task) -> bool:
        """Carry out a job on this thread; raises nothing. Return whether another one may come."""
        ...

    def end(self) -> None:
        """Let go of what it holds, on this thread: no other job will come."""
        ...


W = TypeVar("W", bound=Worker)


class Pool(Generic[W]):
    """As many threads, each with its worker, as there are bodies at once. Thread-safe."""

    def __init__(self, make: Callable[[str], W], name: str, idle_s: float) -> None:
        """Begin without threads.

        Args:
            make: Name of a thread → its worker.
            name: What the threads' names begin with.
            idle_s: Seconds after which a thread that nobody needs ends.
        """
        self.name, self.idle_s = name, idle_s
        self._make = make
        self._lock = threading.Lock()
        self._idle: deque[PoolThread[W]] = deque()
        self._all: set[PoolThread[W]] = set()
        self._closed = False

    def take(self) -> PoolThread[W]:
        """Return a thread that has nothing to do; whoever takes it puts a job into its `jobs`."""
        with self._lock:
            if self._idle:
                return self._idle.pop()  # The last one in: the others grow old and end.
            thread = PoolThread(self, self._make)
            self._all.add(thread)
        thread.start()
        return thread

    def rest(self, thread: PoolThread[W]) -> bool:
        """Take a thread back; return whether it is to stay."""
        with self._lock:
            if not self._closed:
                self._idle.append(thread)
            return not self._closed

    def remove(self, thread: PoolThread[W], *, if_idle: bool = False) -> bool:
        """Forget a thread; return whether it may end."""
        with self._lock:
            if if_idle and thread not in self._idle:
                return False
            if thread in self._idle:
                self._idle.remove(thread)
            self._all.discard(thread)
            return True

    def close(self) -> list[PoolThread[W]]:
        """Keep no thread from now on; return all there are, of which those that are idle wait for `jobs.put(None)`."""
        with self._lock:
            self._closed = True
            self._idle.clear()
            return list(self._all)


class PoolThread(threading.Thread, Generic[W]):
    """One thread of a pool. A daemon: a body that cannot be stopped does not keep the process alive."""

    _numbers = itertools.count(1)

    def __init__(self, pool: Pool[W], make: Callable[[str], W]) -> None:
        """Prepare a thread and its worker."""
        super().__init__(name=f"{pool.name}-{next(self._numbers)}", daemon=True)
        self._pool = pool
        self.worker = make(self.name)
        """What carries out the jobs."""
        self.jobs: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        """What is to be carried out; None: nothing more."""

    def run(self) -> None:
        """Carry out jobs until nobody needs this thread."""
        while (job := self._next()) is not None:
            stays = self.worker.perform(job) and self._pool.rest(self)
            try:  # The pool has it back before the loop hears of the end: its next job finds this thread.
                if not stays:
                    self._pool.remove(self)
                    self.worker.end()
            finally:
                job.hand_back()
            del job  # It holds the body's values.
            if not stays:
                return
        self.worker.end()

    def _next(self) -> Task | None:
        try:
            return self.jobs.get(timeout=self._pool.idle_s)
        except queue.Empty:
            if self._pool.remove(self, if_idle=True):
                return None
            return self.jobs.get()  # It was given a job in this very moment.
