"""Nodes whose value is what their text says: text, markdown, json, yaml and expr."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from pydantic import JsonValue

from flownb.errors import ExpressionError, NodeError
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Printed, Scope
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.runtimes.output import redacted
from flownb.templates.expressions import Target, evaluate_apart, is_template, render_apart
from flownb.text.spans import Span
from flownb.text.yaml import DATA, load_yaml
from flownb.text.yaml_words import YamlError

_QUICK: Final = 16 * 1024
"""The most characters of YAML that are read without a thread."""
_END: Final = "."


class TextRuntime:
    """Runs `text` nodes. The value is always text, also that of a lone `{{ … }}`, without the last line break."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the text."""
        return await text_of(node.body, scope.values)


class MarkdownRuntime:
    """Runs `markdown` nodes: as `text`, and what they say is shown rendered."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the Markdown and show it, without what it tells of secrets."""
        text = await text_of(node.body, scope.values)
        seen = text
        if scope.tainted:
            seen = _without_break(str(await render_apart(node.body, scope.values, hidden=scope.tainted)))
        redacted(scope)(Printed("text/markdown", seen))
        return text


class JsonRuntime:
    """Runs `json` nodes."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the data.

        Raises:
            NodeError: With its values in it, the text is no JSON (a key given twice, NaN and Infinity are not).
        """
        text = str(await render_apart(node.body, scope.values, Target.JSON))
        try:
            return load_json(text)
        except JsonTextError as error:
            raise NodeError(f"{_place(node, text, error.line)}no JSON: {scope.redactor.text(error.message)}") from None


class YamlRuntime:
    """Runs `yaml` nodes: YAML 1.2, one document.

    The value is what JSON has: dates stay text, and so do keys, as they are written; a key given twice, tags that build
    objects, `.nan` and `.inf` are refused.
    """

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the data.

        Raises:
            NodeError: With its values in it, the text is no YAML or stands for something that JSON does not have.
        """
        text = str(await render_apart(node.body, scope.values, Target.JSON))
        try:
            return await asyncio.to_thread(_load, text, node) if len(text) > _QUICK else _load(text, node)
        except YamlError as error:
            place = _place(node, text, error.span.line - _first_line(node, text) + 1)
            if scope.redactor.text(text) != text:  # The message may show a piece of a secret, which none knows for one.
                raise NodeError(f"{place}no YAML: what is wrong in it is not shown, since it holds a secret") from None
            raise NodeError(f"{place}no YAML: {error.message.removeprefix('this is not YAML: ')}", error.hint) from None


class ExpressionRuntime:
    """Runs `expr` nodes."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the expression's value."""
        return await evaluate_apart(node.body, scope.values)


def _load(text: str, node: Leaf) -> JsonValue:
    """Return the data of the YAML that a node's body makes. Blocks: a megabyte may take two seconds.

    Raises:
        YamlError: It is no YAML, or stands for what JSON does not have.
    """
    if text.lstrip()[:1] in {"[", "{", '"'}:  # YAML 1.2 holds JSON, and Python reads that a hundred times faster.
        with suppress(JsonTextError):  # It may be YAML all the same; if not, the error is YAML's.
            return load_json(text)
    first = _first_line(node, text)
    return load_yaml(text, lambda line, column, length: Span("", first + line, column + 1, length), DATA).data


def _first_line(node: Leaf, rendered: str) -> int:
    """Return the number of a rendered body's first line: the person's own, where templates have not moved it."""
    is_moved = rendered.count("\n") != node.body.count("\n")
    return 1 if is_moved else node.spans.get("body", node.span).line


async def text_of(text: str, values: Mapping[str, object]) -> str:
    """Return what a template comes to, always as text, without the last line break.

    Args:
        text: The template.
        values: Name → value.

    Raises:
        ExpressionError: It cannot be worked out.
    """
    if is_template(text):
        try:  # With something after it, no `{{ … }}` stands alone and keeps its value's type.
            text = str(await render_apart(text + _END, values)).removesuffix(_END)
        except ExpressionError:
            await render_apart(text, values)  # The same error, and it shows the text as it is.
            raise
    return _without_break(text)


def _without_break(text: str) -> str:
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def _place(node: Leaf, rendered: str, line: int) -> str:
    """Return how a message begins: with the person's own line, where templates have not moved it."""
    place = node.spans.get("body", node.span)
    if line and rendered.count("\n") == node.body.count("\n"):
        return f"{place.moved(line - 1, 1)}: "
    return f"{place}: " if not line else f"{place}: line {line} of the text that the template makes: "
