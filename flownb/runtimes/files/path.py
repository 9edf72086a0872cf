"""The path that a node gives, worked out."""

from __future__ import annotations

import os

from flownb.errors import NodeError
from flownb.runtimes.base import Scope
from flownb.templates.expressions import is_template, render, template_names


def path_of(source: str, scope: Scope) -> str:
    """Return what a node's `path` says.

    Raises:
        NodeError: It reads a secret, or is no text.
        ExpressionError: Its template cannot be worked out.
    """
    if not is_template(source):
        return source
    if any((name.name, name.attribute) in scope.tainted for name in template_names(source)):
        raise NodeError("`path` reads a secret, and what it names is written down", "name the file otherwise")
    made = render(source, scope.values)
    if not isinstance(made, str | os.PathLike) or not str(made) or "\0" in str(made):
        shown = "an empty text" if made == "" else f"a {type(made).__name__}"
        raise NodeError(f"`path` comes to {shown}, not to a path", "write a text; for a list use `foreach`")
    return str(made)
