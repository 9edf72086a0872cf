from __future__ import annotations

import asyncio
import gzip
import json
import os
import threading
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flownb.errors import NodeError
from flownb.model.file_nodes import ReadNode
from flownb.runtimes.files.read import ReadRuntime
from tests.nodes import node_of, run_node, scope_of


def read(folder: Path, path: str, values: dict[str, object] | None = None, **fields: Any) -> object:
    return run_node(ReadRuntime(), node_of(ReadNode, path=path, **fields), scope_of(values, folder=folder))


def refused(folder: Path, path: str, **fields: Any) -> tuple[str, str]:
    with pytest.raises(NodeError) as caught:
        read(folder, path, **fields)
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    "name, content, value",
    [
        ("a.json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("a.JSON", b"[]", []),
        ("a.geojson", b"{}", {}),
        ("a.yaml", b"a: yes\nb: 0o17\n", {"a": "yes", "b": 15}),
        ("a.yml", b'{"a": 1}', {"a": 1}),
        ("a.csv", b"x,y\n1,\n", [{"x": "1", "y": ""}]),
        ("a.tsv", b"x\ty\n1,5\t2\n", [{"x": "1,5", "y": "2"}]),
        ("a.jsonl", b'{"a": 1}\n\n"b"\n', [{"a": 1}, "b"]),
        ("a.ndjson", b"1\r\n2", [1, 2]),
        ("a.txt", b"one\r\ntwo", "one\r\ntwo"),
        ("a.md", "# Größe\n".encode(), "# Größe\n"),
        ("README", b"", ""),
        ("a.png", b"\x89PNG\r\n\0", b"\x89PNG\r\n\0"),
    ],
)
def test_the_name_says_what_a_file_holds_packed_or_not(
    tmp_path: Path, name: str, content: bytes, value: object
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / f"{name}.gz").write_bytes(gzip.compress(content))

    assert read(tmp_path, name) == value
    assert read(tmp_path, f"{name}.gz") == value


@pytest.mark.parametrize("format", ["text", "lines", "bytes", "json", "yaml"])
def test_the_format_that_is_said_goes_before_the_name(tmp_path: Path, format: str) -> None:  # noqa: A002
    (tmp_path / "a.csv").write_text("[1]\n")

    wanted = {"text": "[1]\n", "lines": ["[1]"], "bytes": b"[1]\n", "json": [1], "yaml": [1]}
    assert read(tmp_path, "a.csv", format=format) == wanted[format]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends_are_no_part_of_rows_and_lines(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "a.csv").write_bytes(f"näme,x{end}Zoë,1{end}".encode(encoding))

    assert read(tmp_path, "a.csv") == [{"näme": "Zoë", "x": "1"}]
    assert read(tmp_path, "a.csv", format="lines") == ["näme,x", "Zoë,1"]
    frame = read(tmp_path, "a.csv", output="dataframe")
    assert isinstance(frame, pd.DataFrame)
    assert frame.to_dict("records") == [{"näme": "Zoë", "x": 1}]


def test_lines_over_many_chunks_are_whole(tmp_path: Path) -> None:
    lines = [f"{number} " + "é" * (number % 700) for number in range(9000)]
    (tmp_path / "a.txt").write_text("\r\n".join(lines), newline="")

    assert read(tmp_path, "a.txt", format="lines") == lines


@pytest.mark.parametrize(
    "first, wanted",
    [
        ("a;b,c;d", ["a", "b,c", "d"]),
        ("a\tb", ["a", "b"]),
        ("a|b|c", ["a", "b", "c"]),
        ('"a;b",c', ["a;b", "c"]),
        ("a", ["a"]),
    ],
)
def test_the_first_line_says_what_parts_the_cells(tmp_path: Path, first: str, wanted: list[str]) -> None:
    (tmp_path / "a.csv").write_text(f"{first}\n{first}\n")

    assert read(tmp_path, "a.csv") == [dict(zip(wanted, wanted, strict=True))]


def test_a_cell_may_hold_line_breaks_quotes_and_a_whole_article(tmp_path: Path) -> None:
    article = "long " * 100_000
    (tmp_path / "a.csv").write_text(f'a,b\n"x\ny","6"" nails"\n\n"{article}",\n')

    assert read(tmp_path, "a.csv") == [{"a": "x\ny", "b": '6" nails'}, {"a": article, "b": ""}]


def test_an_empty_table_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("")

    assert read(tmp_path, "a.csv") == []
    assert isinstance(frame := read(tmp_path, "a.csv", output="dataframe"), pd.DataFrame)
    assert frame.empty


def test_dtypes_make_values_of_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("s,i,f,b,d,t\n1,2,.5,true,2026-01-02,2026-01-02T03:04:05\n,,,,,\n")
    dtypes = {"s": "str", "i": "int", "f": "float", "b": "bool", "d": "date", "t": "datetime"}

    assert read(tmp_path, "a.csv", dtypes=dtypes) == [
        {"s": "1", "i": 2, "f": 0.5, "b": True, "d": date(2026, 1, 2), "t": datetime(2026, 1, 2, 3, 4, 5)},  # noqa: DTZ001
        {"s": "", "i": None, "f": None, "b": None, "d": None, "t": None},
    ]
    frame = read(tmp_path, "a.csv", dtypes=dtypes, output="dataframe")
    assert isinstance(frame, pd.DataFrame)
    assert frame["i"].dtype == "Int64"
    assert frame["s"].dtype == "string"
    assert frame["b"].dtype == "boolean"
    assert frame["d"].iloc[0] == pd.Timestamp("2026-01-02")


@pytest.mark.parametrize(
    "word, value", [("yes", True), ("TRUE", True), ("1", True), ("No", False), ("false", False), ("0", False)]
)
def test_truth_has_several_words(tmp_path: Path, word: str, value: bool) -> None:  # noqa: FBT001
    (tmp_path / "a.csv").write_text(f"a\n{word}\n")

    assert read(tmp_path, "a.csv", dtypes={"a": "bool"}) == [{"a": value}]


def test_a_dataframe_takes_what_pandas_calls_a_type(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "x", "n": 1}\n{"a": "y", "n": 2}\n')

    frame = read(tmp_path, "a.jsonl", output="dataframe", dtypes={"a": "category", "n": "float32"})
    assert isinstance(frame, pd.DataFrame)
    assert list(map(str, frame.dtypes)) == ["category", "float32"]


@pytest.mark.parametrize(
    "content, fields, message, hint",
    [
        ("a,b\n1\n", {}, "a.csv:2: 1 cells, and the first line names 2 columns", "put the line right"),
        ("a,b\n1,2\n1,2,3\n", {}, "a.csv:3: 3 cells, and the first line names 2 columns", "quote the cell"),
        ("a,a\n", {}, "a.csv:1: the column 'a' stands twice", "a name of its own"),
        ('a\n"b', {}, "a.csv:2: no CSV: unexpected end of data", "the quote doubled"),
        ('a\n"b"c\n', {}, "a.csv:2: no CSV: ',' expected after '\"'", "the quote doubled"),
        ("a\n1\nx\n", {"dtypes": {"a": "int"}}, "a.csv:3: 'a' is 'x', which is no int", "take 'a' out of `dtypes`"),
        ("a\n1_0\n", {"dtypes": {"a": "int"}}, "a.csv:2: 'a' is '1_0', which is no int", "put it right"),
        ("a\nnever\n", {"dtypes": {"a": "date"}}, "a.csv:2: 'a' is 'never', which is no date", "put it right"),
        ("age\n1\n", {"dtypes": {"agr": "int"}}, "a.csv:1: there is no column 'agr' for `dtypes`", "did you mean 'age'?"),
        ("a\n1\n", {"dtypes": {"a": "int8"}}, "a.csv:1: `dtypes` has the unknown type 'int8'", "known are str, int"),
        ("a,b\n1\n1,2,3\n", {"output": "dataframe"}, "a.csv:3: Expected 2 fields in line 3, saw 3", "put it right"),
        ("a\nx\n", {"output": "dataframe", "dtypes": {"a": "int"}}, "a.csv: ", "say other `dtypes`"),
        ("a\n1\n", {"output": "dataframe", "dtypes": {"a": "nonsense"}}, "a.csv: ", "say other `dtypes`"),
        ("a\n1\n", {"output": "dataframe", "dtypes": {"b": "date"}}, "a.csv: ", "b"),
    ],
)  # fmt: skip
def test_what_is_no_table_is_told_with_file_and_line(
    tmp_path: Path, content: str, fields: dict[str, object], message: str, hint: str
) -> None:
    (tmp_path / "a.csv").write_text(content)

    said, advice = refused(tmp_path, "a.csv", **fields)
    assert said.startswith(message)
    assert hint in f"{said} {advice}"


@pytest.mark.parametrize(
    "name, content, message, hint",
    [
        ("a.json", b'{\n"a": 1,\n}', "a.json:3: no JSON: ", "put it right"),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', "a.json:2: no JSON: extra data", "name it `.jsonl`"),
        ("a.json", b'{"a": 1, "a": 2}', "a.json: no JSON: the key 'a' stands twice", ""),
        ("a.json", b"[NaN]", "a.json: no JSON: NaN is no JSON", ""),
        ("a.jsonl", b"1\n{\n", "a.jsonl:2: no JSON: ", "`format: text`"),
        ("a.yaml", b"a: 1\nb: [\n", "a.yaml:2: no YAML: expected a value", ""),
        ("a.yaml", b"a: !!python/object:os.system {}\n", "a.yaml:1: no YAML: the tag", ""),
        ("a.txt", b"good\nna\xefve\n", "a.txt:2: not UTF-8: the byte 0xef", "iconv"),
        ("a.csv", b"a\n1\n" * 9000 + b"\xff\n", "a.csv:18001: not UTF-8: the byte 0xff", "`format: bytes`"),
        ("a.txt", b"\xff\xfea", "a.txt is not UTF-16, as its first bytes say", "`format: bytes`"),
        ("a.parquet", b"PAR1", "a.parquet is no whole Parquet file: ", "make it anew"),
        ("a.txt.gz", b"plain", "a.txt.gz is no whole gzip file: ", "must not end in `.gz`"),
        ("a.txt.gz", gzip.compress(b"x" * 999)[:-9], "a.txt.gz is no whole gzip file: ", "make it anew"),
        ("a.parquet.gz", gzip.compress(b"PAR1"), "a.parquet.gz: Parquet is packed by itself", "gunzip"),
    ],
)  # fmt: skip
def test_what_is_not_of_its_format_is_told_with_file_and_line(
    tmp_path: Path, name: str, content: bytes, message: str, hint: str
) -> None:
    (tmp_path / name).write_bytes(content)

    said, advice = refused(tmp_path, name)
    assert said.startswith(message)
    assert hint in advice


@pytest.mark.parametrize(
    "name, fields, message",
    [
        ("a.txt", {"output": "dataframe"}, "a.txt is read as text, which gives no `dataframe`"),
        ("a.json", {"output": "rows"}, "a.json holds no list of objects, which `output: rows` takes"),
        ("a.json", {"output": "dataframe"}, "a.json holds no list of objects, which `output: dataframe` takes"),
        ("a.json", {"dtypes": {"a": "int"}}, "`dtypes` is for tables, and a.json is read as json"),
        ("a.log", {"format": "lines", "output": "rows"}, "a.log holds lines of text, which give no `rows`"),
    ],
)
def test_what_gives_no_table_is_told(tmp_path: Path, name: str, fields: dict[str, object], message: str) -> None:
    (tmp_path / name).write_text('{"a": 1}')

    assert refused(tmp_path, name, **fields)[0] == message


def test_parquet_is_a_dataframe_or_rows(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None]}, index=pd.Index(["r", "s"], name="key"))
    frame.to_parquet(tmp_path / "a.parquet")

    pd.testing.assert_frame_equal(read(tmp_path, "a.parquet"), frame)
    assert read(tmp_path, "a.parquet", output="rows") == [
        {"a": 1, "b": "x", "key": "r"},
        {"a": 2, "b": None, "key": "s"},
    ]
    typed = read(tmp_path, "a.parquet", dtypes={"a": "float"})
    assert isinstance(typed, pd.DataFrame)
    assert typed["a"].dtype == "float64"


def test_parquet_of_many_row_groups_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flownb.runtimes.files.tables._ROWS", 10)
    pd.DataFrame({"a": range(1000)}).to_parquet(tmp_path / "a.parquet", row_group_size=7)
    pd.DataFrame({"a": []}).to_parquet(tmp_path / "b.parquet")

    assert list(read(tmp_path, "a.parquet")["a"]) == list(range(1000))  # type: ignore[index]
    assert len(read(tmp_path, "b.parquet")) == 0  # type: ignore[arg-type]


def test_a_glob_gives_the_contents_in_the_order_of_the_names_and_the_names_where_they_are_asked_for(
    tmp_path: Path,
) -> None:
    (tmp_path / "data/deep").mkdir(parents=True)
    for name in ("data/b.json", "data/a.json", "data/deep/c.json", "data/.hidden.json", "data/x.txt"):
        (tmp_path / name).write_text(json.dumps(name))

    assert read(tmp_path, "data/*.json") == ["data/a.json", "data/b.json"]
    assert read(tmp_path, "data/**/*.json") == ["data/a.json", "data/b.json", "data/deep/c.json"]
    assert read(tmp_path, "data/{{ x }}*.json", {"x": "b"}, output="files") == [
        {"path": "data/b.json", "content": "data/b.json"}
    ]
    assert read(tmp_path, "data/a.json", output="files") == [{"path": "data/a.json", "content": "data/a.json"}]
    assert read(tmp_path, "none/*.json") == []


def test_a_name_with_wildcards_in_it_is_itself(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("one")

    assert read(tmp_path, "a[1].txt") == "one"


@pytest.mark.parametrize(
    "path",
    [
        "../out.txt",
        "/etc/hostname",
        "in/../../out.txt",
        "link.txt",
        "folder/out.txt",
        "../*.txt",
        "folder/*.txt",
        "*.txt",
    ],
)
def test_nothing_outside_the_folder_is_read(tmp_path: Path, path: str) -> None:
    (tmp_path / "out.txt").write_text("secret")
    inner = tmp_path / "doc"
    (inner / "in").mkdir(parents=True)
    (inner / "link.txt").symlink_to("../out.txt")
    (inner / "folder").symlink_to("..")

    message, hint = refused(inner, path)
    assert "is outside the document's folder" in message
    assert "allow_paths: [" in hint


def test_allow_paths_opens_a_folder_and_links_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/a.txt").write_text("a")
    inner = tmp_path / "doc"
    inner.mkdir()
    (inner / "link.csv").symlink_to("../more/a.txt")
    scope = scope_of(folder=inner, allowed=("../more",))

    assert run_node(ReadRuntime(), node_of(ReadNode, path="../more/a.txt"), scope) == "a"
    assert (
        run_node(ReadRuntime(), node_of(ReadNode, path="link.csv"), scope) == []
    )  # By its own name a table, without rows.


@pytest.mark.parametrize(
    "path, message, hint",
    [
        ("none.txt", "none.txt cannot be read: No such file or directory", "from the document's folder on"),
        ("folder", "folder is a folder", "`folder/*`"),
        ("pipe", "pipe cannot be read: a pipe stands in place of a file", "a regular file"),
        ("closed", "closed cannot be read: Permission denied", "readable"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, path: str, message: str, hint: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "closed").write_text("a")
    (tmp_path / "closed").chmod(0)
    if path == "closed" and os.geteuid() == 0:
        pytest.skip("root reads everything")

    said, advice = refused(tmp_path, path)
    assert (said, hint in advice) == (message, True)


@pytest.mark.parametrize("value, kind", [(["a"], "a list"), (None, "a NoneType"), ("", "an empty text")])
def test_a_path_is_text(tmp_path: Path, value: object, kind: str) -> None:
    with pytest.raises(NodeError, match=f"`path` comes to {kind}, not to a path"):
        read(tmp_path, "{{ x }}", {"x": value})


def test_a_cancelled_read_ends_at_its_next_step(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"x\n" * 20_000_000)
    before = threading.active_count()

    with pytest.raises(TimeoutError):
        run_node(
            ReadRuntime(), node_of(ReadNode, path="a.txt", format="lines"), scope_of(folder=tmp_path), limit_s=0.02
        )
    assert threading.active_count() <= before


def test_the_loop_goes_on_while_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"some words\n" * 3_000_000)
    ticks = 0

    async def main() -> object:
        nonlocal ticks
        work = asyncio.ensure_future(
            ReadRuntime().run(node_of(ReadNode, path="a.txt", format="lines"), scope_of(folder=tmp_path))
        )
        while not work.done():
            await asyncio.sleep(0.005)
            ticks += 1
        return await work

    assert len(asyncio.run(main())) == 3_000_000  # type: ignore[arg-type]
    assert ticks > 3
