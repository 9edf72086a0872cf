"""Secrets: where they come from, and that no writer lets them out."""

from __future__ import annotations

import base64
import html
import json
import shlex
from urllib.parse import quote, quote_plus

import pytest
from pydantic import JsonValue

from flownb.errors import FlowInputError
from flownb.secrets import Redactor, find_secrets

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
    redactor = Redactor(["abc", "abcdef"])
    assert redactor.text("abcdef abc abcde") == "••• ••• •••de"


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
