"""What nodes print: kept within bounds, counted right, cut in the middle (format.md, section 8)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flownb
from flownb.render.printed import MOST_CHARACTERS, MOST_PRINTED, Tapes
from tests.runs import node


def folded(*printed: tuple[str, str]) -> str:
    tapes = Tapes()
    for key, text in printed:
        tapes.take(key, text)
    return tapes.folded()


def counted(shown: str) -> int:
    """Return how many lines the summary tells of."""
    found = re.search(r"printed ([\d,]+) lines?", shown)
    assert found
    return int(found[1].replace(",", ""))


def body(shown: str) -> list[str]:
    """Return the lines inside the fence."""
    return shown.partition("```text\n")[2].rpartition("\n```")[0].split("\n")


@pytest.mark.parametrize(
    "pieces, lines", [(["one\n"], 1), (["one"], 1), (["a\n", "b"], 2), (["a\n\n\nb\n"], 4), (["a\r\nb\r\n"], 2)]
)
def test_lines_are_counted(pieces: list[str], lines: int) -> None:
    shown = folded(*(("a", piece) for piece in pieces))
    assert (counted(shown), len(body(shown))) == (lines, lines)


def test_long_output_is_cut_in_the_middle_and_says_how_many_lines_are_left_out() -> None:
    shown = folded(*(("a", f"line {number}\n") for number in range(20_000)))
    lines = body(shown)
    mark = next(index for index, line in enumerate(lines) if line.startswith("…"))
    left_out = 20_000 - (len(lines) - 1)
    assert lines[mark] == f"… {left_out:,} lines left out …"
    assert f"printed 20,000 lines, {left_out:,} of them left out in the middle" in shown
    assert lines[:mark] == [f"line {number}" for number in range(mark)]
    assert lines[mark + 1 :] == [f"line {number}" for number in range(20_000 - (len(lines) - mark - 1), 20_000)]
    assert min(mark, len(lines) - mark) > 500
    assert len(shown) < MOST_CHARACTERS + 500


@given(pieces=st.lists(st.text(alphabet="ab\n", max_size=4000), max_size=30))
def test_what_is_shown_and_what_is_left_out_add_up(pieces: list[str]) -> None:
    text = "".join(pieces)
    shown = folded(*(("a", piece) for piece in pieces))
    if not text.strip("\n"):
        return
    lines = text.count("\n") + (not text.endswith("\n"))
    assert counted(shown) == lines
    left_out = re.search(r"… ([\d,]+) lines? left out …", shown)
    if len(text) <= MOST_CHARACTERS:
        assert left_out is None
    if left_out:
        assert len(text) > MOST_CHARACTERS


def test_a_line_without_end_is_cut_too() -> None:
    shown = folded(("a", "x" * 100_000), ("a", "y"))
    assert (counted(shown), len(shown) < 3_000) == (1, True)


def test_many_nodes_that_print_much_are_bounded_and_counted() -> None:
    shown = folded(*((f"n{number}", "x" * 400 + "\n") for number in range(1000)))
    assert len(shown) < 1.5 * MOST_PRINTED
    assert shown.endswith("… and 750 more nodes printed.\n")


def test_the_last_lines_of_a_node_are_shown_though_others_printed_much_before() -> None:
    tapes = Tapes()
    for number in range(300):
        tapes.take(f"n{number}", "x" * 400 + "\n")
    for number in range(1000):
        tapes.take("late", f"line {number}\n")
    assert "line 998\nline 999" in tapes.last({"late"}, 6)


def test_a_secret_that_was_printed_in_pieces_is_hidden() -> None:
    tapes = Tapes(lambda text: text.replace("s3cr3t", "•••"))
    tapes.take("a", "s3c")
    tapes.take("a", "r3t\n")
    assert "•••" in tapes.folded()
    assert "s3c" not in tapes.last({"a"}, 6) + tapes.folded()


def test_the_log_of_a_run_holds_what_its_nodes_printed(tmp_path: Path) -> None:
    text = node("a", "print('from python')") + node("b", "echo from bash; echo oh >&2", runtime="bash")
    log = flownb.run(flownb.parse(text), state_dir=tmp_path).log
    printed = log.partition("### Printed\n")[2].partition("### Graph\n")
    assert "<code>a</code> printed 1 line</summary>\n\n```text\nfrom python\n```\n\n</details>" in printed[0]
    assert "<code>b</code> printed 2 lines</summary>" in printed[0]
    assert printed[2].startswith("\n<details><summary>")
    assert printed[2].endswith("```\n\n</details>\n")
