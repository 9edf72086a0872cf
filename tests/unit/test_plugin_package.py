"""A package that brings a kind of node: built and installed by pip, listed, checked and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests/plugins/flownb-shout"
PAGE = (ROOT / "docs/writing-a-runtime.md").read_text()
WORKFLOW = re.findall(r"^````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)[0]

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder into which pip installed the package, from its sources and without a network."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    options = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check", "--quiet")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", *options, "--target", target, source], check=True, capture_output=True
    )
    return target


def flownb(site: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "flownb", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_package_of_the_page_is_the_one_that_is_tested() -> None:
    shown = re.findall(r"^```(?:python|toml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert shown[0] == (PACKAGE / "flownb_shout/__init__.py").read_text()
    assert shown[1] in (PACKAGE / "pyproject.toml").read_text()


def test_it_is_listed_with_the_package_that_brings_it(site: Path, tmp_path: Path) -> None:
    done = flownb(site, tmp_path, "runtimes", "--json")
    listed = {each["name"]: each for each in json.loads(done.stdout)}

    assert done.returncode == 0
    assert listed["shout"]["from"] == "flownb-shout 1.0"
    assert listed["shout"]["aliases"] == ["yell"]
    assert listed["python"]["from"].startswith("flownb ")
    assert (listed["read"]["extra"], listed["read"]["optional"], listed["read"]["installed"]) == ("data", True, True)
    assert "shout (yell)          flownb-shout 1.0\n" in flownb(site, tmp_path, "runtimes").stdout


def test_its_workflow_runs_from_a_file_and_from_a_notebook(site: Path, tmp_path: Path) -> None:
    (tmp_path / "w.flow.md").write_text(WORKFLOW)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"%%flow\n{WORKFLOW}")])  # type: ignore[no-untyped-call]
    nbformat.write(notebook, tmp_path / "nb.ipynb")  # type: ignore[no-untyped-call]

    for name in ("w.flow.md", "nb.ipynb"):
        done = flownb(site, tmp_path, "run", name, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["outputs"] == {"loud": "ANA: DINNER IS READY!!!"}


@pytest.mark.parametrize(
    "section, said",
    [
        ("- mark: '.'\n\n```shout\nx\n```", "[bad-value]: 'mark' must be one of !, ?, not '.'"),
        ("- marks: '!'\n\n```shout\nx\n```", "did you mean 'mark'?"),
        ("```shout\n{{ nobody }}\n```", "[unknown-name]"),
        ("- times: '{{ 2 }}'\n\n```shout\nx\n```", "[expression-braces]: 'times'"),
        ("- type: shout\n", "[missing-body]"),
    ],
)
def test_its_mistakes_are_told_before_anything_runs(site: Path, tmp_path: Path, section: str, said: str) -> None:
    (tmp_path / "w.flow.md").write_text(f"## A\n\n{section}\n")
    done = flownb(site, tmp_path, "validate", "w.flow.md")

    assert done.returncode == 2
    assert said in done.stdout


def test_its_own_error_and_a_secret_are_told_as_those_of_flownb(site: Path, tmp_path: Path) -> None:
    (tmp_path / "w.flow.md").write_text("## A\n\n- times: 0\n\n```shout\nx\n```\n")
    done = flownb(site, tmp_path, "run", "w.flow.md")
    assert done.returncode == 1
    assert "`times` comes to a int, not to a number from 1 up" in done.stderr + done.stdout

    (tmp_path / "s.flow.md").write_text("---\nsecrets: [T]\n---\n## A\n\n```shout\n{{ secrets.T }}\n```\n")
    os.environ["T"] = "hunter2hunter2"
    try:
        done = flownb(site, tmp_path, "run", "s.flow.md")
    finally:
        del os.environ["T"]
    assert done.returncode == 0
    assert "hunter2" not in (done.stdout + done.stderr).lower()


def test_one_that_cannot_be_loaded_is_named_and_harms_nothing_else(site: Path, tmp_path: Path) -> None:
    broken = tmp_path / "site"
    (broken / "broken-1.0.dist-info").mkdir(parents=True)
    (broken / "broken-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (broken / "broken-1.0.dist-info/entry_points.txt").write_text("[flownb.runtimes]\nbad = no_such_module:X\n")
    done = flownb(Path(f"{site}{os.pathsep}{broken}"), tmp_path, "runtimes")

    assert done.returncode == 0
    assert "shout (yell)" in done.stdout
    assert "the plug-in `bad` (no_such_module:X) is left out: ModuleNotFoundError" in done.stderr


def test_a_missing_package_of_an_extra_is_named(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom importlib import metadata\nfind = metadata.Distribution.from_name.__func__\n"
        "def without(cls, name):\n"
        "    if name == 'polars': raise metadata.PackageNotFoundError(name)\n"
        "    return find(cls, name)\n"
        "metadata.Distribution.from_name = classmethod(without)\n"
        "from flownb.cli.commands import run_command\nrun_command(['runtimes'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert re.search(
        r"^read +flownb \S+, tables need flownb\[data\] \(not installed: polars\)$", done.stdout, re.MULTILINE
    )
