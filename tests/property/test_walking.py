"""An expression that is walked comes to what Jinja's compiled code for it comes to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import nodes

from flownb.errors import ExpressionError
from flownb.templates import programs, tree
from flownb.templates.reading import Reading
from flownb.templates.terms import Limits, Target

LIMITS = Limits(turns=2_000, size=20_000, pattern_s=0.1)
VALUES = {
    "n": 7,
    "f": 2.5,
    "t": "Tea's",
    "yes": True,
    "none_": None,
    "row": {"name": "Ann", "score": 3, "items": [1, 2], "a b": "x", "deep": {"n": [4, 5]}},
    "rows": [{"name": "Ann", "score": 3}, {"name": "Bo", "score": 1}],
    "nums": [3, 1, 2, 2],
    "empty": [],
    "more": {"first": 1, "second": 2},
}
LEAVES = st.sampled_from(
    [
        *("0", "1", "2", "-3", "2.5", "'a'", "'Tea'", '"n"', "true", "none", "[]", "{}", "()"),
        *("n", "f", "t", "yes", "none_", "row", "rows", "nums", "empty", "row.name", "row['a b']"),
        *("nums[0]", "nums[-1]", "rows[0].score", "row.deep.n[1]", "t.upper()", "row.get('name')", "rows[1].name"),
        *("gone", "row.gone", "nums[9]", "t.gone", "nums.append"),
    ]
)
NUMBERS = st.sampled_from(["0", "1", "2", "3", "n", "f", "row.score", "nums[0]", "nums | length", "rows[1].score"])
LISTS = st.sampled_from(["nums", "empty", "[n, 2, 'x']", "row.items", "range(4)", "t", "(1, 2)", "row", "rows"])
FILTERS = st.sampled_from(
    [
        *("upper", "length", "string", "list", "first", "last", "sort", "unique", "join('-')", "default('d')", "abs"),
        *("default('d', true)", "round(1)", "int", "float", "tojson", "replace('a', 'b')", "sum", "reverse | list"),
        *("map('string') | list", "map(attribute='name') | join", "selectattr('score', 'gt', 1) | list", "max", "min"),
        *("select | list", "dictsort", "batch(2) | list", "title", "slug", "trim", "center(9)", "quote", "b64encode"),
        *("join(*['+'])", "default(**{'default_value': 4})", "truncate(length=3)", "format(1)", "e", "items | list"),
    ]
)
TESTS = st.sampled_from(
    [
        *("defined", "undefined", "none", "number", "string", "iterable", "odd", "divisibleby(2)", "mapping", "true"),
        *("in [1, 7]", "eq 7", "sequence", "lower", "not defined", "not none", "sameas(none)", "divisibleby(*[2])"),
    ]
)
CALLS = st.sampled_from(
    [
        *("range({})", "t.replace('e', {})", "dict(a={})", "dict(**more)", "range(*nums[1:3])", "t.center({})"),
        *(
            "row.get('name', {})",
            "t.split(*['e'])",
            "nums.index({})",
            "row.gone({})",
            "joiner({})()",
            "'%s' | format({})",
        ),
    ]
)


def _compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    shape: Callable[..., st.SearchStrategy[str]] = st.builds
    return st.one_of(
        shape("({} {} {})".format, NUMBERS, st.sampled_from(["+", "-", "*", "/", "//", "%", "**"]), NUMBERS),
        shape("({} {} {})".format, inner, st.sampled_from(["==", "!="]), inner),
        shape("({} {} {})".format, NUMBERS | inner, st.sampled_from(["<", "<=", ">", ">=", "+", "*"]), NUMBERS),
        shape("({} < {} <= {} != {})".format, NUMBERS, NUMBERS, NUMBERS, inner),
        shape("({} {} {})".format, inner, st.sampled_from(["in", "not in"]), LISTS),
        shape("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner),
        shape("({} {})".format, st.sampled_from(["not", "-", "+"]), NUMBERS),
        shape("(not {})".format, inner),
        shape("({} if {} else {})".format, inner, inner, inner),
        shape("({} if {})".format, inner, inner),
        shape("({} ~ {} ~ {})".format, inner, inner, inner),
        shape("[{}, {}]".format, inner, inner),
        shape("({}, {})".format, inner, inner),
        shape("{{'k': {}, {}: 2}}".format, inner, st.sampled_from(["'m'", "n", "t", "nums"])),
        shape("({} | {})".format, LISTS | inner, FILTERS),
        shape("({} is {})".format, inner, TESTS),
        shape("{}[{}]".format, LISTS, NUMBERS),
        shape("{{'a': 1, 'Tea': 2, 7: 3}}[{}]".format, inner),
        shape("{}[{}:{}]".format, LISTS, NUMBERS, NUMBERS),
        shape("{}[::{}]".format, LISTS, st.sampled_from(["1", "-1", "2", "0"])),
        shape("({}).{}".format, inner, st.sampled_from(["name", "real", "__class__"])),
        shape(str.format, CALLS, inner),
    )


EXPRESSIONS = st.recursive(LEAVES, _compound, max_leaves=6)
TEMPLATES = st.lists(
    st.sampled_from(["a ", "\n", '"', "[", ": "]) | st.builds("{{{{ {} }}}}".format, EXPRESSIONS),
    min_size=1,
    max_size=4,
).map("".join)


def _come_to(source: str, target: Target | None, *, compiled: bool) -> tuple[str, object]:
    """Return an expression's value, or a template's text, as text; or the error's."""
    reading, where = Reading(source, bare=target is None, comments=True), target or Target.TEXT
    try:
        program = reading._program(where, frozenset())
        if compiled:  # The oracle: what is done for templates with tags.
            program._root = programs.code_of(reading._tree, where, lone=program.lone)
        value = reading.value(VALUES, where, LIMITS)
    except ExpressionError as error:
        return "error", str(error)
    return "value", (type(value), repr(value))


def test_a_walked_expression_comes_to_what_its_compiled_code_comes_to() -> None:
    kinds: Counter[str] = Counter()

    @given(EXPRESSIONS)
    @settings(max_examples=1500, deadline=None)
    def compare(source: str) -> None:
        walked = _come_to(source, None, compiled=False)
        kinds[walked[0]] += 1
        assert walked == _come_to(source, None, compiled=True)

    compare()
    assert kinds["value"] > 1.5 * kinds["error"], "most examples must have a value"
    assert kinds["error"] > 50


@given(TEMPLATES, st.sampled_from([Target.TEXT, Target.JSON]))
@settings(max_examples=400, deadline=None)
def test_a_walked_template_comes_to_what_its_compiled_code_comes_to(source: str, target: Target) -> None:
    assert _come_to(source, target, compiled=False) == _come_to(source, target, compiled=True)


def test_every_kind_of_node_is_walked() -> None:
    """Jinja's own kinds of expressions, less those that its parser never makes of a text."""
    made_by_extensions = {"EnvironmentAttribute", "ExtensionAttribute", "ImportedName", "InternalName", "NSRef"}
    helpers = {"ContextReference", "DerivedContextReference", "MarkSafe", "MarkSafeIfAutoescape", "TemplateData"}
    abstract = {"Expr", "BinExpr", "UnaryExpr", "Literal", "Slice", "_FilterTestCommon"}  # A slice is part of an item.
    kinds, known = [nodes.Expr], set()
    while kinds:
        kind = kinds.pop()
        known.add(kind.__name__)
        kinds += kind.__subclasses__()
    assert known - made_by_extensions - helpers - abstract <= {kind.__name__ for kind in tree._VALUES}
