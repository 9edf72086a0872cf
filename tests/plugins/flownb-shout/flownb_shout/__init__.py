"""Nodes of the kind `shout`: text, in capitals."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, cast

from pydantic import Field

from flownb.errors import NodeError
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Printed, Scope
from flownb.templates.expressions import evaluate_apart, render_apart


class Mark(StrEnum):
    """What stands at the end."""

    EXCLAMATION = "!"
    """One shouts."""
    QUESTION = "?"
    """One asks."""


class ShoutNode(Leaf):
    """Text in capitals."""

    TITLE: ClassVar[str] = "shout"
    ALIASES: ClassVar[tuple[str, ...]] = ("yell",)
    LITERALS: ClassVar[frozenset[str]] = frozenset({"mark"})
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"times"})
    TELLS: ClassVar[bool] = True

    mark: Mark = Mark.EXCLAMATION
    """What stands at the end."""
    times: str | None = None
    """An expression: how often; None: once."""
    to: str = Field(default="everybody")
    """Whom one shouts at: a template, as every text that is neither an expression nor a literal."""


class ShoutRuntime:
    """Runs `shout` nodes."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the text; what is shouted is shown too."""
        shout = cast("ShoutNode", node)
        text = str(await render_apart(shout.body, scope.values))
        to = str(await render_apart(shout.to, scope.values))
        times = await evaluate_apart(shout.times, scope.values) if shout.times is not None else 1
        if not isinstance(times, int) or times < 1:
            raise NodeError(f"`times` comes to a {type(times).__name__}, not to a number from 1 up", "write `times: 2`")
        made = f"{to}: {text}".upper() + str(shout.mark) * times
        scope.printed(Printed("stdout", scope.redactor.text(made) + "\n"))
        return made


class Shout:
    """What the entry point names: the kind of node, and what runs it."""

    kind = ShoutNode
    runtime = ShoutRuntime
