"""YAML is 1.2's core schema, with all places, whatever libyaml takes from 1.1; what is none is told in words for people."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from flownb.parse.workflow import diagnose
from flownb.text.codes import Code
from flownb.text.spans import Span
from flownb.text.yaml import DATA, Limits, Value, load_yaml
from flownb.text.yaml_words import YamlError


def locate(line: int, column: int, length: int) -> Span:
    return Span("x", line + 1, column + 1, length)


LIMITS = Limits()


def read(text: str, limits: Limits = LIMITS) -> Value:
    return load_yaml(text, locate, limits)


def error_of(text: str, limits: Limits = LIMITS) -> YamlError:
    with pytest.raises(YamlError) as caught:
        read(text, limits)
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        *("on", "off", "yes", "No", "y", "NO", "1:30", "1:30:20", "2024-01-01", "2024-01-01 10:00:00", "0b1", "1_000", "-0x1F", "0o8"),
        *("=", "nULL", "tRUE", "1e", "+", "--1", "1,000", ".", "..", "+.nan", ".iNF", "0xg", "_1", "٣", "1.2.3", "5xx", "10/1m"),
    ],
)  # fmt: skip
def test_what_the_core_schema_does_not_name_is_text(text: str) -> None:
    assert read(f"a: {text}").data == {"a": text}


@pytest.mark.parametrize(
    "text, value",
    [
        *[(text, None) for text in ("", "~", "null", "Null", "NULL")],
        *[(text, True) for text in ("true", "True", "TRUE")],
        *[(text, False) for text in ("false", "False", "FALSE")],
        *[("0", 0), ("-0", 0), ("+1", 1), ("010", 10), ("0o10", 8), ("0x1F", 31), ("0xfF", 255)],
        *[("1e3", 1000.0), ("1.", 1.0), (".5", 0.5), ("+.5", 0.5), ("-2E+05", -200000.0), ("12e03", 12000.0)],
        *[(".inf", math.inf), ("+.Inf", math.inf), ("-.INF", -math.inf), ("1e999", math.inf)],
        *[("!!str 1", "1"), ("! 1", "1"), ("!!int '1'", 1), ("!!float 1", 1.0), ("!!bool true", True), ("!!null ''", None)],
        *[("!!seq [1]", [1]), ("!!map {b: 1}", {"b": 1}), ("'on'", "on"), ('"1"', "1"), ("|\n  1\n", "1\n")],
    ],
)  # fmt: skip
def test_what_the_core_schema_names_is_that(text: str, value: object) -> None:
    data = read(f"a: {text}").data
    assert data == {"a": value}
    assert isinstance(data, dict)
    assert type(data["a"]) is type(value)


@pytest.mark.parametrize("text", [".nan", ".NaN", ".NAN"])
def test_no_number_is_a_float(text: str) -> None:
    data = read(text).data
    assert isinstance(data, float)
    assert math.isnan(data)


@pytest.mark.parametrize(
    "text, value",
    [
        ("007: a\n1.10: b\nNull: c\n~: d\non: e", {"007": "a", "1.10": "b", "Null": "c", "~": "d", "on": "e"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("[a:b, http://x, a?b, {a:1}, {a: b:c}]", ["a:b", "http://x", "a?b", {"a:1": None}, {"a": "b:c"}]),
        ('{"a":1}', {"a": 1}),
        ("a:\tb\nc: d\t", {"a": "b", "c": "d"}),
        ("[a: 1, b]", [{"a": 1}, "b"]),
        ("{a, b: 1}", {"a": None, "b": 1}),
        ("? a\n: b", {"a": "b"}),
        ("%YAML 1.1\n---\non", "on"),
        ("--- a\n...\n", "a"),
        ("# nothing", None),
        ("a: &x [1]\nb: *x\nc: &x 2\nd: *x", {"a": [1], "b": [1], "c": 2, "d": 2}),
        ("&a [&a 1, *a]", [1, 1]),
        ("&a k: 1\nb: *a", {"k": 1, "b": "k"}),
        ("a: 1\n\ufeffb: 2", {"a": 1, "\ufeffb": 2}),
    ],
)
def test_libyaml_is_made_to_read_yaml_1_2(text: str, value: object) -> None:
    assert read(text).data == value


@pytest.mark.parametrize("letter", ["\x85", "\u2028", "\u2029", "\ufeff", "\U000f0000", "😀", "é"])
@pytest.mark.parametrize("form", ["x{}y", "'x{}y'", '"x{}y"', "|\n  x{}y", "[x{}y]"])
def test_no_letter_moves_what_stands_behind_it(form: str, letter: str) -> None:
    value = read(f"é{letter}k: {form.format(letter)} # c\nb: [1, c]".replace("y # c\nb", "y\nb"))
    assert isinstance(value.data, dict)
    assert value.data[f"é{letter}k"] in (f"x{letter}y", f"x{letter}y\n", [f"x{letter}y"])
    assert value.parts["b"].parts[1].span == Span("x", form.count("\n") + 2, 8, 1)


def test_what_stands_in_for_a_letter_is_nowhere_in_the_text() -> None:
    text = 'a: "\u2028 \U000f0000 \\U000F0001"'
    assert read(text).data == {"a": "\u2028 \U000f0000 \U000f0001"}


@pytest.mark.parametrize("letter", ["\x7f", "\x81", "\ufffe", "\uffff"])
def test_what_json_holds_in_quotes_is_held_there_only(letter: str) -> None:
    assert read(f"a: 'x{letter}'\nb: \"{letter}\"").data == {"a": f"x{letter}", "b": letter}
    error = error_of(f"a: '{letter}'\nb: x{letter}")
    assert (error.message, error.span) == (
        f"the character U+{ord(letter):04X} is not allowed in YAML",
        Span("x", 2, 5, 1),
    )


@pytest.mark.parametrize("letter", ["\0", "\x01", "\x0b", "\x1f", "\ud800"])
def test_control_characters_are_refused_with_their_place(letter: str) -> None:
    error = error_of(f"a: 1\r\nb: 'x{letter}'")
    assert (error.code, error.span) == (Code.YAML_SYNTAX, Span("x", 2, 6, 1))


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_places_are_those_of_the_written_lines(line_end: str) -> None:
    lines = ["\ufeffa: 'é😀' # c", "b:", "  - {c: 1.10, 'd e': [x]}", "t: |", "", "   in", "    deeper"]
    value = read(line_end.join(lines))
    assert value.parts["a"].start == Span("x", 1, 5, 2)
    assert value.at(["b", 0, "c"]).raw == "1.10"
    assert value.at(["b", 0]).keys["d e"] == Span("x", 3, 15, 5)
    assert value.at(["b", 0, "d e", 0]).span == Span("x", 3, 23, 1)
    assert value.at(["b", 0, "d e"]).raw == "[x]"
    assert (value.parts["b"].span, value.parts["b"].raw) == (Span("x", 3, 3, 23), "")
    assert value.parts["t"].data == "\nin\n deeper\n"
    assert value.parts["t"].place(2, 1, 2) == Span("x", 6, 4, 2)
    assert value.parts["t"].place(3, 2, 6) == Span("x", 7, 5, 6)


@pytest.mark.parametrize(
    "text, message, place, hint",
    [
        ("a: b: c", "`: ` stands inside a text", (1, 5), "in quotes"),
        ("a:\n  b\n c: d", "`: ` stands inside a text", (3, 3), "one column"),
        ("a: [b", "expected ',' or ']', but got the end of the text", (1, 6), "close the bracket"),
        ("a: [b\n \n\n", "expected ',' or ']', but got the end of the text", (1, 6), "close the bracket"),
        ("a: {b: c\nd: e", "expected ',' or '}', but got `:`", (2, 2), "close the bracket"),
        ("{a: b:}", "`:` ends a text", (1, 5), "in quotes"),
        ("a: 1\nb\nc: 2", "no `: ` stands behind `b`", (2, 1), "write `key: value`"),
        ("a: 'b' == c", "expected the next key, but got `==`", (1, 8), "with quotes inside it"),
        ("- a\nb: c", "expected the next `- `, but got `b:`", (2, 1), "one column"),
        ("a: @x", "found character '@' where a value begins", (1, 4), "in quotes"),
        ("a: 1\nb: 'c\nd: e", "a quote is never closed", (2, 4), "close the quotes"),
        ("[a,, b]", "expected a value, but got ','", (1, 4), "must be quoted"),
        ("a: [", "expected a value, but got the end of the text", (1, 5), "must be quoted"),
        ("a: > 5", "a text stands behind `|` or `>`", (1, 6), "must be quoted"),
        ("a: - b", "a list begins behind a key", (1, 4), "a line of its own"),
        ("a: ? b", "`? ` stands where no key begins", (1, 4), "in quotes"),
        ("[a, {?b: 1}]", "`?` stands before a key", (1, 7), "in quotes"),
        ('a: "\\d"', "an escape that YAML does not have", (1, 5), "single quotes"),
        ('a: "\\ud83d"', "an escape that stands for no character", (1, 7), "the character itself"),
        ("a: * b", "no name stands behind `&` or `*`", (1, 5), "must be quoted"),
        ("a: *b", "nothing above it is named `&b`", (1, 4), "must be quoted"),
        ("a: !", None, None, None),
        ("a: !!", "what stands behind `!` is no tag", (1, 6), "must be quoted"),
        ("%x: 1", "a line that begins with `%` is a directive, and this one is not read", (1, 1), "take it away"),
        ("%YAML 1.3\n---\na", "a line that begins with `%` is a directive, and this one is not read", (1, 1), ""),
        ("'a' b", "expected the end of the text, but got `b`", (1, 5), "in quotes"),
        ("a: 1\n---\nb: 2", "a second document begins here", (2, 1), "keep one"),
        ("a:\n\tb: 1", "a tab stands where spaces belong", (2, 1), "indent with spaces"),
        ("a: |\n\tb", "a tab stands where spaces belong", (2, 1), "indent with spaces"),
    ],
)
def test_what_is_no_yaml_is_told_where_it_is_to_be_put_right(
    text: str, message: str | None, place: tuple[int, int] | None, hint: str | None
) -> None:
    if message is None:
        assert read(text).data == {"a": ""}
        return
    error = error_of(text)
    assert error.message == f"this is not YAML: {message}"
    assert (error.span.line, error.span.column) == place
    assert hint is not None
    assert hint in error.hint
    assert error.hint


@pytest.mark.parametrize(
    "text, message, place",
    [
        ("{{ a }}", "must be quoted", (1, 1, 7)),
        ("a: {{ b.c }}/d", "must be quoted", (1, 4, 9)),
        ("a: {{ 'it's' }}", "must be quoted", (1, 4, 12)),
        ("a: {{ 'b }", "must be quoted", (1, 4, 2)),
        ("a: [{{ b }}]", "must be quoted", (1, 5, 7)),
        ("{{ a }}: 1", "must be quoted", (1, 1, 7)),
        ("? [a]\n: b", "a key must be a text", (1, 3, 1)),
        ("- &a b\n- *a : c", "a key must be a text", (2, 3, 2)),
        ("a: 1\nb: 2\n'a': 3", "the key 'a' stands twice: lines 1 and 3", (3, 1, 3)),
        ("{a: 1, a: 2}", "the key 'a' stands twice: both in line 1", (1, 8, 1)),
        ("!!set {a}", "the tag '!!set' is not read", (1, 1, 7)),
        ("!!python/name:os.system x: 1", "the tag '!!python/name:os.system' is not read", (1, 1, 25)),
        ("!!int x", "'x' is not what the tag `!!int` says", (1, 1, 7)),
        ("9" * 5000, "is no number that can be read", (1, 1, 5000)),
    ],
)
def test_what_is_yaml_but_not_read_is_told(text: str, message: str, place: tuple[int, int, int]) -> None:
    error = error_of(text)
    assert message in error.message
    assert (error.span.line, error.span.column, error.span.length) == place


def test_limits_are_those_that_are_given() -> None:
    assert read("[1, 2]", Limits(characters=6, values=3, depth=1)).data == [1, 2]
    assert "at most 5 characters" in error_of("[1, 2]", Limits(characters=5)).message
    assert "more than 2 values" in error_of("[1, 2]", Limits(values=2)).message
    assert error_of("[1, [2]]", Limits(depth=1)).span == Span("x", 1, 5, 1)
    assert "JSON has no number" in error_of("[.inf]", DATA).message


def test_an_alias_counts_for_all_that_it_stands_for() -> None:
    text = "a: &a [1, [2]]\nb: *a\nc: [*a]"  # 1 + 4 + 4 + 1 + 4 values, four deep
    assert read(text, Limits(values=14, depth=4)).data == {"a": [1, [2]], "b": [1, [2]], "c": [[1, [2]]]}
    assert error_of(text, Limits(values=13)).span == Span("x", 3, 5, 2)
    assert "nested too deeply" in error_of(text, Limits(depth=3)).message
    assert "nested too deeply" in error_of("- &a [[[1]], &b 2]\n- [*a]", Limits(depth=4)).message


DEEP = ["[", "{", "{a: ", "[{a: ", "- ", "? ", "- - ? ", "a: [", "[[[]],", "!!seq [", "&a [", "[? ", "{? "]


@pytest.mark.parametrize("unit", DEEP)
def test_no_depth_breaks_the_process(unit: str) -> None:
    assert "deeply" in error_of(unit * 100_000, DATA).message or unit[-2:] == "? "


def test_indentation_may_be_as_deep_as_brackets() -> None:
    text = "\n".join(" " * depth + "a:" for depth in range(3000))
    assert error_of(text, DATA).span.line == 201


def test_what_is_read_deep_in_the_stack_of_c_is_read_nowhere() -> None:
    """A thread with a stack of 256 KiB reads what would take libyaml's own composer far more."""
    code = (
        "import threading\nfrom tests.unit.test_text_yaml import DEEP, read, DATA, YamlError\n"
        "def work():\n  for unit in DEEP:\n    try: read(unit * 100_000, DATA)\n    except YamlError: pass\n  print('done')\n"
        "threading.stack_size(256 * 1024)\nthread = threading.Thread(target=work)\nthread.start()\nthread.join()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "done\n"


def problems_of(text: str) -> list[tuple[Code, int]]:
    return [(problem.code, problem.span.line) for problem in diagnose(text)[1]]


def test_a_document_may_hold_many_long_bodies_and_each_is_checked() -> None:
    body = "\n".join(f"key_{number}: value" for number in range(4000))
    bodies = [f"## N{number}\n\n```yaml\n{body}\n```\n" for number in range(6)]
    assert problems_of("\n".join(bodies)) == []
    assert problems_of("\n".join([*bodies[:5], bodies[5].replace("key_3999:", "key_0:")])) == [
        (Code.DUPLICATE_KEY, 6 * 4005 - 2)
    ]


def test_a_body_in_json_is_as_good_as_when_it_runs() -> None:
    assert problems_of('## A\n\n```yaml\n{"%s": "\\ud83d\\ude00"}\n```\n' % ("k" * 2000)) == []
    assert problems_of('## A\n\n```yaml\n{"a": 1,\n "a": "x"}\n```\n') == [(Code.DUPLICATE_KEY, 5)]


@pytest.mark.parametrize("head", ["---\na: {}\n---\n", "## A\n\n- env: {{A: {}}}\n\n```bash\nls\n```\n"])
def test_front_matter_and_a_property_are_at_most_64_k_characters(head: str) -> None:
    assert [code for code, _ in problems_of(head.format("x" * 65_600))] == [Code.TOO_LARGE]
