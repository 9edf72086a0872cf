"""Every text is read by Jinja's parser once, for as long as its workflow lives."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

import flownb
from flownb.errors import ExpressionError
from flownb.templates import reading
from flownb.templates.expressions import (
    ExpressionSyntaxError,
    Target,
    check_quotes,
    evaluate,
    expression_names,
    render,
    render_script,
    template_names,
    uses_raw,
)
from flownb.templates.syntax import parse

MANY = 2 * reading._RECENT


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The texts that were given to the parser."""
    texts: list[str] = []

    def noted(source: str, *, bare: bool, comments: bool) -> object:
        texts.append(source)
        return parse(source, bare=bare, comments=comments)

    reading.read.cache_clear()
    gc.collect()
    monkeypatch.setattr(reading, "parse", noted)
    yield texts
    reading.read.cache_clear()


def _document(count: int) -> str:
    nodes = (f"## n{number}\n\n```expr\n{number} + 1\n```\n" for number in range(count))
    return "# Many\n\n" + "\n".join(nodes)


def test_a_text_is_parsed_once_for_its_names_its_quotes_and_its_value(parsed: list[str]) -> None:
    expression_names("a.b + 1")
    assert evaluate("a.b + 1", {"a": {"b": 2}}) == 3
    template_names("echo {{ a }}", Target.SHELL)
    check_quotes("echo {{ a }}", Target.SHELL)
    uses_raw("echo {{ a }}", Target.SHELL)
    render_script("echo {{ a }}", {"a": 1})
    template_names('{"a": {{ a }}}', Target.JSON)
    render('{"a": {{ a }}}', {"a": 1}, Target.JSON)
    render('{"a": {{ a }}}', {"a": 1}, Target.JSON, hidden=frozenset([("a", None)]))
    assert parsed == ["a.b + 1", "echo {{ a }}", '{"a": {{ a }}}']


def test_what_is_rendered_hidden_first_is_seen_later(parsed: list[str]) -> None:
    hidden = frozenset([("a", None)])
    for text in ("{{ a }} {{ b }}", "{% if b %}{{ a }} {{ b }}{% endif %}"):
        assert render(text, {"a": 1, "b": 2}, hidden=hidden) == "••• 2"
        assert render(text, {"a": 1, "b": 2}) == "1 2"
        assert render(text, {"a": 1, "b": 2}, Target.JSON) == "1 2"
        assert render(text, {"a": 1, "b": 2}, hidden=hidden) == "••• 2"
    assert len(parsed) == 2


def test_a_workflow_of_many_expressions_keeps_them_all_and_lets_them_go(parsed: list[str]) -> None:
    workflow = flownb.parse(_document(MANY))
    assert len(parsed) == MANY
    assert [evaluate(f"{number} + 1", {}) for number in range(MANY)] == list(range(1, MANY + 1))
    assert flownb.parse(_document(MANY)) == workflow
    assert len(parsed) == MANY
    del workflow
    gc.collect()
    assert len(reading._HELD) <= reading._RECENT + 64  # Other tests keep some.


def test_a_faulty_text_tells_its_fault_each_time_anew() -> None:
    raised = []
    for _ in range(2):
        with pytest.raises(ExpressionSyntaxError) as caught:
            expression_names("a +")
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert [str(error) for error in raised] == ["it ends too early"] * 2


@pytest.mark.parametrize("before", ["a ", "{% set b = 1 %}"], ids=["walked", "compiled"])
def test_an_if_without_else_that_something_is_done_with_is_told_in_the_same_words(before: str) -> None:
    text = before + "{{ (1 if false) + 1 }}"
    with pytest.raises(ExpressionError) as caught:
        render(text, {})
    assert str(caught.value) == f"the `if` is false and has no `else`, in `{text}`"


def test_importing_flownb_imports_neither_a_template_engine_nor_markdown() -> None:
    heavy = ("jinja2", "markupsafe", "markdown_it", "nbformat", "IPython", "rich", "tree_sitter")
    code = f"import sys, flownb; flownb.run; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_document_without_an_expression_needs_no_template_engine() -> None:
    code = "import sys, flownb; flownb.parse('# A\\n\\n```python\\n1\\n```\\n'); print('jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
