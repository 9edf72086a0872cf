"""Nodes whose value is what their text says: text, markdown, json, yaml and expr."""

from __future__ import annotations

import math
from typing import Any, Final

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from flownb.errors import ExpressionError, NodeError
from flownb.expressions import Target, evaluate, is_template, render
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Printed, Scope
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.runtimes.output import redacted

MOST_VALUES: Final = 1_000_000
"""Most values in one YAML body, aliases counted as often as they are used: an alias in an alias in an alias is a bomb."""
_DEEPEST: Final = 200
_END: Final = "."


class TextRuntime:
    """Runs `text` nodes. The value is always text, also that of a lone `{{ … }}`, without the last line break."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the text."""
        return _text(node, scope)


class MarkdownRuntime:
    """Runs `markdown` nodes: as `text`, and what they say is shown rendered."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the Markdown and show it."""
        text = _text(node, scope)
        redacted(scope)(Printed("text/markdown", text))
        return text


class JsonRuntime:
    """Runs `json` nodes."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the data.

        Raises:
            NodeError: With its values in it, the text is no JSON (a key given twice, NaN and Infinity are not).
        """
        text = str(render(node.body, scope.values, Target.JSON))
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
        text = str(render(node.body, scope.values, Target.JSON))
        loader = YAML(typ="safe", pure=True)
        loader.Constructor = _Constructor
        try:
            return _Plain().value(loader.load(text), 0)
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            problem = " ".join((error.problem or error.context or "it cannot be read").split())
            raise NodeError(f"{_place(node, text, line)}no YAML: {scope.redactor.text(problem)}") from None
        except (YAMLError, ValueError) as error:
            problem = " ".join(str(error).split())
            raise NodeError(f"{_place(node, text, 0)}no YAML: {scope.redactor.text(problem)}") from None
        except RecursionError:
            raise NodeError(f"{_place(node, text, 0)}no YAML: it is nested too deeply") from None


class ExpressionRuntime:
    """Runs `expr` nodes."""

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Return the expression's value."""
        return evaluate(node.body, scope.values)


def _text(node: Leaf, scope: Scope) -> str:
    text = node.body
    if is_template(text):
        try:  # With something after it, no `{{ … }}` stands alone and keeps its value's type.
            text = str(render(text + _END, scope.values)).removesuffix(_END)
        except ExpressionError:
            render(text, scope.values)  # The same error, and it shows the text as it is.
            raise
    return text[:-1].removesuffix("\r") if text.endswith("\n") else text


def _place(node: Leaf, rendered: str, line: int) -> str:
    """Return how a message begins: with the person's own line, where templates have not moved it."""
    place = node.spans.get("body", node.span)
    if line and rendered.count("\n") == node.body.count("\n"):
        return f"{place.moved(line - 1, 1)}: "
    return f"{place}: " if not line else f"{place}: line {line} of the text that the template makes: "


class _Constructor(SafeConstructor):
    """Makes what JSON has: no dates, sets or bytes."""


def _refuse(_: _Constructor, node: Any) -> None:  # Any: ruamel's own node, which carries no useful type.
    raise MarkedYAMLError(problem=f"the tag {node.tag} is not allowed", problem_mark=node.start_mark)


_Constructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)
for _tag in ("binary", "set", "omap", "pairs"):
    _Constructor.add_constructor(f"tag:yaml.org,2002:{_tag}", _refuse)
_Constructor.add_constructor(None, _refuse)


class _Plain:
    """Turns what YAML gave into what JSON has."""

    def __init__(self) -> None:
        self._count = 0

    def value(self, value: object, depth: int) -> JsonValue:
        self._count += 1
        if self._count > MOST_VALUES or depth > _DEEPEST:
            raise ValueError("it holds too much, perhaps through its aliases")
        match value:
            case None | bool() | int() | str():
                return value
            case float():
                if not math.isfinite(value):
                    raise ValueError("JSON has no .nan and no .inf: write null or a text")
                return value
            case list():
                return [self.value(item, depth + 1) for item in value]
            case dict():
                made = {self.key(key): self.value(item, depth + 1) for key, item in value.items()}
                if len(made) < len(value):
                    raise ValueError("two keys are the same text")
                return made
            case _:
                raise ValueError(f"it holds a {type(value).__name__}, which JSON does not have")

    def key(self, key: object) -> str:
        match key:
            case str():
                return key
            case None | bool():
                return {None: "null", True: "true", False: "false"}[key]
            case int() | float():
                return str(key)
            case _:
                raise ValueError(f"{key!r} is no key: write a text")
