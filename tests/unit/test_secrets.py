"""Secrets: where they come from, and that no writer lets them out."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
import subprocess
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from flownb.errors import FlowInputError
from flownb.secrets import Redactor, Stream, find_secrets, with_values, without_values

SECRET = "p'a\"s&s/w<o>r\\d +ü=%1"
KEY = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG\nshort\n-----END KEY-----\n"


def refuse(name: str) -> str:
    raise AssertionError(name)


def test_secrets_come_from_the_environment_and_nobody_is_asked() -> None:
    found = find_secrets(["A", "B"], {"A": "1", "B": "2", "C": "3"}, refuse)
    assert {name: value.get_secret_value() for name, value in found.items()} == {"A": "1", "B": "2"}


def test_a_secret_that_is_missing_or_empty_is_asked_for_once() -> None:
    asked: list[str] = []

    def answer(name: str) -> str:
        asked.append(name)
        return name.lower()

    found = find_secrets(["A", "B", "C", "B"], {"A": "1", "C": ""}, answer)
    assert asked == ["B", "C"]
    assert found["C"].get_secret_value() == "c"


def test_all_missing_secrets_are_named_at_once_with_the_way_to_set_them() -> None:
    with pytest.raises(FlowInputError, match="secrets without a value: A, C") as caught:
        find_secrets(["A", "B", "C"], {"B": "2"})
    assert "export A=" in caught.value.hint
    assert 'os.environ["A"] = getpass.getpass()' in caught.value.hint


def test_an_empty_answer_counts_as_missing() -> None:
    with pytest.raises(FlowInputError, match="secret without a value: A"):
        find_secrets(["A"], {}, lambda _: "")


def test_a_secret_does_not_show_itself() -> None:
    assert "hunter2" not in repr(find_secrets(["A"], {"A": "hunter2"}))


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        shlex.quote(SECRET),
        repr(SECRET),
        repr(SECRET.encode()),
        html.escape(SECRET),
        html.escape(SECRET, quote=False),
        "'" + SECRET.replace("'", "''") + "'",
    ],
)
def test_a_secret_is_hidden_in_every_encoding(written: str) -> None:
    redactor = Redactor(["other", SECRET])
    hidden = redactor.text(f"before {written} after")
    assert hidden.removeprefix("before ").removesuffix(" after").strip("\"'b") == "•••"
    assert redactor.holds({"deep": [written]})


def test_a_secret_within_another_is_hidden_with_it() -> None:
    redactor = Redactor(["abcd", "abcdefg"])
    assert redactor.text("abcdefg abcd abcdef") == "••• ••• •••ef"


def test_lines_of_a_secret_are_hidden_one_by_one_but_not_short_ones() -> None:
    redactor = Redactor([KEY])
    assert redactor.text("first MIIEvQIBADANBg, kqhkiG; short") == "first •••, •••; short"
    assert redactor.text(f"all: {KEY}.") == "all: •••."


def test_a_secret_is_hidden_without_the_blanks_around_it() -> None:
    assert Redactor(["token\n"]).text("a token!") == "a •••!"


def test_blank_secrets_hide_nothing() -> None:
    redactor = Redactor(["", " ", "\n"])
    assert not redactor
    assert redactor.text(" a \n") == " a \n"


def test_without_secrets_nothing_is_looked_at() -> None:
    value: JsonValue = {"a": [1]}
    redactor = Redactor()
    assert redactor.json(value) is value
    assert not redactor.holds("anything")


def test_a_value_keeps_its_shape() -> None:
    value: JsonValue = {"a": ["x secret y", 1, None, True, 1.5], "b": {"c": "clean"}}
    assert Redactor(["secret"]).json(value) == {"a": ["x ••• y", 1, None, True, 1.5], "b": {"c": "clean"}}
    assert value == {"a": ["x secret y", 1, None, True, 1.5], "b": {"c": "clean"}}


def test_a_value_without_secrets_is_the_same_object() -> None:
    value: JsonValue = {"a": ["clean"]}
    assert Redactor(["secret"]).json(value) is value


def test_keys_are_hidden_and_stay_apart() -> None:
    value: JsonValue = {"secret": 1, "hidden": 2, "token": 3, "clean": 4}
    hidden = Redactor(["secret", "hidden", "token"]).json(value)
    assert hidden == {"•••": 1, "••• (2)": 2, "••• (3)": 3, "clean": 4}


@pytest.mark.parametrize("number", [4711, 47.5, -3])
def test_a_number_that_is_a_secret_becomes_a_text(number: float) -> None:
    redactor = Redactor([str(number)])
    assert redactor.holds(number)
    assert redactor.json([number, 1]) == ["•••", 1]


def test_numbers_and_truths_that_only_look_alike_stay() -> None:
    value: JsonValue = [47110, True, False, None, 10**5000]
    assert Redactor(["4711", "True", "None", "1"]).json(value) is value


def test_a_secret_of_special_characters_is_no_pattern() -> None:
    assert Redactor([".*"]).text("abc .* d") == "abc ••• d"


# Two encodings, one upon the other, and base64 of a longer text.

TOKEN = "ghp_Abc123+Def/456"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("before", ["", "u", "us", "use", "user:"])
@pytest.mark.parametrize("after", ["", "x", "xy"])
@pytest.mark.parametrize(
    "wrap", [str, b64, quote_plus, lambda text: text.encode().hex(), lambda text: b64(f"id={text}")]
)
def test_base64_of_a_text_that_holds_a_secret_is_hidden(before: str, after: str, wrap: Callable[[str], str]) -> None:
    written = wrap(b64(before + TOKEN + after))
    hidden = Redactor([TOKEN]).text(f"<{written}>")
    assert "•••" in hidden
    left = hidden.replace("•••", "")
    assert b64(TOKEN)[4:12] not in left
    assert len(left) <= len(wrap(b64(before + after))) + 12


@pytest.mark.parametrize(
    "inner", [json.dumps, quote_plus, html.escape, b64, lambda text: text.encode().hex(), shlex.quote]
)
@pytest.mark.parametrize("outer", [json.dumps, quote_plus, html.escape, b64, lambda text: text.encode().hex(), repr])
def test_one_encoding_upon_another_is_hidden(inner: Callable[[str], str], outer: Callable[[str], str]) -> None:
    redactor = Redactor([SECRET])
    assert redactor.holds(f"<{outer(inner(SECRET))}>")
    assert redactor.holds({"deep": [outer(inner(SECRET))]})


@pytest.mark.parametrize("name", ["sha256", "md5", "sha3_512"])
def test_a_hash_of_a_secret_is_hidden(name: str) -> None:
    assert Redactor([TOKEN]).text(hashlib.new(name, TOKEN.encode()).hexdigest()) == "•••"


@pytest.mark.parametrize("change", [str.upper, str.lower, str.title, str.capitalize, lambda text: text[::-1]])
def test_a_secret_in_letters_of_another_size_or_order_is_hidden(change: Callable[[str], str]) -> None:
    assert Redactor([TOKEN]).text(f"a {change(TOKEN)} b") == "a ••• b"


@pytest.mark.parametrize(
    "secret", ['it\'s "$5" `x`', "two\nlines'of it", "tab\tand \\ back", "nöt äscii ☃", "#a~ b,c=d;e|f(gh)"]
)
def test_what_bash_makes_of_a_secret_is_hidden(secret: str) -> None:
    script = 'x=$1; set -x; : "$x"; set +x; printf "%q\\n" "$x"; declare -p x; printf "%s\\n" "${x@Q}"'
    ran = subprocess.run(
        ["bash", "-c", script, "bash", secret],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
    )
    hidden = Redactor([secret]).text(ran.stdout + ran.stderr)
    assert not [word for word in re.findall(r"\w{3,}", secret) if re.search(rf"\b{word}\b", hidden)], hidden


# Short ones.


def test_a_secret_of_up_to_three_characters_is_hidden_as_a_word_only() -> None:
    redactor = Redactor(["on", "1", "a-b"])
    assert redactor.text("on, one, (on) 1 11 a-b xa-b on") == "•••, one, (•••) ••• 11 ••• xa-b •••"
    assert redactor.json({"a": [1, 11, True, "is on"], "on": None}) == {"a": ["•••", 11, True, "is •••"], "•••": None}
    assert not redactor.holds(["one", 11, "xa-b"])


def test_a_secret_of_four_characters_is_hidden_inside_words() -> None:
    assert Redactor(["gold"]).text("marigolds") == "mari•••s"


# In pieces.


def pieces(text: str, redactor: Redactor, *cuts: int) -> str:
    stream, shown, last = Stream(redactor), [], 0
    for cut in (*cuts, len(text)):
        shown.append(stream.take(text[last:cut]))
        last = cut
    return "".join(shown) + stream.end()


@pytest.mark.parametrize("secret", ["hunter2", "abab", KEY, "on"])
def test_a_secret_that_comes_in_two_pieces_is_hidden(secret: str) -> None:
    redactor, text = Redactor([secret]), f"before {secret} after\n"
    whole = redactor.text(text)
    assert [pieces(text, redactor, cut) for cut in range(len(text))] == [whole] * len(text)
    assert pieces(text, redactor, *range(len(text))) == whole


def test_only_what_may_begin_a_secret_is_held_back() -> None:
    stream = Stream(Redactor(["hunter2"]))
    assert stream.take("a line\nthe hunt") == "a line\nthe "
    assert stream.take("ing dog\n") == "hunting dog\n"
    assert stream.take("hunter") == ""
    assert stream.end() == "hunter"


def test_what_cannot_begin_a_secret_is_shown_at_once() -> None:
    stream = Stream(Redactor(["hunter2", KEY]))
    assert [stream.take(text) for text in ("10 %\r", "20 %\r", "done.\n")] == ["10 %\r", "20 %\r", "done.\n"]


@given(st.text("abc", min_size=4, max_size=6), st.lists(st.text("abc", max_size=4), max_size=12))
def test_a_stream_never_shows_a_secret_however_it_is_cut(secret: str, parts: list[str]) -> None:
    stream = Stream(Redactor([secret]))
    shown = "".join([*(stream.take(part) for part in parts), stream.end()])
    assert secret not in shown
    assert shown.replace("•••", "") == shown.replace("•••", "").strip("•")
    if secret not in "".join(parts) and secret[::-1] not in "".join(parts):
        assert shown == "".join(parts)


# In a document.


def test_what_was_taken_out_of_a_document_comes_back() -> None:
    secrets = {"A": "hunter2hunter2", "B": "hunter2hunter2-long", "C": "on", "D": "•••"}
    text = f"on {secrets['A']} {secrets['B']}, {secrets['A'].upper()}, {b64(secrets['B'])} ••• on"
    stored = without_values(text, secrets)
    assert "hunter2" not in stored.lower()
    assert stored.startswith("••• •••A••• •••B•••, •••A")
    assert with_values(stored, secrets, secrets).removeprefix("•••").removesuffix("•••") == text[2:-2]
