from __future__ import annotations

import errno
import fcntl
import gzip
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from flownb.errors import NodeError
from flownb.model.file_nodes import ReadNode, WriteNode
from flownb.runtimes.files.read import ReadRuntime
from flownb.runtimes.files.write import WriteRuntime
from flownb.store.files import DISK, Disk
from flownb.text.spans import Span
from flownb.text.yaml import DATA, load_yaml
from tests.nodes import node_of, run_node, scope_of

ROWS = [{"a": 1, "b": "x"}, {"a": None, "c": [1, {"d": True}]}, {"b": 'say "hi", ok\nthere', "a": False}]


def write(folder: Path, path: str, value: object = None, *, disk: Disk = DISK, body: str = "", **fields: Any) -> object:
    fields |= {} if body else {"value": "x"}
    node = node_of(WriteNode, body, path=path, **fields)
    return run_node(WriteRuntime(disk), node, scope_of({"x": value}, folder=folder))


def read(folder: Path, path: str, **fields: Any) -> object:
    return run_node(ReadRuntime(), node_of(ReadNode, path=path, **fields), scope_of(folder=folder))


def refused(folder: Path, path: str, value: object = None, **fields: Any) -> tuple[str, str]:
    with pytest.raises(NodeError) as caught:
        write(folder, path, value, **fields)
    assert [each for each in folder.rglob("*") if each.is_file() and each.name.endswith(".tmp")] == []
    return caught.value.message, caught.value.hint


@pytest.mark.parametrize(
    "path, value, text",
    [
        ("a.json", {"ä": [1, None, date(2026, 1, 2)]}, '{\n  "ä": [\n    1,\n    null,\n    "2026-01-02"\n  ]\n}\n'),
        ("a.json", "text", '"text"\n'),
        ("a.yaml", {"a": "yes", "b": ["0o17", "1e3"]}, "a: 'yes'\nb:\n- '0o17'\n- '1e3'\n"),
        ("a.csv", ROWS, 'a,b,c\n1,x,\n,,"[1, {""d"": true}]"\nfalse,"say ""hi"", ok\nthere",\n'),
        ("a.csv", [], ""),
        ("a.tsv", [{"a": 1, "b": 2}], "a\tb\n1\t2\n"),
        ("a.log", ["one", "two"], None),
        ("a.jsonl", ["one", {"a": [1, "ä"]}], '"one"\n{"a":[1,"ä"]}\n'),
        ("a.jsonl", [], ""),
        ("a.txt", "to the letter", "to the letter"),
        ("a.txt", 5, "5"),
        ("a", "x\r\n", "x\r\n"),
    ],
)
def test_the_name_says_how_a_value_is_written_packed_or_not(
    tmp_path: Path, path: str, value: object, text: str | None
) -> None:
    fields: dict[str, Any] = {"format": "lines"} if text is None else {}
    wanted = "one\ntwo\n" if text is None else text

    assert write(tmp_path, path, value, **fields) == {"path": path, "bytes": len(wanted.encode())}
    assert (tmp_path / path).read_bytes().decode() == wanted
    write(tmp_path, f"{path}.gz", value, **fields)
    assert gzip.decompress((tmp_path / f"{path}.gz").read_bytes()).decode() == wanted


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    assert write(tmp_path, "a.png", b"\0\xff") == {"path": "a.png", "bytes": 2}
    assert write(tmp_path, "a.txt", bytearray(b"\0")) == {"path": "a.txt", "bytes": 1}
    assert (tmp_path / "a.txt").read_bytes() == b"\0"


def test_equal_content_gives_equal_gzip(tmp_path: Path) -> None:
    write(tmp_path, "a.txt.gz", "x")
    write(tmp_path, "b.txt.gz", "x")

    assert (tmp_path / "a.txt.gz").read_bytes() == (tmp_path / "b.txt.gz").read_bytes()
    assert (tmp_path / "a.txt.gz").read_bytes()[4:8] == bytes(4)  # RFC 1952: no time.


@pytest.mark.parametrize(
    "body, value, text",
    [
        ("# {{ x }}", "Title", "# Title\n"),
        ("two\nlines\n", None, "two\nlines\n"),
        ("{{ x }}", "one text", "one text\n"),
        ('{"n": {{ x }} }', 1, '{"n": 1 }\n'),
        ("{{ x }}", np.int64(7), "7\n"),
        ("{{ x }}", date(2026, 1, 2), "2026-01-02\n"),
        ("{{ x }}", Decimal("1.50"), "1.50\n"),
    ],
)
def test_a_body_is_the_content_with_a_line_break_at_its_end(
    tmp_path: Path, body: str, value: object, text: str
) -> None:
    write(tmp_path, "a.md", value, body=body)

    assert (tmp_path / "a.md").read_text() == text


def test_a_body_that_is_one_value_keeps_its_type(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"a": 1}, body="{{ x }}")
    write(tmp_path, "a.csv", [{"a": 1}], body="{{ x }}\n")
    write(tmp_path, "text.json", '{"a": 1}', body="{{ x }}")

    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
    assert (tmp_path / "a.csv").read_text() == "a\n1\n"
    assert json.loads((tmp_path / "text.json").read_text()) == {"a": 1}  # A body's text is the file's own.


FRAMES: list[Callable[[], object]] = [
    lambda: pd.DataFrame({"a": [1, 2], "b": ["x", None]}),
    lambda: pl.DataFrame({"a": [1, 2], "b": ["x", None]}),
    lambda: pa.table({"a": [1, 2], "b": ["x", None]}),
]


@pytest.mark.parametrize("make", FRAMES, ids=["pandas", "polars", "arrow"])
def test_tables_of_every_library_are_written(tmp_path: Path, make: Callable[[], object]) -> None:
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    for path in ("a.parquet", "a.json", "a.jsonl", "a.csv", "a.yaml"):
        write(tmp_path, path, make())

    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == rows
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == rows
    assert json.loads((tmp_path / "a.json").read_text()) == rows
    assert yaml.safe_load((tmp_path / "a.yaml").read_text()) == rows
    assert (tmp_path / "a.csv").read_text().replace('"', "") == "a,b\n1,x\n2,\n"


def test_an_index_is_written_where_it_says_something(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1]}, index=pd.Index(["r"], name="key"))
    write(tmp_path, "a.csv", frame)
    write(tmp_path, "a.json", frame)
    write(tmp_path, "a.parquet", frame)

    assert (tmp_path / "a.csv").read_text() == "key,a\nr,1\n"
    assert json.loads((tmp_path / "a.json").read_text()) == [{"key": "r", "a": 1}]
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame)


def test_parquet_is_written_group_by_group_and_comes_back_equal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flownb.runtimes.files.tables._ROWS", 10)
    frames = [
        pd.DataFrame({"a": range(95), "t": pd.date_range("2026", periods=95, tz="UTC"), "o": [None] * 50 + ["x"] * 45}),
        pd.DataFrame({"c": pd.Categorical(["a", "b"] * 20)}, index=pd.date_range("2026", periods=40)),
        pd.DataFrame({"a": pd.Series([], dtype="int64")}),
    ]
    for frame in frames:
        write(tmp_path, "a.parquet", frame)
        assert pq.ParquetFile(tmp_path / "a.parquet").num_row_groups == -(-len(frame) // 10) or not len(frame)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frame, check_freq=False)


def test_objects_with_different_names_are_one_parquet_table(tmp_path: Path) -> None:
    write(tmp_path, "a.parquet", [{"a": 1}, {"b": "x", "a": 2}])

    assert read(tmp_path, "a.parquet", output="rows") == [{"a": 1, "b": None}, {"a": 2, "b": "x"}]


@pytest.mark.parametrize(
    "text",
    [
        "0o17",
        "1e5",
        "yes",
        "null",
        "~",
        "",
        " a",
        "a: b",
        "-",
        "- a",
        "1_000",
        "0x1F",
        "2026-01-02",
        "a\nb",
        "#",
        "'",
        ".inf",
        "=",
        "\u2028",
        "é",
    ],
)
def test_yaml_reads_back_as_what_was_written(tmp_path: Path, text: str) -> None:
    data = {"value": text, "list": [text, {text: 1}]}
    write(tmp_path, "a.yaml", data)

    assert (
        load_yaml((tmp_path / "a.yaml").read_text(), lambda line, at, size: Span("", line, at, size), DATA).data == data
    )


def test_numbers_of_numpy_and_the_like_are_data(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"a": np.int64(3), "b": np.array([1.5]), "c": Decimal("1.20"), "d": Path("x")})

    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 3, "b": [1.5], "c": "1.20", "d": "x"}


@pytest.mark.parametrize(
    "path, value, message, hint",
    [
        ("a.csv", {"a": 1}, "a.csv is written as csv, and the value is of type dict", "a list of objects"),
        ("a.csv", [1], "a.csv is written as csv, and the value is of type list", "a list of objects"),
        ("a.parquet", "x", "a.parquet is written as parquet, and the value is of type str", "a DataFrame"),
        ("a.parquet", [{"a": 1}, {"a": "x"}], "parquet cannot hold it: ", "values of one type"),
        ("a.parquet", pd.DataFrame({"a": [1, "x"]}), "parquet cannot hold it: ", "values of one type"),
        ("a.parquet.gz", [], "a.parquet.gz: Parquet is packed by itself", "take `.gz`"),
        ("a.jsonl", "x", "a.jsonl is written as lines, and the value is of type str", "one item a line"),
        ("a.txt", [1], "a.txt is written as text, and the value is of type list", "as `json`"),
        ("a.png", "x", "a.png is written as bytes, and the value is of type str", "give bytes"),
        ("a.json", [float("nan")], "a.json: the value is no JSON: NaN and infinity are none", "null"),
        ("a.json", object(), "the value is no data: ", "in a node above"),
        ("a.txt", "\ud800", "a.txt: the text holds half of a surrogate pair", "clean it"),
        ("a.csv", [{"a": "\ud800"}], "a.csv: the text holds half of a surrogate pair", "clean it"),
    ],
)
def test_what_a_format_cannot_hold_is_told_and_leaves_the_old_file(
    tmp_path: Path, path: str, value: object, message: str, hint: str
) -> None:
    (tmp_path / path).write_text("old")

    said, advice = refused(tmp_path, path, value)
    assert said.startswith(message)
    assert hint in advice
    assert (tmp_path / path).read_text() == "old"


def test_a_line_holds_no_line_break(tmp_path: Path) -> None:
    for value in ("a\nb", "a\rb"):
        said, hint = refused(tmp_path, "a.log", [value], format="lines")
        assert said == "a.log: a line holds a line break"
        assert ".jsonl" in hint


def test_lines_are_added_at_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("old, without a line break")
    assert write(tmp_path, "a.log", ["one"], append=True) == {"path": "a.log", "bytes": 30}
    write(tmp_path, "a.log", ["two", {"three": 3}], append=True)
    write(tmp_path, "a.log", body="four {{ x }}", value=4, append=True)

    assert (tmp_path / "a.log").read_text() == 'old, without a line break\none\ntwo\n{"three":3}\nfour 4\n'


def test_lines_are_added_to_gzip_too(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path, "a.jsonl.gz", [{"n": number}], append=True)

    assert read(tmp_path, "a.jsonl.gz") == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_only_lines_are_added(tmp_path: Path) -> None:
    said, hint = refused(tmp_path, "a.{{ x }}", "json", append=True)
    assert said == "`append` adds lines, and a.json is written as json"
    assert hint == "add `format: lines`, or take it away"


def test_many_writers_lose_no_line(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=write, args=(tmp_path, "a.log", [f"line {n}"]), kwargs={"append": True})
        for n in range(24)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted((tmp_path / "a.log").read_text().splitlines()) == sorted(f"line {n}" for n in range(24))


def test_folders_that_are_missing_are_made_and_modes_are_the_persons_own(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write(tmp_path, "in/deep/a.txt", "x")
        (tmp_path / "closed.txt").write_text("old")
        (tmp_path / "closed.txt").chmod(0o600)
        write(tmp_path, "closed.txt", "new")
        write(tmp_path, "closed.txt", ["more"], append=True, format="lines")
    finally:
        os.umask(old)
    names = ("in", "in/deep", "in/deep/a.txt", "closed.txt")
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names] == [0o750, 0o750, 0o640, 0o600]


@pytest.mark.parametrize(
    "path", ["../out.txt", "/tmp/flownb-out.txt", "link.txt", "folder/new.txt", "folder/deep/new.txt"]
)
def test_nothing_outside_the_folder_is_written(tmp_path: Path, path: str) -> None:
    inner = tmp_path / "doc"
    inner.mkdir()
    (tmp_path / "out.txt").write_text("old")
    (inner / "link.txt").symlink_to("../out.txt")
    (inner / "folder").symlink_to("..")

    message, hint = refused(inner, path, "new")
    assert "is outside the document's folder" in message
    assert "allow_paths: [" in hint
    assert (tmp_path / "out.txt").read_text() == "old"
    assert not Path("/tmp/flownb-out.txt").exists()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["doc", "out.txt"]


def test_a_link_inside_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write(tmp_path, "link.txt", "new")

    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.parametrize(
    "path, message",
    [
        ("doc.flow.md", "doc.flow.md is the document itself"),
        (".flownb/doc/journal.jsonl", ".flownb/doc/journal.jsonl lies in `.flownb`, where flownb keeps its runs"),
        ("folder", "folder cannot be written: a folder stands in its place"),
        ("pipe", "pipe cannot be written: a pipe stands in its place"),
        ("file/a.txt", "file/a.txt cannot be written: Not a directory"),
    ],
)
def test_what_cannot_be_written_is_told(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "doc.flow.md").touch()
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    scope = scope_of({"x": "text"}, folder=tmp_path, document=tmp_path / "doc.flow.md")

    with pytest.raises(NodeError) as caught:
        run_node(WriteRuntime(), node_of(WriteNode, path=path, value="x", format="text"), scope)
    assert caught.value.message == message


class Failing:
    """A disk whose n-th operation fails."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.failed = ""

    def disk(self) -> Disk:
        names = ("open", "read", "write", "sync", "stat", "make", "move")
        calls: dict[str, Any] = {name: self._of(name) for name in names}
        return replace(DISK, **calls)

    def _of(self, name: str) -> Callable[..., object]:
        real: Callable[..., object] = getattr(DISK, name)

        def call(*arguments: object) -> object:
            self.left -= 1
            if self.left == 0:
                self.failed = name
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(*arguments)

        return call


@pytest.mark.parametrize("append", [False, True])
def test_whichever_operation_fails_the_file_is_the_old_one_or_the_new_one(tmp_path: Path, append: bool) -> None:  # noqa: FBT001
    target = tmp_path / "in/a.jsonl"
    seen = set()
    for number in range(1, 99):
        failing = Failing(number)
        for old in (None, '"old"\n'):
            failing = Failing(number)
            if old is None:
                target.unlink(missing_ok=True)
            else:
                target.parent.mkdir(exist_ok=True)
                target.write_text(old)
            new = (old or "" if append else "") + '"new"\n'
            try:
                write(tmp_path, "in/a.jsonl", ["new"], disk=failing.disk(), append=append)
            except NodeError as error:
                assert error.message == "in/a.jsonl cannot be written: No space left on device"  # noqa: PT017
                seen.add(failing.failed)
                now = target.read_text() if target.exists() else None
                assert now == old or (
                    failing.failed in {"open", "sync"} and now == new
                )  # Its folder could not be synced.
            else:
                assert target.read_text() == new
            assert [each.name for each in target.parent.glob(".*")] == []
        if not failing.failed:
            break
        target.unlink(missing_ok=True)
        if target.parent.exists():
            target.parent.rmdir()
    assert seen >= {"open", "write", "sync", "move", "make"}


def test_what_a_killed_writer_left_is_cleared_away_by_the_next_and_nothing_else_is(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom flownb.runtimes.files.replacing import write_file\n"
        "from flownb.runtimes.files.replacing import Leftovers\nfrom flownb.runtimes.files.halting import Halt\nfrom flownb.store.files import DISK\n"
        "def fill(file):\n    file.write(b'half' * 1000000)\n    os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_file(Path(sys.argv[1]), fill, DISK, Halt(), Leftovers())\n"
    )
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / ".a.txt.notes.tmp").touch()
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.txt"], check=False)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 3

    write(tmp_path, "a.txt", "new")
    assert len(list(tmp_path.iterdir())) == 3  # It may be somebody's yet.
    for each in tmp_path.glob(".*"):
        os.utime(each, (1, 1))
    with next(tmp_path.glob(".a.txt.????????????.tmp")).open("rb") as owned:
        fcntl.flock(owned, fcntl.LOCK_EX)
        write(tmp_path, "a.txt", "new")
        assert len(list(tmp_path.iterdir())) == 3
    write(tmp_path, "a.txt", "new")
    assert sorted(each.name for each in tmp_path.iterdir()) == [".a.txt.notes.tmp", "a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_a_write_that_is_cancelled_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("old")
    value = [{"n": number, "text": "x" * 50} for number in range(400_000)]

    with pytest.raises(TimeoutError):
        run_node(
            WriteRuntime(),
            node_of(WriteNode, path="a.jsonl", value="x"),
            scope_of({"x": value}, folder=tmp_path),
            limit_s=0.05,
        )
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]
    assert (tmp_path / "a.jsonl").read_text() == "old"
