"""What the command line prints never moves a terminal, wherever it comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flownb.cli.commands import run_command


def test_control_characters_from_data_and_files_never_reach_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    evil = "\x1b]0;x\x07\x9b31m\x85\u202e\u2066\x7f"
    name = f"a{evil}.flow.md"
    said = evil.encode("unicode_escape").decode()
    text = f"# Evil\n\n## A\n\n```python\nimport sys\nprint('{said}', file=sys.stderr)\n'{said}'\n```\n\n"
    text += f"## B\n\n- continue_on_error: true\n\n```python\nraise ValueError('{said}' + a)\n```\n\n"
    text += f"## C\n\n```checkpoint\n{evil} {{{{ a }}}}?\n```\n"
    (tmp_path / name).write_text(text)
    (tmp_path / f"b{evil}.flow.md").write_text(f"# B\n\n## A {evil}\n\n- retry{evil}: 3\n\n```text\n{evil}\n```\n")
    commands = [
        ["run", name, "--run-id", "r1"],
        ["run", name, "--dry-run"],
        ["run", name, "--dry-run", "--json"],
        ["show", "r1"],
        ["show", "r1", "--json"],
        ["resume", "r1"],
        ["runs"],
        ["runs", "--json"],
        ["validate", f"b{evil}.flow.md", name, f"none{evil}"],
        ["validate", f"b{evil}.flow.md", "--json"],
        *[["graph", name, "--format", form] for form in ("text", "mermaid", "json")],
        ["decide", "r1", f"c{evil}", "approve"],
        ["show", f"none{evil}"],
        ["run", name, "-i", f"x{evil}=1"],
        ["run", name, "--state", f"s{evil}", "--suspend"],
        [f"nothing{evil}"],
    ]
    (tmp_path / ".flownb" / "evil").mkdir(parents=True)
    (tmp_path / ".flownb" / "evil" / f"r{evil}").mkdir()
    (tmp_path / ".flownb" / f"w{evil}" / "r9").mkdir(parents=True)
    (tmp_path / ".flownb" / f"w{evil}" / "r9" / "journal.jsonl").write_text("nonsense\n")
    for command in commands:
        run_command(command)
        shown = "".join(capsys.readouterr())
        assert shown
        assert [letter for letter in shown if letter in evil and letter not in "]0;x31m"] == [], (command, shown)
    run_command(["show", "r1", "--json"])
    assert json.loads(capsys.readouterr().out)["nodes"]["a"]["output"] == evil
