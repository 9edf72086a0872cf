"""Asks a person and waits for the answer, from whatever side it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Final

from flownb.engine.names import Frame, body_uses, body_values, uses_of
from flownb.engine.results import Halted, Made
from flownb.engine.taint import shown, tainted
from flownb.errors import FlowError, RejectedError
from flownb.model import events as e
from flownb.model.decision import Action, Decision, Question, Via
from flownb.model.nodes import CheckpointNode, DefaultAction, Node, OnReject
from flownb.model.state import NodeStatus, decision_json
from flownb.plan.fingerprint import value_digest
from flownb.plan.plan import relying
from flownb.render.rows import rows_of
from flownb.templates.expressions import render_apart

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
    question, values = await _question(engine, node, key, frame)
    known = engine.state.questions.get(key)
    if known is not None and (changed := _difference(known, question)):
        await _withdraw(engine, node, key, frame)
        question = question.model_copy(update={"again": changed})
    elif known is not None:
        question = known.model_copy(update={"default": node.default})
    decision = await _decision(body, node, question, frame, values)
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


async def holds(engine: Engine, node: Node, key: str, frame: Frame) -> bool:
    """Return whether a decision of an earlier process still holds: its question, and what it shows, are the same.

    Of any other node, and of one decided by this process, nothing is to be seen again.
    """
    known = engine.state.questions.get(key)
    if not isinstance(node, CheckpointNode) or known is None or key not in engine.earlier:
        return True
    try:
        return not _difference(known, (await _question(engine, node, key, frame))[0])
    except FlowError:
        return False  # It is said when it is asked.


def _difference(known: Question, question: Question) -> str:
    """Return what makes a question another one than was asked before; empty where nothing does."""
    if not known.evidence or known.evidence == question.evidence:
        return ""
    if known.text != question.text:
        return "the question changed"
    return "what is shown changed" if known.input == question.input else "what can be answered changed"


async def _withdraw(engine: Engine, node: Node, key: str, frame: Frame) -> None:
    """Take an answer back, with what relied on it; nothing stands on the key when it is asked again."""
    engine.services.withdraw(key)
    prefix = frame.key_of(node.id).removesuffix(node.id)
    done = [other for other, state in engine.state.nodes.items() if state.is_settled]
    relied = relying(frame.program.graph, node.id, prefix, done)
    engine.emit(e.Withdrawn(at=engine.now(), key=key, forget=relied))
    await engine.commit()


async def _question(engine: Engine, node: CheckpointNode, key: str, frame: Frame) -> tuple[Question, dict[str, object]]:
    """Return what a checkpoint asks now, and the values to show with it."""
    now, redactor = engine.now(), engine.services.redactor
    hidden = tainted(engine, frame, body_uses(node))
    values = {source: shown(engine, frame, source, uses_of(node, "show"), key) for source in node.show}
    rendered = await render_apart(node.body, body_values(engine, frame, node, key), hidden=hidden)
    text = redactor.text(str(rendered).rstrip("\n"))
    actions = (Action.APPROVE, Action.REJECT, *((Action.INPUT,) if node.input is not None else ()))
    limit = node.policy.timeout
    asked = [text, node.input, *((source, value_digest(value, redactor.text)) for source, value in values.items())]
    question = Question(
        key=key,
        heading=node.heading,
        text=text,
        evidence=value_digest(asked, redactor.text),
        input=node.input,
        show=node.show,
        shown={source: redactor.text(rows_of(value)) for source, value in values.items()},
        default=node.default,
        asked_at=now,
        deadline=now + timedelta(seconds=limit) if limit is not None else None,
        actions=actions,
    )
    return question, values


async def ask_again(body: BodyRun, node: Node, key: str, frame: Frame) -> Made | None:
    """Ask what became of a node that is never repeated without asking (format.md, section 4.6).

    Returns:
        What the person says it made; None: run it again.

    Raises:
        RejectedError: The person lets it fail.
    """
    engine = body.engine
    has_run = key in engine.state.former or engine.state.status_of(key) is NodeStatus.COMPLETED
    before = "has run before" if has_run else "was under way when the run stopped"
    question = engine.state.questions.get(key) or Question(
        key=key,
        heading=node.heading,
        text=f"`{key}` {before}, and says `once: true`. Did it happen?",
        input="any",
        default=DefaultAction.REJECT,
        asked_at=engine.now(),
        actions=(Action.HAPPENED, Action.AGAIN, Action.FAIL),
    )
    decision = await _decision(body, node, question, frame, {})
    match decision.action:
        case Action.HAPPENED:
            return Made(engine.state.former.get(key) if decision.input is None else decision.input)
        case Action.AGAIN:
            return None
        case _:
            raise RejectedError(f"`{key}` {before}; {decision.by} let it fail")


async def _decision(
    body: BodyRun, node: Node, question: Question, frame: Frame, shown: Mapping[str, object]
) -> Decision:
    engine, key = body.engine, question.key
    known = engine.state.decisions.get(key)
    if known is not None:
        return known
    if key not in engine.state.questions:
        definition, inside = frame.program.fingerprints.get(node.id, ""), frame.holder_of(node.id, key)
        engine.emit(e.NodeStarted(at=engine.now(), key=key, definition=definition, inside=inside))
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
