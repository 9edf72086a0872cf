"""Values outlive the process: as the same kind of object, from their files alone, and damaged ones are refused by name."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import flownb
from flownb.errors import FlowStateError
from flownb.store.files import Disk
from flownb.store.journal import load_state
from tests.runs import node

FRAME = """import pandas as pd
pd.DataFrame({"day": pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin"), "kind": pd.Categorical(["a", "b", "a"])}, index=[3, 5, 7])"""


@pytest.fixture
def frame() -> pd.DataFrame:
    days = pd.date_range("2026-01-01", periods=3, tz="Europe/Berlin")
    return pd.DataFrame({"day": days, "kind": pd.Categorical(["a", "b", "a"])}, index=[3, 5, 7])


def run(text: str, folder: Path, **more: object) -> flownb.Run:
    return flownb.run(flownb.parse(f"# Doc\n\n{text}"), state_dir=folder / "state", run_id="r1", **more)  # type: ignore[arg-type]


def shown(folder: Path) -> flownb.Run:
    """Return the run as another process sees it: from what is stored."""
    return flownb.show("r1", folder / "state")


def test_after_kill_9_a_table_is_there_and_not_made_again(tmp_path: Path, frame: pd.DataFrame) -> None:
    text = "# Doc\n\n" + node("a", f"with open('made', 'a') as file: file.write('x')\n{FRAME}")
    text += node(
        "b",
        "import os\nif not os.path.exists('go'): os.kill(os.getpid(), 9)\n[a.kind.value_counts()['a'] + 0, str(a.day.dt.tz)]",
    )
    (tmp_path / "doc.flow.md").write_text(text)
    command = [sys.executable, "-m", "flownb"]
    died = subprocess.run(
        [*command, "run", "doc.flow.md", "--run-id", "r1"], cwd=tmp_path, capture_output=True, check=False
    )
    (tmp_path / "go").touch()
    done = subprocess.run([*command, "resume", "r1"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert (died.returncode, done.returncode) == (-9, 0), done.stderr
    made = flownb.show("r1", tmp_path / ".flownb")
    assert (tmp_path / "made").read_text() == "x"
    assert_frame_equal(made["a"], frame)
    assert made["b"] == [2, "Europe/Berlin"]
    assert "pandas.DataFrame: 3 × 2 day, kind" in made.log  # noqa: RUF001 as the log has it


def test_outputs_come_back_as_they_were(tmp_path: Path, frame: pd.DataFrame) -> None:
    text = "---\noutputs: {table: a, both: '[a, 1]'}\n---\n# Doc\n\n" + node("a", FRAME)
    made = flownb.run(flownb.parse(text), state_dir=tmp_path / "state", run_id="r1")

    for outputs in (made.outputs, shown(tmp_path).outputs):
        assert_frame_equal(outputs["table"], frame)
        assert_frame_equal(outputs["both"][0], frame)  # type: ignore[index] # it is a list


def test_a_value_that_is_passed_along_is_written_once(tmp_path: Path) -> None:
    text = node("n0", "import numpy as np\nnp.zeros(1_300_000)")
    text += "".join(node(f"n{number}", f"n{number - 1}") for number in range(1, 20))
    run(text, tmp_path)

    files = list((tmp_path / "state").rglob("artifacts/*"))
    assert [(path.suffix, path.stat().st_size > 10_000_000) for path in files] == [(".npy", True)]
    assert (shown(tmp_path)["n19"] == np.zeros(1_300_000)).all()


def test_items_rounds_branches_and_sub_flows_keep_tables(tmp_path: Path) -> None:
    (tmp_path / "inner.flow.md").write_text("# Inner\n\n" + node("t", "import pandas as pd\npd.DataFrame({'n': [7]})"))
    text = node("each", "import pandas as pd\npd.DataFrame({'n': [item]})", "foreach: [1, 2]")
    text += node("poll", "import pandas as pd\npd.DataFrame({'n': [round]})", "until: len(poll) == 1 and round == 1")
    text += (
        f"## Sub\n\n- type: flow\n- path: inner.flow.md\n\n## Pick\n\n- type: branch\n\n{node('x', 'each[1]', level=3)}"
    )
    text += node("end", "assert OK\n[each[0].n[0] + each[1].n[0], poll.n[0], sub['t'].n[0], pick.n[0]]")
    document = tmp_path / "doc.flow.md"
    document.write_text("# Doc\n\n" + text.replace("OK", "0").replace("len(poll)", "poll.n | length"))
    assert flownb.run(document, state_dir=tmp_path / "state", run_id="r1").status == "failed"
    document.write_text(document.read_text().replace("assert 0", "assert 1"))

    again = flownb.resume("r1", state_dir=tmp_path / "state")

    assert [int(value) for value in again["end"]] == [3, 1, 7, 2]  # type: ignore[attr-defined] # a list of numbers
    assert {key: again.nodes[key].attempts for key in ("each[0]", "each[1]", "x", "sub/t")} == dict.fromkeys(
        ("each[0]", "each[1]", "x", "sub/t"), 1
    )


def test_what_reads_a_table_runs_again_only_where_that_came_out_different(tmp_path: Path) -> None:
    body = "import pandas as pd\npd.DataFrame({'n': [1, 2]})"
    text = (
        node("a", body)
        + node("b", f"with open({str(tmp_path / 'b')!r}, 'a') as file: file.write('x')\nint(a.n.sum())")
        + node("c", "0")
    )
    first = run(text + node("end", "1 / 0"), tmp_path)
    same = run(text.replace("[1, 2]", "list(range(1, 3))") + node("end", "1 / 0"), tmp_path)
    other = run(text.replace("[1, 2]", "[1, 5]") + node("end", "1"), tmp_path)

    assert (first["b"], same["b"], other["b"]) == (3, 3, 6)
    assert (tmp_path / "b").read_text() == "xx"


def test_a_new_run_takes_a_table_over_with_its_file(tmp_path: Path, frame: pd.DataFrame) -> None:
    text = flownb.parse("# Doc\n\n" + node("a", FRAME) + node("b", "len(a)"))
    flownb.run(text, state_dir=tmp_path / "state", run_id="r0")
    made = flownb.run(text, state_dir=tmp_path / "state", run_id="r1", reuse="r0")
    for path in sorted((tmp_path / "state/doc/r0").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()

    assert made.nodes["a"].taken == "reused"
    assert_frame_equal(shown(tmp_path)["a"], frame)


MODULE = """from dataclasses import dataclass
from enum import Enum

class Colour(Enum):
    RED = 1

@dataclass
class Point:
    x: int
    colour: Colour
"""


@pytest.mark.parametrize("imports, kept", [("from shapes import Point, Colour", "Point"), ("import importlib", "dict")])
def test_a_class_comes_back_as_itself_only_where_the_document_imports_it(
    tmp_path: Path, imports: str, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shapes.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    body = f"{imports}\nshapes = __import__('shapes')\n[shapes.Point(3, shapes.Colour.RED)]"
    text = node("a", body) + node("b", "[type(a[0]).__name__, a[0].x if hasattr(a[0], 'x') else a[0]['x']]")
    run(text + node("end", "1 / 0"), tmp_path)
    again = flownb.resume("r1", state_dir=tmp_path / "state", from_node="b")

    assert again["b"] == [kept, 3]
    assert ("came back as its data" in again.log) == (kept == "dict"), "the log says so"


@pytest.mark.parametrize(
    "harm, said",
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"!"), "is damaged"),
        (lambda path: path.unlink(), "cannot be read"),
        (
            lambda path: (path.rename(path.with_name("moved")), path.symlink_to("moved")),
            "a symbolic link stands in its place",
        ),
    ],
)
def test_a_damaged_file_is_one_error_that_says_what_to_do(
    tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    made = run(node("a", FRAME) + node("b", "assert len(a) == 4"), tmp_path)
    (path,) = made.paths.artifacts.glob("*.parquet")
    harm(path)

    failed = flownb.resume("r1", state_dir=tmp_path / "state")
    with pytest.raises(flownb.FlowError, match=said):
        shown(tmp_path)["a"]
    assert failed.status == "failed"
    assert said in failed.errors[0].message
    assert "--from" in failed.errors[0].hint
    again = flownb.resume("r1", state_dir=tmp_path / "state", from_node="a")
    assert "AssertionError" in again.errors[0].type


def test_what_fits_no_kind_is_said_in_the_error_and_in_the_plan(tmp_path: Path) -> None:
    made = run(node("a", "{'rows': [open]}") + node("b", "1 / 0, a"), tmp_path)
    with pytest.raises(FlowStateError, match=re.escape('node `a` of run r1 is not kept: ["rows"][0]')):
        shown(tmp_path)["a"]
    assert not made.nodes["a"].reusable


def test_a_secret_in_a_table_is_in_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "tok-9f8e7d6c")
    body = "import pandas as pd, os\npd.DataFrame({'who': ['ana'], 'token': ['x' + os.environ['API_TOKEN']]})"
    text = "---\nsecrets: [API_TOKEN]\n---\n# Doc\n\n" + node("a", body) + node("b", "len(a)")
    made = flownb.run(flownb.parse(text), state_dir=tmp_path / "state")

    assert (made["b"], made.nodes["a"].reusable) == (1, False)
    assert not list((tmp_path / "state").rglob("artifacts/*"))
    assert all(b"tok-9f8e7d6c" not in path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())


def test_a_full_disk_ends_the_run_with_one_error_and_a_resume_goes_on(tmp_path: Path) -> None:
    from flownb.api import serve
    from flownb.runs.hooks import Hooks
    from flownb.runs.prepare import RunSettings
    from flownb.runs.start import start

    def write(descriptor: int, data: bytes | memoryview) -> int:
        if "artifacts" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(28, "No space left on device")
        return os.write(descriptor, data)

    text = flownb.parse("# Doc\n\n" + node("a", "1") + node("b", f"a\n{FRAME}", "retry: 3") + node("c", "len(b)"))
    prepared, _ = start(text, {}, RunSettings(state_dir=tmp_path / "state", disk=Disk(write=write)), "r1")
    with pytest.raises(FlowStateError, match=r"cannot store a value: .*No space left") as caught:
        serve(prepared, Hooks())

    assert "flownb resume r1" in caught.value.hint
    state = load_state(prepared.paths)
    assert (str(state.status), str(state.nodes["a"].status)) == ("interrupted", "completed")
    assert [path.name for path in (tmp_path / "state").rglob("artifacts/*")] == []
    assert flownb.resume("r1", state_dir=tmp_path / "state")["c"] == 3


def test_show_value_prints_or_writes_one_value(tmp_path: Path, frame: pd.DataFrame) -> None:
    run(node("t", FRAME) + node("d", "{'n': [1, 2]}") + node("s", "'some text'"), tmp_path)

    def flow(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flownb", "show", "r1", "--state", "state", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert flow("--value", "s").stdout == "some text\n"
    assert json.loads(flow("--value", "d").stdout) == {"n": [1, 2]}
    assert "2026-01-01 00:00:00+01:00" in flow("--value", "t").stdout
    assert flow("--value", "t", "--out", "t.parquet").stderr == "wrote t.parquet\n"
    assert flow("--value", "t", "--out", "t.csv").returncode == 0
    assert flow("--value", "d", "--out", "d.json").returncode == 0
    assert_frame_equal(pd.read_parquet(tmp_path / "t.parquet"), frame)
    assert pd.read_csv(tmp_path / "t.csv").shape == (3, 3)
    assert json.loads((tmp_path / "d.json").read_text()) == {"n": [1, 2]}
    refused = flow("--value", "t", "--out", "t.npy")
    assert (refused.returncode, "let the file's name end in .parquet or .csv" in refused.stderr) == (2, True)
    assert flow("--value", "x").returncode == 2
    assert flow("--out", "x").returncode == 2


def test_a_decision_is_plain_data(tmp_path: Path) -> None:
    made = run(node("ask", "Go?", runtime="checkpoint") + node("b", "ask.via"), tmp_path)
    assert made.state.nodes["ask"].output == {
        "action": "reject",
        "input": None,
        "by": "",
        "at": made["ask"].at,  # type: ignore[attr-defined] # a record
        "via": "default",
        "timed_out": False,
    }
    assert not made.state.nodes["ask"].tagged


@pytest.mark.parametrize("executor", ["main", "process"])
def test_a_body_imports_modules_beside_its_document_wherever_it_is_started_from(tmp_path: Path, executor: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "near_shapes.py").write_text(MODULE)
    body = "from near_shapes import Point, Colour\nPoint(3, Colour.RED)"
    text = node("a", body, f"executor: {executor}") + node("b", "assert OK\na.colour.name")
    (tmp_path / "sub" / "doc.flow.md").write_text("# Doc\n\n" + text.replace("OK", "0"))

    def flow(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("flownb")), *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    failed = flow("run", "sub/doc.flow.md", "--run-id", "r1")
    document = tmp_path / "sub" / "doc.flow.md"
    document.write_text(document.read_text().replace("assert 0", "assert 1"))
    done = flow("resume", "r1", "--state", "sub/.flownb", "--json")

    assert "AssertionError" in failed.stderr
    assert done.returncode == 0, done.stderr
    nodes = json.loads(done.stdout)["nodes"]
    assert (nodes["a"]["attempts"], nodes["b"]["output"]) == (1, "RED")


def test_what_collect_gives_of_a_groups_item_is_kept_too(tmp_path: Path) -> None:
    inside = node("t", "import pandas as pd\npd.DataFrame({'n': [item]})", level=3)
    text = f"## Each\n\n- foreach: [1, 2]\n- collect: t\n\n{inside}" + node("b", "int(each[0].n[0] + each[1].n[0])")
    made = run(text, tmp_path)
    assert (made["b"], made.nodes["each"].reusable) == (3, True)
    assert [int(table.n[0]) for table in shown(tmp_path)["each"]] == [1, 2]  # type: ignore[attr-defined] # tables


def test_what_collect_takes_of_a_table_with_a_secret_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "tok-9f8e7d6c")
    body = "import pandas as pd, os\npd.DataFrame({'token': [os.environ['API_TOKEN']]})"
    text = "---\nsecrets: [API_TOKEN]\n---\n# Doc\n\n" + node("a", body, "foreach: [1]", "collect: a.token[0][4:]")
    made = flownb.run(flownb.parse(text), state_dir=tmp_path / "state")

    assert made["a"] == ["9f8e7d6c"]
    assert all(b"9f8e7d6c" not in path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file())
