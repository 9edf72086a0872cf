"""What the parser is told from outside: sources, first lines, notebook variables, plug-ins, names; and sub-flows."""

from __future__ import annotations

import gc
import pickle
from pathlib import Path
from typing import ClassVar

import pytest

from flownb.errors import FlowSyntaxError, Severity
from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.nodes import BodyKind, Leaf, walk
from flownb.parse.source import decode
from flownb.parse.workflow import diagnose, name_of, parse_workflow
from flownb.text.codes import Code

TEXT = "## A\n\n```text\nx\n```\n"


def codes(text: str, **options: object) -> list[Code]:
    return [problem.code for problem in diagnose(text, **options)[1]]  # type: ignore[arg-type]


def test_lines_count_from_the_cells_first_line() -> None:
    _, problems = diagnose("## A\n\n```python\nnope\n```", source="In[7]", first_line=2)
    assert [str(problem.span) for problem in problems] == ["In[7]:5"]


def test_line_breaks_tabs_and_bom_do_not_move_places() -> None:
    for text in ("## A\r\n\r\n```python\r\nx = nope\r\n```\r\n", "\ufeff## A\n\n```python\nx = nope\n```"):
        _, problems = diagnose(text)
        assert [(problem.span.line, problem.span.column) for problem in problems] == [(4, 5)]


def test_errors_raise_one_error_with_all_problems_that_survives_pickling() -> None:
    with pytest.raises(FlowSyntaxError) as caught:
        parse_workflow("## A\n\n- retyr: 3\n- timout: 3\n\n```text\nx\n```")
    assert [problem.code for problem in caught.value.problems] == [Code.UNKNOWN_KEY, Code.UNKNOWN_KEY]
    assert pickle.loads(pickle.dumps(caught.value)).problems == caught.value.problems  # noqa: S301 our own bytes


def test_a_notebooks_variables_are_names() -> None:
    text = "## A\n\n```python\ndf.head()\n```\n\n## B\n\n- when: df is not none\n\n```text\n{{ df }}\n```"
    assert codes(text) == [Code.UNKNOWN_NAME] * 3
    assert codes(text, variables={"df"}) == []


def test_a_node_is_meant_before_a_variable() -> None:
    workflow, _ = diagnose(TEXT + "\n## B\n\n```python\na\n```", variables={"a"})
    assert workflow is not None
    assert [use.name for use in workflow.nodes[1].uses] == ["a"]


def test_ipythons_own_syntax_is_rewritten_in_a_notebook() -> None:
    def transform(code: str) -> str:
        return code.replace("!ls", "get_ipython().system('ls')")

    text = "## A\n\n```python\n!ls\nnope\n```"
    problems = diagnose(text, transform=transform, variables=set())[1]
    assert [(problem.code, problem.span.line) for problem in problems] == [(Code.UNKNOWN_NAME, 5)]


def test_a_plug_ins_kind_has_its_own_properties_and_aliases() -> None:
    class Echo(Leaf):
        TITLE: ClassVar[str] = "echo"
        ALIASES: ClassVar[tuple[str, ...]] = ("say",)
        BODY: ClassVar[BodyKind] = BodyKind.TEMPLATE
        EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"times"})
        times: str = "1"

    kinds: dict[str, type[Leaf]] = {**BUILTIN_KINDS, "echo": Echo}
    text = TEXT + "\n## B\n\n- times: a | length\n\n```say\n{{ a }}\n```"
    workflow, problems = diagnose(text, kinds=kinds)
    assert problems == []
    assert workflow is not None
    node = workflow.nodes[1]
    assert isinstance(node, Echo)
    assert (node.times, [use.field for use in node.uses]) == ("a | length", ["times", "body"])
    assert codes(text.replace("times", "tmies"), kinds=kinds) == [Code.UNKNOWN_KEY]


@pytest.mark.parametrize(
    "text,name,path,wanted",
    [
        ("---\nname: mine\n---\n# Title\n\n" + TEXT, "given", "file.flow.md", "mine"),
        ("# Title Ü\n\n" + TEXT, "given", "file.flow.md", "given"),
        ("# Title Ü\n\n" + TEXT, None, "file.flow.md", "title-u"),
        (TEXT, None, "My File.flow.md", "my-file"),
        ("# 加载\n\n" + TEXT, None, None, "flow"),
        (TEXT, None, "notebook.ipynb", "flow"),
    ],
)
def test_the_name_comes_from_text_caller_title_file_in_this_order(
    text: str, name: str | None, path: str | None, wanted: str
) -> None:
    workflow, _ = diagnose(text, name=name, path=Path(path) if path else None)
    assert workflow is not None
    assert workflow.name == wanted


def test_a_name_is_known_of_a_broken_document_too() -> None:
    assert name_of("---\nname: mine\ntimeout: 3\n---\n## A\n\n```python\n(\n```") == "mine"
    assert name_of("x\n" * 200_000) == "flow"


def test_the_text_is_kept_as_it_was() -> None:
    text = "\ufeff" + TEXT.replace("\n", "\r\n")
    assert parse_workflow(text).text == text


def test_a_sub_flow_is_parsed_with_its_own_places(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    sub = "---\ninputs: {topic: str}\n---\n## X\n\n```text\n{{ inputs.topic }}\n```"
    (tmp_path / "parts/sub.flow.md").write_text(sub, encoding="utf-8")
    text = TEXT + '\n## B\n\n- type: flow\n- path: parts/sub.flow.md\n- inputs: {topic: "{{ a }}"}\n'
    workflow, problems = diagnose(text, path=tmp_path / "main.flow.md")
    assert problems == []
    assert workflow is not None
    assert workflow.subflows["b"].path == tmp_path / "parts/sub.flow.md"
    assert [use.name for use in workflow.nodes[1].uses] == ["a"]


def test_a_sub_flow_may_lie_in_an_allowed_folder_and_links_are_followed(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "sub.flow.md").write_text(TEXT, encoding="utf-8")
    (inside / "link.flow.md").symlink_to(outside / "sub.flow.md")
    text = "## B\n\n- type: flow\n- path: link.flow.md\n"
    assert codes(text, path=inside / "main.flow.md") == [Code.FLOW_PATH]
    assert codes(f"---\nallow_paths: [../out]\n---\n{text}", path=inside / "main.flow.md") == []


def test_a_sub_flow_that_runs_its_caller_is_a_circle(tmp_path: Path) -> None:
    main = tmp_path / "main.flow.md"
    main.write_text("## B\n\n- type: flow\n- path: main.flow.md\n", encoding="utf-8")
    assert codes(main.read_text(encoding="utf-8"), path=main) == [Code.FLOW_CIRCLE]


def test_bytes_that_are_no_utf8_are_named_by_line_and_column() -> None:
    text, problems = decode("## A\n\nä".encode() + b"\xff\nx", "f")
    assert "\ufffd" in text
    assert [(problem.code, problem.span.line, problem.span.column) for problem in problems] == [(Code.NOT_UTF8, 3, 2)]
    assert decode("ä".encode(), "f") == ("ä", [])


def test_ten_thousand_headings_and_deep_nesting_are_no_trouble() -> None:
    assert codes("".join(f"## H {number}\n\ntext\n\n" for number in range(10_000))) == [Code.NO_NODES]
    for deep in (">" * 100_000, "- " * 50_000, "[" * 100_000, "## A\n\n- needs: " + "[" * 50_000):
        workflow, problems = diagnose(deep)
        assert workflow is not None or problems[0].severity is Severity.ERROR
    for code in ("(" * 50_000, "-" * 50_000 + "1", "1" + "+1" * 50_000, "lambda:" * 20_000 + "1"):
        assert codes(f"## A\n\n```python\n{code}\n```") == [Code.PYTHON_SYNTAX]


def test_one_mistake_is_told_once_however_often_it_stands_in_a_body() -> None:
    assert codes("## A\n\n```python\nnope\nnope.x\nnope + nope\n```") == [Code.UNKNOWN_NAME, Code.UNKNOWN_NAME]
    assert codes("## A\n\n```text\n{{ nope }} {{ nope }}\n```") == [Code.UNKNOWN_NAME]


def test_nothing_follows_from_a_broken_node() -> None:
    broken = "## A\n\n- retyr: 3\n- type: pyhton\n\n## B\n\n- needs: a\n\n```expr\na\n```"
    assert codes(broken) == [Code.UNKNOWN_KEY, Code.NODE_TYPE]
    assert codes("---\ninputs: [\n---\n## A\n\n```expr\ninputs.x\n```") == [Code.YAML_SYNTAX]


def test_every_use_is_where_it_says() -> None:
    text = "## A {#ä}\n\n```text\nx\n```\n\n## B\n\n- env: {X: \"{{ ä }}\", Y: '{{ ä.b }}'}\n- needs:\n  - ä\n\n```bash\n\techo {{ ä }}\n```"
    workflow, _ = diagnose(text)
    assert workflow is not None
    lines = text.split("\n")
    spans = [use.span for node in walk(workflow.nodes) for use in node.uses]
    assert [lines[span.line - 1][span.column - 1 :][: span.length] for span in spans] == ["ä"] * 4


@pytest.mark.parametrize(
    "heading, node", [("A {#b} {#c}", "c"), ("A {#b}  ", "b"), ("A {#b} c", "a_b_c"), ("A {#b{#c}", "c")]
)
def test_an_id_by_hand_is_the_last_thing_of_a_heading(heading: str, node: str) -> None:
    workflow, _ = diagnose(f"## {heading}\n\n```text\nx\n```")
    assert workflow is not None
    assert [each.id for each in workflow.nodes] == [node]


def test_loop_is_a_name_only_where_a_template_loops() -> None:
    text = "## A\n\n- foreach: [1]\n\n```text\n{}\n```"
    assert codes(text.format("{{ loop.index }}")) == [Code.UNKNOWN_NAME]
    assert codes(text.format("{% for x in [1] %}{{ loop.index }}{% endfor %}")) == []


def test_an_empty_expression_is_refused_before_anything_runs() -> None:
    assert codes("## A\n\n```expr\n\n```\n") == [Code.MISSING_BODY]


def test_a_bash_body_has_no_comments_and_any_other_text_has() -> None:
    assert diagnose("## A\n\n```bash\nx=a; echo ${#x} {{ run.id }} {#\n```\n")[1] == []
    problems = diagnose("## A\n\n```text\n${#x}\n```\n")[1]
    assert [problem.code for problem in problems] == [Code.EXPRESSION]
    assert "{% raw %}" in problems[0].hint


def test_raw_in_a_bash_body_is_a_warning() -> None:
    found = codes("## A\n\n```bash\nx=a; echo ${#x} $(({{ run.id | raw }}))\n```\n")
    assert found == [Code.RAW]


@pytest.mark.parametrize("text", ["## A\n\n```text\nx\n```\n", "## A\n\n```python\n1/\n```\n"])
def test_garbage_is_collected_after_a_parse_as_it_was_before(text: str) -> None:
    diagnose(text)
    assert gc.isenabled()
    gc.disable()
    try:
        diagnose(text)
        assert not gc.isenabled()
    finally:
        gc.enable()
