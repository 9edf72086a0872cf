"""Where nobody can click: nbclient takes the default at once, terminal IPython asks on its terminal."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import nbformat
import pexpect  # type: ignore[import-untyped] # it has no types
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.kernel.harness import ROOT

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


def ipython(folder: Path) -> Any:
    environment = {
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "TERM": "dumb",
        "PATH": "/usr/bin:/bin",
    }
    argv = ["-m", "IPython", "--simple-prompt", "--no-banner", "--no-confirm-exit"]
    return pexpect.spawn(sys.executable, argv, cwd=str(folder), env=environment, encoding="utf-8", timeout=30)


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
    shell.close(force=True)
