"""YAML as text: read strictly and as JSON's data, with a line for what is wrong."""

from __future__ import annotations

import math
import re
from itertools import accumulate
from typing import Any, Final

from pydantic import JsonValue
from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from flownb.runtimes.jsontext import JsonTextError, load_json

MOST_VALUES: Final = 1_000_000
"""Most values in one text, aliases counted as often as they are used: an alias in an alias in an alias is a bomb."""
DEEPEST: Final = 200
"""Most lists and mappings in each other."""
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'', re.DOTALL)
_TOO_DEEP: Final = "it is nested too deeply"


class YamlTextError(ValueError):
    """The text is no YAML, or stands for what JSON does not have."""

    def __init__(self, message: str, line: int = 0) -> None:
        """Say what is wrong.

        Args:
            message: What is wrong, in one line.
            line: Where, counted from 1 in the text; 0: unknown.
        """
        super().__init__(message, line)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return self.message


def load_yaml(text: str) -> JsonValue:
    """Return the data that a YAML 1.2 text stands for, one document, as JSON has it.

    Dates stay text, as they are written; keys that are no text become it, as JSON writes them (`1`, `true`); a key given
    twice, tags, `.nan` and `.inf` are refused. Blocks: a megabyte may take 20 seconds, and is quick where it is JSON.

    Raises:
        YamlTextError: It is no YAML, or stands for what JSON does not have.
    """
    if text.lstrip()[:1] in {"[", "{", '"'}:  # YAML 1.2 holds JSON, and Python reads that a hundred times faster.
        try:
            return load_json(text)
        except JsonTextError:
            pass  # It may be YAML all the same; if not, the error is YAML's.
    _refuse_deep(text)
    loader = YAML(typ="safe", pure=True)
    loader.Constructor = _Constructor
    try:
        return _Plain().value(loader.load(text), 0)
    except MarkedYAMLError as error:
        problem = " ".join((error.problem or error.context or "it cannot be read").split())
        raise YamlTextError(problem, error.problem_mark.line + 1 if error.problem_mark else 0) from None
    except RecursionError:
        raise YamlTextError(_TOO_DEEP) from None
    except (YAMLError, ValueError) as error:
        raise YamlTextError(" ".join(str(error).split())) from None


def _refuse_deep(text: str) -> None:
    """Refuse brackets in brackets in brackets before ruamel does: it takes seconds for them."""
    if text.count("[") + text.count("{") > DEEPEST:
        signs = re.findall(r"[\[\]{}]", _QUOTED.sub("", text))
        if max(accumulate(1 if sign in "[{" else -1 for sign in signs), default=0) > DEEPEST:
            raise YamlTextError(_TOO_DEEP)


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
        if self._count > MOST_VALUES or depth > DEEPEST:
            raise YamlTextError("it holds too much, perhaps through its aliases")
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
