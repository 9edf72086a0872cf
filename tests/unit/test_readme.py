"""What README.md shows runs, and what it lists is there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

import flownb
from flownb.cli.commands import commands
from flownb.model.decision import Request
from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.policy import ExecutorName
from flownb.parse.keys import COMMON_KEYS, MARKERS, own_keys

README = (Path(__file__).parents[2] / "README.md").read_text()
ROOT = Path(__file__).parents[2]
WORKFLOWS = re.findall(r"^````markdown\n(.*?)^````$", README, re.MULTILINE | re.DOTALL)


def workflow(title: str) -> str:
    return str(next(text for text in WORKFLOWS if f"# {title}\n" in text))


def approve(_: Request) -> flownb.Decision:
    return flownb.Decision(action="approve", by="ana")


def test_every_workflow_is_one_without_warnings_and_has_a_test_below(tmp_path: Path) -> None:
    parsed = [flownb.parse(text) for text in WORKFLOWS]
    assert [problem for text in parsed for problem in flownb.validate(text)] == []
    assert [text.title for text in parsed] == ["Hello", "Nightly"]


def test_the_first_cell_gives_what_is_said(state_dir: Path) -> None:
    asked: list[str] = []

    def decide(request: Request) -> flownb.Decision:
        asked.append(request.text)
        return approve(request)

    run = flownb.run(flownb.parse(workflow("Hello")), state_dir=state_dir, decide=decide)
    assert run.status == "completed"
    assert f'`run["squares"]` is a Python object: `{run["squares"]}`' in " ".join(README.split())
    assert asked == ["Go on with **14**?"]
    assert run["greeting"] == "The sum is 14"


def test_the_first_cell_goes_on_where_nobody_can_click(state_dir: Path) -> None:
    assert flownb.run(flownb.parse(workflow("Hello")), state_dir=state_dir).status == "completed"


def test_the_nightly_takes_old_prices_where_there_are_no_new_ones(state_dir: Path, tmp_path: Path) -> None:
    nightly = flownb.parse(workflow("Nightly"))
    run = flownb.run(nightly, {"folder": str(tmp_path)}, state_dir=state_dir)
    assert run.status == "completed", run.errors
    assert run["prices"] == {"tea": 2, "why": "FileNotFoundError"}
    assert run.nodes["prices"].attempts == 3
    (tmp_path / "prices.json").write_text('{"tea": 5}')
    assert flownb.run(nightly, {"folder": str(tmp_path)}, state_dir=state_dir).status == "completed"
    assert (tmp_path / "published.txt").read_text() == "5\n"
    assert not (tmp_path / "failures.log").exists()


def test_the_nightly_tells_what_failed(state_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text('{"rice": 1}')
    run = flownb.run(flownb.parse(workflow("Nightly")), {"folder": str(tmp_path)}, state_dir=state_dir)
    assert run.status == "failed"
    assert (tmp_path / "failures.log").read_text() == "publish: `prices` has no `tea`\n"


def test_the_python_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.findall(r"^```python\n(import flownb\n.*?)^```$", README, re.MULTILINE | re.DOTALL)[0]
    Path("weekly.flow.md").write_text(
        "---\ninputs: {topic: str}\n---\n# Weekly\n\n## Review\n\n```checkpoint\n{{ inputs.topic }}?\n```\n\n"
        "## Tries\n\n```python\nimport os\nif not os.path.exists('again'): raise OSError('no')\n1\n```\n"
    )
    first, resumed = code.rsplit("\n", 2)[0], code.rsplit("\n", 2)[1]
    names: dict[str, object] = {}
    exec(compile(first, "README.md", "exec"), names)  # noqa: S102 our own page
    assert capsys.readouterr().out == "failed {} 1\n"
    Path("again").touch()
    exec(compile(resumed, "README.md", "exec"), names)  # noqa: S102 our own page
    run = names["run"]
    assert isinstance(run, flownb.Run)
    assert (run.status, run.decisions["review"].action) == ("completed", "approve")


def words_in(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def rows_below(heading: str) -> list[list[str]]:
    section = README.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line.startswith("| ")
    ]


def test_the_tables_list_what_this_version_has() -> None:
    rows = rows_below("What there is")
    middle = next(number for number, row in enumerate(rows) if row[0] == "Every node")
    kinds = {row[0]: words_in(row[2]) for row in rows[1:middle]}
    shown: set[str] = set().union(*(words_in(cell) for cell in kinds))
    known = {word for kind in BUILTIN_KINDS.values() for word in (kind.TITLE, *kind.ALIASES)}
    assert shown == known | {"branch", "parallel"}
    for cell, keys in kinds.items():
        for kind in BUILTIN_KINDS.values():
            if kind.TITLE in words_in(cell):
                assert keys == own_keys(kind)
    properties: set[str] = set().union(*(words_in(row[1]) for row in rows[middle + 1 :]))
    assert properties == (COMMON_KEYS | MARKERS) - {"type"} | set(ExecutorName)


def test_every_link_leads_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert len(links) > 4
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^(?:flownb|%flow\S*) .*$", README, re.MULTILINE))))
def test_every_command_shown_exists(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "flownb":
        command = commands.commands[words[1]]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
    else:
        assert words == ["%flow_resume", "last"]


def test_every_make_target_shown_exists() -> None:
    targets: Callable[[str], set[str]] = lambda text: set(re.findall(r"make (\w+)", text))  # noqa: E731
    makefile = (ROOT / "Makefile").read_text()
    assert targets("\n".join(re.findall(r"`make \w+|^make \w+", README, re.MULTILINE))) <= set(
        re.findall(r"^(\w+):", makefile, re.MULTILINE)
    )
