"""Says in plain words why an expression or a template could not be worked out."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.utils import missing

from flownb.errors import ExpressionError
from flownb.templates.syntax import nearest
from flownb.templates.terms import ExpressionSyntaxError, LimitError, MissingError


def unreadable(source: str, error: ExpressionSyntaxError) -> ExpressionError:
    """Return the error about a text that cannot be read, with its place in the text."""
    return ExpressionError(
        f"{error.message}, in line {error.line}, column {error.column} of {shortly(source)}", error.hint
    )


def in_words(error: Exception) -> str:
    """Return an error in one line, with its kind where the line alone would not say enough."""
    text = " ".join(str(error).split())
    match error:
        case LimitError():
            return text
        case SecurityError():
            return f"not allowed: {text}"
        case MemoryError():
            return "it needs more memory than there is"
        case TemplateError():
            return text or type(error).__name__
        case _:
            return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shortly(source: str) -> str:
    """Return a text in code marks, cut to what fits in a message."""
    text = " ".join(source.split())
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}…`"  # noqa: PLR2004 fits in a message


def missing_in(source: str, tree: nodes.Template, values: Mapping[str, object], error: MissingError) -> ExpressionError:
    """Return the error about something missing, with its owner as the text calls it and the nearest name."""
    if error.message:
        return ExpressionError(f"{error.message}, in {shortly(source)}")
    if error.owner is missing:
        close = nearest(error.name, values)
        return ExpressionError(_asking(f"nothing is called `{error.name}`", close))
    known: list[object] = list(error.owner) if isinstance(error.owner, Mapping) else []
    if not known and not isinstance(error.owner, list | tuple | str):
        known = [name for name in dir(error.owner) if not name.startswith("_")]
    owner = _owner(tree, error.name) or f"a {type(error.owner).__name__}"
    shown = error.name if isinstance(error.name, str) else repr(error.name)
    return ExpressionError(_asking(f"{owner} has no `{shown}`", nearest(error.name, known)))


def _asking(message: str, close: str) -> str:
    return f"{message}; did you mean `{close}`?" if close else message


def _owner(tree: nodes.Template, name: object) -> str:
    """Return how the text calls what it takes `name` from, as `articles` in quotes; empty where that is not to be seen."""
    for node in tree.find_all(nodes.Expr):  # Shallow enough: it was walked before.
        key = getattr(node, "attr", getattr(getattr(node, "arg", None), "value", missing))
        if key == name and isinstance(node, nodes.Getattr | nodes.Getitem) and (path := _path(node.node)):
            return f"`{path}`"
    return ""


def _path(node: nodes.Node) -> str:
    match node:
        case nodes.Name():
            return node.name
        case nodes.Getattr(node=owner, attr=attr) if path := _path(owner):
            return f"{path}.{attr}"
        case nodes.Getitem(node=owner, arg=nodes.Const(value=value)) if path := _path(owner):
            return f"{path}[{value!r}]"
        case _:
            return ""
