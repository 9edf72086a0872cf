"""Any text is an expression or a mistake, any value comes out of JSON as it went in."""

from __future__ import annotations

import contextlib
import json

from hypothesis import given, settings
from hypothesis import strategies as st

from flownb.errors import ExpressionError
from flownb.templates.expressions import (
    ExpressionSyntaxError,
    Limits,
    Target,
    check_quotes,
    evaluate,
    expression_names,
    render,
    render_script,
    template_names,
    uses_raw,
)

SHORT = Limits(turns=20_000, size=100_000, pattern_s=0.1)
PIECES = st.sampled_from(
    [
        *(
            "{{",
            "}}",
            "{%",
            "%}",
            "{#",
            "#}",
            "-",
            "x",
            "y.z",
            "inputs",
            ".",
            "[",
            "]",
            "(",
            ")",
            "'",
            '"',
            "\\",
            "$",
            "`",
        ),
        *(
            "|",
            "upper",
            "default",
            "map",
            "raw",
            "tojson",
            "1",
            "10**9",
            "9" * 30,
            "*",
            "**",
            "~",
            "+",
            "%",
            "==",
            "<",
            ",",
        ),
        *(
            "if",
            "else",
            "endif",
            "for",
            "in",
            "endfor",
            "set",
            "endset",
            "macro m()",
            "endmacro",
            "is",
            "not",
            "defined",
        ),
        *(" ", "\n", "\r\n", "true", "none", ":", "{", "}", "é", "加", "<<EOF", "EOF", "#", "&", ";", "\0", "range(9)"),
    ]
)
SOURCES = st.one_of(
    st.text(max_size=60), st.lists(PIECES, max_size=20).map("".join), st.lists(PIECES, max_size=12).map(" ".join)
)
VALUES = {"x": "a'b", "y": {"z": [1, 2]}, "inputs": {"topic": "solar"}}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


@given(SOURCES)
@settings(max_examples=400, deadline=None)
def test_any_text_has_names_or_is_a_syntax_error_inside_it(source: str) -> None:
    for names in (expression_names, template_names):
        lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        try:
            found = [(name.line, name.column) for name in names(source)]
        except ExpressionSyntaxError as error:
            found = [(error.line, error.column - 1)]
        assert all(1 <= line <= len(lines) and 0 <= column <= len(lines[line - 1]) for line, column in found)
    uses_raw(source)


@given(SOURCES, st.sampled_from(Target))
@settings(max_examples=400, deadline=None)
def test_any_text_comes_to_a_value_or_an_expression_error(source: str, target: Target) -> None:
    check_quotes(source, target)
    with contextlib.suppress(ExpressionError):
        evaluate(source, VALUES, SHORT)
    with contextlib.suppress(ExpressionError):
        if target is Target.SHELL:
            render_script(source, VALUES, SHORT)
        else:
            render(source, VALUES, target, SHORT)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_json_reads_every_value_exactly(value: object) -> None:
    assert json.loads(str(render('{"a": {{ v }}, "b": [{{ v }}]}', {"v": value}, Target.JSON))) == {
        "a": value,
        "b": [value],
    }


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_a_lone_insertion_and_a_bare_name_keep_the_value(value: object) -> None:
    assert render("{{ v }}", {"v": value}) == value
    assert evaluate("v", {"v": value}) == value
    assert evaluate("v | tojson | fromjson", {"v": value}) == value


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_a_value_is_never_read_as_a_template(text: str) -> None:
    value = "{{ secret }}{% for %}" + text
    assert render("a{{ v }}b", {"v": value, "secret": "s"}) == f"a{value}b"
