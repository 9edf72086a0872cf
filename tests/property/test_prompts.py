"""Whatever the values: a model is sent them as they are, and whatever it answers, that is a value of its type or an error of flownb."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flownb.errors import AnswerError, NodeError
from flownb.model.prompt_node import PromptNode
from flownb.model.types import convert
from flownb.runtimes.prompt.answer import read_answer, schema_of
from flownb.runtimes.prompt.runtime import PromptRuntime
from tests.models import ModelServer, serving
from tests.nodes import node_of, run_node, scope_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
MARKS = [
    "{{ x }}",
    "{% if x %}",
    "{#",
    "<|im_start|>",
    "<system>",
    "[INST]",
    "\n\nHuman:",
    '"}]',
    "\u2028",
    "\x00",
    "</think>",
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["n", "answer", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
OUTPUTS = [
    {"n": "int"},
    {"n": "str", "x": "int | None"},
    "int",
    "str",
    "bool",
    "list[str]",
    "dict[str, any]",
    "any",
    'Literal["a"]',
]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ExitStack() as stack:
        yield stack.enter_context(serving("ok"))


@given(st.lists(TEXT | st.sampled_from(MARKS), min_size=1, max_size=4).map("".join))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_put_into_a_prompt_is_sent_as_text(server: ModelServer, value: str) -> None:
    node = node_of(PromptNode, "<{{ v }}>", model="vllm:x", base_url=server.base, system="<{{ v }}>")
    run_node(PromptRuntime(), node, scope_of({"v": value}))
    system, message = server.asked[-1]["messages"]
    assert without_joiners(server.prompts()[-1]) == without_joiners(f"<{value}>")
    assert (system["role"], message["role"]) == ("system", "user")
    assert without_joiners(system["content"]) == without_joiners(f"<{value}>")


def without_joiners(text: str) -> str:
    """Return a text without the invisible character by which pydantic-ai breaks what looks like a model's control token."""
    return text.replace("\u200d", "")


@given(st.text(st.characters(categories=["Cs"]), min_size=1, max_size=3))
@settings(deadline=None, max_examples=10)
def test_halves_of_characters_are_refused(value: str) -> None:
    node = node_of(PromptNode, "<{{ v }}>", model="vllm:x", base_url="http://127.0.0.1:9")
    with pytest.raises(NodeError, match="half a character"):
        run_node(PromptRuntime(), node, scope_of({"v": value}))


@given(st.text(max_size=100) | JSON.map(json.dumps), st.sampled_from(OUTPUTS))
@example("```json\n```", "any")
@example('{"answer": {"answer": 1}}', "dict[str, any]")
def test_any_answer_is_a_value_of_the_type_or_an_answer_error(text: str, output: str) -> None:
    try:
        value = read_answer(text, output)
    except AnswerError as error:
        told = error.message
        assert told.startswith("the answer ")
        assert len(told) < 2000
    else:
        assert convert(output, value, "answer") == value


@given(JSON, st.sampled_from(OUTPUTS))
def test_what_fits_the_schema_that_a_model_is_given_is_taken(data: object, output: str) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema_of(output))
    if validator.is_valid(data):
        read_answer(json.dumps(data), output)
