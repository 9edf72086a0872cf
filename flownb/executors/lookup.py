"""The executors of one run: those that most runs do not need are made when the first body asks for them."""

from __future__ import annotations

import traceback
from contextvars import copy_context
from typing import assert_never

from flownb.executors.base import Executor
from flownb.executors.dask import DaskExecutor
from flownb.executors.local import MainExecutor, ThreadExecutor
from flownb.executors.process import ProcessExecutor
from flownb.model.policy import ExecutorName


class Executors(dict[ExecutorName, Executor]):
    """Name → executor. Looking one up makes it, with the context variables of where this was made."""

    def __init__(self, main: MainExecutor, held: int | None = None) -> None:
        """Begin with the executors of this process.

        Args:
            main: What runs bodies on the thread that serves the run.
            held: The descriptor of the run's lock, for processes; None: there is none.
        """
        super().__init__({ExecutorName.MAIN: main, ExecutorName.THREAD: ThreadExecutor()})
        self._context = copy_context()
        self._held = held

    def __missing__(self, name: ExecutorName) -> Executor:
        made = self[name] = self._context.run(_make, name, self._held)
        return made

    def close(self) -> None:
        """Close those that were made; what one of them raises is shown, and is nothing to the run, which has ended."""
        for executor in self.values():
            try:
                executor.close()
            except Exception:  # noqa: BLE001 Dask's, too.
                traceback.print_exc()


def _make(name: ExecutorName, held: int | None) -> Executor:
    match name:
        case ExecutorName.PROCESS:
            return ProcessExecutor(held=held)
        case ExecutorName.DASK:
            return DaskExecutor()
        case ExecutorName.MAIN | ExecutorName.THREAD:
            raise KeyError(name)
        case _:
            assert_never(name)
