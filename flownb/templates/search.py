"""Searches in data and text: JMESPath, and regular expressions that stop when their time is over."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any, Final

import jmespath
import jmespath.exceptions
import jmespath.functions
import jmespath.visitor
import regex

from flownb.templates.limits import BUDGET, MAX_ITEMS
from flownb.templates.terms import LimitError

_LONGEST_PATTERN: Final = 10_000


class _Functions(jmespath.functions.Functions):  # type: ignore[misc]  # jmespath carries no types.
    """JMESPath's functions; the one whose result can outgrow its arguments looks first."""

    @jmespath.functions.signature({"types": ["string"]}, {"types": ["array-string"]})  # type: ignore[untyped-decorator]
    def _func_join(self, glue: str, parts: list[str]) -> str:
        BUDGET.get().spend(sum(len(part) + len(glue) for part in parts))
        return glue.join(parts)


class _Interpreter(jmespath.visitor.TreeInterpreter):  # type: ignore[misc]  # jmespath carries no types.
    """JMESPath's interpreter; looks at the size of every step."""

    def visit(self, node: dict[str, Any], *values: Any, **named: Any) -> Any:  # Any: as the method it overrides.
        """Work out one step of the expression."""
        value = super().visit(node, *values, **named)
        if isinstance(value, list) and len(value) > MAX_ITEMS:
            raise LimitError(f"it makes a list of more than {MAX_ITEMS:,} items")
        return value


@lru_cache(maxsize=256)
def _compiled(expression: str) -> Any:  # Any: jmespath carries no types.
    return jmespath.compile(expression)


def search(expression: str, value: object) -> object:
    """Return what a JMESPath expression finds in data; None where it finds nothing.

    Raises:
        ValueError: The expression is no JMESPath, or does not fit the data.
        LimitError: It makes too much.
    """
    try:
        found: object = _Interpreter(jmespath.Options(custom_functions=_Functions())).visit(
            _compiled(expression).parsed, value
        )
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"JMESPath {expression!r}: {' '.join(str(error).split())}") from error
    return found


def check_search(expression: str) -> None:
    """Raise ValueError where a text is no JMESPath expression.

    Args:
        expression: The text.
    """
    try:
        _compiled(expression)
    except jmespath.exceptions.JMESPathError as error:
        said = " ".join(str(error).split("\n", maxsplit=1)[0].split())
        raise ValueError(f"{expression!r} is no JMESPath: {said}") from error


def first_match(pattern: str, text: str) -> str | None:
    """Return the first match of a regular expression: its first group where it has groups, else all of it.

    Args:
        pattern: A pattern as the package `regex` knows it.
        text: What is searched.

    Raises:
        ValueError: The pattern is no regular expression.
        LimitError: The time that an evaluation has for its patterns is over.
    """
    if len(pattern) > _LONGEST_PATTERN:
        raise LimitError(f"a pattern of {len(pattern):,} characters is too long")
    budget, started = BUDGET.get(), time.monotonic()
    try:
        found = regex.search(pattern, text, timeout=max(0.001, budget.pattern_s))
    except TimeoutError as error:
        raise LimitError(f"the pattern {pattern!r} takes too long") from error
    except regex.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
    finally:
        budget.pattern_s -= time.monotonic() - started
    if found is None:
        return None
    text_found: str | None = found[1] if found.re.groups else found[0]
    return text_found
