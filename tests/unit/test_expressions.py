from __future__ import annotations

import asyncio
import collections
import math
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest

from flownb.errors import ExpressionError, FlowStateError
from flownb.templates.expressions import (
    RESERVED_NAMES,
    ExpressionSyntaxError,
    Limits,
    Name,
    Target,
    check_quotes,
    evaluate,
    evaluate_apart,
    expression_names,
    is_template,
    render,
    render_apart,
    render_script,
    template_names,
    uses_raw,
)

VALUES: dict[str, object] = {
    "articles": [{"title": "A", "items": 3}, {"title": "B", "items": 4}],
    "inputs": {"topic": "solar"},
    "item": {"items": [1], "keys": 2},
    "review": SimpleNamespace(action="approve"),
    "n": 3,
    "text": "it's",
    "when": datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
}
SMALL = Limits(turns=50_000, size=1_000_000, pattern_s=0.1)


class TestValues:
    @pytest.mark.parametrize(
        "source, value",
        [
            ("n + 1", 4),
            ("[true, True, false, none, None]", [True, True, False, None, None]),
            ("articles[0].title", "A"),
            ('articles[0]["title"]', "A"),
            ("item.items", [1]),
            ("item.keys", 2),
            ("inputs.items() | list", [("topic", "solar")]),
            ("review.action", "approve"),
            ('review["action"]', "approve"),
            ("articles | map(attribute='title')", ["A", "B"]),
            ("articles | selectattr('items', 'gt', 3)", [{"title": "B", "items": 4}]),
            ("range(3)", [0, 1, 2]),
            ("inputs.keys()", ["topic"]),
            ("1 if false", None),
            ("missing | default(1)", 1),
            ("inputs.missing | default(1)", 1),
            ("missing is defined", False),
            ("articles | sum(attribute='items')", 7),
            ("'a' ~ n ~ none", "a3None"),
            ("1 < n < 4", True),
            ("1 < n < 3", False),
            ("5 < n < missing", False),
            ("n not in [1, 2]", True),
            ("4 is gt n", True),
            ("{'a': [n]}", {"a": [3]}),
            ("[1, 2, 3][1:]", [2, 3]),
        ],
    )
    def test_an_expression_has_a_value(self, source: str, value: object) -> None:
        assert evaluate(source, VALUES) == value

    @pytest.mark.parametrize("source", ["{{ n }}", "{{ n }}\n", "{{ n }}\r\n\n", "{{- n -}}", "{{ n -}}\n"])
    def test_a_lone_insertion_keeps_the_type(self, source: str) -> None:
        assert render(source, VALUES) == 3

    @pytest.mark.parametrize(
        "source, text",
        [
            (" {{ n }}", " 3"),
            ("{{ n }} ", "3 "),
            ("\n{{ n }}", "\n3"),
            ("{# why #}{{ n }}", "3"),
            ("{{ n }}{# why #}", "3"),
        ],
    )
    def test_with_anything_else_around_it_an_insertion_is_text(self, source: str, text: str) -> None:
        assert render(source, VALUES) == text

    @pytest.mark.parametrize(
        "source, text",
        [
            ("n={{ n }}", "n=3"),
            ("{{ n }}{{ n }}", "33"),
            ("{{ n }}.", "3."),
            ("at {{ when }}", "at 2026-11-23T10:15:00+00:00"),
            ("{% for a in articles %}{{ loop.index }}/{{ loop.length }}{{ a.title }} {% endfor %}", "1/2A 2/2B "),
            ("{% set x = n + 1 %}{{ x }}", "4"),
            ("{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(1) }}{{ m(2) }}", "<1><2>"),
            ("{% for x in [[1, [2]]] recursive %}{{ x if x is number else loop(x) }}{% endfor %}", "12"),
            ("{{ 1 if false }}|", "|"),
            ("two\n", "two\n"),
            ("{% raw %}{{ n }}{% endraw %}", "{{ n }}"),
        ],
    )
    def test_anything_else_becomes_text(self, source: str, text: str) -> None:
        assert render(source, VALUES) == text

    def test_a_value_that_holds_braces_is_not_read_as_a_template(self) -> None:
        assert render("a {{ x }}", {"x": "{{ n }}", "n": 1}) == "a {{ n }}"

    def test_now_and_uuid_are_real_unless_given(self) -> None:
        assert evaluate("now().tzinfo", {}) is UTC
        one, two = evaluate("uuid()", {}), evaluate("uuid()", {})
        assert one != two
        assert evaluate("[now(), uuid()]", {"now": lambda: 1, "uuid": lambda: 2}) == [1, 2]

    def test_only_the_names_used_are_looked_up(self) -> None:
        asked = []

        class Lazy(Mapping[str, object]):
            def __getitem__(self, key: str) -> object:
                asked.append(key)
                return {"a": 1}[key]

            def __iter__(self) -> Iterator[str]:
                raise AssertionError

            def __len__(self) -> int:
                raise AssertionError

        assert evaluate("a + 1", Lazy()) == 2
        assert asked == ["a"]
        assert render("{% for i in [1] %}{{ a }}{{ range(2) | length }}{% endfor %}", Lazy()) == "12"

    def test_a_value_s_own_flow_error_comes_through(self) -> None:
        class Broken:
            @property
            def field(self) -> object:
                raise FlowStateError("gone")

        with pytest.raises(FlowStateError, match="gone"):
            evaluate("x.field", {"x": Broken()})

    def test_it_works_on_many_threads_at_once(self) -> None:
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(render("{{ n }}!", VALUES))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["3!"] * 8


class TestMissing:
    @pytest.mark.parametrize(
        "source, message",
        [
            ("artikles", "nothing is called `artikles`; did you mean `articles`?"),
            ("zzz", "nothing is called `zzz`"),
            ("articles[0].titlo", "`articles[0]` has no `titlo`; did you mean `title`?"),
            ("inputs.topik", "`inputs` has no `topik`; did you mean `topic`?"),
            ('inputs["topik"]', "`inputs` has no `topik`; did you mean `topic`?"),
            ("review.acton", "`review` has no `acton`; did you mean `action`?"),
            ("articles[7]", "`articles` has no `7`"),
            ("articles | map(attribute='titlo')", "a dict has no `titlo`; did you mean `title`?"),
            ("[artikles]", "nothing is called `artikles`; did you mean `articles`?"),
            ("{'a': {'b': artikles}}", "nothing is called `artikles`; did you mean `articles`?"),
            ("artikles + 1", "nothing is called `artikles`; did you mean `articles`?"),
            ("artikles and 1", "nothing is called `artikles`; did you mean `articles`?"),
            ("artikles | tojson", "nothing is called `artikles`; did you mean `articles`?"),
        ],
    )
    def test_the_message_names_it_and_the_nearest(self, source: str, message: str) -> None:
        with pytest.raises(ExpressionError) as raised:
            evaluate(source, VALUES)
        assert raised.value.message == message
        with pytest.raises(ExpressionError) as raised:
            render("{{ " + source + " }}", VALUES)
        assert raised.value.message == message

    @pytest.mark.parametrize("target", Target)
    def test_nothing_missing_is_put_into_a_text(self, target: Target) -> None:
        with pytest.raises(ExpressionError, match="nothing is called `zzz`"):
            render("a {{ zzz }}", VALUES, target)

    def test_looking_a_key_up_does_not_make_it(self) -> None:
        data: collections.defaultdict[str, int] = collections.defaultdict(int)
        assert evaluate("[x.a is defined, x['a'] is defined]", {"x": data}) == [False, False]
        assert data == {}


class TestNames:
    def test_names_are_those_the_template_does_not_set(self) -> None:
        source = (
            "{% set own = given %}{{ own }}{% for i, j in rows if i %}{{ i }}{{ loop.index }}{{ inner }}{% endfor %}"
            "{% macro m(a, b=late) %}{{ a }}{{ varargs }}{% endmacro %}{{ m(1) }}{{ range(3) }}{{ now() }}"
            "{% with w = 1 %}{{ w }}{% endwith %}{% set block %}{{ deep }}{% endset %}{{ block }}"
        )
        assert [name.name for name in template_names(source)] == ["given", "rows", "inner", "late", "deep"]

    def test_a_loop_variable_is_not_set_after_its_loop(self) -> None:
        assert [name.name for name in template_names("{% for i in [] %}{% endfor %}{{ i }}")] == ["i"]

    def test_a_node_may_have_the_name_of_something_offered(self) -> None:
        assert [name.name for name in expression_names("range | length + range(2) | length")] == ["range"]

    def test_names_have_their_attribute_and_exact_place(self) -> None:
        source = 'é {{ inputs.topic }}\r\n  {{ a }} {{ inputs["x"].y\n + b[0].c }}'
        assert template_names(source) == (
            Name("inputs", "topic", 1, 6, guarded=False),
            Name("a", None, 2, 6, guarded=False),
            Name("inputs", "x", 2, 14, guarded=False),
            Name("b", None, 3, 4, guarded=False),
        )

    @pytest.mark.parametrize(
        "source, guarded",
        [
            ("x", [False]),
            ("x is defined", [True]),
            ("x is not defined", [True]),
            ("x | default(y)", [True, False]),
            ("x if x is defined else y", [True, True, False]),
            ("x is defined and x.a > 1", [True, True]),
            ("x is not defined or x > 1", [True, True]),
            ("x is defined or x", [True, False]),
            ("inputs.a | default(1)", [True]),
            ("typo.a | default(1)", [False]),
            ("inputs.a is defined and inputs.a and inputs.b", [True, True, False]),
        ],
    )
    def test_a_guarded_name_is_marked(self, source: str, guarded: list[bool]) -> None:
        found = expression_names(source)
        assert [name.guarded for name in found] == guarded
        assert [name.column for name in found] == sorted({name.column for name in found})

    def test_a_guard_holds_in_its_branch_only(self) -> None:
        source = "{% if x is defined %}{{ x }}{% else %}{{ x }}{% endif %}"
        assert [name.guarded for name in template_names(source)] == [True, True, False]

    def test_text_without_braces_is_no_template(self) -> None:
        assert not is_template("a } b {")
        assert all(is_template(source) for source in ("{{ a", "{% a", "{# a"))
        assert template_names("plain") == ()

    def test_reserved_names_are_the_format_s(self) -> None:
        assert {
            *("inputs", "secrets", "env", "run", "nodes", "error", "item", "index", "round", "previous", "loop", "now"),
            *("uuid", "idempotency_key", "saved"),
        } == RESERVED_NAMES


class TestSyntax:
    @pytest.mark.parametrize(
        "source, line, column, part",
        [
            ("x +", 1, 4, "ends too early"),
            ("x $", 1, 3, "unexpected character '$'"),
            ("(1", 1, 3, "where ')' should stand"),
            ("1)", 1, 2, "unexpected ')'"),
            ("a b", 1, 3, "unexpected 'b'"),
            ("a |\n lengtx", 2, 2, "no filter 'lengtx'"),
            ("a is foo", 1, 6, "no test 'foo'"),
            ("", 1, 1, "ends too early"),
            ("(" * 3000, 1, 1, "nested too deeply"),
            ("1" * 5000, 1, 1, "digits"),
        ],
    )
    def test_an_error_points_into_the_expression(self, source: str, line: int, column: int, part: str) -> None:
        with pytest.raises(ExpressionSyntaxError) as raised:
            expression_names(source)
        assert part in raised.value.message
        assert (raised.value.line, raised.value.column) == (line, column)

    @pytest.mark.parametrize(
        "source, line, column, part",
        [
            ("a\nb {{ x + }}", 2, 10, "unexpected '}}'"),
            ("a {{ x", 1, 7, "where '}}' should stand"),
            ("{% if x %}", 1, 1, "the tag 'if' is never closed"),
            ("a\n {%- for x in y %}\n{% if x %}{% endif %}\nb", 2, 2, "the tag 'for' is never closed"),
            ("{% if a %}\n{% if b %}\n{% endif %}\n", 1, 1, "the tag 'if' is never closed"),
            ("{% if a %}\n{% else %}\n {% set x %}\n", 3, 2, "the tag 'set' is never closed"),
            ("a\n{% macro m() %}b", 2, 1, "the tag 'macro' is never closed"),
            ("{% include 'x' %}", 1, 4, "'include'"),
            ("{% extends 'x' %}", 1, 4, "'extends'"),
            ("{% import 'x' as y %}", 1, 4, "'import'"),
            ("{% forx x in y %}", 1, 4, "unknown tag 'forx'"),
            ("a {# x", 1, 5, "missing end of comment"),
            ("a {{ 'x' | upperx }}", 1, 12, "no filter 'upperx'"),
            ("{% if a %}{{ x | upperx }}{% endif %}", 1, 18, "no filter 'upperx'"),
        ],
    )
    def test_an_error_points_into_the_template(self, source: str, line: int, column: int, part: str) -> None:
        with pytest.raises(ExpressionSyntaxError) as raised:
            template_names(source)
        assert part in raised.value.message
        assert (raised.value.line, raised.value.column) == (line, column)

    @pytest.mark.parametrize(
        "source, hint",
        [
            ("a | lengtx", "did you mean `length`?"),
            ("a | jmespth('x')", "did you mean `jmespath`?"),
            ("a is definedd", "did you mean `defined`?"),
            ("{{ a }}", "an expression stands here, without `{{` and `}}`"),
        ],
    )
    def test_an_error_says_what_to_write(self, source: str, hint: str) -> None:
        with pytest.raises(ExpressionSyntaxError) as raised:
            expression_names(source)
        assert raised.value.hint == hint
        with pytest.raises(ExpressionError) as raised_later:
            evaluate(source, {})
        assert raised_later.value.hint == hint


class TestSandbox:
    @pytest.mark.parametrize(
        "source",
        [
            "x.__class__",
            "x['__class__']",
            "x | attr('__class__')",
            "'{0.__class__}'.format(x)",
            "'{x.__class__}'.format_map({'x': x})",
            "[x] | map(attribute='__class__') | list",
            "x.append(1)",
            "x | map('append') | list",
            "d.update({})",
            "d.pop('a')",
            "d.setdefault('b', 1)",
            "s.add(1)",
            "s.intersection_update([])",
            "o.move_to_end('a')",
            "math.floor(1.5)",
            "range.__init__",
            "dict.__subclasses__()",
            "cycler.__init__.__globals__",
            "now.__globals__",
            "self._TemplateReference__context",
        ],
    )
    def test_nothing_private_and_nothing_that_changes_data_is_reached(self, source: str) -> None:
        values = {"x": [1], "d": {"a": 1}, "s": {2}, "o": collections.OrderedDict(a=1, b=2), "math": math}
        with pytest.raises(ExpressionError):
            render(f"a{{{{ {source} }}}}", values)
        assert values == {"x": [1], "d": {"a": 1}, "s": {2}, "o": collections.OrderedDict(a=1, b=2), "math": math}
        assert list(values["o"]) == ["a", "b"]  # type: ignore[call-overload]  # An OrderedDict.

    @pytest.mark.parametrize(
        "source",
        [
            "{{ 'a' * 50000000 }}",
            "{{ 50000000 * 'a' }}",
            "{{ [0] * 10**9 }}",
            "{{ 9 ** (9 ** 9) }}",
            "{{ 10 ** (10 ** 8) }}",
            "{% set x = 9 ** 9999 %}" + "{% set x = x * x %}" * 30 + "{{ x }}",
            "{{ '%99999999d' % 1 }}",
            "{{ '%*d' % (99999999, 1) }}",
            "{{ '%.99999999f' | format(1) }}",
            "{{ ('%(a)s' * 10000) % {'a': 'x' * 10000} }}",
            "{{ '{:99999999}'.format(1) }}",
            "{{ '{0:{1}}'.format(1, 99999999) }}",
            "{{ ('{0}' * 10000).format('x' * 10000) }}",
            "{{ 'a'.ljust(10**9) }}",
            "{{ 'a'.zfill(10**9) }}",
            "{{ ('\t' * 1000).expandtabs(10**6) }}",
            "{{ ('a' * 10000).replace('a', 'b' * 10000) }}",
            "{{ ('a' * 10000).translate({97: 'b' * 10000}) }}",
            "{{ ('a' * 10000).join(range(1000) | map('string')) }}",
            "{{ (1).to_bytes(10**10, 'big') }}",
            "{{ 'a' | center(10**9) }}",
            "{{ 'a\nb' | indent(10**9) }}",
            "{{ ('a\n' * 10000) | indent('x' * 10000) }}",
            "{{ ('a' * 10000) | replace('a', 'b' * 10000) }}",
            "{{ range(100000) | join('x' * 100000) }}",
            "{{ ('a' * 100000) | wordwrap(1, true, 'x' * 1000) }}",
            "{{ [1] | batch(10**9, 0) }}",
            "{{ [1] | slice(10**9) }}",
            "{{ 5 | round(-10**9) }}",
            "{{ 5.5 | round(10**9, 'ceil') }}",
            "{{ ([[1]] * 100000) | sum(start=[]) }}",
            "{{ [1] | tojson(indent=10**9) }}",
            "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "x{{ a }}",
            "{% set a = [1] %}" + "{% set a = [a, a] %}" * 40 + "x{{ a | tojson }}",
            "{{ [1] | jmespath('" + "[@, @] | [] | " * 40 + "@') }}",
            "{% for i in range(100000) %}" + "A" * 1000 + "{% endfor %}",
            "{% set x %}{% for i in range(100000) %}" + "A" * 1000 + "{% endfor %}{% endset %}{{ x | length }}",
            "{% macro m() %}{% for i in range(100000) %}" + "A" * 1000 + "{% endfor %}{% endmacro %}{{ m() | length }}",
            "{% set x = 'a' * 1000 %}" + "{% set x = x ~ x %}" * 20 + "{{ x | length }}",
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
            "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
            "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}",
            "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
            "{{ ('a' * 5000) | regex('(a|a|aa)+$b') }}",
            "{{ range(100001) }}",
            "{{ ('[' + '\"a\",' * 3000 + '\"a\"]') | fromjson | jmespath(\"join('" + "x" * 1000 + "', @)\") }}",
            "{{ lipsum(n=100000) }}",
            "{{ " + "1+" * 20000 + "1 }}",
            "{{ x" + ".a" * 20000 + " }}",
            "{{ " + "[" * 5000 + "]" * 5000 + " }}",
        ],
        ids=lambda source: source[:40],
    )
    def test_what_is_too_large_or_too_slow_is_an_expression_error(self, source: str) -> None:
        with pytest.raises(ExpressionError):
            render(source, {"x": 1}, limits=SMALL)

    @pytest.mark.parametrize("source", ["{{ 10**(10**9) }}", "{{ 'a' * 10**11 }}", "{{ 9**(9**9) if false else 1 }}"])
    def test_nothing_is_worked_out_while_names_are_looked_for(self, source: str) -> None:
        assert template_names(source) == ()

    def test_the_limits_of_the_format_are_10_mb_and_1_000_000_turns(self) -> None:
        assert Limits() == Limits(turns=1_000_000, size=10_000_000)
        assert len(str(render("{{ 'a' * 9999999 }}x", {}))) == 10_000_000
        with pytest.raises(ExpressionError, match="more than 10 MB"):
            render("{{ 'a' * 9999999 }}xy", {})

    @pytest.mark.parametrize(
        "source",
        [
            "{% for i in range(COUNT) %}.{% endfor %}",
            "{% for i in rows[:COUNT] %}.{% endfor %}",
            "{% for i in rows[:COUNT] if i == 0 %}.{% endfor %}",
            "{% for x in [rows[:COUNT - 2]] recursive %}{{ loop(x) if x is sequence else '.' }}{% endfor %}",
            "{% macro m() %}.{% endmacro %}{% for i in range(COUNT // 2) %}{{ m() }}{% endfor %}",
            "{{ range(COUNT // 2) | list | length + range(COUNT // 2) | sum }}",
            "{{ range(COUNT) | map('string') | join }}",
        ],
    )
    def test_turns_are_counted_wherever_they_are_taken(self, source: str) -> None:
        limits = Limits(turns=1000)
        values = {"rows": [0] * 2000}
        assert render(source.replace("COUNT", "300"), values, limits=limits)
        with pytest.raises(ExpressionError, match=r"1,000 turns|too long"):
            render(source.replace("COUNT", "1100"), values, limits=limits)

    def test_a_million_turns_are_allowed(self) -> None:
        assert render("x{% for i in range(1000000) %}{% endfor %}", {}) == "x"
        with pytest.raises(ExpressionError, match="1,000,000 turns"):
            render("x{% for i in range(1000000) %}{% endfor %}{% for i in [1] %}{% endfor %}", {})

    def test_patterns_share_one_time(self) -> None:
        source = "{% for i in range(100) %}{{ ('a' * 28) | regex('(a|aa)+$b') or '' }}{% endfor %}"
        with pytest.raises(ExpressionError, match="takes too long"):
            render(source, {}, limits=Limits(pattern_s=0.2))

    @pytest.mark.parametrize(
        "source, is_small",
        [
            ("{% for i in range(10) %}{% if loop.last %}{{ now() }}{% endif %}{% endfor %}", True),
            ("{% for i in range(6000) %}{% if loop.last %}{{ now() }}{% endif %}{% endfor %}", False),
            ("{% set x = 'a' * 300000 %}{{ now() }}", False),
            ("{# " + "x" * 20_000 + " #}{{ now() }}", False),
        ],
        ids=["few turns", "many turns", "much made", "long text"],
    )
    def test_only_a_small_template_is_rendered_on_the_loops_thread(self, source: str, *, is_small: bool) -> None:
        async def threads() -> tuple[str, str]:
            return str(await render_apart(source + "!", {"now": threading.get_ident})), f"{threading.get_ident()}!"

        used, loops = asyncio.run(threads())
        assert (used == loops) is is_small

    def test_an_expression_is_worked_out_apart_as_it_is_here(self) -> None:
        assert asyncio.run(evaluate_apart("n + (range(6000) | sum)", VALUES)) == evaluate(
            "n + (range(6000) | sum)", VALUES
        )
        with pytest.raises(ExpressionError, match="nothing is called `nope`"):
            asyncio.run(render_apart("{{ nope }}", VALUES))

    def test_bytes_count_not_characters(self) -> None:
        with pytest.raises(ExpressionError, match="more than 1 MB"):
            render("{{ 'é' * 600000 }}x", {}, limits=SMALL)

    def test_large_data_can_be_compared(self) -> None:
        rows: list[object] = [{"a": "x" * 100} for _ in range(2000)]
        small = Limits(size=1000)
        assert evaluate("[rows == [], rows == rows, {'a': 1} in rows]", {"rows": rows}, small) == [False, True, False]

    def test_a_large_value_passes_through_as_it_is(self) -> None:
        value = "a" * 2_000_000
        assert evaluate("x", {"x": value}, SMALL) is value

    @pytest.mark.parametrize(
        "source, words",
        [
            ("1 / 0", "ZeroDivisionError: division by zero"),
            ("[] | first + 1", "No first item, sequence was empty."),
            ("'a' + 1", "TypeError: can only concatenate str"),
            ("n()", "TypeError: 'int' object is not callable"),
            ("'a' | fromjson", "ValueError: 'a' is no JSON"),
            ("x.y", "RuntimeError: no"),
        ],
    )
    def test_no_other_error_gets_out(self, source: str, words: str) -> None:
        class Rude:
            @property
            def y(self) -> object:
                raise RuntimeError("no")

        with pytest.raises(ExpressionError) as raised:
            evaluate(source, {"n": 1, "x": Rude()})
        assert raised.value.message.startswith(words)
        assert raised.value.message.endswith(f", in `{source}`")


class TestFilters:
    @pytest.mark.parametrize(
        "source, value",
        [
            ("articles | jmespath('[*].title')", ["A", "B"]),
            ("articles | jmespath('[*].{t: title}')", [{"t": "A"}, {"t": "B"}]),
            ("articles | jmespath('[9].title')", None),
            ("articles | jmespath(\"join('-', [*].title)\")", "A-B"),
            ("when | date('%d.%m.%Y')", "23.11.2026"),
            ("'2026-11-23T10:15:00Z' | date('%H:%M')", "10:15"),
            ("0 | date", "1970-01-01"),
            ("90 | duration", "1m30s"),
            ("5400 | duration", "1h30m"),
            ("0.25 | duration", "250ms"),
            ("1.5 | duration", "1.5s"),
            ("0 | duration", "0s"),
            ("59.9996 | duration", "1m"),
            ("183600 | duration", "2d3h"),
            ("-90 | duration", "-1m30s"),
            ("'a' | hash", "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
            ("'a' | hash('md5')", "0cc175b9c0f1b6a831c399e269772661"),
            ("'é' | b64encode", "w6k="),
            ("'w6k=' | b64decode", "é"),
            ("'/w==' | b64decode", b"\xff"),
            ("'Crème Brûlée, 2!' | slug", "creme-brulee-2"),
            ("'加载 数据' | slug", "加载-数据"),
            ("""'{"a": [1]}' | fromjson""", {"a": [1]}),
            ("text | quote", "'it'\"'\"'s'"),
            ("'ab12c' | regex('[0-9]+')", "12"),
            ("'ab12c' | regex('([a-z])([0-9])')", "b"),
            ("'ab' | regex('[0-9]')", None),
            ("'<é>' | tojson", '"<é>"'),
            ("when | tojson", '"2026-11-23T10:15:00+00:00"'),
            ("'a b&c' | urlencode", "a%20b%26c"),
            ("'%s-%d' | format('a', 2)", "a-2"),
            ("'%(a)s' | format(a=1)", "1"),
            ("'<b>' | escape", "&lt;b&gt;"),
        ],
    )
    def test_a_filter_gives(self, source: str, value: object) -> None:
        assert evaluate(source, VALUES) == value

    @pytest.mark.parametrize(
        "source, part",
        [
            ("'soon' | date", "soon"),
            ("'x' | duration", "is no number of seconds"),
            ("'a' | hash('md6')", "is no hash"),
            ("'{' | fromjson", "is no JSON"),
            ("'a' | regex('(')", "is no regular expression"),
            ("[] | jmespath('[')", "JMESPath"),
            ("inputs.items", "`items` is a method"),
        ],
    )
    def test_a_filter_says_what_is_wrong(self, source: str, part: str) -> None:
        with pytest.raises(ExpressionError) as raised:
            evaluate(source, {**VALUES, "inputs": {}})
        assert part in raised.value.message

    def test_results_are_plain_text(self) -> None:
        assert type(evaluate("'a' | escape", {})) is str
        assert type(evaluate("'a' | safe | upper", {})) is str


def put_in(template: str, values: Mapping[str, object] = VALUES) -> tuple[str, list[list[str]]]:
    """Return a script's text, `V1` for its first variable, and what each of its variables holds."""
    script = render_script(template, values)
    return re.sub(r"__flownb_(\d+)", r"V\1", script.text), [list(variable.items) for variable in script.variables]


class TestShell:
    @pytest.mark.parametrize(
        "template, text, values",
        [
            ("echo {{ text }}", 'echo "${V1?}"', [["it's"]]),
            ('echo "Hi {{ text }}, {{ n }}"', 'echo "Hi ${V1?}, ${V2?}"', [["it's"], ["3"]]),
            ('echo "$x {{ n }}"', 'echo "$x ${V1?}"', [["3"]]),
            (
                "cat <<E\n{{ text }} it's\n\tE\n{{ n }}\nE\n",
                "cat <<E\n${V1?} it's\n\tE\n${V2?}\nE\n",
                [["it's"], ["3"]],
            ),
            ("cat <<-E\n\t{{ n }}\n\tE\necho {{ n }}", 'cat <<-E\n\t${V1?}\n\tE\necho "${V2?}"', [["3"], ["3"]]),
            ("[[ $x == *{{ n }}* ]]", '[[ $x == *"${V1?}"* ]]', [["3"]]),
            ("echo {{ true }} {{ none }}", 'echo "${V1?}" "${V2?}"', [["true"], ["null"]]),
            ("echo {{ [1, 'a b', none, [2]] }}", 'echo "${V1[@]?}"', [["1", "a b", "null", "[2]"]]),
            ("echo {{ [] }}", 'echo "${V1[@]}"', [[]]),
            ("x=({{ [1] }})", 'x=("${V1[@]?}")', [["1"]]),
            ("echo {{ {'a': 1} }}", 'echo "${V1?}"', [['{"a": 1}']]),
            ("echo {{ 1 if false }}.", 'echo "${V1?}".', [[""]]),
            ("echo {{ text | raw }}", "echo it's", []),
            ("echo {{ (text | raw) ~ '' }}", 'echo "${V1?}"', [["it's"]]),
            ('echo "{{ n | raw }}"', 'echo "3"', []),
            ("echo {{ 'a b' | quote }}", 'echo "${V1?}"', [["a b"]]),
            ("ssh h \"ls {{ 'a b' | quote }}\"", 'ssh h "ls ${V1?}"', [["'a b'"]]),
            ("{{ 'a b' }}", '"${V1?}"', [["a b"]]),
            ("echo {{ when }}", 'echo "${V1?}"', [["2026-11-23T10:15:00+00:00"]]),
            ("{% for a in articles %}echo {{ a.title }};{% endfor %}", 'echo "${V1?}";echo "${V2?}";', [["A"], ["B"]]),
            ("{% set x %}a {{ text }}{% endset %}echo {{ x }}", 'echo "${V1?}"', [["a it's"]]),
            ("{% macro m(x) %}--a {{ x }}{% endmacro %}echo {{ m('b') }}", 'echo "${V1?}"', [["--a b"]]),
            ('{% if n %}"{% else %}"{% endif %}a{{ n }}"', '"a${V1?}"', [["3"]]),
            ("${#x} {{ n }}{# no comment #}", '${#x} "${V1?}"{# no comment #}', [["3"]]),
            ("echo {{ n }}>f", 'echo "${V1?}">f', [["3"]]),
            ('echo $P{{ n }} "$P{{ n }}"', 'echo $P"${V1?}" "$P${V2?}"', [["3"], ["3"]]),
            ("echo \\\n{{ n }}", 'echo \\\n"${V1?}"', [["3"]]),
            ('echo "\\${{ n }}"', 'echo "\\$${V1?}"', [["3"]]),
        ],
    )
    def test_a_value_is_a_variable(self, template: str, text: str, values: list[list[str]]) -> None:
        assert put_in(template) == (text, values)

    @pytest.mark.parametrize(
        "template, column, where",
        [
            ("echo '{{ n }}'", 7, "inside single quotes"),
            ("echo $'{{ n }}'", 8, "inside $'…'"),
            ('echo $"{{ n }}"', 8, 'inside $"…"'),
            ("echo `ls {{ n }}`", 10, "inside backticks"),
            ("echo ${a#{{ n }}}", 10, "inside ${…}"),
            ("echo ${a:{{ n }}}", 10, "in arithmetic"),
            ("echo $(({{ n }}))", 9, "in arithmetic"),
            ("((x = {{ n }}))", 7, "in arithmetic"),
            ("((echo {{ n }}))", 8, "in arithmetic"),
            ("echo $[{{ n }}]", 8, "in arithmetic"),
            ("for ((i=0; i<{{ n }}; i++)); do :; done", 14, "in arithmetic"),
            ("echo $(( $(echo {{ n }}) + 1 ))", 17, "in arithmetic"),
            ("a[{{ n }}]=1", 3, "in an index"),
            ('a["{{ n }}"]=1', 4, "in an index"),
            ("arr=([{{ n }}]=1)", 7, "in an index"),
            ("echo a[{{ n }}", 8, "in an index"),
            ("echo a[;# {{ n }}", 11, "in a comment"),
            ("[[ {{ n }} -gt 1 ]]", 4, "in an arithmetic comparison"),
            ("[[ 1 -gt {{ n }} ]]", 10, "in an arithmetic comparison"),
            ("[[ $(echo {{ n }}) -gt 1 ]]", 11, "in an arithmetic comparison"),
            ("[[ -v {{ n }} ]]", 7, "behind `-v`"),
            ("[ -v {{ n }} ]", 6, "behind `-v`"),
            ("test {{ n }} {{ n }}", 14, "operator"),
            ("let x={{ n }}", 7, "behind `let`"),
            ("command l\\et {{ n }}", 14, "behind `let`"),
            ("eval echo {{ n }}", 11, "behind `eval`"),
            ("trap 'rm '{{ n }} EXIT", 11, "behind `trap`"),
            ("bash -ec {{ n }}", 10, "code of another shell"),
            ("true && bash <<E\n{{ n }}\nE\n", 1, "another shell reads as code"),
            ("cat <<E | sh\n{{ n }}\nE\n", 1, "another shell reads as code"),
            ("declare -i x={{ n }}", 14, "whole number"),
            ("declare -i x\nx={{ n }}", 3, "whole number"),
            ("declare -i x\nfor x in {{ n }}; do :; done", 10, "whole number"),
            ("declare -i x\nread -r x <<< {{ n }}", 15, "whole number"),
            ("declare -a x={{ n }}", 14, "declaration of an array"),
            ("x=(1); declare x={{ n }}", 18, "declaration of an array"),
            ("RANDOM={{ n }}", 8, "a variable that bash evaluates"),
            ("export {{ n }}=1", 8, "a name stands"),
            ("unset {{ n }}", 7, "a name stands"),
            ("{{ n }}=1", 1, "a name stands"),
            ("read {{ n }}", 6, "name of a variable"),
            ("printf -v {{ n }} a", 11, "name of a variable"),
            ("printf -v{{ n }} a", 10, "name of a variable"),
            ("printf {{ n }} a", 8, "as an option"),
            ("printf ''{{ n }} a", 10, "as an option"),
            ("ls >& {{ n }}", 7, "`>&`"),
            ("echo {1..{{ n }}}", 10, "a range of braces"),
            ("echo # {{ n }}", 8, "in a comment"),
            ("\\{{ n }}", 2, "after a backslash"),
            ("${{ n }}", 2, "after a $"),
            ("cat <<'E'\n{{ n }}\nE\n", 1, "whose end is quoted"),
            ("cat <<E\n`echo {{ n }}`\nE\n", 7, "inside backticks"),
            ("cat <<E\n$(({{ n }}))\nE\n", 4, "in arithmetic"),
            ("cat <<-E\n  E\n{{ n }}\n\tE\n", 1, "cannot tell"),
            ("cat <<\\\n {{ n }}", 2, "cannot tell"),
            ("cat <<E\nx\\\nE\n{{ n }}\nE\n", 1, "cannot tell"),
            ("echo )\necho {{ n }}", 6, "cannot tell"),
            ("a[1 {{ n }}]=5", 5, "cannot tell"),
            ("! ! RANDOM={{ n }}", 12, "cannot tell"),
            ("! { trap {{ n }} EXIT\n}", 10, "cannot tell"),
        ],
    )
    def test_a_value_that_cannot_mean_itself_is_refused(self, template: str, column: int, where: str) -> None:
        line = template[: template.index("{{")].count("\n") + 1
        problem = check_quotes(template, Target.SHELL)[0]
        assert where in problem.message
        assert (problem.line, problem.column) == (line, column)
        assert problem.hint
        with pytest.raises(ExpressionError) as raised:
            render_script(template, VALUES)
        assert where in raised.value.message

    def test_what_stands_above_a_line_that_cannot_be_read_may_hold_values(self) -> None:
        template = "x={{ n }}\necho @(a|b) $x"
        assert check_quotes(template, Target.SHELL) == []
        assert put_in(template)[0] == 'x="${V1?}"\necho @(a|b) $x'

    def test_the_advice_never_leads_into_arithmetic(self) -> None:
        for template in ("((echo {{ n }}))", "echo ${x:{{ n }}}", "$[ {{ n }}"):
            hints = [problem.hint for problem in check_quotes(template, Target.SHELL)]
            assert hints
            assert not any("$value" in hint for hint in hints), template

    @pytest.mark.parametrize(
        "template",
        [
            "{% if n %}'{% endif %}{{ n }}",
            "{% if n %}a{% else %}'{{ n }}'{% endif %}",
            "{% for a in articles %}'{{ a.title }}'{% endfor %}",
        ],
    )
    def test_every_branch_is_looked_at_before_anything_runs(self, template: str) -> None:
        assert check_quotes(template, Target.SHELL)

    def test_a_way_through_that_only_the_values_show_is_looked_at_when_it_runs(self) -> None:
        quote = "{% if n %}'{% endif %}{% if not n %}'{% endif %}"
        template = f"echo {quote}{{{{ n }}}}{quote}"
        assert check_quotes(template, Target.SHELL) == []
        with pytest.raises(ExpressionError, match="single quotes"):
            render_script(template, VALUES)

    @pytest.mark.parametrize(
        "template",
        [
            "{% call m() %}{% endcall %}",
            "{% filter upper %}{{ n }}{% endfilter %}",
            "{% for a in articles recursive %}{{ a }}{% endfor %}",
            "{% if n %}{% filter upper %}{{ n }}{% endfilter %}{% endif %}",
        ],
    )
    def test_a_statement_that_makes_text_of_values_is_refused(self, template: str) -> None:
        assert check_quotes(template, Target.SHELL)

    @pytest.mark.parametrize(
        "template", ['echo "{{ x }}"', "y={{ x }}", "echo a{{ x }}", "cat <<< {{ x }}", "[ {{ x }} = a ]"]
    )
    def test_a_list_stands_only_where_words_do(self, template: str) -> None:
        assert check_quotes(template, Target.SHELL) == []
        with pytest.raises(ExpressionError, match="it is a list") as raised:
            render_script(template, {"x": [1, 2]})
        assert "join" in raised.value.hint

    @pytest.mark.parametrize("value", ["a\0b", ["a", "\0"], {"a": "b"} and "\0"])
    def test_bash_cannot_hold_a_nul(self, value: object) -> None:
        with pytest.raises(ExpressionError, match="NUL"):
            render_script("echo {{ x }}", {"x": value})

    def test_bash_cannot_hold_half_a_character(self) -> None:
        with pytest.raises(ExpressionError, match="half a character"):
            render_script("echo {{ x }}", {"x": "\ud800"})

    def test_raw_is_seen_only_where_it_switches_quoting_off(self) -> None:
        assert uses_raw("echo {{ a | upper | raw }}")
        assert uses_raw("echo {{ a | raw if b else c }}")
        assert not uses_raw("echo {{ (a | raw) ~ b }} {{ a }}")
        assert not uses_raw("echo {{ a | ")
        assert uses_raw("${#x} {{ a | raw }}", Target.SHELL)

    @pytest.mark.parametrize(
        "template",
        [
            *("$(" * 200_000, "<<A " * 100_000, "cat <<A\n" * 50_000, "cat <<A\nA\n" * 50_000, "${" * 200_000, "`" * 200_001),
            *("a" * 900_000, "a[" * 100_000, "\\" * 500_000, "[[ " * 100_000, "declare " * 100_000, "f(){ " * 60_000),
            *("echo " + "{{ n }} " * 5_000, 'echo "' + "{{ n }} " * 5_000 + '" ', "a=(" + "{{ n }} " * 5_000 + ") "),
            *("cat <<E\n" + "{{ n }} `\n" * 5_000 + "E\n", "[[ " + "{{ n }} == a || " * 3_000 + "a ]] ", "echo {{ n }}; " * 5_000),
        ],
        ids=range(18),
    )  # fmt: skip
    def test_a_body_of_any_shape_is_looked_at_in_bounded_time(self, template: str) -> None:
        began = time.process_time()
        check_quotes(template + "{{ n }}", Target.SHELL)
        assert time.process_time() - began < 2

    def test_tree_sitter_is_imported_only_for_a_bash_body_with_a_value(self) -> None:
        code = (
            "import sys, flownb.api; from flownb.templates.expressions import *;"
            "check_quotes('a', Target.SHELL); check_quotes('[{{ a }}]', Target.JSON); render_script('echo a', {});"
            "print('tree_sitter' in sys.modules); check_quotes('{{ a }}', Target.SHELL); print('tree_sitter' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
        assert done.stdout.split() == ["False", "True"]


class TestJson:
    @pytest.mark.parametrize(
        "template, text",
        [
            ('{"a": {{ text }}}', '{"a": "it\'s"}'),
            ("{{ [1, none, true] }}", "[1, null, true]"),
            ("{{ when }}", '"2026-11-23T10:15:00+00:00"'),
            ("{{ articles | tojson }}", '[{"title": "A", "items": 3}, {"title": "B", "items": 4}]'),
            ("{{ day }}", '"2026-11-23"'),
            ("{{ 1 if false }}", "null"),
            ("a: {{ n }} # it's\nb: {{ n }}", "a: 3 # it's\nb: 3"),
            ('{"\\"": {{ n }}}', '{"\\"": 3}'),
            ("{{ '\u2028😀' }}", '"\\u2028😀"'),
            ("[{{ text | raw }}]", "[it's]"),
        ],
    )
    def test_a_value_becomes_json(self, template: str, text: str) -> None:
        assert check_quotes(template, Target.JSON) == []
        assert render(template, {**VALUES, "day": date(2026, 11, 23)}, Target.JSON) == text

    @pytest.mark.parametrize("template", ['{"a": "{{ n }}"}', "a: '{{ n }}'", 'a: "b\n  {{ n }}"', "['', 'x{{ n }}']"])
    def test_a_value_in_quotes_is_refused_and_told_to_drop_them(self, template: str) -> None:
        (problem,) = check_quotes(template, Target.JSON)
        assert "quotes" in problem.message
        assert "without quotes" in problem.hint
        with pytest.raises(ExpressionError, match="without quotes"):
            render(template, VALUES, Target.JSON)

    @pytest.mark.parametrize(
        "value, text",
        [
            (Decimal("1.5"), "[1.5]"),
            (UUID(int=1), '["00000000-0000-0000-0000-000000000001"]'),
            (PurePosixPath("a/b"), '["a/b"]'),
            (timedelta(minutes=1), "[60.0]"),
            ({1}, "[[1]]"),
            (range(2), "[[0, 1]]"),
            (collections.deque([1]), "[[1]]"),
            (collections.ChainMap({"a": 1}), '[{"a": 1}]'),
            (np.int64(3), "[3]"),
            (np.array([[1, 2]]), "[[[1, 2]]]"),
            (np.array(4), "[4]"),
        ],
    )
    def test_what_is_much_like_json_becomes_json(self, value: object, text: str) -> None:
        assert render("[{{ x }}]", {"x": value}, Target.JSON) == text

    @pytest.mark.parametrize("value", [math.nan, math.inf, b"x", object()])
    def test_what_json_does_not_have_is_an_error(self, value: object) -> None:
        with pytest.raises(ExpressionError):
            render("[{{ x }}]", {"x": value}, Target.JSON)
