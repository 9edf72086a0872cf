"""A bash script as it is run: its text, which holds no value, and the variables that it gets before its first line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "__flownb_"
"""How the names of the variables begin."""


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that holds a value."""

    name: str
    """Its name in the script."""
    items: tuple[str, ...]
    """Its value; of a list its items."""
    is_list: bool
    """Whether it is a list."""
    offset: int
    """Where its `{{ … }}` stands in the template, counted from 0."""


@dataclass(frozen=True, slots=True)
class Script:
    """A script and its variables."""

    text: str
    """What bash reads."""
    variables: tuple[Variable, ...] = ()
    """What it gets before the first line."""


def without_variables(text: str, shown: Callable[[int], str]) -> str:
    """Return a message of bash with what the person wrote in place of the variables.

    Args:
        text: The message.
        shown: Takes a variable's number, counted from 1; returns its `{{ … }}`.
    """
    if PREFIX not in text:
        return text
    pattern = rf'"\$\{{{PREFIX}(\d+)(?:\[@\])?\??\}}"|\$?\{{?{PREFIX}(\d+)(?:\[@\])?\??\}}?'
    return re.sub(pattern, lambda match: shown(int(match[1] or match[2])), text)
