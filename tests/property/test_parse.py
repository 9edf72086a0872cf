"""Properties of the parser: no text breaks it, and its short cuts agree with the libraries that they spare."""

from __future__ import annotations

import ast
import symtable
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flownb.errors import Severity
from flownb.parse.python_names import PythonSyntaxError, _trees, python_names
from flownb.parse.sections import plain_heading, read_sections
from flownb.parse.workflow import diagnose
from flownb.render.problems import problems_json, render_problems
from flownb.text.lines import split_lines
from flownb.text.markdown import block_tokens, inline_tokens

LINES = st.sampled_from(
    [
        "---", "", "", "# Title", "## A", "## B {#b_2}", "### A", "## 加载", "## a‍b", "Title\n===", "B\n---",
        "- retry: 3", "- retyr: 3", "- foreach: a", "- as: x", "- until: a.ok", "- needs: [a, b]", "- needs: []", "- when: x", "- type: branch",
        "- type: parallel", "- wait: 2", "- type: flow", "- path: x.flow.md", "- fallback: b", "- type: group", '- env: {A: "{{ b }}"}',
        "- timeout: 5m", "- timeout:\n    - a", "- retry: {max: 5,\n    base: 1s}", "  more", "\t- tab", "- when: {{ x }}",
        "```python", "```", "~~~", "```bash", "```json", "```yaml", "```expr", "```checkpoint", "```text", "```pyhton", "```python example",
        "```yaml schema", "```yaml env", "```http", "a + 1", "x = b", "{{ a }}", 'echo "{{ a }}"', '{"a": {{ b }}}', "a: {{ b | raw }}", "{% if a %}", "!ls",
        "import os", "def f(:", "name: x", "inputs: {topic: str}", "outputs: {a: b}", "secrets: [A]", "on_error: b", "defaults: {retry: 2}",
        "> quote", "| a | b |", "|---|---|", "<div>", "<!--", "-->", "[a]: /b", "***", "## Execution Log", "1. one", "\0", "\ufeff", "  ```python",
    ]
)  # fmt: skip
DOCUMENTS = st.lists(st.one_of(LINES, LINES, LINES, st.text(max_size=12)), max_size=40).map("\n".join)


@given(st.one_of(DOCUMENTS, st.text()))
@example("---\n? [a]\n: b\n---\n")
@example("## A\n- type:\n")
@example("## A\n- foreach: []\n- as: []\n```text\n```")
@example("## A\n- env:\n    - {}\n```bash\n```")
def test_any_text_gives_a_workflow_or_diagnostics_with_places_in_it(text: str) -> None:
    workflow, problems = diagnose(text)
    assert (workflow is None) == any(problem.severity is Severity.ERROR for problem in problems)
    lines = split_lines(text)
    for problem in problems:
        assert 1 <= problem.span.line <= len(lines)
        assert 1 <= problem.span.column <= len(lines[problem.span.line - 1]) + 1
        assert problem.message
        assert "\n" not in problem.message + problem.hint
    assert len({(problem.code, problem.span) for problem in problems}) == len(problems)
    assert len(problems_json(problems)) == len(problems)
    render_problems(problems, text)


@given(DOCUMENTS, st.integers(1, 8))
def test_reading_part_by_part_gives_what_reading_at_once_gives(text: str, fewest: int) -> None:
    lines = split_lines(text)
    tokens = block_tokens("\n".join(lines))
    wanted = [
        token.map[0] for token in tokens if token.level == 0 and token.map and token.type in {"heading_open", "fence"}
    ]
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules[read_sections.__module__], "_PART", fewest)
        stack = [read_sections([line if line != "## Execution Log" else "## Log" for line in lines], 0)]
    while stack:
        section = stack.pop()
        found += [section.line] * (section.level > 0) + [fence.line for fence in section.fences]
        stack += section.children
    assert sorted(found) == wanted


def free_names(source: str) -> set[str]:
    """Return the names that Python's own symbol table calls global and nothing in the module binds."""
    top = symtable.symtable(source, "x", "exec")
    tables = [top]
    for table in tables:
        tables += table.get_children()
    symbols = [(table, symbol) for table in tables for symbol in table.get_symbols()]
    bound = {
        symbol.get_name()
        for table, symbol in symbols
        if (table is top and (symbol.is_assigned() or symbol.is_imported()))
        or (symbol.is_declared_global() and symbol.is_assigned())
    }
    read = {
        symbol.get_name()
        for table, symbol in symbols
        if symbol.is_referenced() and (table is top or symbol.is_global())
    }
    return read - bound


@pytest.mark.parametrize(
    "module", ["json/decoder.py", "asyncio/base_events.py", "dataclasses.py", "typing.py", "inspect.py", "functools.py"]
)
def test_names_are_those_of_the_symbol_table(module: str) -> None:
    source = (Path(ast.__file__).parent / module).read_text(encoding="utf-8")
    assert {read.name for read in python_names(source).reads} == free_names(source)


@pytest.mark.parametrize("module", ["json/decoder.py", "typing.py", "inspect.py", "argparse.py"])
def test_names_of_long_code_are_the_same_part_by_part(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    source = (Path(ast.__file__).parent / module).read_text(encoding="utf-8")
    whole = python_names(source)
    monkeypatch.setattr(sys.modules[python_names.__module__], "_PART", 3)
    assert len(list(_trees(source, source.split("\n")))) > 5
    assert python_names(source) == whole


@given(
    st.lists(
        st.sampled_from(
            [
                "x = 1",
                "y",
                "for i in x:\n    i",
                "[a for a in b if a]",
                "def f(p, *q):\n    global g\n    g = p + z",
                "lambda u: u + v",
                "(w := 1)",
                "class C:\n    m = n",
                "try:\n    o\nexcept E as e:\n    e",
                "del x",
                "import os.path as op",
                "x += 1",
                "[k := j for j in l]",
            ]
        ),
        min_size=1,
    )
)
def test_names_of_small_bodies_are_those_of_the_symbol_table(parts: list[str]) -> None:
    source = "\n".join(parts)
    try:
        found = {read.name for read in python_names(source).reads}
    except PythonSyntaxError:
        return
    assert found == free_names(source)


@given(st.text(alphabet="ab_ 9-.(é*", min_size=1, max_size=12).map(str.strip).filter(bool))
def test_a_heading_reads_as_commonmark_renders_it_however_it_is_read(text: str) -> None:
    rendered = "".join(token.content for token in inline_tokens(text))

    assert plain_heading(text) == rendered
