from __future__ import annotations

from pathlib import Path

import pytest
from IPython.core.magic_arguments import MagicArgumentParser

from flownb.errors import FlowError, FlowInputError
from flownb.notebook.arguments import find_file, parse_line, read_inputs, split_line
from flownb.notebook.transform import keeping_lines


@pytest.mark.parametrize(
    "line, words",
    [
        ("", []),
        ("  -o run   --wait ", ["-o", "run", "--wait"]),
        ('-i topic="solar wind"', ["-i", 'topic="solar wind"']),
        ("-i 'topic=solar wind'", ["-i", "topic=solar wind"]),
        ("-i rows={[n for n in range(3)]} x", ["-i", "rows={[n for n in range(3)]}", "x"]),
        ("-i rows=[1, 2] -i m={a: {b: 1}}", ["-i", "rows=[1, 2]", "-i", "m={a: {b: 1}}"]),
        ("--save='my file.flow.md'", ["--save=my file.flow.md"]),
        ("approve it's", None),
        ("-i x={1", None),
    ],
)
def test_a_line_is_split_at_spaces_outside_quotes_and_brackets(line: str, words: list[str] | None) -> None:
    if words is None:
        with pytest.raises(FlowInputError, match="is missing in"):
            split_line(line)
    else:
        assert split_line(line) == words


def test_inputs_are_yaml() -> None:
    given = ["a=1", "b=on", "c=[1, x]", 'd="7"', "e={k: 1}", "f=", "g=a=b"]
    assert read_inputs(given, {}) == {
        "a": 1,
        "b": "on",
        "c": [1, "x"],
        "d": "7",
        "e": {"k": 1},
        "f": None,
        "g": "a=b",
    }


def test_an_expression_gives_the_very_object_of_the_notebook() -> None:
    table = object()
    assert read_inputs(["t={table}", "n={1 + 1}"], {"table": table}) == {"t": table, "n": 2}


@pytest.mark.parametrize(
    "given, said",
    [
        (["topic"], "is not NAME=VALUE"),
        (["1x=2"], "is not NAME=VALUE"),
        (["a=1", "a=2"], "-i a is given twice"),
        (["a={1 / 0}"], "ZeroDivisionError"),
        (["a=[1"], "-i a"),
    ],
)
def test_a_wrong_input_is_named(given: list[str], said: str) -> None:
    with pytest.raises(FlowError) as caught:
        read_inputs(given, {})
    assert said in caught.value.message


def test_variables_are_filled_in_except_in_inputs() -> None:
    parser = MagicArgumentParser("flow")  # type: ignore[no-untyped-call] # IPython is untyped here
    parser.add_argument("file")
    parser.add_argument("-i", action="append")
    found = parse_line(parser, "{name}.md -i a={name} -i b={gone}", {"name": "x"})
    assert (found.file, found.i) == ("x.md", ["a={name}", "b={gone}"])
    assert parse_line(parser, "{gone}.md", {}).file == "{gone}.md"


def test_a_wrong_option_says_how_to_see_what_there_is() -> None:
    parser = MagicArgumentParser("flow")  # type: ignore[no-untyped-call] # IPython is untyped here
    with pytest.raises(FlowInputError, match="%flow: unrecognized arguments: --x") as caught:
        parse_line(parser, "--x", {})
    assert caught.value.hint == "%flow? shows what there is"


def test_a_file_is_looked_for_here_and_then_beside_the_notebook(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, beside = tmp_path / "here", tmp_path / "beside"
    here.mkdir()
    beside.mkdir()
    monkeypatch.chdir(here)
    (beside / "a.ipynb").touch()
    assert find_file("a.ipynb#x", beside) == beside / "a.ipynb#x"
    (here / "a.ipynb").touch()
    assert find_file("a.ipynb#x", beside) == Path("a.ipynb#x")
    assert find_file("none.md", beside) == Path("none.md")
    assert find_file("none.md", None) == Path("none.md")


def test_rewriting_moves_no_line() -> None:
    def shell(cell: str) -> str:
        lines = cell.lstrip("\n").replace("!a \\\n b", "run('a b')").split("\n")
        return "\n".join(line.replace("%time ", "timed: ") for line in lines) + "\n"

    keep = keeping_lines(shell)
    assert keep("\n\nx = 1") == "\n\nx = 1"
    assert keep("x\n!a \\\n b\ny\n%time z") == "x\nrun('a b')\n\ny\ntimed: z"
    assert keep("x\n\n\n") == "x\n\n\n"
