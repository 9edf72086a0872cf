"""Every notebook that is shipped runs headless in a real kernel, and reads without one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
ALL = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


def copied(folder: Path) -> Path:
    """Return a copy of the notebooks' folder as git has it: without runs and reports."""
    place = folder / "notebooks"
    shutil.copytree(NOTEBOOKS, place, ignore=shutil.ignore_patterns(".flownb", "report", ".ipynb_checkpoints"))
    return place


def executed(path: Path) -> Any:  # Any: nbformat's nodes
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call] # it carries no types
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(path.parent)}}).execute()
    return notebook


def text_of(cell: Any) -> str:  # Any: nbformat's nodes
    """Return what a person reads of a cell's outputs without a kernel."""
    parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        parts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain") or "")
    return "\n".join(parts)


def cell_with(notebook: Any, start: str) -> Any:  # Any: nbformat's nodes
    return next(cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.startswith(start))


def row_of(log: str, node: str) -> str:
    return next(line for line in log.splitlines() if line.startswith(f"| {node} |"))


def check_quickstart(notebook: Any) -> None:  # Any: nbformat's nodes
    log = text_of(cell_with(notebook, "%%flow"))
    assert "**Status:** completed" in log
    assert "completed (3 attempts)" in row_of(log, "capacity")
    assert "fallback: cached_weather" in row_of(log, "weather")
    assert "358 items" in row_of(log, "clean")
    assert "approve" in row_of(log, "review")
    assert "Harbour Bridge" in text_of(cell_with(notebook, 'pd.DataFrame(bikes["summaries"]'))
    assert "| Harbour Bridge | 119 | 1316 | 1909 |" in text_of(cell_with(notebook, "from IPython.display"))
    assert "weather: from cached_weather" in text_of(cell_with(notebook, "print(bikes.status"))
    again = text_of(cell_with(notebook, "%flow_resume"))
    assert "- **run again**: `report` (from here on), `check` (from here on)" in again
    reused = next(line for line in again.splitlines() if line.startswith("- **reuse**"))
    assert re.findall("`(.*?)`", reused) == ["load", "weather", "capacity", "clean", "summaries", "review"]
    assert "bicycles" in text_of(cell_with(notebook, "%flow_runs"))


@pytest.mark.parametrize("name", ALL)
def test_each_notebook_runs_headless_in_a_real_kernel(tmp_path: Path, name: str) -> None:
    folder = copied(tmp_path)
    notebook = executed(folder / name)
    if name == "quickstart.ipynb":
        check_quickstart(notebook)
        assert (folder / "report/bicycles.md").read_text().count("\n") == 11
        assert len(list((folder / ".flownb/bicycles").glob("*.json"))) == 1


@pytest.mark.parametrize("name", ALL)
def test_what_is_saved_reads_without_a_kernel(name: str) -> None:
    notebook = nbformat.read(NOTEBOOKS / name, as_version=4)  # type: ignore[no-untyped-call] # see above
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert [cell.source for cell in cells if not cell.execution_count] == []
    assert [output.ename for output in outputs if output.output_type == "error"] == []
    assert [output for output in outputs if WIDGET in output.get("data", {})] == []
    if name == "quickstart.ipynb":
        check_quickstart(notebook)


def test_the_demo_prints_the_log_and_ends_with_0(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    done = subprocess.run(
        [sys.executable, str(folder / "execute.py"), str(folder / "quickstart.ipynb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "## Execution Log" in done.stdout
    assert "**Status:** completed" in done.stdout


def test_the_command_line_says_what_only_the_notebook_would_bring(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "flownb", "validate", str(folder / "quickstart.ipynb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    found = set(re.findall(r"error\[unknown-name\]: nothing defines '(\w+)'", done.stdout))
    assert found == {"pd", "DataFrame"}
