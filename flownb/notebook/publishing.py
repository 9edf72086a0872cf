"""What a body displays goes to its node: figures, tables, whatever it hands to `display`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakKeyDictionary, ref

from IPython.display import publish_display_data

from flownb.executors.capture import capture_into, current_printed
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
    """Stands before the shell's display publisher while flownb is loaded: what bodies display goes to their nodes.

    `%%capture` and the like put another publisher in its place for a while: it stands before each of them.
    """

    def __init__(self, shell: Any) -> None:  # Any: kernels and terminals differ
        """Stand before a shell's publishers; `remove` takes it back."""
        self._before: WeakKeyDictionary[Any, dict[str, _Stand]] = WeakKeyDictionary()
        self._stand_before(shell.display_pub)
        self._class, self._place = type(shell), _Place(self._replaced)
        self._class.display_pub = self._place

    def remove(self) -> None:
        """Give the publishers their methods back, unless somebody else stands before them by now."""
        if vars(self._class).get("display_pub") is self._place:
            del self._class.display_pub
        for publisher, stands in self._before.items():
            for name, stand in stands.items():
                if vars(publisher).get(name) is not stand.mine:
                    continue
                if stand.theirs is None:
                    delattr(publisher, name)
                else:
                    setattr(publisher, name, stand.theirs)

    def _replaced(self, publisher: Any) -> None:
        # One that a body puts there takes what this body displays: it asked for it.
        if current_printed() is None:
            self._stand_before(publisher)

    def _stand_before(self, publisher: Any) -> None:
        if publisher is None or publisher in self._before:
            return
        stands = self._before[publisher] = {}
        # By a weak reference: a publisher that captured megabytes must not live on in a circle.
        own = ref(publisher)
        for name, take in (("publish", _publish), ("clear_output", _clear_output)):
            theirs = vars(publisher).get(name)
            hand_on = theirs if theirs is not None else partial(_call, own, getattr(type(publisher), name))
            stands[name] = _Stand(partial(take, hand_on), theirs)
            setattr(publisher, name, stands[name].mine)


class _Place:
    """Stands for the attribute `display_pub` in a shell's class, and tells of whatever is put there."""

    def __init__(self, told: Callable[[Any], None]) -> None:
        self._told = told

    def __get__(self, shell: Any, _owner: type | None = None) -> Any:
        return self if shell is None else shell.__dict__["display_pub"]

    def __set__(self, shell: Any, publisher: Any) -> None:
        shell.__dict__["display_pub"] = publisher
        self._told(publisher)


@dataclass(frozen=True, slots=True)
class _Stand:
    """What stands before one method of a publisher."""

    mine: Callable[..., None]
    theirs: Callable[..., None] | None
    """What somebody else had put before it; None: nobody had."""


def _call(publisher: ref[Any], method: Callable[..., None], *args: Any, **kwargs: Any) -> None:
    method(publisher(), *args, **kwargs)


def _publish(
    hand_on: Callable[..., None],
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
        hand_on(data, metadata, *args, transient=transient, update=update, **kwargs)
        return
    name = str((transient or {}).get("display_id") or "")
    printed(Printed(BUNDLE, Display(dict(data), dict(metadata or {}), name, update)))


def _clear_output(hand_on: Callable[..., None], wait: bool = False) -> None:  # noqa: FBT001, FBT002 IPython's signature
    """Clear what the node showed, when a body asks for it; else the cell."""
    printed = current_printed()
    if printed is None:
        hand_on(wait)
    else:
        printed(Printed(BUNDLE, Display(None)))


def formatted(shell: Any, value: object) -> list[Display]:  # Any: kernels and terminals differ
    """Return how the notebook shows a value, in one or several outputs.

    Some publish themselves when they are formatted (plotly's figures): that is taken, and stands nowhere else.
    """
    taken: list[Display] = []

    def take(printed: Printed) -> None:
        if isinstance(printed.data, Display):
            taken.append(printed.data)
        elif isinstance(printed.data, str) and printed.data.strip():
            taken.append(Display({"text/plain": printed.data}))

    with capture_into(take):
        data, metadata = shell.display_formatter.format(value)
    shown = [display for display in taken if display.data]
    return shown or [Display(data or {"text/plain": f"({type(value).__name__}: it cannot be shown)"}, metadata)]


def is_readable(kind: str) -> bool:
    """Return whether a MIME type's data may show a text: all but pictures that are packed."""
    return not kind.startswith(("image/", "audio/", "video/")) or kind.startswith("image/svg")


def hidden(display: Display, redact: Callable[[Any], Any]) -> Display:
    """Return a display without the secrets in it. Whole, not only its texts: a plotly figure or a JSON tree is an object.

    Args:
        display: What is to be shown.
        redact: Takes the secrets out of JSON-like data.
    """
    data = None
    if display.data is not None:
        data = {kind: redact(part) if is_readable(kind) else part for kind, part in display.data.items()}
    return replace(display, data=data, metadata=redact(dict(display.metadata)))


def publish_markdown(text: str) -> None:
    """Show Markdown below the cell; as it is written where only text can be shown."""
    publish_display_data({"text/markdown": text, "text/plain": text})


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
