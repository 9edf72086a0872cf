"""Carries out `prompt` nodes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, cast

from flownb.errors import AnswerError, ModelError, NodeError
from flownb.model.nodes import Leaf
from flownb.model.prompt_node import PromptNode
from flownb.runtimes.base import Scope
from flownb.runtimes.data import text_of
from flownb.runtimes.output import redacted
from flownb.runtimes.prompt.answer import asked_again, is_typed, read_answer, schema_of
from flownb.runtimes.prompt.images import images_of
from flownb.runtimes.prompt.live import Live
from flownb.runtimes.prompt.place import Place, place_of
from flownb.runtimes.registry import missing_extra
from flownb.secrets import Redactor
from flownb.templates.expressions import evaluate_apart

if TYPE_CHECKING:
    from flownb.runtimes.prompt.asking import Connect, Request


class PromptRuntime:
    """Runs `prompt` nodes.

    Each attempt is one request of its own; the client tries nothing again by itself. A wrong answer fails the attempt, and
    the next one tells the model why: that is taken from the attempt's failure, so that it outlives a crash. What was asked is
    told as it becomes known, for wrong answers too.
    """

    def __init__(self, connect: Connect | None = None) -> None:
        """Say how models are reached.

        Args:
            connect: Makes what speaks to a model; None: by its provider.
        """
        self._connect = connect

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the answer: a text, or what `output` says.

        Cancelling closes the request.

        Raises:
            AnswerError: The answer is not what was asked for.
            ModelError: The model could not be asked, or refused.
            NodeError: A property is wrong, or what it needs is not installed.
        """
        prompt = cast("PromptNode", node)  # The registry hands over no other kind.
        place = await _place(prompt, scope)
        await asyncio.to_thread(_load)
        request = await _request(prompt, scope)
        from flownb.runtimes.prompt import asking, failing  # noqa: PLC0415 the extra, loaded on a thread just above

        redactor = _redactor((*scope.secret_values.values(), place.key))
        failure = failing.Failing(place, request.parts[0], redactor.text)
        live = Live(redacted(replace(scope, redactor=redactor)))
        try:
            answer = await asking.ask(
                place, request, live.take, partial(scope.used, place.label), self._connect or asking.connected
            )
        except failing.ERRORS as error:
            raise failure.of(error) from None
        finally:
            live.end()
        if answer.ended is None:
            raise failure.broken_off()
        if answer.ended not in {"stop", "tool_call"}:
            raise failure.ended(answer.ended)
        if redactor.holds(answer.text) and not scope.redactor.holds(answer.text):
            hint = f"name it in the front matter: `secrets: [{place.variable}]`"
            raise ModelError(f"the answer of {place.label} holds the key in {place.variable}", hint)
        return read_answer(answer.text, prompt.output)


async def _place(prompt: PromptNode, scope: Scope) -> Place:
    model = await text_of(prompt.model, scope.values)
    url = await text_of(prompt.base_url, scope.values) if prompt.base_url else None
    return place_of(model, url, scope.secret_values, scope.environment)


async def _request(prompt: PromptNode, scope: Scope) -> Request:
    """Return what the model is asked: the message is text, whatever the values in it say."""
    from flownb.runtimes.prompt.asking import Request  # noqa: PLC0415 the extra

    message = await text_of(prompt.body, scope.values)
    if not message.strip():
        raise NodeError("the prompt is empty", "look at the values that its template puts in")
    _check_text("the prompt", message)
    system = await text_of(prompt.system, scope.values) if prompt.system else ""
    _check_text("`system`", system)
    again = scope.failed
    parts = (message, asked_again(again.message)) if again and again.type == AnswerError.__name__ else (message,)
    images = [(source, await evaluate_apart(source, scope.values)) for source in prompt.images]
    return Request(
        parts=parts,
        images=tuple(await asyncio.to_thread(images_of, images, scope.folder)) if images else (),
        system=system,
        schema=schema_of(prompt.output) if is_typed(prompt.output) else None,
        temperature=prompt.temperature,
        max_tokens=prompt.max_tokens,
    )


def _check_text(what: str, text: str) -> None:
    """Raise NodeError where a text holds halves of characters, as the names of strange files do: no request can."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ascii(text[error.start])
        raise NodeError(
            f"{what} holds {half}, which is half a character", "take it out: `text.encode('utf-8', 'replace')`"
        ) from None


def _load() -> None:
    """Import what speaks to models, which takes a second the first time; raises FlowError where it is not installed."""
    try:
        import_module("flownb.runtimes.prompt.failing")
        import_module("flownb.runtimes.prompt.asking").prepare()
    except ImportError as error:
        raise missing_extra(PromptNode.TITLE, error) from error


@lru_cache(maxsize=8)
def _redactor(values: tuple[str, ...]) -> Redactor:
    """Return what hides a run's secrets and the key, which need not be one of them."""
    return Redactor(values)
