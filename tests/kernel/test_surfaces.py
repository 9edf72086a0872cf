"""Where nobody can click: nbclient takes the default at once, terminals and consoles ask by text."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import pexpect  # type: ignore[import-untyped] # it has no types
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.kernel.harness import PATIENCE_S, ROOT

ASK = "# Asks\n## Ask\n- default: {default}\n```checkpoint\nGo on?\n```\n## After\n```python\n41 + 1\n```\n"


def executed(folder: Path, cells: list[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Execute a notebook as `jupyter execute` does, and return it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    code: list[dict[str, object]] = [
        {"cell_type": "code", "id": str(at), "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
        for at, cell in enumerate(cells)
    ]
    text = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": code})
    notebook: Any = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call] # nbformat is untyped
    NotebookClient(notebook, timeout=60, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def test_under_nbclient_the_default_is_taken_and_the_log_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = ["%load_ext flownb", "%%flow -o run\n" + ASK.format(default="approve"), "run['after']"]
    notebook = executed(tmp_path, cells, monkeypatch)
    outputs = str(notebook.cells[1].outputs)
    assert "approve (nobody could answer)" in outputs
    assert "widget-view" not in outputs
    assert notebook.cells[2].outputs[0]["data"]["text/plain"] == "42"
    assert (tmp_path / ".flownb" / "asks").is_dir()


def test_under_nbclient_a_rejected_run_stops_the_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CellExecutionError, match="was rejected at `ask` by nobody"):
        executed(tmp_path, ["%load_ext flownb", "%%flow\n" + ASK.format(default="reject")], monkeypatch)


def test_under_nbclient_a_cell_that_would_not_wait_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cell = "%%flow --no-wait -o run\n## Slow\n```bash\nsleep 0.3; echo done\n```\n"
    notebook = executed(tmp_path, ["%load_ext flownb", cell, "print(run.status, run['slow'])"], monkeypatch)
    assert notebook.cells[2].outputs[0]["text"] == "completed done\n"
    assert "**Status:** completed" in str(notebook.cells[1].outputs)


def test_under_nbclient_a_node_with_once_stops_the_notebook_and_says_how_to_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = "## Pay\n- once: true\n```python\n1 / 0\n```\n"
    first = f"try:\n    get_ipython().run_cell_magic('flow', '--run-id pays', {flow!r})\nexcept Exception as error:\n    print(error)"
    with pytest.raises(CellExecutionError) as raised:
        executed(tmp_path, ["%load_ext flownb", first, "%flow_resume pays"], monkeypatch)
    error = str(raised.value)
    assert "FlowRunError: run pays waits for an answer at `pay`, and nobody can answer here" in error
    assert "hint: answer it: %flow_decide pays pay happened|again|fail" in error
    assert "then go on with: %flow_resume pays" in error
    assert "flownb/" not in error


def spawned(folder: Path, *argv: str) -> Any:
    environment = {
        "PYTHONPATH": str(ROOT),
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "TERM": "dumb",
        "PATH": "/usr/bin:/bin",
    }
    return pexpect.spawn(
        sys.executable, ["-m", *argv], cwd=str(folder), env=environment, encoding="utf-8", timeout=PATIENCE_S
    )


def ipython(folder: Path) -> Any:
    return spawned(folder, "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit")


def test_terminal_ipython_asks_on_its_terminal(tmp_path: Path) -> None:
    (tmp_path / "asks.flow.md").write_text(ASK.format(default="reject"))
    shell = ipython(tmp_path)
    shell.expect(r"In \[1\]:")
    shell.sendline("%load_ext flownb")
    shell.expect(r"In \[2\]:")
    shell.sendline("run = %flow asks.flow.md")
    shell.expect(r"\[A\]pprove / \[R\]eject:")
    shell.sendline("a")
    shell.expect(r"In \[3\]:")
    shell.sendline("print(run.status, run['after'], run.decisions['ask'].via)")
    shell.expect("completed 42 terminal")
    for line, shown in (
        ("run", r"\*\*Status:\*\* completed"),
        ("%flow_show last", "### Values"),
        ("%flow_graph asks.flow.md", "asks at `ask`"),
        ("%flow_runs", "asks  completed"),
    ):
        shell.sendline(line)
        shell.expect(shown)
        shell.expect(r"In \[\d+\]:")
        assert "object at 0x" not in shell.before
        assert "Markdown object" not in shell.before
    shell.close(force=True)


def console(folder: Path) -> Any:
    shell = spawned(folder, "jupyter_console", "--simple-prompt", "--kernel=python3")
    shell.expect(r"In \[1\]:")
    shell.sendline("%load_ext flownb")
    shell.expect(r"In \[2\]:")
    return shell


def test_jupyter_console_shows_the_question_and_asks_for_a_line(tmp_path: Path) -> None:
    (tmp_path / "asks.flow.md").write_text(ASK.format(default="reject"))
    shell = console(tmp_path)
    shell.sendline("run = %flow asks.flow.md")
    shell.expect("Go on?")
    shell.expect(r"\[A\]pprove / \[R\]eject:")
    shell.sendline("a")
    shell.expect(r"In \[3\]:")
    assert "widget" not in shell.before
    shell.sendline("print(run.status, run['after'], run.decisions['ask'].via)")
    shell.expect("completed 42 terminal")
    shell.sendline("run")
    shell.expect(r"\*\*Status:\*\* completed")
    shell.close(force=True)


def test_jupyter_console_goes_on_when_the_question_is_answered_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "asks.flow.md").write_text(ASK.format(default="reject"))
    shell = console(tmp_path)
    shell.sendline("run = %flow asks.flow.md --run-id asked")
    shell.expect(r"\[A\]pprove / \[R\]eject:")
    command = [sys.executable, "-m", "flownb", "decide", "asked", "ask", "approve"]
    assert (
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False).returncode == 0
    )
    state, end = tmp_path / ".flownb" / "asks" / "asked.json", time.monotonic() + PATIENCE_S
    while '"completed"' not in state.read_text()[:400]:
        assert time.monotonic() < end, "the kernel still waits for the console"
        time.sleep(0.05)
    shell.sendline("")  # The console itself waits for its line, and shows nothing before that.
    shell.expect("answered elsewhere")
    shell.sendline("print(run.status, run['after'], run.decisions['ask'].via)")
    shell.expect("completed 42 command")
    shell.close(force=True)


def test_ctrl_c_at_a_question_of_jupyter_console_rejects_and_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "asks.flow.md").write_text(ASK.format(default="approve"))
    shell = console(tmp_path)
    shell.sendline("run = %flow asks.flow.md --run-id asked")
    shell.expect(r"\[A\]pprove / \[R\]eject:")
    shell.sendintr()
    shell.expect(r"\*\*Status:\*\* rejected")
    shell.expect("FlowRunError: run asked was rejected at `ask`")
    shell.expect(r"In \[3\]:")
    shell.close(force=True)
