from __future__ import annotations

from dataclasses import replace

import pytest

from flownb.errors import ExpressionError, NodeError
from flownb.model.nodes import ExpressionNode, JsonNode, Leaf, MarkdownNode, TextNode, YamlNode
from flownb.runtimes.base import Printed, Runtime
from flownb.runtimes.data import (
    ExpressionRuntime,
    JsonRuntime,
    MarkdownRuntime,
    TextRuntime,
    YamlRuntime,
)
from flownb.runtimes.jsontext import JsonTextError, load_json
from tests.nodes import node_of, run_node, scope_of

RUNTIMES: dict[type[Leaf], Runtime] = {
    TextNode: TextRuntime(),
    MarkdownNode: MarkdownRuntime(),
    JsonNode: JsonRuntime(),
    YamlNode: YamlRuntime(),
    ExpressionNode: ExpressionRuntime(),
}


def run(kind: type[Leaf], body: str, **values: object) -> object:
    return run_node(RUNTIMES[kind], node_of(kind, body), scope_of(values))


def error_of(kind: type[Leaf], body: str, **values: object) -> str:
    with pytest.raises(NodeError) as caught:
        run(kind, body, **values)
    return caught.value.message


@pytest.mark.parametrize("kind", [TextNode, MarkdownNode])
@pytest.mark.parametrize(
    "body, text",
    [
        ("plain", "plain"),
        ("a {{ n }} b", "a 7 b"),
        ("{{ n }}", "7"),
        ("  {{ n }}\n", "  7"),
        ("{{ some }}", "[1, 'x']"),
        ("{{ nothing }}", "None"),
        ("two\n\n", "two\n"),
        ("{{ lines }}", "a\nb"),
        ("{{ code }}", "{{ n }}"),
        ("{% for x in some %}{{ x }},{% endfor %}", "1,x,"),
        ("", ""),
    ],
)
def test_text_is_always_text_without_the_last_line_break(kind: type[Leaf], body: str, text: str) -> None:
    values = {"n": 7, "some": [1, "x"], "nothing": None, "lines": "a\nb\n", "code": "{{ n }}"}

    assert run(kind, body, **values) == text


def test_an_error_in_a_text_shows_the_text_as_it_is() -> None:
    with pytest.raises(ExpressionError) as caught:
        run(TextNode, "{{ 1 / 0 }}")

    assert "`{{ 1 / 0 }}`" in caught.value.message


def test_markdown_is_shown_without_secrets_and_kept_with_them() -> None:
    shown: list[Printed] = []
    scope = scope_of({"word": "s3cret"}, printed=shown.append, secrets=("s3cret",))

    value = run_node(MarkdownRuntime(), node_of(MarkdownNode, "# {{ word }}"), scope)

    assert value == "# s3cret"
    assert shown == [Printed("text/markdown", "# •••")]


@pytest.mark.parametrize("kind", [JsonNode, YamlNode])
def test_values_in_data_keep_their_types(kind: type[Leaf]) -> None:
    value = {"a": [1, 2.5, None, True, 'quote " and \n', "{{ n }}"]}

    assert run(kind, '{"here": {{ v }}, "n": {{ n }}}', v=value, n="no") == {"here": value, "n": "no"}


def test_yaml_in_block_style() -> None:
    assert run(YamlNode, "a: {{ v }}\nlist:\n  - {{ v }}\n  - on\n", v="x: y # no") == {
        "a": "x: y # no",
        "list": ["x: y # no", "on"],
    }


@pytest.mark.parametrize(
    "body, value",
    [
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01 10:00:00", "2026-01-01 10:00:00"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("010", 10),
        ("0o10", 8),
        ("", None),
        ("1: a\nnull: b\n007: c", {"1": "a", "null": "b", "007": "c"}),
        ("true: a\n1.10: b", {"true": "a", "1.10": "b"}),
        ("a: &x [1]\nb: *x", {"a": [1], "b": [1]}),
        ("- 1\n- [2]", [1, [2]]),
    ],
)
def test_yaml_gives_what_json_has(body: str, value: object) -> None:
    assert run(YamlNode, body) == value


@pytest.mark.parametrize(
    "body, message",
    [
        ("a: 1\na: 2", "In[7]:13: no YAML: the key 'a' stands twice: lines 12 and 13"),
        ("x: 1\na: !!binary aGk=", "In[7]:13: no YAML: the tag '!!binary' is not read"),
        ("!!python/object:os.system x", "In[7]:12: no YAML: the tag '!!python/object:os.system' is not read"),
        ("!mine 1", "In[7]:12: no YAML: the tag '!mine' is not read"),
        ("a: [", "In[7]:12: no YAML: expected a value, but got the end of the text"),
        ("a: b: c", "In[7]:12: no YAML: `: ` stands inside a text"),
        ("a: 1\n---\nb: 2", "In[7]:13: no YAML: a second document begins here"),
        ("x: 1\ny: -.inf", "In[7]:13: no YAML: JSON has no number -.inf"),
        ("x: 1e999", "In[7]:12: no YAML: JSON has no number 1e999"),
        ("&a [*a]", "In[7]:12: no YAML: an alias refers to itself"),
        ("[" * 500_000, "In[7]:12: no YAML: it is nested too deeply"),
        ("a: " + "[" * 300, "In[7]:12: no YAML: the YAML is nested too deeply"),
        ("- " * 2000, "In[7]:12: no YAML: the YAML is nested too deeply"),
        ("? [1]\n: 2", "In[7]:12: no YAML: a key must be a text"),
        ("1: a\n'1': b", "In[7]:13: no YAML: the key '1' stands twice"),
    ],
)
def test_what_is_no_data_is_an_error_with_the_persons_line(body: str, message: str) -> None:
    assert error_of(YamlNode, body).startswith(message)


def test_many_brackets_beside_each_other_or_in_quotes_are_not_deep() -> None:
    assert run(YamlNode, "a: [" + "[], " * 300 + "]\nb: '" + "[" * 300 + "'") == {"a": [[]] * 300, "b": "[" * 300}


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    assert "this stands for more than 1,000,000 values" in error_of(YamlNode, "\n".join(lines))


def test_what_is_wrong_in_a_text_with_a_secret_shows_no_piece_of_it() -> None:
    node, values = node_of(YamlNode, "a: [1, 2\nb: {{ word | raw }}"), {"word": "s3cret: and more of it"}

    with pytest.raises(NodeError) as caught:
        run_node(YamlRuntime(), node, scope_of(values, secrets=(values["word"],)))

    assert caught.value.message == "In[7]:13: no YAML: what is wrong in it is not shown, since it holds a secret"


def test_json_that_libyaml_does_not_take_is_yaml() -> None:
    assert run(YamlNode, '{"%s": "\\ud83d\\ude00"}' % ("k" * 2000)) == {"k" * 2000: "😀"}


@pytest.mark.parametrize(
    "body, message",
    [
        ('{"a": 1,\n "b": }', "In[7]:13: no JSON: expecting value at column 7"),
        ('{"a": 1, "a": 2}', "In[7]:12: no JSON: the key 'a' stands twice in one object"),
        ("[NaN]", "In[7]:12: no JSON: NaN is no JSON"),
        ("[-Infinity]", "In[7]:12: no JSON: -Infinity is no JSON"),
        ("[1e999]", "In[7]:12: no JSON: 1e999 is too large a number"),
        ("", "In[7]:12: no JSON: expecting value at column 1"),
        ("[" * 100_000, "In[7]:12: no JSON: it is nested too deeply"),
        ("1" * 5000, "In[7]:12: no JSON: Exceeds the limit"),
    ],
)
def test_what_is_no_json_is_an_error_with_the_persons_line(body: str, message: str) -> None:
    assert error_of(JsonNode, body).startswith(message)


def test_a_line_that_a_template_made_is_named_as_such() -> None:
    message = error_of(JsonNode, "[{% for n in some %}\n{{ n }},\n{% endfor %}]", some=[1, 2])

    assert message.startswith("In[7]:12: line ")
    assert "of the text that the template makes" in message


def test_an_expressions_value_keeps_its_type() -> None:
    assert run(ExpressionNode, "some | length > 1", some=[1, 2]) is True


def test_json_text_errors_have_their_line() -> None:
    with pytest.raises(JsonTextError) as caught:
        load_json("[\n1\n2]")

    assert caught.value.line == 3


@pytest.mark.parametrize(
    "body", ["# {{ s | b64encode }} {{ n }}", "{{ s | b64encode }}\n", "{% set a = s %}{{ a[1:] }} {{ n }}"]
)
def test_markdown_shows_nothing_that_is_made_from_a_secret(body: str) -> None:
    shown: list[Printed] = []
    scope = scope_of({"s": "hunter2" * 3, "n": 5}, printed=shown.append)
    scope = replace(scope, tainted=frozenset({("s", None)}))
    made = run_node(MarkdownRuntime(), node_of(MarkdownNode, body), scope)
    assert "•••" in str(shown[0].data)
    assert "aHVudGVy" not in str(shown[0].data)
    assert "hunter2" not in str(shown[0].data)
    assert "•••" not in str(made)
