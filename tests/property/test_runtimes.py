"""Whatever the values: they come out of a body as they went in, and what fails fails as it should."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flownb.errors import FlowError
from flownb.model.nodes import JsonNode, Leaf, PythonNode, ShellNode, TextNode, YamlNode
from flownb.model.record import Record, plain
from flownb.runtimes.data import JsonRuntime, TextRuntime, YamlRuntime
from flownb.runtimes.python import PythonRuntime
from flownb.runtimes.shell import ShellRuntime
from tests.nodes import node_of, run_node, scope_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


@given(JSON)
@pytest.mark.parametrize(
    "kind, body",
    [
        (JsonNode, "{{ v }}"),
        (JsonNode, '{"a": [{{ v }}]}'),
        (YamlNode, "{{ v }}"),
        (YamlNode, '{"a": [{{ v }}]}'),
        (YamlNode, "a:\n  - {{ v }}"),
    ],
)
def test_any_value_put_into_data_comes_out_equal(kind: type[Leaf], body: str, value: object) -> None:
    runtime = JsonRuntime() if kind is JsonNode else YamlRuntime()

    made = run_node(runtime, node_of(kind, body), scope_of({"v": value}))

    assert json.dumps(made) == json.dumps(value if body == "{{ v }}" else {"a": [value]})


@given(TEXT)
def test_any_text_put_into_a_text_comes_out_equal(value: str) -> None:
    assert run_node(TextRuntime(), node_of(TextNode, "<{{ v }}>"), scope_of({"v": value})) == f"<{value}>"


@given(TEXT.filter(lambda text: "\0" not in text))
@settings(max_examples=60)
def test_any_text_put_into_a_script_is_one_word(value: str) -> None:
    node = node_of(ShellNode, "printf '%s.' {{ v }}", env={"V": "{{ v }}"})

    assert run_node(ShellRuntime(), node, scope_of({"v": value})) == f"{value}."


@given(st.text(max_size=200))
def test_any_body_gives_data_or_an_error_of_flownb(text: str) -> None:
    for kind, runtime in ((JsonNode, JsonRuntime()), (YamlNode, YamlRuntime()), (TextNode, TextRuntime())):
        try:
            json.dumps(run_node(runtime, node_of(kind, text), scope_of()), allow_nan=False)
        except FlowError as error:
            assert error.message  # noqa: PT017


@given(JSON)
def test_a_python_body_sees_what_it_is_given(value: object) -> None:
    assert run_node(PythonRuntime(), node_of(PythonNode, "v"), scope_of({"v": value})) is value


@given(st.dictionaries(TEXT, JSON, max_size=5))
def test_a_record_and_its_dict_are_one_and_the_same(fields: dict[str, object]) -> None:
    record = Record(fields)

    assert record == fields
    assert json.dumps(plain(record)) == json.dumps(fields)
    assert all(getattr(record, name) == value for name, value in fields.items())
