"""Nodes whose value is what their text says: text, markdown, json, yaml and expr."""

from __future__ import annotations

import asyncio
from typing import Final

from flownb.errors import ExpressionError, NodeError
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Printed, Scope
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.runtimes.output import redacted
from flownb.runtimes.yamltext import YamlTextError, load_yaml
from flownb.templates.expressions import Target, evaluate_apart, is_template, render_apart

_QUICK: Final = 4096
"""The most characters of YAML that are read without a thread."""
_END: Final = "."


class TextRuntime:
    """Runs `text` nodes. The value is always text, also that of a lone `{{ … }}`, without the last line break."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the text."""
        return await _text(node, scope)


class MarkdownRuntime:
    """Runs `markdown` nodes: as `text`, and what they say is shown rendered."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the Markdown and show it, without what it tells of secrets."""
        text = await _text(node, scope)
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

    The value is what JSON has: dates stay text, as they are written; keys that are no text become it, as JSON writes
    them (`1`, `true`); a key given twice, tags, `.nan` and `.inf` are refused.
    """

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the data.

        Raises:
            NodeError: With its values in it, the text is no YAML or stands for something that JSON does not have.
        """
        text = str(await render_apart(node.body, scope.values, Target.JSON))
        try:
            if len(text) > _QUICK:  # ruamel takes a second for 50 KB.
                return await asyncio.to_thread(load_yaml, text)
            return load_yaml(text)
        except YamlTextError as error:
            problem = scope.redactor.text(error.message)
            raise NodeError(f"{_place(node, text, error.line)}no YAML: {problem}") from None


class ExpressionRuntime:
    """Runs `expr` nodes."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the expression's value."""
        return await evaluate_apart(node.body, scope.values)


async def _text(node: Leaf, scope: Scope) -> str:
    text = node.body
    if is_template(text):
        try:  # With something after it, no `{{ … }}` stands alone and keeps its value's type.
            text = str(await render_apart(text + _END, scope.values)).removesuffix(_END)
        except ExpressionError:
            await render_apart(text, scope.values)  # The same error, and it shows the text as it is.
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
