"""What a body displays goes to its node: figures, tables, whatever it hands to `display`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

from flownb.executors.capture import current_printed
from flownb.model.nodes import Leaf
from flownb.model.policy import ExecutorName
from flownb.runtimes.base import Caller, Printed, Scope
from flownb.runtimes.python import PythonRuntime

T = TypeVar("T")

BUNDLE: Final = "application/x-flownb-display"
"""The MIME type under which a `Display` travels as `Printed`."""


@dataclass(frozen=True, slots=True)
class Display:
    """One thing that a body displayed, changed or cleared."""

    data: Mapping[str, Any] | None
    """MIME type → data, as Jupyter has it; None: everything shown so far goes."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What belongs to it."""
    display_id: str = ""
    """The name by which it can be changed; empty: it cannot."""
    update: bool = False
    """Whether it takes the place of what was shown under its name."""


class DisplayCapture:
    """Stands before the shell's display publisher while flownb is loaded: what bodies display goes to their nodes."""

    def __init__(self, publisher: Any) -> None:  # Any: each kernel has its own
        """Stand before a publisher; `remove` takes it back."""
        self._publisher = publisher
        self._publish: Callable[..., None] = publisher.publish
        self._clear_output: Callable[..., None] = publisher.clear_output
        self._mine = {"publish": self.publish, "clear_output": self.clear_output}
        for name, method in self._mine.items():
            setattr(publisher, name, method)

    def remove(self) -> None:
        """Give the publisher its methods back, unless somebody else stands before them by now."""
        for name, method in self._mine.items():
            if self._publisher.__dict__.get(name) == method:
                with suppress(AttributeError):
                    delattr(self._publisher, name)

    def publish(
        self,
        data: Mapping[str, Any],
        metadata: Mapping[str, Any] | None = None,
        *args: Any,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **kwargs: Any,
    ) -> None:
        """Take what a body displays; hand on all else. The arguments are IPython's (Any: whatever it adds)."""
        printed = current_printed()
        if printed is None:
            self._publish(data, metadata, *args, transient=transient, update=update, **kwargs)
            return
        name = str((transient or {}).get("display_id") or "")
        printed(Printed(BUNDLE, Display(dict(data), dict(metadata or {}), name, update)))

    def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 IPython's signature
        """Clear what the node showed, when a body asks for it; else the cell."""
        printed = current_printed()
        if printed is None:
            self._clear_output(wait)
        else:
            printed(Printed(BUNDLE, Display(None)))


class NotebookPython:
    """Runs `python` nodes as a cell would: figures that a body leaves open are shown when it ends."""

    def __init__(self, transform: Callable[[str], str], names: Mapping[str, object]) -> None:
        """See PythonRuntime."""
        self._python = PythonRuntime(transform, names)

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Run the body where the scope's caller says, and return its value."""
        if node.policy.executor in (None, ExecutorName.MAIN):
            scope = replace(scope, caller=_ShowsFigures(scope.caller))
        return await self._python.run(node, scope)


class _ShowsFigures:
    """A caller that has a body's figures shown."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def run(self, function: Callable[[], T], printed: Callable[[Printed], None]) -> T:
        return await self._caller.run(partial(_with_figures, function), printed)

    async def run_async(
        self, function: Callable[[], Coroutine[object, object, T]], printed: Callable[[Printed], None]
    ) -> T:
        return await self._caller.run_async(function, printed)


def _with_figures(function: Callable[[], T]) -> T:
    try:
        return function()
    finally:
        inline = sys.modules.get("matplotlib_inline.backend_inline")
        if inline is not None:
            inline.flush_figures()
