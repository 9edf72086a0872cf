from __future__ import annotations

from pathlib import Path

import pytest

from tests.golden.runner import read_cases

TEXT = """# Prose stays

first
.
a
b
.
old
.

second
.

.
keep
.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cases.md"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_cases_are_read_with_title_input_and_expected(file: Path) -> None:
    first, second = read_cases(file)
    assert (first.title, first.line, first.input, first.expected) == ("first", 3, "a\nb", "old")
    assert (second.title, second.input, second.expected) == ("second", "", "keep")


def test_rewriting_one_case_leaves_the_rest_as_it_was(file: Path) -> None:
    first, second = read_cases(file)
    first.rewrite("new\n\nlines\n")
    assert file.read_text(encoding="utf-8") == TEXT.replace("old", "new\n\nlines")
    second.rewrite("kept")
    assert [case.expected for case in read_cases(file)] == ["new\n\nlines", "kept"]


def test_a_missing_dot_is_an_error(file: Path) -> None:
    file.write_text("one\n.\ninput\n.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="2 lines with a lone dot"):
        read_cases(file)


def test_two_cases_of_one_title_are_an_error(file: Path) -> None:
    file.write_text(TEXT.replace("second", "first"), encoding="utf-8")
    with pytest.raises(ValueError, match="same title"):
        read_cases(file)
