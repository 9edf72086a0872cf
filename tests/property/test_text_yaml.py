"""Properties of reading YAML: any text is data with true places or an error with one, and JSON is YAML."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from flownb.text import yaml as yaml_values
from flownb.text.lines import split_lines
from flownb.text.spans import Span
from flownb.text.yaml import DATA, Value, load_yaml
from flownb.text.yaml_words import YamlError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
PIECES = st.sampled_from(
    [
        *("a", "b: ", "- ", "? ", ": ", "{", "}", "[", "]", ", ", ",", "\n", "\n  ", "\n    ", "'x'", '"y"', "'", '"', "&x ", "*x", "!!str ", "!t "),
        *("# c", " #", "|", "\n|\n  t\n", ">-\n  t\n", "1", "0x1F", "1.5", "true", "~", "on", "1:30", "é", "😀", "\t", "<<: ", "%", "@", "---\n"),
        *("...\n", ":", "-", "?", "  ", " ", "\\n", "{{ a }}", "key: ", "c:\n", "\\u00e9", "''", ".", "e", "+", "~: ", "null", "_", "=", "%YAML 1.2\n---\n"),
        *("\u2028", "\x85", "\ufeff", "\x7f", "\r\n", "\r", "\\U000F0000", "\U000f0000"),
    ]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=14).map("".join) | st.text(max_size=60)


def read(text: str) -> Value:
    return load_yaml(text, lambda line, column, length: Span("x", line + 1, column + 1, length))


def values_of(value: Value) -> list[Value]:
    return [value, *[inner for part in value.parts.values() for inner in values_of(part)]]


@given(TEXTS)
def test_any_yaml_gives_values_or_an_error_with_true_places(text: str) -> None:
    lines = [*split_lines(text), ""]  # What is empty at the end stands behind it.
    try:
        value = read(text)
    except YamlError as error:
        assert error.message  # noqa: PT017
        assert error.span.line < len(lines)  # noqa: PT017
        assert error.span.column <= len(lines[error.span.line - 1]) + 1  # noqa: PT017
        return
    for part in values_of(value):
        written = lines[part.span.line - 1][part.span.column - 1 :]
        assert written.startswith(part.raw)
        assert part.data is None or written
        assert all(span.line < len(lines) for span in part.keys.values())
        if part.start == part.span and isinstance(part.data, str):
            assert written.startswith(part.data)


@given(JSON)
@example({"\x7f\x85\u2028\ufeff\uffff😀": ["on", "1:30", 1e16, 5e-324, 10**30, "{{ a }}", " \t"]})
def test_json_is_yaml(value: object) -> None:
    for indent in (None, 2):
        text = json.dumps(value, ensure_ascii=False, indent=indent)
        assert json.dumps(load_yaml(text, lambda *_: Span("x"), DATA).data) == json.dumps(value)


def outcome(text: str, parser: type, monkeypatch: pytest.MonkeyPatch) -> object:
    with monkeypatch.context() as patch:
        patch.setattr(yaml_values, "Parser", parser)
        try:
            return read(text)
        except YamlError as error:
            return error


@given(TEXTS.map(lambda text: text.replace("\t", " ")))  # The parser in Python takes fewer tabs.
@example('"\\UFFFFFFFF"')
@example('"\\U00110000"')
def test_the_parser_in_python_reads_what_the_one_in_c_reads(text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        quick = outcome(text, yaml.CBaseLoader, monkeypatch)
        slow = outcome(text, yaml.BaseLoader, monkeypatch)
    assert isinstance(slow, Value | YamlError)
    if isinstance(quick, Value) and isinstance(slow, Value):
        assert json.dumps(quick.data) == json.dumps(slow.data)
        assert [part.raw for part in values_of(quick)] == [part.raw for part in values_of(slow)]
    elif type(quick) is not type(slow):
        assert "#" in text or "%" in text  # `|# c` and `%FOO`: the one or the other is strict.
