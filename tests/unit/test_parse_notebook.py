"""The `%%flow` cells of notebook files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flownb.errors import FlowInputError, FlowSyntaxError
from flownb.parse.notebook import flow_cells, parse_notebook

NODE = "## A\n\n```python\n1\n```"


def notebook(tmp_path: Path, *sources: str | list[str]) -> Path:
    cells: list[dict[str, object]] = [{"cell_type": "markdown", "metadata": {}, "source": "%%flow"}]
    cells += [
        {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": source}
        for source in sources
    ]
    return written(tmp_path, {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells})


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / "nb.ipynb"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_cells_give_their_text_arguments_and_place(tmp_path: Path) -> None:
    path = notebook(
        tmp_path, "x = 1", ["%%flow -i a=1\n", "# One\n", NODE], f"\n%%flow\n---\nname: two\n---\n{NODE}", "%%flowing"
    )
    assert [(cell.index, cell.arguments, cell.first_line, cell.name) for cell in flow_cells(path)] == [
        (3, "-i a=1", 2, "one"),
        (4, "", 3, "two"),
    ]
    assert flow_cells(path)[0].text == f"# One\n{NODE}"


def test_a_cell_is_chosen_by_name_or_place(tmp_path: Path) -> None:
    path = notebook(tmp_path, f"%%flow\n# One\n{NODE}", f"%%flow\n# Two\n{NODE}")
    assert parse_notebook(path, "two").source == f"{path}#cell 3"
    assert parse_notebook(path, "2").name == "one"
    for wanted, said in ((None, "2 %%flow cells"), ("tow", "no %%flow cell named 'tow'\nhint: did you mean 'two'")):
        with pytest.raises(FlowInputError, match=said):
            parse_notebook(path, wanted)


def test_problems_are_named_by_cell_and_line(tmp_path: Path) -> None:
    path = notebook(tmp_path, "%%flow\n## A\n\n```python\nnope\n```")
    with pytest.raises(FlowSyntaxError) as caught:
        parse_notebook(path, None)
    assert str(caught.value.problems[0].span) == f"{path}#cell 2:5"


def test_a_notebook_of_an_older_version_is_read(tmp_path: Path) -> None:
    code = {"cell_type": "code", "language": "python", "metadata": {}, "outputs": [], "collapsed": False}
    sheet = {"metadata": {}, "cells": [{**code, "input": ["%%flow\n", "# Old\n", NODE]}]}
    path = written(tmp_path, {"nbformat": 3, "nbformat_minor": 0, "metadata": {"name": "old"}, "worksheets": [sheet]})
    assert [(cell.index, cell.name) for cell in flow_cells(path)] == [(1, "old")]


BROKEN = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": "x", "source": ""}


@pytest.mark.parametrize(
    "content, why",
    [
        ("", "it is no JSON"),
        ("[" * 100_000, "it is no JSON"),
        ("[]", "its parts are not those of a notebook"),
        ({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}, "its parts are not those of a notebook"),
        ({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}, "metadata"),
        ({"nbformat": 99, "nbformat_minor": 0}, "Unsupported nbformat version 99"),
        (
            {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [BROKEN]},
            r"'x' is not of type 'integer', 'null' \(at notebook\['cells'\]\[0\]\['execution_count'\]\)",
        ),
    ],
)
def test_what_is_no_notebook_is_refused_and_the_message_says_why(tmp_path: Path, content: object, why: str) -> None:
    with pytest.raises(FlowInputError, match=rf"nb\.ipynb is no notebook: .*{why}"):
        parse_notebook(written(tmp_path, content), None)


def test_a_missing_notebook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlowInputError, match="cannot read"):
        flow_cells(tmp_path / "none.ipynb")
