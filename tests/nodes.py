"""Nodes and scopes for tests of runtimes."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import TypeVar

from flownb.model.nodes import Leaf
from flownb.runtimes.base import Caller, Printed, Runtime, Scope
from flownb.secrets import Redactor
from flownb.text.spans import Span

T = TypeVar("T")


class HereCaller:
    """Runs bodies right here, and notes how they were called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        self.calls.append("run")
        return function()

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        self.calls.append("run_async")
        return await function()


def node_of(kind: type[Leaf], body: str = "", **fields: object) -> Leaf:
    """Return a node of In[7] whose heading stands in line 10, and its body from line 12 on."""
    spans = {"body": Span("In[7]", 12)}
    return kind.model_validate(
        {"id": "n", "heading": "N", "span": Span("In[7]", 10), "spans": spans, "body": body, **fields}
    )


def scope_of(
    values: Mapping[str, object] | None = None,
    *,
    printed: Callable[[Printed], None] = lambda _: None,
    secrets: tuple[str, ...] = (),
    caller: Caller | None = None,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    allowed: tuple[str, ...] = (),
    document: Path | None = None,
    wrote: Callable[[str, str], None] = lambda _label, _digest: None,
) -> Scope:
    """Return a scope with what the test needs, and defaults for the rest."""
    return Scope(
        key="n",
        values=values or {},
        folder=folder or Path(tempfile.gettempdir()),
        caller=caller or HereCaller(),
        printed=printed,
        redactor=Redactor(secrets),
        environment=os.environ if environment is None else environment,
        allowed=allowed,
        document=document,
        wrote=wrote,
    )


def run_node(runtime: Runtime, node: Leaf, scope: Scope, limit_s: float | None = None) -> object:
    """Run a node on a loop of its own; past the limit it is cancelled, and TimeoutError raised."""

    async def main() -> object:
        async with asyncio.timeout(limit_s):
            return await runtime.run(node, scope)

    return asyncio.run(main())
