"""What is written reads back as it was, whatever it holds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownb.errors import NodeError
from flownb.model.file_nodes import ReadNode, WriteNode
from flownb.runtimes.files.read import ReadRuntime
from flownb.runtimes.files.write import WriteRuntime
from tests.nodes import node_of, run_node, scope_of

pytestmark = [pytest.mark.property, pytest.mark.timeout(300)]

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def through(folder: Path, path: str, value: object, **fields: Any) -> object:
    scope = scope_of({"x": value}, folder=folder)
    run_node(WriteRuntime(), node_of(WriteNode, path=path, value="x", **fields), scope)
    return run_node(ReadRuntime(), node_of(ReadNode, path=path, **fields), scope)


@given(DATA, st.sampled_from(["a.json", "a.json.gz", "a.yaml"]))
def test_data_reads_back_equal(folder: Path, data: object, path: str) -> None:
    assert repr(through(folder, path, data)) == repr(data)


@given(st.lists(DATA, max_size=5))
def test_json_lines_read_back_equal(folder: Path, data: list[object]) -> None:
    assert repr(through(folder, "a.jsonl", data)) == repr(data)


@given(st.lists(CELLS.filter(lambda text: "\n" not in text and "\r" not in text), max_size=5))
def test_lines_read_back_equal(folder: Path, lines: list[str]) -> None:
    assert through(folder, "a.txt", lines, format="lines") == lines


@given(st.lists(CELLS, min_size=1, max_size=4, unique=True).flatmap(lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(names, CELLS)), min_size=1, max_size=4)), st.sampled_from(["a.csv", "a.tsv"]))  # fmt: skip
def test_tables_of_text_read_back_equal(folder: Path, rows: list[dict[str, str]], path: str) -> None:
    assert through(folder, path, rows) == rows


@given(TEXT, st.binary(max_size=50))
def test_text_and_bytes_read_back_to_the_letter(folder: Path, text: str, data: bytes) -> None:
    assert through(folder, "a.txt.gz", text) == text.removeprefix("\ufeff")
    assert through(folder, "a.bin", data) == data


@given(
    st.binary(max_size=60), st.sampled_from(["a.json", "a.yaml", "a.csv", "a.jsonl", "a.txt", "a.parquet", "a.txt.gz"])
)
def test_any_bytes_give_a_value_or_an_error_that_names_the_file(folder: Path, data: bytes, path: str) -> None:
    (folder / path).write_bytes(data)
    try:
        run_node(ReadRuntime(), node_of(ReadNode, path=path), scope_of(folder=folder))
    except NodeError as error:
        said = error.message
    else:
        said = path
    assert said.startswith(path)
