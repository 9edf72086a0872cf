"""Any text is an expression or a mistake, any value comes out of bash and JSON as it went in."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flownb.errors import ExpressionError
from flownb.expressions import (
    ExpressionSyntaxError,
    Limits,
    Target,
    check_quotes,
    evaluate,
    expression_names,
    render,
    template_names,
    uses_raw,
)

BASH = shutil.which("bash") or "bash"
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
NASTY = st.lists(
    st.sampled_from(
        [
            "'",
            '"',
            "`",
            "$(echo pwned)",
            "\\",
            "\n",
            "\r",
            "${x}",
            "$",
            "!",
            "#",
            " ",
            "=",
            ";",
            "&",
            "2",
            ">",
            "~",
            "*",
            "é",
        ]
    ),
    max_size=12,
).map("".join)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)


def bash(script: str) -> str:
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    return done.stdout.decode()


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
        render(source, VALUES, target, SHORT)


@given(st.lists(TEXTS | NASTY, min_size=1, max_size=5))
@settings(max_examples=80, deadline=None)
def test_bash_reads_every_text_exactly(texts: list[str]) -> None:
    script = "printf '%s\\0' {% for text in texts %}{{ text }} {% endfor %}"
    assert bash(str(render(script, {"texts": texts}, Target.SHELL))) == "".join(f"{text}\0" for text in texts)


SETTINGS = [
    "true 'a' \"b\" {{ v }}; printf %s {{ v }}",
    'printf %s "$(printf %s {{ v }}; echo .)"',
    "cat <<E | true\nit's \" a\nE\nprintf %s {{ v }}",
    'x={{ v }}; printf %s "$x"',
    "# it's\nprintf %s {{ v }}",
    "echo $((1 << 2)) >/dev/null; printf %s {{ v }}",
    "printf %s \\'{{ v }}",
    "printf %s $'it\\'s'{{ v }}\"'\"",
    "printf %s x#{{ v }}",
    "if [[ {{ v }} == y ]]; then printf %s {{ v }}; fi; printf %s {{ v }}",
    "case {{ v }} in {{ v }}) printf %s {{ v }};; esac",
    "printf %s {% if v %}{{ v }}{% else %}''{% endif %}",
    'f() { printf %s "$1"; }; f {{ v }}',
    "{% set w %}{{ v }}{% endset %}printf %s {{ w }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}printf %s {{ m(v) }}",
    "cat <<< {{ v }}",
]


@pytest.mark.parametrize("template", SETTINGS)
@given(value=NASTY)
@settings(max_examples=15, deadline=None)
def test_no_value_runs_where_the_text_around_it_has_quotes(template: str, value: str) -> None:
    printed = bash(str(render(template, {"v": value}, Target.SHELL)))
    assert value.rstrip("\n") in printed
    assert printed.count("pwned") == printed.count("$(echo pwned)")


SCRIPTS = st.lists(
    st.sampled_from(["'", '"', "`", "$(", ")", "\\", "$", "\n", "#", " ", "a", "<<E", "\nE\n", "((", "))", "${", "}", "{{ v }}"]),
    max_size=6,
).map("".join)  # fmt: skip


@given(SCRIPTS, SCRIPTS)
@settings(max_examples=300, deadline=None)
def test_a_value_that_passes_the_check_never_runs(before: str, after: str) -> None:
    template = before + "{{ v }}" + after
    if check_quotes(template, Target.SHELL):
        return
    for value in (
        "$(printf p%s wned >&2)",
        "'$(printf p%s wned >&2)'",
        "\n$(printf p%s wned >&2)\n",
        "\\'; printf p%s wned >&2; #",
        "`printf p%s wned >&2`",
    ):
        try:
            script = str(render(template, {"v": value}, Target.SHELL))
        except ExpressionError:
            return
        done = subprocess.run([BASH, "-c", script], capture_output=True, check=False, cwd="/", env={"PATH": "/nowhere"})
        assert b"pwned" not in done.stderr, script


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
