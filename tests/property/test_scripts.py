"""No value becomes code, whatever the script around it: a real bash is asked, with values that would leave a file behind."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from flownb.errors import CommandError, ExpressionError
from flownb.model.nodes import ShellNode
from flownb.runtimes.shell import ShellRuntime
from flownb.templates.expressions import Target, check_quotes
from tests.nodes import node_of, run_node, scope_of

MARK = "became-code"
ATTACKS = (
    f"$(: >{MARK})",
    f"`: >{MARK}`",
    f"a[$(: >{MARK})]",
    f"a[$(: >{MARK})]=1",
    f"-va[$(: >{MARK})]",
    f"x; : >{MARK}; ",
    f"'; : >{MARK}; '",
    f'"; : >{MARK}; "',
    f"\n: >{MARK}\n",
    f"E\n: >{MARK}\n",
    f")); : >{MARK}; ((",
    f"}}; : >{MARK}; {{",
    f"($(: >{MARK}))",
    f"\\'; : >{MARK}; #",
)
FRAGMENTS = [
    *("{{ v }}", "{{ v }}", '"{{ v }}"', '"a {{ v }} b"', "x{{ v }}", "$P{{ v }}", '"$P{{ v }}"', "{{ n }}>f"),
    *("'", '"', "`", "$(", ")", "\\", "$", "\n", " ", "#", "a", "b", ";", "&", "|", "(", "}", "{", "]", "[", "=", "+"),
    *(
        "<<E",
        "\nE\n",
        "\n\tE\n",
        "<<-E",
        "<<'E'",
        "<<\\\n",
        "\\\n",
        "<<<",
        "((",
        "))",
        "$((",
        "$[",
        "${",
        "${a:",
        "a[",
        "a[;#",
    ),
    *(
        "arr=([",
        "]=1)",
        "=(",
        "[[ ",
        " ]]",
        "[ ",
        " ]",
        " -eq ",
        " == ",
        " =~ ",
        " -v ",
        " && ",
        "let ",
        "test ",
        "printf ",
    ),
    *(
        "declare ",
        "-i ",
        "-a ",
        "n=",
        "declare -i n\n",
        "local ",
        "export ",
        "eval ",
        "read ",
        "unset ",
        "trap ",
        "command ",
    ),
    *(
        "for x in ",
        "; do ",
        "done\n",
        "if ",
        "; then ",
        "fi\n",
        "case ",
        " in ",
        ";; esac\n",
        "f() { ",
        "; }\n",
        "!",
        "$'",
        "\x0c",
        "\u00a0",
    ),
]
STATEMENTS = [
    *("echo {{ v }}", 'echo "a {{ v }} $x"', "x={{ v }}", "x+={{ v }}", "x=({{ v }})", "x=([k]={{ v }})", "export y={{ v }}"),
    *("local z={{ v }}", "declare w={{ v }}", "declare -i n={{ v }}", "n={{ v }}", "declare -i n", "declare -a x", "let n={{ v }}"),
    *("[[ {{ v }} == a ]]", "[[ a == *{{ v }}* ]]", "[[ a =~ ^{{ v }} ]]", "[[ {{ v }} -eq 1 ]]", "[ {{ v }} -eq 1 ]", "[ -v {{ v }} ]"),
    *("test -n {{ v }}", "test {{ v }} = {{ v }}", "case {{ v }} in {{ v }}) echo {{ v }};; esac", "cat <<< {{ v }}", "cat <<E\n{{ v }} $x\nE\n"),
    *("cat <<'E'\n{{ v }}\nE\n", "cat <<-E\n\t{{ v }}\n\tE\n", "cat <<E\n\tE\n{{ v }}\nE\n", "cat <<E\n`echo {{ v }}`\nE\n", "cat <<E\n$(({{ v }}))\nE\n"),
    *("for i in {{ v }} b; do echo $i; done", "echo ${x:-{{ v }}}", 'echo "${x:-{{ v }}}"', "echo ${x:{{ v }}}", "echo ${x#{{ v }}}", "echo ${x[{{ v }}]}"),
    *("printf %s {{ v }}", "printf {{ v }} a", "printf -v x %s {{ v }}", "printf -v {{ v }} a", "read n <<< {{ v }}", "unset {{ v }}", "set -- {{ v }}"),
    *("echo $(( {{ v }} + 1 ))", "(( n = {{ v }} ))", "a[{{ v }}]=1", "a[1]={{ v }}", "echo {{ v }} > /dev/null", "echo a >& {{ v }}", "trap {{ v }} EXIT"),
    *("bash -c {{ v }}", 'eval "echo {{ v }}"', "command let {{ v }}", "{{ v }}", "{{ v }} a", "{{ v }}=1", "true # {{ v }}", "echo '{{ v }}'", "echo $'{{ v }}'"),
    *("for ((i={{ v }};i<1;i++)); do :; done", "for (( i = 0, j = {{ v }}; i < 1; i++ )); do break; done", "bash -ce {{ v }}", "bash -c -e {{ v }}"),
    *("bash -c -o errexit {{ v }}", "sh $'-c' {{ v }}", "bash -{c,e} {{ v }}", "source /dev/stdin <<< {{ v }}", "echo {{ v }} | . /dev/stdin"),
    *("for RANDOM in {{ v }}; do :; done", "read RANDOM <<< {{ v }}", "echo {{ v }} | read RANDOM", "echo {{ v }} | read n", "printf -v RANDOM %s {{ v }}"),
    *("mapfile RANDOM <<< {{ v }}", "$'eval' {{ v }}", "declare $'-i' n", "echo {{ v }} | { bash; }", "echo {{ v }} | (bash)", "{ . /dev/stdin; } <<< {{ v }}"),
    *("echo {{ v }} | tee >(bash)", "bash <(echo {{ v }})", "bash < <(echo {{ v }})", "echo {{ v }} > >(bash)", "declare {-i,n}", "coproc N { eval {{ v }}; }"),
    *("echo {a,{{ v }}}", "echo {1..{{ v }}}", "echo \\{{ v }}", "wait {{ v }}", "bash <<E\necho {{ v }}\nE\n", "PS4={{ v }}; set -x", "RANDOM={{ v }}", "x=1"),
]  # fmt: skip
WRAPPERS = [
    *("%s", "%s", "( %s )", "{ %s\n}", "f() { %s\n}; f", "if true; then %s\nfi", "while true; do %s\nbreak; done", "echo $(%s\n)", 'echo "$(%s\n)"'),
    *("%s | cat", "! %s", "true && %s", "%s || true", "cat <(%s\n)", "x=$(%s\n)", "`%s`", "cat <<F\n$(%s\n)\nF\n", "set +eu; %s", "[[ $(%s\n) == b ]]", "(( $(%s\n) + 1 ))"),
    "{%% if v %%}%s{%% endif %%}", "{%% for v in [v, v] %%}%s\n{%% endfor %%}", "%s; \\\n%s",
]  # fmt: skip


@st.composite
def scripts(draw: st.DrawFn) -> str:
    """Return a script of statements that bash knows, each inside others."""
    lines = []
    for _ in range(draw(st.integers(1, 3))):
        text = draw(st.sampled_from(STATEMENTS))
        for _ in range(draw(st.integers(0, 2))):
            wrapper = draw(st.sampled_from(WRAPPERS))
            text = wrapper % ((text,) * wrapper.count("%s")) if "%" in wrapper else wrapper
        lines.append(text)
    return draw(st.sampled_from(["\n", "\n", "; "])).join(lines)


def became_code(template: str, attack: str, folder: Path) -> bool:
    """Return whether a value left a file behind when a script with it ran."""
    node = node_of(ShellNode, template)
    scope = scope_of({"v": attack, "n": 2}, folder=folder, environment={"PATH": "/usr/bin:/bin", "P": "a"})
    with contextlib.suppress(CommandError, ExpressionError, TimeoutError):
        run_node(ShellRuntime(0.05), node, scope, 5)
    return (folder / MARK).exists()


@given(st.one_of(scripts(), st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=9).map("".join)), st.data())
@settings(max_examples=250, deadline=None)
def test_no_value_that_may_stand_somewhere_becomes_code(
    tmp_path_factory: pytest.TempPathFactory, template: str, data: st.DataObject
) -> None:
    if "{{" not in template or check_quotes(template, Target.SHELL):
        event("refused")
        return
    event("run")
    for attack in data.draw(st.permutations(ATTACKS))[:4]:
        folder = tmp_path_factory.mktemp("run")
        assert not became_code(template, attack, folder), (template, attack)


TEXTS = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40),
    st.lists(st.sampled_from([*"'\"`\\\n\r\t$!#= ;&2>~*?[]{}()|<é", "$(id)", "${x}", "\udcff"]), max_size=12).map(
        "".join
    ),
)
SETTINGS = [
    "printf %s {{ v }}",
    "printf '%s' \"{{ v }}\"",
    'x={{ v }}; printf %s "$x"',
    'x=({{ v }}); printf %s "${x[@]}"',
    'x="{{ v }}"; printf %s "$x"',
    "true 'a' \"b\" {{ v }}; printf %s {{ v }}",
    'printf %s "$(printf %s {{ v }}; echo .)" | head -c -1',
    "cat <<E | cat >/dev/null\nit's \" a\nE\nprintf %s {{ v }}",
    "cat <<E | head -c -1\n{{ v }}\nE\n",
    "head -c -1 <<-E\n\t{{ v }}\n\tE\n",
    "head -c -1 <<< {{ v }}",
    "printf %s ${unset:-{{ v }}}",
    'printf %s "${unset:-{{ v }}}"',
    "[[ {{ v }} == {{ v }} && {{ v }} =~ ^{{ v }}$ && a{{ v }}b == *{{ v }}* ]] && printf %s {{ v }}",
    "case {{ v }} in {{ v }}) printf %s {{ v }};; esac",
    'for x in {{ v }}; do printf %s "$x"; done',
    'f() { printf %s "$1"; }; f {{ v }}',
    "printf %s {% if v %}{{ v }}{% else %}''{% endif %}",
    "{% for x in [v] %}printf %s {{ x }}{% endfor %}",
    "{% set w %}{{ v }}{% endset %}printf %s {{ w }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}printf %s {{ m(v) }}",
    "printf %s {{ v | quote }}",
    "bash -c 'printf %s \"$1\"' bash {{ v }}",
    "set -a; x={{ v }}; printf %s {{ v }}",
]


@pytest.mark.parametrize("template", SETTINGS)
@given(value=TEXTS)
@settings(max_examples=12, deadline=None)
def test_a_value_comes_out_as_it_went_in(template: str, value: str) -> None:
    assert check_quotes(template, Target.SHELL) == []
    printed = run_node(ShellRuntime(), node_of(ShellNode, f"{{ {template}\n}}; echo ."), scope_of({"v": value}))
    if "\udcff" not in value:  # Bytes that are no UTF-8 come out as U+FFFD.
        assert printed == f"{value}."


@given(st.lists(TEXTS, max_size=5))
@settings(max_examples=60, deadline=None)
def test_a_list_is_one_word_for_each_item(values: list[str]) -> None:
    node = node_of(ShellNode, "for x in {{ v }}; do printf '%s\\0' \"$x\"; done; echo")
    assert run_node(ShellRuntime(), node, scope_of({"v": values})) == "".join(f"{value}\0" for value in values).encode(
        "utf-8", "surrogateescape"
    ).decode("utf-8", "replace")
