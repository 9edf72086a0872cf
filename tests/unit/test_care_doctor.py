"""What `flownb doctor` finds, that it finds nothing where nothing is, and that it never prints a secret."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import pytest

import flownb
from flownb.care.checks import CHECKS
from flownb.care.doctor import examine, is_something
from flownb.care.finding import Finding, Level
from flownb.care.secret_search import search_stream
from flownb.care.told import findings_text
from flownb.errors import FlowInputError
from flownb.model import events as e
from flownb.model.decision import Question
from flownb.secrets import Redactor
from flownb.store.lock import RunLock
from flownb.store.paths import RunPaths
from tests.runs import AT, finished, line_of, make_run, process, started

SECRET = 'sk-pr"oj é/4711&x'
ENVIRONMENT = {"TOKEN": SECRET}
SECRETIVE = "---\nsecrets: [TOKEN]\n---\n# Secretive\n\n## Word\n\n```text\nhello\n```\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a document that declares a secret."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secretive.flow.md").write_text(SECRETIVE)
    return tmp_path


def found(place: str | Path = ".", check: str = "", environment: dict[str, str] = ENVIRONMENT) -> list[Finding]:
    """Return what is found, notes left out; of one check."""
    findings = list(examine(Path(place), None, environment))
    assert SECRET not in repr(findings)
    return [item for item in findings if item.level is not Level.NOTE and check in ("", item.check)]


def places(findings: Iterable[Finding]) -> list[str]:
    return [finding.place for finding in findings]


def notebook(*cells: dict[str, object], **more: object) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more})


def code(source: object, **more: object) -> dict[str, object]:
    return {"cell_type": "code", "source": source, "outputs": [], "metadata": {}, "execution_count": None, **more}


def run_secretly(home: Path) -> RunPaths:
    os.environ["TOKEN"] = SECRET
    try:
        return flownb.run(home / "secretive.flow.md").paths
    finally:
        del os.environ["TOKEN"]


def test_nothing_is_found_in_what_flownb_writes(home: Path) -> None:
    paths = run_secretly(home)
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in home.rglob("*") if path.is_file()}
    assert found() == []
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in home.rglob("*") if path.is_file()}
    paths.snapshot.unlink()
    assert found() == []
    assert not paths.snapshot.exists(), "nothing is written"


# Secrets.


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        json.dumps(SECRET),
        quote(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        SECRET.encode().hex(),
        SECRET.upper(),
        repr(SECRET.encode()),
        hashlib.sha256(SECRET.encode()).hexdigest(),
    ],
)
def test_a_secret_is_found_in_every_encoding(home: Path, written: str) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    paths.source.write_text(f"a\n\nb {written} c\n")
    paths.source.chmod(0o600)
    (finding,) = found()
    assert (finding.check, finding.place) == ("secrets", ".flownb/flow/r1/source.flow.md: line 3")
    assert "the secret TOKEN" in finding.message


@pytest.mark.parametrize(
    "name", ["journal.jsonl", "decisions/review.json", "artifacts/x.parquet", ".x.tmp", "source.flow.md", "lock"]
)
def test_a_secret_is_found_in_every_file_of_a_run(home: Path, name: str) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    (paths.folder / name).parent.mkdir(exist_ok=True, mode=0o700)
    with (paths.folder / name).open("ab") as file:
        file.write(b"\0\xff" + SECRET.encode())
    assert f".flownb/flow/r1/{name}" in places(found(check="secrets"))


def test_a_secret_in_the_state_file_and_in_a_file_s_name_is_found(home: Path) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    paths.snapshot.write_text(f'{{"schema": 1, "inputs": {json.dumps({"a": SECRET})}}}')
    (home / f"{SECRET.replace('/', '-')}.ipynb").touch()
    (home / "of 4711-four.ipynb").touch()
    assert places(found(check="secrets")) == [".flownb/flow/r1.json: line 1"]
    assert places(found(check="secrets", environment={"TOKEN": "4711-four"})) == ["of •••.ipynb: its name"]


def test_a_notebook_is_named_with_cell_and_output(home: Path) -> None:
    stream = {"output_type": "stream", "name": "stdout", "text": ["a\n", f"{SECRET}\n"]}
    shown = {"output_type": "display_data", "data": {"text/html": [f"<b>{SECRET}"]}, "metadata": {}}
    cells = [
        code(["x = 1\n", "y"]),
        code(f"token = {SECRET}"),
        code("", outputs=[{"output_type": "stream", "text": ""}, stream, shown]),
        code("", metadata={"papermill": {"parameters": {"token": SECRET}}}),
        code("", outputs=[stream]),
        code("", attachments={SECRET: {}}),
    ]
    (home / "n.ipynb").write_text(notebook(*cells[:3]))
    (home / "m.ipynb").write_text(notebook(*cells[3:], metadata={"a": [SECRET]}))
    where = "cell 1, metadata; cell 2, output 1; cell 3, attachments and 1 more places"
    assert places(found()) == [f"m.ipynb: {where}", "n.ipynb: cell 2; cell 3, output 2; cell 3, output 3"]


def test_a_secret_of_several_lines_is_found_where_a_notebook_keeps_lines_apart(home: Path) -> None:
    value = "one\ntwo\nsix"
    (home / "n.ipynb").write_text(notebook(code(["x\n", "one\n", "two\n", "six\n"])))
    assert places(found(environment={"TOKEN": value})) == ["n.ipynb: cell 1"]


def test_a_secret_that_is_a_number_is_found_in_its_output(home: Path) -> None:
    output = {"output_type": "display_data", "data": {"application/json": {"n": 47114712}}, "metadata": {}}
    (home / "n.ipynb").write_text(notebook(code("", outputs=[output])))
    assert places(found(environment={"TOKEN": "47114712"})) == ["n.ipynb: cell 1, output 1"]


def test_notebooks_of_version_3_and_broken_ones_are_looked_through(home: Path) -> None:
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": [SECRET], "outputs": []}]}]}
    (home / "old.ipynb").write_text(json.dumps(old))
    (home / "torn.ipynb").write_text(f'{{"cells": [\n{json.dumps(SECRET)}')
    (home / "list.ipynb").write_text(f"[{json.dumps(SECRET)}]")
    assert places(found()) == ["list.ipynb: line 1", "old.ipynb: cell 1", "torn.ipynb: line 2"]


def test_names_of_secrets_come_from_cells_runs_and_damaged_runs(home: Path) -> None:
    (home / "secretive.flow.md").unlink()
    (home / "n.ipynb").write_text(notebook(code(["%%flow\n", "---\n", "secrets: [CELL]\n", "---\n", "# A\n"])))
    start = e.RunStarted(at=AT, run_id="r1", workflow="flow", definition="abc", secrets=("RUN",))
    make_run(home / ".flownb", [start, finished()])
    damaged = make_run(home / ".flownb", [started("r2"), finished()], run_id="r2")
    damaged.source.write_text("---\nsecrets: TEXT\nother: [\n---\n# A\n")
    damaged.source.write_text("---\nsecrets: TEXT\nunknown: 1\n---\n# A\n")
    damaged.journal.write_bytes(b"{}\n{}\n")
    values = {"CELL": "in-a-cell", "RUN": "in-a-run", "TEXT": "in-a-text"}
    (home / "held.flow.md").write_text(" ".join(values.values()))
    assert [item.message.split()[6] for item in found(check="secrets", environment=values)] == [
        "CELL,",
        "RUN,",
        "TEXT,",
    ]


def test_what_was_not_looked_for_is_a_note(home: Path) -> None:
    (home / "secretive.flow.md").write_text("---\nsecrets: [SHORT, NONE]\n---\n")
    (home / "n.ipynb").write_text(notebook(code("x = 123")))
    findings = list(examine(home, None, {"SHORT": "123"}))
    assert [(item.level, item.message) for item in findings] == [
        ("note", "the secret NONE has no value in this environment, so it was not looked for"),
        ("note", "the secret SHORT has fewer than 4 characters, so it was not looked for"),
    ]
    assert not is_something(findings)


def test_a_secret_across_two_pieces_of_a_large_file_is_found_once_with_its_line(home: Path) -> None:
    path = home / "large.flow.md"
    for before in range((1 << 20) - len(SECRET.encode()), (1 << 20) + 2):
        path.write_bytes(b"x" * 9 + b"\n" + b"y" * (before - 11) + b"\n" + SECRET.encode() + b"\n" * (1 << 20))
        with path.open("rb") as stream:
            assert search_stream(stream, {"TOKEN": Redactor([SECRET])}) == {"TOKEN": "line 3"}


def test_folders_that_are_not_the_person_s_own_are_passed(home: Path) -> None:
    for name in ("node_modules/a", ".git/a", "env/lib", ".ipynb_checkpoints", "deep/er"):
        (home / name).mkdir(parents=True)
        (home / name / "n.ipynb").write_text(json.dumps(SECRET))
    (home / "env/pyvenv.cfg").touch()
    (home / "link").symlink_to(home / "deep")
    assert places(found()) == [".ipynb_checkpoints/n.ipynb: line 1", "deep/er/n.ipynb: line 1"]


def test_state_folders_below_and_of_other_names_are_found(home: Path) -> None:
    for root in (home / "deep" / ".flownb", home / "deep" / "kept", home / "given"):
        make_run(root, [started()])
    assert len(found(check="runs")) == 3
    assert places(found("deep/kept")) == ["flow/r1"]
    findings = list(examine(home / "deep", home / "given", {}))
    assert [item.check for item in findings if item.level is Level.TASK] == ["runs"] * 3


def test_a_document_is_checked_with_the_state_folder_beside_it(home: Path) -> None:
    (home / "n.ipynb").write_text(json.dumps(SECRET))
    make_run(home / ".flownb", [started()])
    make_run(home / "other" / ".flownb", [started()])
    assert [item.check for item in found("secretive.flow.md")] == ["runs"]
    assert [item.check for item in found("n.ipynb")] == ["runs"], "no document that is looked at declares the secret"


@pytest.mark.parametrize("place", ["none", "n.txt"])
def test_what_is_no_place_is_bad_usage(home: Path, place: str) -> None:
    (home / "n.txt").touch()
    with pytest.raises(FlowInputError, match=place):
        found(place)


# Damage.


def test_damaged_runs_are_named_with_the_reason_and_hide_no_other(home: Path) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    make_run(home / ".flownb", [started("r2")], run_id="r2")
    paths.journal.write_bytes(paths.journal.read_bytes().replace(b"wind", b"wine"))
    clone = make_run(home / ".flownb", [started("r3"), finished()], run_id="r3")
    clone.journal.unlink()
    clone.snapshot.write_text("{")
    clone.snapshot.chmod(0o600)
    damage = {item.place: item.message for item in found(check="damage")}
    assert set(damage) == {"flow/r1", "flow/r3"}
    assert damage["flow/r1"] == ".flownb/flow/r1/journal.jsonl:1: the journal is damaged: its checksum is wrong"
    assert damage["flow/r3"].startswith("cannot read the state file .flownb/flow/r3.json: ")
    assert places(found(check="runs")) == ["flow/r2"]


def test_answers_and_artifacts_that_are_not_what_they_were_are_named(home: Path) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    paths.artifacts.mkdir(mode=0o700)
    names = {hashlib.sha256(b"whole").hexdigest(): b"whole", "0a" * 32: b"torn"}
    for digest, content in names.items():
        (paths.artifacts / f"{digest}.npy").write_bytes(content)
    (paths.decisions / "good.json").write_text('{"action": "approve"}')
    (paths.decisions / "bad.json").write_text('{"action": "appr')
    damage = {item.place: item.message for item in found(check="damage")}
    assert damage == {
        f".flownb/flow/r1/artifacts/{'0a' * 32}.npy": "its content is not what its name says: it was changed, or is torn",
        ".flownb/flow/r1/decisions/bad.json": "it is no decision",
    }


def test_a_link_in_place_of_the_state_folder_is_damage(home: Path) -> None:
    make_run(home / "elsewhere", [started(), finished()])
    (home / ".flownb").symlink_to(home / "elsewhere")
    assert [(item.place, "a symbolic link" in item.message) for item in found("secretive.flow.md")] == [
        (".flownb", True),
        (".flownb", True),
    ]


# What died processes left.


def test_locks_and_files_left_behind_are_named(home: Path) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    paths.lock.write_text("4194304 elsewhere\n")
    for path in (paths.folder / ".x.tmp", home / ".flownb" / "..gitignore.0123456789ab.tmp"):
        path.touch(mode=0o600)
    (home / ".flownb" / "flow" / ".gone.0123456789ab.tmp").mkdir(mode=0o700)
    (home / ".flownb" / "flow" / ".gone.0123456789ab.tmp" / ".y.tmp").touch(mode=0o600)
    left = found(check="leftovers")
    assert places(left) == [
        ".flownb/..gitignore.0123456789ab.tmp",
        ".flownb/flow/.gone.0123456789ab.tmp",
        ".flownb/flow/r1/.x.tmp",
        ".flownb/flow/r1/lock",
    ]
    assert found() == left
    assert left[0].hint.endswith("flownb gc")


def test_what_a_run_under_way_writes_is_not_left_behind(home: Path) -> None:
    paths = make_run(home / ".flownb", [started()])
    with RunLock(paths):
        (paths.folder / ".x.tmp").touch(mode=0o600)
        assert found() == []
    assert [item.check for item in found()] == ["leftovers", "runs"]


# Modes and links.


@pytest.mark.parametrize("name, mode", [("journal.jsonl", 0o640), ("journal.jsonl", 0o400), ("decisions", 0o755)])
def test_wrong_modes_are_named_and_the_hint_puts_them_right(home: Path, name: str, mode: int) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    (paths.folder / name).chmod(mode)
    (finding,) = found()
    assert (finding.check, finding.place) == ("permissions", ".flownb")
    assert finding.message.endswith(f": flow/r1/{name}")
    subprocess.run(finding.hint, shell=True, check=True)  # noqa: S602 # our own hint
    assert found() == []


def test_many_wrong_modes_are_one_finding(home: Path) -> None:
    make_run(home / ".flownb", [started(), finished()])
    subprocess.run(["chmod", "-R", "go=rX", ".flownb"], check=True)
    (finding,) = found()
    assert finding.message == "files are not 0600 or folders not 0700: ., flow, flow/r1 and 3 more"


def test_links_and_pipes_in_the_state_folder_are_named_and_not_read(home: Path) -> None:
    paths = make_run(home / ".flownb", [started(), finished()])
    (home / "secret.txt").write_text(SECRET)
    paths.source.symlink_to(home / "secret.txt")
    os.mkfifo(paths.folder / "pipe", 0o600)
    assert [(item.check, item.place) for item in found()] == [
        ("permissions", ".flownb/flow/r1/pipe"),
        ("permissions", ".flownb/flow/r1/source.flow.md"),
    ]


# Runs.


def test_what_waits_is_named_with_how_to_answer(home: Path) -> None:
    question = Question(key="review[3]", heading="Review", text="Go on?", asked_at=AT)
    make_run(home / "kept here", [started(), e.Asked(at=AT, question=question), e.RunWaiting(at=AT)])
    (finding,) = found()
    assert (finding.level, finding.place, finding.message) == (Level.TASK, "flow/r1", "waits for `review[3]`")
    assert finding.hint.split("\n") == [
        "flownb decide r1 'review[3]' approve|reject --state 'kept here'",
        "then: flownb resume r1 --state 'kept here'",
    ]


def test_what_was_interrupted_is_named_with_how_to_go_on(home: Path) -> None:
    make_run(home / ".flownb", [started()])
    RunPaths(home / ".flownb", "flow", "r2").decisions.mkdir(parents=True, mode=0o700)
    RunPaths(home / ".flownb", "flow", "r2").folder.chmod(0o700)
    assert {(item.message, item.hint) for item in found()} == {
        ("was interrupted", "go on with it: flownb resume r1"),
        ("died before it began", "nothing was run: delete .flownb/flow/r2"),
    }


def test_a_run_that_another_process_works_on_is_nothing_to_find(home: Path) -> None:
    make_run(home / ".flownb", [started()])
    held = (
        "import sys, pathlib; from flownb.store.journal import Journal; from flownb.store.paths import RunPaths\n"
        "with Journal.open_for_append(RunPaths(pathlib.Path(sys.argv[1]), 'flow', 'r1')): print('held', flush=True); input()"
    )
    with process(held, home / ".flownb") as child:
        assert line_of(child) == "held"
        assert found() == []


def test_the_largest_runs_and_artifacts_are_notes(home: Path) -> None:
    for number in range(12):
        paths = make_run(home / ".flownb", [started(f"r{number}"), finished()], run_id=f"r{number}")
        paths.artifacts.mkdir(mode=0o700)
        (paths.artifacts / "value.npy").write_bytes(b"x" * (1000 + 10_000 * number))
    notes = [item for item in examine(home, None, ENVIRONMENT) if item.check == "size"]
    assert [item.place for item in notes[:10]] == [f"flow/r{number}" for number in range(11, 1, -1)]
    assert [item.size_bytes for item in notes[10:]] == [1000 + 10_000 * number for number in range(11, 1, -1)]
    assert notes[10].place == ".flownb/flow/r11/artifacts/value.npy"
    assert not is_something(notes)


# Text and command.


def test_a_check_is_a_function_in_a_list(home: Path) -> None:
    (finding,) = examine(
        home, None, ENVIRONMENT, [lambda site: iter([Finding("x", Level.TASK, SECRET, SECRET, SECRET)])]
    )
    assert (finding.place, finding.message, finding.hint) == ("•••", "•••", "•••")
    assert len(CHECKS) == 6


def test_the_text_is_bounded_and_counts(home: Path) -> None:
    many = [Finding("damage", Level.PROBLEM, f"r{number}", "is damaged", "a\nb") for number in range(53)]
    lines = findings_text(
        [*many, Finding("runs", Level.TASK, "r", "waits"), Finding("size", Level.NOTE, "r", "a run", size_bytes=1999)]
    ).splitlines()
    assert lines[:3] == ["r0: problem[damage]: is damaged", "hint: a", "      b"]
    assert lines[150:] == [
        "… and 3 more [damage]; --json lists all",
        "r: task[runs]: waits",
        "r: note[size]: a run, 2.0 kB",
        "53 problems, 1 task",
    ]
    assert findings_text([]) == "nothing found"


def doctor(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flownb", "doctor", *arguments],
        env=os.environ | more,
        capture_output=True,
        text=True,
        timeout=25,
        check=False,
    )


def test_the_command_exits_with_1_where_it_finds_anything(home: Path) -> None:
    run_secretly(home)
    done = doctor(TOKEN=SECRET)
    assert (done.returncode, done.stderr, done.stdout.splitlines()[-1]) == (0, "", "nothing found")
    (home / "n.ipynb").write_text(notebook(code(SECRET)))
    done = doctor(".", TOKEN=SECRET)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "1 problem")
    assert SECRET not in done.stdout + done.stderr
    listed = json.loads(doctor("--json", TOKEN=SECRET).stdout)
    assert {tuple(item) for item in listed} == {("check", "level", "place", "message", "hint", "size_bytes")}
    assert [item["place"] for item in listed if item["level"] == "problem"] == ["n.ipynb: cell 1"]
    assert doctor("none").returncode == 2
    shutil.move(home / ".flownb", home / "kept")
    (home / "n.ipynb").unlink()
    assert "fine/" not in doctor("secretive.flow.md").stdout
    assert "note[size]" in doctor("secretive.flow.md", FLOWNB_STATE_DIR="kept").stdout
