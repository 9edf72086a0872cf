"""The `%%flow` cells of notebook files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flownb.errors import FlowInputError, FlowSyntaxError
from flownb.parse.notebook import flow_cells, parse_notebook

NODE = "## A\n\n```python\n1\n```"


def notebook(tmp_path: Path, *sources: str | list[str]) -> Path:
    cells = [{"cell_type": "markdown", "source": "%%flow"}]
    cells += [{"cell_type": "code", "source": source} for source in sources]  # type: ignore[dict-item]
    path = tmp_path / "nb.ipynb"
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}), encoding="utf-8")
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


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"cells": 3}', '{"cells": [3, {"cell_type": "code"}]}', "[" * 100_000]
)
def test_what_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "nb.ipynb"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FlowInputError):
        parse_notebook(path, None)


def test_a_missing_notebook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FlowInputError, match="cannot read"):
        flow_cells(tmp_path / "none.ipynb")
