"""Attempts at one piece of work: how many, and how long to wait between them (format.md, section 4.4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from flownb.engine.outcome import Failed, Outcome
from flownb.model.policy import Backoff, Jitter, Retry

HOPELESS: Final = frozenset({"SyntaxError", "NameError", "ImportError", "RejectedError"})
"""Errors that another attempt would only meet again."""

Uniform = Callable[[float, float], float]
"""Chance between two numbers."""


async def retry(
    policy: Retry | None,
    failed: int,
    work: Callable[[int], Awaitable[Outcome]],
    on_failure: Callable[[Failed, float], Awaitable[None]],
    uniform: Uniform,
) -> Outcome:
    """Make attempts until one does not fail, or none is left; return how the last one ended.

    Args:
        policy: What is tried again, and when; None: there is one attempt.
        failed: How many attempts failed before, as before a crash.
        work: Makes an attempt; it is given its number, from 1.
        on_failure: Notes a failure after which another attempt follows, and waits the seconds until then.
        uniform: Chance.
    """
    while True:
        outcome = await work(failed + 1)
        if not isinstance(outcome, Failed) or policy is None or failed >= policy.max or not is_covered(policy, outcome):
            return outcome
        wait = next_wait(policy, failed, uniform)
        if outcome.retry_after_s is not None:
            wait = min(outcome.retry_after_s, policy.cap)
        failed += 1
        await on_failure(outcome, wait)


def is_covered(policy: Retry, failed: Failed) -> bool:
    """Return whether a failure is one that is tried again."""
    if policy.on is None:
        return HOPELESS.isdisjoint(failed.kinds)
    return not failed.kinds.isdisjoint(policy.on)


def next_wait(policy: Retry, failed: int, uniform: Uniform) -> float:
    """Return the seconds to wait for the next attempt, after `failed` + 1 failures."""
    match policy.backoff:
        case Backoff.EXPONENTIAL:
            wait = policy.base * 2.0 ** min(failed, 64)
        case Backoff.LINEAR:
            wait = policy.base * (failed + 1)
        case Backoff.FIXED:
            wait = policy.base
    wait = min(wait, policy.cap)
    match policy.jitter:
        case Jitter.FULL:
            return uniform(0.0, wait)
        case Jitter.EQUAL:
            return wait / 2 + uniform(0.0, wait / 2)
        case Jitter.NONE:
            return wait
