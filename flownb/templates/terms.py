"""The words that all of flownb has for expressions and templates; here, so that they cost nothing without one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

RESERVED_NAMES: Final[frozenset[str]] = frozenset(
    {
        *("inputs", "secrets", "env", "run", "nodes", "error", "item", "index", "round", "previous", "loop"),
        *("now", "uuid", "idempotency_key", "saved"),
    }
)
"""The names that no node may have (format.md, 5.2)."""
REDACTED: Final = "•••"
"""What stands where a secret was."""
Key = tuple[str, str | None]
"""A name, and what is taken from it where the text says so."""


class Target(StrEnum):
    """Where the values of a template go."""

    TEXT = "text"
    """Plain text: values stand as they are."""
    SHELL = "shell"
    """A bash script: values are variables that it gets."""
    JSON = "json"
    """JSON or YAML: values become JSON."""
    HTTP = "http"
    """The lines above a request's body: no value may add one."""
    FORM = "form"
    """The body of a form: values are encoded."""
    SQL = "sql"
    """An SQL statement: values are bound parameters."""


class ExpressionSyntaxError(ValueError):
    """An expression or a template that cannot be read."""

    def __init__(self, message: str, line: int = 1, column: int = 1, hint: str = "") -> None:
        """Say what is wrong and where.

        Args:
            message: What is wrong, in one line.
            line: The line, counted from 1, in the text that was given.
            column: The column, counted from 1.
            hint: What to write instead; empty where there is nothing to say.
        """
        super().__init__(message, line, column, hint)
        self.message = message
        self.line = line
        self.column = column
        self.hint = hint

    def __str__(self) -> str:
        """Return the message alone."""
        return self.message


@dataclass(frozen=True, slots=True)
class Name:
    """One place where a text reads a name that it does not set itself."""

    name: str
    """The name, as `inputs`."""
    attribute: str | None
    """What is taken from it where the text says so, as `topic` in `inputs.topic` and `inputs["topic"]`."""
    line: int
    """The name's line in the text, counted from 1."""
    column: int
    """The name's column, counted from 1."""
    guarded: bool
    """Whether the text itself allows for it being missing (`x is defined`, `x | default(1)`)."""


class MissingError(Exception):
    """A name, key or attribute that an expression uses is not there."""

    def __init__(self, name: object, owner: object, message: str) -> None:
        """Say what is missing.

        Args:
            name: The name, key, index or attribute.
            owner: What does not have it; `jinja2.utils.missing` for a name.
            message: Jinja's own words, where they say more; else empty.
        """
        super().__init__(name, owner, message)
        self.name = name
        self.owner = owner
        self.message = message


class LimitError(Exception):
    """An expression takes too many turns or makes too much."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one evaluation may take (format.md, 5.1)."""

    turns: int = 1_000_000
    """Most turns of loops, and items of `range`; calls of macros count as well."""
    size: int = 10_000_000
    """Most that it may make, in bytes."""
    pattern_s: float = 5.0
    """Longest time for its regular expressions together, in seconds: nothing else bounds them."""


DEFAULT_LIMITS: Final = Limits()
"""The format's own limits."""
