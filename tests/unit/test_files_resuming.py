"""What a resume, a new run and a cache make of files that nodes read and wrote (format.md, section 4.6)."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import pytest

import flownb
from flownb.api import take_up
from flownb.model.file_names import format_of
from flownb.model.file_nodes import FileFormat
from flownb.runs.prepare import RunSettings

SECRET = "hunter2-hunter2"


class Folder:
    """A document whose last node fails until there is a file `go`."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path, self.state = path, path / ".flownb"
        self.document = path / "w.flow.md"
        monkeypatch.chdir(path)

    def write(self, text: str, head: str = "") -> None:
        end = "\n\n## End\n\n```python\nopen('go').close()\n```\n"
        self.document.write_text(head + text + end)

    def begin(self) -> flownb.Run:
        run = flownb.run(self.document, state_dir=self.state)
        assert [error.node for error in run.errors] == ["end"], run.errors
        return run

    def plan(self) -> str:
        kept = self.path / ".kept"
        shutil.copytree(self.state, kept)
        prepared, plan = take_up("last", RunSettings(state_dir=self.state), {})
        prepared.journal.close()
        shutil.rmtree(self.state)
        kept.rename(self.state)
        return str(plan)

    def resume(self) -> flownb.Run:
        (self.path / "go").touch()
        run = flownb.resume("last", self.state)
        assert run.status == "completed", run.errors
        return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    return Folder(tmp_path, monkeypatch)


READ = "## Rows\n\n- type: read\n- path: {}\n\n## Count\n\n```expr\nrows | length\n```\n"


@pytest.mark.parametrize("path", ["a.csv", "'*.csv'", '"{{ inputs.name }}.csv"'])
def test_a_read_runs_again_where_the_file_changed_and_what_reads_it_where_that_came_out_different(
    folder: Folder, path: str
) -> None:
    (folder.path / "a.csv").write_text("a\n1\n")
    folder.write(READ.format(path), "---\ninputs:\n  name: {type: str, default: a}\n---\n")
    first = folder.begin()
    assert "reuse: rows, count" in folder.plan()

    (folder.path / "a.csv").write_text("a\r\n1\r\n")
    assert "run again: rows (the files " in folder.plan()
    run = folder.resume()
    assert run["count"] == first["count"]
    assert run.nodes["rows"].finished_at != first.nodes["rows"].finished_at
    assert run.nodes["count"].finished_at == first.nodes["count"].finished_at


def test_a_file_that_came_to_a_glob_is_read(folder: Folder) -> None:
    (folder.path / "a.json").write_text("1")
    folder.write("## All\n\n- type: read\n- path: '*.json'\n")
    folder.begin()
    (folder.path / "b.json").write_text("2")

    assert folder.resume()["all"] == [1, 2]


WRITE = "## Text\n\n```text\nhello\n```\n\n## Save\n\n- path: out/a.txt\n\n```write\n{{ text }}\n```\n"


@pytest.mark.parametrize("change", ["", "gone", "another"])
def test_a_write_runs_again_only_where_its_file_is_gone_or_another(folder: Folder, change: str) -> None:
    folder.write(WRITE)
    folder.begin()
    file = folder.path / "out/a.txt"
    before = file.stat().st_mtime_ns
    if change == "gone":
        file.unlink()
    elif change:
        file.write_text("other")

    plan = folder.plan()
    folder.resume()
    assert ("run again: save (what it wrote to out/a.txt changed)" in plan) is bool(change)
    assert file.read_text() == "hello\n"
    assert change or file.stat().st_mtime_ns == before


def test_items_are_looked_at_one_by_one(folder: Folder) -> None:
    folder.write(
        '## Save\n\n- foreach: "[1, 2, 3]"\n- path: "out/{{ item }}.txt"\n\n```write\n{{ item }}\n```\n'
        '\n## Group\n\n- foreach: "[1, 2]"\n\n### Inner\n\n- path: "in/{{ item }}.txt"\n\n```write\n{{ item }}\n```\n'
    )
    folder.begin()
    inodes = [(folder.path / f"out/{number}.txt").stat().st_ino for number in (1, 3)]
    (folder.path / "out/2.txt").unlink()
    (folder.path / "in/1.txt").unlink()

    assert "what it wrote to out/2.txt changed" in folder.plan()
    folder.resume()
    assert [(folder.path / f"out/{number}.txt").stat().st_ino for number in (1, 3)] == inodes
    assert (folder.path / "out/2.txt").read_text() == "2\n"
    assert (folder.path / "in/1.txt").read_text() == "1\n"


def test_lines_that_were_added_stand_though_the_file_has_grown_since(folder: Folder) -> None:
    folder.write(
        '## Log\n\n- foreach: "[1, 2, 3]"\n- concurrency: 1\n- path: a.log\n- append: true\n\n```write\nline {{ item }}\n```\n'
    )
    folder.begin()
    with (folder.path / "a.log").open("a") as file:
        file.write("by hand\n")
    folder.resume()

    assert (folder.path / "a.log").read_text() == "line 1\nline 2\nline 3\nby hand\n"


def test_lines_that_are_gone_are_added_again(folder: Folder) -> None:
    folder.write("## Log\n\n- path: a.log\n- append: true\n\n```write\nline\n```\n")
    folder.begin()
    (folder.path / "a.log").write_text("new\n")
    assert "run again: log (what it added to a.log changed)" in folder.plan()
    folder.resume()

    assert (folder.path / "a.log").read_text() == "new\nline\n"


@pytest.mark.parametrize("is_gone", [True, False])
def test_a_new_run_takes_over_a_write_whose_file_is_there(folder: Folder, is_gone: bool) -> None:  # noqa: FBT001
    folder.write(WRITE)
    folder.begin()
    if is_gone:
        (folder.path / "out/a.txt").unlink()
    run = flownb.run(folder.document, state_dir=folder.state, reuse=True)

    assert (folder.path / "out/a.txt").read_text() == "hello\n"
    assert ("| save | reused |" in run.log) is not is_gone
    (folder.path / "out/a.txt").unlink()
    folder.resume()
    assert (folder.path / "out/a.txt").read_text() == "hello\n"  # Also what was taken over is looked at.


def test_a_cached_write_is_made_again_where_its_file_is_gone(folder: Folder) -> None:
    folder.write(WRITE.replace("- path", "- cache: true\n- path"))
    folder.begin()
    assert "| save | cached |" in folder.begin().log
    (folder.path / "out/a.txt").unlink()
    assert "| save | cached |" not in folder.begin().log
    assert (folder.path / "out/a.txt").read_text() == "hello\n"


def test_a_read_that_fails_is_tried_again_and_has_a_fallback(folder: Folder) -> None:
    folder.write(
        "## Data\n\n- type: read\n- path: data.json\n- retry: {max: 2, base: 1ms}\n- fallback: old\n\n"
        "## Old\n\n- type: read\n- path: old.json\n\n"
        "## Said\n\n```expr\ndata\n```\n"
    )
    (folder.path / "old.json").write_text('{"from": "old"}')
    run = folder.begin()

    assert run["said"] == {"from": "old"}
    assert run.nodes["data"].attempts == 3


def test_a_path_outside_fails_the_node_before_anything_is_opened(folder: Folder) -> None:
    (folder.path / "doc").mkdir()
    (folder.path / "x.txt").write_text("x")
    document = folder.path / "doc/w.flow.md"
    document.write_text('---\ninputs:\n  p: str\n---\n## A\n\n- type: read\n- path: "{{ inputs.p }}"\n')
    run = flownb.run(document, {"p": "../x.txt"}, state_dir=folder.state)

    assert run.status == "failed"
    assert run.errors[0].message == "path: ../x.txt is outside the document's folder"
    assert flownb.run(document, {"p": "x.txt"}, state_dir=folder.state).errors[0].message == (
        "x.txt cannot be read: No such file or directory"
    )


def files_of(state: Path) -> bytes:
    return b"".join(path.read_bytes() for path in state.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "node",
    [
        '- type: read\n- path: "data/{{ secrets.T }}.txt"',
        '- type: write\n- path: "{{ secrets.T }}.txt"\n- value: "1"',
        '- type: read\n- path: "{{ hidden }}.txt"',
    ],
)
def test_a_path_that_reads_a_secret_is_refused_and_not_told(
    folder: Folder, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", SECRET)
    folder.document.write_text(
        f"---\nsecrets: [T]\n---\n## Hidden\n\n```text\n{{{{ secrets.T }}}}\n```\n\n## A\n\n{node}\n"
    )
    run = flownb.run(folder.document, state_dir=folder.state)

    assert run.errors[0].message == "`path` reads a secret, and what it names is written down"
    assert SECRET not in run.log
    assert SECRET.encode() not in files_of(folder.state)


def test_a_file_with_a_secret_is_the_persons_own_and_nothing_else_tells_it(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("T", SECRET)
    folder.write(
        "## Save\n\n- path: config.ini\n\n```write\ntoken = {{ secrets.T }}\n```\n"
        "\n## Back\n\n- type: read\n- needs: save\n- path: config.ini\n\n## Bad\n\n- type: read\n- path: bad.csv\n- dtypes: {a: int}\n- continue_on_error: true\n",
        "---\nsecrets: [T]\n---\n",
    )
    (folder.path / "bad.csv").write_text(f"a\n{SECRET}\n")
    run = folder.begin()

    assert (folder.path / "config.ini").read_text() == f"token = {SECRET}\n"
    assert run["back"] == f"token = {SECRET}\n"
    assert run.nodes["bad"].error is not None
    assert run.nodes["bad"].error.message == "bad.csv:2: 'a' is '•••', which is no int"
    assert SECRET not in run.log
    assert SECRET.encode() not in files_of(folder.state)
    assert b'"what it wrote to config.ini":"\xe2\x80\xa2' in files_of(folder.state)
    inode = (folder.path / "config.ini").stat().st_ino
    folder.resume()
    assert (folder.path / "config.ini").stat().st_ino == inode


def test_the_example_of_the_page_runs(folder: Folder) -> None:
    page = (Path(__file__).parents[2] / "docs/runtime-files.md").read_text()
    example = re.findall(r"^````markdown\n(.*?)^````$", page, re.MULTILINE | re.DOTALL)[0]
    folder.document.write_text(example)
    (folder.path / "orders").mkdir()
    (folder.path / "orders/a.csv").write_text("day,amount\n2026-11-01,1.5\n2026-11-02,2\n")
    (folder.path / "orders/b.csv").write_text("day,amount\n2026-11-03,4\n")
    run = flownb.run(folder.document, state_dir=folder.state)

    assert run.status == "completed", run.errors
    assert (folder.path / "out/report.md").read_text() == "# Orders\n\n2 files, 7.5 in all\n"
    assert (folder.path / "out/totals.log").read_text() == "7.5\n"
    lines = gzip.decompress((folder.path / "out/orders.jsonl.gz").read_bytes()).decode().splitlines()
    assert lines[0] == '{"day":"2026-11-01","amount":1.5}'
    assert len(lines) == 3


def test_every_suffix_of_the_page_is_known() -> None:
    page = (Path(__file__).parents[2] / "docs/runtime-files.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (`.*?) \|", page, re.MULTILINE)
    assert {row[0] for row in rows} == {*FileFormat} - {"auto", "text"}
    for name, suffixes in rows:
        for suffix in re.findall(r"`(\.\w+)`", suffixes):
            assert format_of(f"a{suffix}.gz") == name
