"""Lets bodies of a run meet: each waits until so many are there, so that they can only end if they overlap."""

from __future__ import annotations

import threading

_BARRIERS: dict[str, threading.Barrier] = {}


def expect(name: str, parties: int) -> None:
    """Prepare a meeting of so many."""
    _BARRIERS[name] = threading.Barrier(parties)


def meet(name: str) -> bool:
    """Wait until all are there; raises BrokenBarrierError when they do not come."""
    _BARRIERS[name].wait(timeout=10)
    return True
