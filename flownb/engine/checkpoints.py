"""Asks a person and waits for the answer, from whatever side it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Final

from flownb.engine.names import Frame, body_values, field_values
from flownb.engine.results import Halted, Made
from flownb.errors import RejectedError
from flownb.expressions import evaluate, render
from flownb.model import events as e
from flownb.model.decision import Action, Decision, Question, Via
from flownb.model.nodes import CheckpointNode, DefaultAction, Node, OnReject
from flownb.model.state import decision_json

if TYPE_CHECKING:
    from flownb.engine.body import BodyRun
    from flownb.engine.engine import Engine

_LOOK_S: Final = 0.25
"""How often a waiting run looks whether another process has stored an answer."""


async def ask(body: BodyRun, node: CheckpointNode, key: str, frame: Frame) -> Made:
    """Ask a checkpoint's question and return the decision as the node's value.

    Nothing is started by the answer before it is stored (format.md, section 4.2).

    Raises:
        RejectedError: It was rejected, and the node says `on_reject: fail`.
    """
    engine = body.engine
    values = body_values(engine, frame, node, key)
    known = engine.state.questions.get(key)
    question = known.model_copy(update={"default": node.default}) if known else _question(engine, node, key, values)
    shown = {source: evaluate(source, field_values(engine, frame, node, "show", key)) for source in node.show}
    decision = await _decision(body, question, frame.program.fingerprints.get(node.id, ""), shown)
    made = Made(decision_json(decision))
    if decision.action == Action.REJECT:
        match node.on_reject:
            case OnReject.STOP:
                engine.reject()
            case OnReject.FAIL:
                raise RejectedError(f"{decision.by or 'nobody'} rejected it ({decision.via})")
            case OnReject.CONTINUE:
                pass
    return made


def _question(engine: Engine, node: CheckpointNode, key: str, values: Mapping[str, object]) -> Question:
    now = engine.now()
    redactor = engine.services.redactor
    actions = (Action.APPROVE, Action.REJECT, *((Action.INPUT,) if node.input is not None else ()))
    limit = node.policy.timeout
    return Question(
        key=key,
        heading=node.heading,
        text=redactor.text(str(render(node.body, values)).rstrip("\n")),
        input=node.input,
        show=node.show,
        default=node.default,
        asked_at=now,
        deadline=now + timedelta(seconds=limit) if limit is not None else None,
        actions=actions,
    )


async def ask_again(body: BodyRun, node: Node, key: str) -> Made | None:
    """Ask what became of a node that is never repeated without asking (format.md, section 4.6).

    Returns:
        What the person says it made; None: run it again.

    Raises:
        RejectedError: The person lets it fail.
    """
    engine = body.engine
    before = "has run before" if key in engine.state.former else "was under way when the run stopped"
    question = engine.state.questions.get(key) or Question(
        key=key,
        heading=node.heading,
        text=f"`{key}` {before}, and says `once: true`. Did it happen?",
        input="any",
        default=DefaultAction.REJECT,
        asked_at=engine.now(),
        actions=(Action.HAPPENED, Action.AGAIN, Action.FAIL),
    )
    decision = await _decision(body, question, body.frame.program.fingerprints.get(node.id, ""), {})
    match decision.action:
        case Action.HAPPENED:
            return Made(engine.state.former.get(key) if decision.input is None else decision.input)
        case Action.AGAIN:
            return None
        case _:
            raise RejectedError(f"`{key}` {before}; {decision.by} let it fail")


async def _decision(body: BodyRun, question: Question, definition: str, shown: Mapping[str, object]) -> Decision:
    engine, key = body.engine, question.key
    known = engine.state.decisions.get(key)
    if known is not None:
        return known
    if key not in engine.state.questions:
        engine.emit(e.NodeStarted(at=engine.now(), key=key, definition=definition))
    engine.emit(e.Asked(at=engine.now(), question=question))
    await engine.commit()
    decision = engine.services.stored(key) or await _answer(body, question, shown)
    engine.emit(e.Decided(at=engine.now(), key=key, decision=decision))
    return decision


async def _answer(body: BodyRun, question: Question, shown: Mapping[str, object]) -> Decision:
    """Wait for the first answer: from the host, another process, or the deadline."""
    engine = body.engine
    key, services = question.key, engine.services
    woken = engine.open[key] = asyncio.Event()
    try:
        at_once = services.ask(question, shown)
        if at_once is not None:
            return services.offer(key, at_once)
        engine.quiet.look()
        while (standing := services.stored(key)) is None:
            if body.is_stopping:
                raise Halted  # Something failed, or was rejected: the question is asked again by a resume.
            left = _seconds_left(engine, question)
            if left <= 0:
                late = Decision(action=question.default, at=engine.now(), via=Via.DEFAULT, timed_out=True)
                return services.offer(key, late)
            await _woken(woken, min(left, _LOOK_S))
        return standing
    finally:
        del engine.open[key]


def _seconds_left(engine: Engine, question: Question) -> float:
    return inf if question.deadline is None else (question.deadline - engine.now()).total_seconds()


async def _woken(event: asyncio.Event, limit_s: float) -> None:
    """Return when an event is set, or the time is over."""
    try:
        async with asyncio.timeout(limit_s):
            await event.wait()
    except TimeoutError:
        return
    event.clear()
