"""Expressions and templates: which names they use, what is wrong with them, and what they come to (format.md, 5)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import BuiltinMethodType
from typing import Final, TypeVar

from jinja2 import TemplateError, nodes
from jinja2.runtime import Undefined

from flownb.errors import ExpressionError, FlowError
from flownb.templates.explaining import in_words, missing_in, shortly, unreadable
from flownb.templates.filters import to_text
from flownb.templates.insertions import insertion_at, place_problem, problems
from flownb.templates.limits import BUDGET, DEFAULT_LIMITS, Budget, LimitError, Limits
from flownb.templates.programs import Compiled, insertions, rewrite
from flownb.templates.quotes import Target
from flownb.templates.sandbox import MissingError, present
from flownb.templates.shell.script import Misplaced, Script, make_script
from flownb.templates.syntax import ExpressionSyntaxError, Key, Name, check, names, normalized, parse, shallow
from flownb.templates.veil import veil

__all__ = [
    "DEFAULT_LIMITS",
    "RESERVED_NAMES",
    "ExpressionSyntaxError",
    "Key",
    "Limits",
    "Name",
    "Script",
    "Target",
    "check_quotes",
    "evaluate",
    "evaluate_apart",
    "expression_names",
    "is_template",
    "render",
    "render_apart",
    "render_script",
    "shown_insertion",
    "template_names",
    "uses_raw",
]

T = TypeVar("T")
RESERVED_NAMES: Final[frozenset[str]] = frozenset(
    {
        *("inputs", "secrets", "env", "run", "nodes", "error", "item", "index", "round", "previous", "loop"),
        *("now", "uuid", "idempotency_key"),
    }
)
"""The names that no node may have (format.md, 5.2)."""
_CACHED: Final = 1024
_QUICK: Final = Limits(turns=5_000, size=200_000, pattern_s=0.01)
"""What is worked out without a thread, in some 10 ms."""
_QUICK_SOURCE: Final = 10_000
"""The longest text that is read without a thread."""


@lru_cache(maxsize=_CACHED)
def expression_names(source: str) -> tuple[Name, ...]:
    """Return the names that a bare expression reads, in the order of the text.

    What flownb itself offers (`range(…)`, `now()`) is not among them where it is called.

    Raises:
        ExpressionSyntaxError: It cannot be read.
    """
    return _names(normalized(source), bare=True)


@lru_cache(maxsize=_CACHED)
def template_names(source: str, target: Target = Target.TEXT) -> tuple[Name, ...]:
    """Return the names that a template reads and does not set itself, in the order of the text.

    Args:
        source: The template.
        target: Where its values go: a bash body has no comments.

    Raises:
        ExpressionSyntaxError: It cannot be read.
    """
    comments = target is not Target.SHELL
    return _names(normalized(source), bare=False, comments=comments) if is_template(source, target) else ()


def _names(source: str, *, bare: bool, comments: bool = True) -> tuple[Name, ...]:
    with shallow():
        tree = parse(source, bare=bare, comments=comments)
        check(tree, source)
        return names(tree, source)


def is_template(source: str, target: Target = Target.TEXT) -> bool:
    """Return whether a text holds `{{`, `{%` or `{#`; in a bash body `{#` is text."""
    return "{{" in source or "{%" in source or ("{#" in source and target is not Target.SHELL)


def uses_raw(source: str, target: Target = Target.TEXT) -> bool:
    """Return whether a template puts a value in with `| raw` last, which switches quoting off."""
    try:
        with shallow():
            tree = parse(normalized(source), bare=False, comments=target is not Target.SHELL)
            outputs = (child for output in tree.find_all(nodes.Output) for child in output.nodes)
            return any(raw for child in outputs for _, raw in insertions(child))
    except ExpressionSyntaxError:
        return False


def check_quotes(source: str, target: Target) -> list[ExpressionSyntaxError]:
    """Return what is wrong with the places where a template puts values in: quotes of the text would undo their quoting.

    Empty for text, and for a template that cannot be read at all.

    Args:
        source: The template.
        target: Where its values go.
    """
    if target is Target.TEXT or not is_template(source, target):
        return []
    plain = normalized(source)
    try:
        with shallow():
            tree = parse(plain, bare=False, comments=target is not Target.SHELL)
            return list(problems(tree, plain, target))
    except ExpressionSyntaxError:
        return []


@lru_cache(maxsize=_CACHED)
def _expression(source: str) -> Compiled:
    return _compiled(normalized(source), Target.TEXT, bare=True)


@lru_cache(maxsize=_CACHED)
def _template(source: str, target: Target, hidden: frozenset[Key] = frozenset()) -> Compiled:
    return _compiled(normalized(source), target, bare=False, hidden=hidden)


def _compiled(source: str, target: Target, *, bare: bool, hidden: frozenset[Key] = frozenset()) -> Compiled:
    """Return a text made ready to run.

    Raises:
        ExpressionSyntaxError: It cannot be read, or puts a value where quotes would undo its quoting.
    """
    try:
        with shallow():
            tree = parse(source, bare=bare, comments=target is not Target.SHELL)
            check(tree, source)
            for problem in problems(tree, source, target):
                raise problem
            if hidden:
                veil(tree, hidden)
            lone = bare or (target is Target.TEXT and _lone(tree, source))
            return Compiled(rewrite(tree, target, lone=lone), lone=lone)
    except ExpressionSyntaxError:
        raise
    except AssertionError:  # Jinja's own, as of `{% set a | replace(b, c) %}`: a block's filter knows no names.
        raise ExpressionSyntaxError("the filter of a block cannot read names") from None
    except (TemplateError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
        raise ExpressionSyntaxError(" ".join(str(error).split()) or type(error).__name__) from None


def _lone(tree: nodes.Template, source: str) -> bool:
    """Return whether a template is exactly one `{{ … }}`, line breaks behind it aside; drop these then."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return False
    first = tree.body[0].nodes[0]
    rest = source.rstrip("\n")
    if isinstance(first, nodes.TemplateData) or not (rest.startswith("{{") and rest.endswith("}}")):
        return False
    if any(not isinstance(node, nodes.TemplateData) or node.data.strip("\n") for node in tree.body[0].nodes[1:]):
        return False
    tree.body[0].nodes = [first]
    return True


def evaluate(source: str, values: Mapping[str, object], limits: Limits = DEFAULT_LIMITS) -> object:
    """Return the value of a bare expression. Safe to call from any thread; it blocks until all is done.

    Args:
        source: The expression.
        values: Name → value, looked up only for the names that are used; `now` and `uuid` in it stand for the real ones.
        limits: What it may take.

    Raises:
        ExpressionError: It cannot be read or worked out, with the name and the nearest one where a name is missing.
    """
    try:
        compiled = _expression(source)
    except ExpressionSyntaxError as error:
        raise unreadable(source, error) from error
    return _run(compiled, source, values, limits)


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
    if not is_template(source):
        return source
    try:
        compiled = _template(source, target, hidden)
    except ExpressionSyntaxError as error:
        raise unreadable(source, error) from error
    return _run(compiled, source, values, limits)


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
    plain = normalized(source)

    def refuse(misplaced: Misplaced) -> ExpressionError:
        return unreadable(source, place_problem(misplaced, plain))

    try:
        compiled = _template(source, Target.SHELL)
    except ExpressionSyntaxError as error:
        raise unreadable(source, error) from error
    parts = _within(limits, source, values, lambda: compiled.parts(values))
    return make_script(parts, refuse)


def shown_insertion(source: str, offset: int) -> str:
    """Return the `{{ … }}` of a template at an offset, in one line."""
    return insertion_at(normalized(source), offset)[1]


def _run(compiled: Compiled, source: str, values: Mapping[str, object], limits: Limits) -> object:
    def run() -> object:
        value = compiled.run(values)
        return _settled(BUDGET.get(), value) if compiled.lone else value

    return _within(limits, source, values, run)


def _within(limits: Limits, source: str, values: Mapping[str, object], work: Callable[[], T]) -> T:
    """Return what some work comes to within the limits; what goes wrong in it is told in plain words."""
    token = BUDGET.set(Budget(limits))
    try:
        return work()
    except FlowError:
        raise
    except MissingError as error:
        raise missing_in(source, values, error) from error
    except RecursionError as error:
        raise ExpressionError(f"it calls itself too often, in {shortly(source)}") from error
    except Exception as error:  # The values' own methods run here, and they may raise anything.
        raise ExpressionError(f"{in_words(error)}, in {shortly(source)}") from error
    finally:
        BUDGET.reset(token)


def _settled(budget: Budget, value: object) -> object:
    """Return a value as plain data: nothing missing, nothing that yields its items only once."""
    if value is None or type(value) in {str, int, float, bool}:
        return value
    if isinstance(value, Undefined):
        return present(value)
    if isinstance(value, BuiltinMethodType):
        to_text(value)
    if isinstance(value, range | type({}.keys()) | type({}.values()) | type({}.items())):
        return list(value)
    if not isinstance(value, list | tuple | dict | str):
        value = budget.settle(value)
    if isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Undefined):
                present(item)
    return value
