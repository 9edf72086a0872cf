"""Expressions and templates: which names they use, what is wrong with them, and what they come to (format.md, 5)."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Final

from flownb.errors import ExpressionError
from flownb.templates.shell.variables import Script
from flownb.templates.sql.value import Statement
from flownb.templates.terms import (
    DEFAULT_LIMITS,
    RESERVED_NAMES,
    ExpressionSyntaxError,
    Key,
    LimitError,
    Limits,
    Name,
    Target,
)

if TYPE_CHECKING:
    from flownb.templates.reading import Reading

__all__ = [
    "DEFAULT_LIMITS",
    "RESERVED_NAMES",
    "ExpressionSyntaxError",
    "Key",
    "Limits",
    "Name",
    "Script",
    "Statement",
    "Target",
    "blanked",
    "check_quotes",
    "evaluate",
    "evaluate_apart",
    "expression_names",
    "is_template",
    "keep_with",
    "keeping",
    "mixed_uses",
    "render",
    "render_apart",
    "render_script",
    "render_statement",
    "shown_insertion",
    "template_names",
    "uses_raw",
]

_QUICK: Final = Limits(turns=5_000, size=200_000, pattern_s=0.01)
"""What is worked out without a thread, in some 10 ms."""
_QUICK_SOURCE: Final = 10_000
"""The longest text that is read without a thread."""
_KEEPING: Final[ContextVar[list[object] | None]] = ContextVar("flownb_keeping", default=None)
"""Where what is read meanwhile is kept."""


def _read(source: str, target: Target | None) -> Reading:
    """Return what Jinja reads in a text, once for as long as somebody keeps it.

    Args:
        source: The text.
        target: Where a template's values go: a bash body has no comments; None: a bare expression.
    """
    # Jinja takes 45 ms to import, a fifth of `import flownb`, and a document without an expression does without it:
    # the one place where it comes in (DECISIONS.md, 42).
    from flownb.templates.reading import read  # noqa: PLC0415 see above

    made = read(source, bare=target is None, comments=target is not Target.SHELL)
    kept = _KEEPING.get()
    if kept is not None:
        kept.append(made)
    return made


@contextmanager
def keeping() -> Iterator[list[object]]:
    """Gather what is read of texts meanwhile: as long as the list lives, none of them is read anew."""
    kept: list[object] = []
    token = _KEEPING.set(kept)
    try:
        yield kept
    finally:
        _KEEPING.reset(token)


def keep_with(owner: object, kept: list[object]) -> None:
    """Keep what was read of a workflow's texts for as long as that lives, however many they are."""
    weakref.finalize(owner, kept.clear).atexit = False


def expression_names(source: str) -> tuple[Name, ...]:
    """Return the names that a bare expression reads, in the order of the text.

    What flownb itself offers (`range(…)`, `now()`) is not among them where it is called.

    Raises:
        ExpressionSyntaxError: It cannot be read.
    """
    return _read(source, None).names()


def template_names(source: str, target: Target = Target.TEXT) -> tuple[Name, ...]:
    """Return the names that a template reads and does not set itself, in the order of the text.

    Args:
        source: The template.
        target: Where its values go: a bash body has no comments.

    Raises:
        ExpressionSyntaxError: It cannot be read.
    """
    return _read(source, target).names() if is_template(source, target) else ()


def is_template(source: str, target: Target = Target.TEXT) -> bool:
    """Return whether a text holds `{{`, `{%` or `{#`; in a bash body `{#` is text."""
    return "{{" in source or "{%" in source or ("{#" in source and target is not Target.SHELL)


def uses_raw(source: str, target: Target = Target.TEXT) -> bool:
    """Return whether a template puts a value in with `| raw` last, which switches quoting off."""
    return is_template(source, target) and _read(source, target).puts_raw()


def check_quotes(source: str, target: Target) -> list[ExpressionSyntaxError]:
    """Return what is wrong with the places where a template puts values in: quotes of the text would undo their quoting.

    Empty for text, and for a template that cannot be read at all.

    Args:
        source: The template.
        target: Where its values go.
    """
    return _read(source, target).problems(target) if target is not Target.TEXT and is_template(source, target) else []


def mixed_uses(source: str, name: str) -> list[ExpressionSyntaxError]:
    """Return where an sql body does something else with a name than putting in what it has under a word, `{{ name.word }}`."""
    return _read(source, Target.SQL).mixed_uses(name) if is_template(source) else []


def blanked(source: str, stand_in: str, *, tags: bool = False) -> str | None:
    """Return a template with a text in the place of each value, lines and columns kept; None where tags decide what is in it.

    Args:
        source: The template.
        stand_in: What stands for a value; at most as long as `{{`.
        tags: Whether tags are but left out, so that all that they choose from stands there.
    """
    return _read(source, Target.JSON).without_values(stand_in, tags=tags) if is_template(source) else source


def evaluate(source: str, values: Mapping[str, object], limits: Limits = DEFAULT_LIMITS) -> object:
    """Return the value of a bare expression. Safe to call from any thread; it blocks until all is done.

    Args:
        source: The expression.
        values: Name → value, looked up only for the names that are used; `now` and `uuid` in it stand for the real ones.
        limits: What it may take.

    Raises:
        ExpressionError: It cannot be read or worked out, with the name and the nearest one where a name is missing.
    """
    return _read(source, None).value(values, Target.TEXT, limits)


def render(
    source: str,
    values: Mapping[str, object],
    target: Target = Target.TEXT,
    limits: Limits = DEFAULT_LIMITS,
    *,
    hidden: frozenset[Key] = frozenset(),
) -> object:
    """Return what a template comes to. Safe to call from any thread; it blocks until all is done.

    A text that is exactly one `{{ … }}`, line breaks behind it aside, keeps the value's type where the target is text; anything else is a text.

    Args:
        source: The template.
        values: Name → value, looked up only for the names that are used.
        target: Where the values go, and so how they are quoted.
        limits: What it may take.
        hidden: Name and attribute, as the template reads them, of what is not to be seen: `•••` stands in its place.

    Raises:
        ExpressionError: It cannot be read or worked out, or a value stands where it cannot be quoted.
    """
    return _read(source, target).value(values, target, limits, hidden) if is_template(source) else source


async def evaluate_apart(source: str, values: Mapping[str, object]) -> object:
    """Do what `evaluate` does without holding the loop: what is more than a little goes on a thread."""
    return await _apart(source, partial(evaluate, source, values))


async def render_apart(
    source: str,
    values: Mapping[str, object],
    target: Target = Target.TEXT,
    *,
    hidden: frozenset[Key] = frozenset(),
) -> object:
    """Do what `render` does without holding the loop: what is more than a little goes on a thread."""
    return await _apart(source, partial(render, source, values, target, hidden=hidden))


async def _apart(source: str, work: Callable[..., object]) -> object:
    """Try with small limits; where they do not do, begin anew on a thread: an evaluation changes nothing."""
    if len(source) <= _QUICK_SOURCE:
        try:
            return work(limits=_QUICK)
        except ExpressionError as error:
            if not isinstance(error.__cause__, LimitError):
                raise
    return await asyncio.to_thread(work)


def render_script(source: str, values: Mapping[str, object], limits: Limits = DEFAULT_LIMITS) -> Script:
    """Return what a bash body comes to: a text without values, and the variables that hold them. Safe to call from any thread.

    Args:
        source: The body.
        values: Name → value, looked up only for the names that are used.
        limits: What it may take.

    Raises:
        ExpressionError: It cannot be read or worked out, or a value stands where it cannot mean itself.
    """
    if not is_template(source, Target.SHELL):
        return Script(source)
    return _read(source, Target.SHELL).script(values, limits)


def render_statement(source: str, values: Mapping[str, object], limits: Limits = DEFAULT_LIMITS) -> Statement:
    """Return what an sql body comes to: a text without values, and what is bound in it. Safe to call from any thread; it blocks.

    Args:
        source: The body.
        values: Name → value, looked up only for the names that are used.
        limits: What it may take.

    Raises:
        ExpressionError: It cannot be read or worked out, or a value stands where it cannot be bound.
    """
    return _read(source, Target.SQL).statement(values, limits)


def shown_insertion(source: str, offset: int) -> str:
    """Return the `{{ … }}` of a template at an offset, in one line."""
    return _read(source, Target.SHELL).insertion(offset)
