"""A magic's line to its arguments: quotes, values in YAML, and `{expressions}` over the notebook's variables."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.utils.text import DollarFormatter

from flownb.errors import FlowInputError
from flownb.terminal.prompt import read_yaml
from flownb.terminal.reuse_option import with_reuse_said
from flownb.text.python import python_tree

_QUOTES: Final = "'\""
_OPEN: Final = {"{": "}", "[": "]", "(": ")"}
_NAMED: Final = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)


def parse_line(parser: MagicArgumentParser, line: str, variables: Mapping[str, object]) -> Any:
    """Return a magic's arguments (Any: an argparse namespace).

    Args:
        parser: The magic's parser.
        line: What stands behind the magic's name.
        variables: The notebook's variables: `{name}` stands for one, except in `NAME=VALUE`, which `read_inputs` reads.

    Raises:
        FlowInputError: They are none; the hint says how to see what there is.
    """
    words = [word if _NAMED.fullmatch(word) else _filled(word, variables) for word in split_line(line)]
    try:
        return parser.parse_args(with_reuse_said(words))
    except UsageError as error:
        raise FlowInputError(f"%{parser.prog}: {error}", f"%{parser.prog}? shows what there is") from None


def split_line(line: str) -> list[str]:
    """Return the words of a line. Quotes and brackets hold a word together; quotes around a word or its value go.

    Raises:
        FlowInputError: A quote or a bracket is never closed.
    """
    words: list[str] = []
    word, quote, closing = "", "", ""
    for character in line:
        if quote:
            quote = "" if character == quote else quote
        elif character in _QUOTES:
            quote = character
        elif character in _OPEN and (word.endswith("=") or not word or closing):
            closing = _OPEN[character] + closing
        elif closing and character == closing[0]:
            closing = closing[1:]
        if character.isspace() and not quote and not closing:
            words += [word] if word else []
            word = ""
        else:
            word += character
    if quote or closing:
        raise FlowInputError(f"{quote or closing[-1]!r} is missing in: {line.strip()}", "close it")
    return [_unquoted(word) for word in [*words, *([word] if word else [])]]


def read_inputs(given: Sequence[str], variables: Mapping[str, object]) -> dict[str, object]:
    """Return input → value for `NAME=VALUE` texts: values are YAML, `{expression}` is worked out in the notebook.

    Raises:
        FlowInputError: One is not `NAME=VALUE`, is no YAML, is given twice, or its expression raises.
    """
    inputs: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name.isidentifier():
            raise FlowInputError(f"-i {text}: this is not NAME=VALUE", "as in: -i topic=wind")
        if name in inputs:
            raise FlowInputError(f"-i {name} is given twice", "give it once")
        inputs[name] = _value(name, value.strip(), variables)
    return inputs


def find_file(name: str, folder: Path | None) -> Path:
    """Return the file that a person means: beside the working directory, else beside the notebook."""
    path = Path(name).expanduser()
    plain = Path(str(path).partition("#")[0])
    if path.is_absolute() or plain.exists() or folder is None or not (folder / plain).exists():
        return path
    return folder / path


def _value(name: str, text: str, variables: Mapping[str, object]) -> object:
    if text.startswith("{") and text.endswith("}"):
        source = text[1:-1].strip()
        try:
            python_tree(source, mode="eval")
        except SyntaxError:
            return read_yaml(text, f"-i {name}")  # `{a: 1}`
        try:
            return eval(source, dict(variables))  # noqa: S307 The person's own expression, in their own notebook.
        except Exception as error:
            raise FlowInputError(f"-i {name}={text}: {type(error).__name__}: {error}", "as in a cell") from error
    return read_yaml(text, f"-i {name}")


def _filled(word: str, variables: Mapping[str, object]) -> str:
    if "{" not in word and "$" not in word:
        return word
    try:
        return str(DollarFormatter().vformat(word, (), dict(variables)))
    except Exception:  # noqa: BLE001 as IPython does: what cannot be expanded stays as it is
        return word


def _unquoted(word: str) -> str:
    quoted = 2
    if len(word) >= quoted and word[0] in _QUOTES and word[-1] == word[0]:
        return word[1:-1]
    name, equals, value = word.partition("=")
    if equals and name.startswith("--") and len(value) >= quoted and value[0] in _QUOTES and value[-1] == value[0]:
        return f"{name}={value[1:-1]}"
    return word
