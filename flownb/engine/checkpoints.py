"""Asks a person and waits for the answer, from whatever side it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import inf
from typing import Final

from flownb.engine.context import RunContext
from flownb.engine.outcome import NodeResult
from flownb.engine.reads import is_evidence
from flownb.engine.stopping import StopScope
from flownb.errors import RejectedError
from flownb.model import events as e
from flownb.model.decision import Action, Decision, Question, Via, with_defaults
from flownb.model.events import Begun
from flownb.model.node_state import NodeStatus
from flownb.model.nodes import CheckpointNode, DefaultAction, NodeBase, OnReject
from flownb.model.state import decision_json
from flownb.render.rows import rows_of

_LOOK_S: Final = 0.25
"""How often a waiting run looks whether another process has stored an answer."""


async def ask(
    context: RunContext,
    node: CheckpointNode,
    question: Question,
    shown: Mapping[str, object],
    begun: Begun,
    stop: StopScope,
) -> NodeResult | None:
    """Ask a checkpoint's question and return the decision as the node's value; None: it was left unanswered.

    Nothing is started by the answer before it is stored (format.md, section 4.2).

    Args:
        context: The run.
        node: The checkpoint.
        question: What it asks now.
        shown: Expression → value, what `show` names.
        begun: What the node is, and what it reads: question and evidence are among it.
        stop: Whether nothing new starts, so that nobody waits.

    Raises:
        RejectedError: It was rejected, and the node says `on_reject: fail`.
    """
    changed = await _recall(context, question.key, begun)
    known = context.ledger.state.questions.get(question.key)
    if known is not None:
        question = known.model_copy(update={"default": node.default})
    elif changed:
        question = question.model_copy(update={"again": changed})
    decision = await _decision(context, question, shown, begun, stop)
    if decision is None:
        return None
    if decision.action == Action.REJECT:
        match node.on_reject:
            case OnReject.STOP:
                context.reject()
                stop.reject()
            case OnReject.FAIL:
                raise RejectedError(f"{decision.by or 'nobody'} rejected it ({decision.via})")
            case OnReject.CONTINUE:
                pass
    return NodeResult(decision_json(decision))


def question_of(
    node: CheckpointNode, key: str, text: str, shown: Mapping[str, object], now: datetime, redact: Callable[[str], str]
) -> Question:
    """Return what a checkpoint asks.

    Args:
        node: The checkpoint.
        key: Its key.
        text: The question, as rendered.
        shown: Expression → value, what `show` names.
        now: The time, in UTC.
        redact: Takes secrets out of a text.
    """
    limit = node.policy.timeout
    return Question(
        key=key,
        heading=node.heading,
        text=text,
        input=node.input,
        show=node.show,
        shown={source: redact(rows_of(value)) for source, value in shown.items()},
        default=node.default,
        asked_at=now,
        deadline=now + timedelta(seconds=limit) if limit is not None else None,
        actions=(Action.APPROVE, Action.REJECT, *((Action.INPUT,) if node.input is not None else ())),
    )


async def _recall(context: RunContext, key: str, begun: Begun) -> str:
    """Let an earlier decision hold where question and evidence are what they were; else return what changed."""
    ledger = context.ledger
    former = ledger.state.former.get(key)
    if former is None or former.question is None or key in ledger.state.questions:
        return ""
    before, now = former.node.reads, begun.reads
    changed = next((name for name in now if is_evidence(name) and before.get(name) != now[name]), "")
    if not changed and not former.is_void:
        ledger.emit(e.NodeReused(at=ledger.now(), keys=(key,)))
        return ""
    context.services.withdraw(key)
    return f"{changed} changed" if changed else ""


async def ask_again(context: RunContext, node: NodeBase, key: str, begun: Begun, stop: StopScope) -> Decision | None:
    """Ask what became of a node that is never repeated without asking (format.md, section 4.6); None: left unanswered."""
    before, state = was_before(context, key), context.ledger.state
    if key in state.former and key not in state.questions:  # What was said then was about what it did then.
        context.services.withdraw(key)
    question = state.questions.get(key) or Question(
        key=key,
        heading=node.heading,
        text=f"`{key}` {before}, and says `once: true`. Did it happen?",
        input="any",
        default=DefaultAction.REJECT,
        asked_at=context.services.clock(),
        actions=(Action.HAPPENED, Action.AGAIN, Action.FAIL),
    )
    return await _decision(context, question, {}, begun, stop)


def was_before(context: RunContext, key: str) -> str:
    """Return what is known of a node with `once` that would run again."""
    state = context.ledger.state
    has_run = key in state.former or state.status_of(key) is NodeStatus.COMPLETED
    if has_run:
        return "has run before"
    return "failed" if state.status_of(key) is NodeStatus.FAILED else "was under way when the run stopped"


async def _decision(
    context: RunContext, question: Question, shown: Mapping[str, object], begun: Begun, stop: StopScope
) -> Decision | None:
    ledger, key = context.ledger, question.key
    known = ledger.state.decisions.get(key)
    if key in ledger.state.used_up:  # It was for a run of the node that is over.
        context.services.withdraw(key)
    elif known is not None:
        return known
    if key not in ledger.state.questions:
        ledger.begin(key, begun)
    ledger.emit(e.Asked(at=ledger.now(), question=question))
    if not await ledger.commit():
        return None
    decision = context.services.stored(key) or await _answer(context, question, shown, stop)
    if decision is not None:
        decision = with_defaults(question, decision)
        ledger.emit(e.Decided(at=ledger.now(), key=key, decision=decision))
    return decision


async def _answer(
    context: RunContext, question: Question, shown: Mapping[str, object], stop: StopScope
) -> Decision | None:
    """Wait for the first answer: from this process, another process, or the deadline.

    None: something failed or was rejected meanwhile; the question is asked again by a resume.
    """
    key, services = question.key, context.services
    with context.clock.asking(key) as woken:
        at_once = services.ask(question, shown)
        if at_once is not None:
            return services.offer(key, at_once)
        context.clock.look()
        while (standing := services.stored(key)) is None:
            if stop.is_stopping:
                return None
            left = inf if question.deadline is None else (question.deadline - services.clock()).total_seconds()
            if left <= 0:
                late = Decision(action=question.default, at=services.clock(), via=Via.DEFAULT, timed_out=True)
                return services.offer(key, late)
            await _woken(woken, min(left, _LOOK_S))
        return standing


async def _woken(event: asyncio.Event, limit_s: float) -> None:
    """Return when an event is set, or the time is over."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
