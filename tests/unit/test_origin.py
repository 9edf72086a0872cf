"""Where a cell runs is read off the signs that front ends leave, and off no one else's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flownb.notebook.origin import Surface, notebook_path, state_folder, surface


class FakeKernel:
    """A kernel that says whether `input()` works."""

    def __init__(self, allowed: object, requested: object) -> None:
        self._allow_stdin = allowed
        self._requested = requested

    def get_parent(self, channel: str) -> dict[str, Any]:
        assert channel == "shell"
        return {"content": {"allow_stdin": self._requested}}


def shell(kernel: object = None, **names: object) -> SimpleNamespace:
    """A shell with these names in its notebook."""
    return SimpleNamespace(kernel=kernel, user_ns=names)


FRONT_END = FakeKernel(allowed=True, requested=True)
NBCLIENT = FakeKernel(allowed=False, requested=False)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("FLOWNB_STATE_DIR", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    """A notebook in a folder that is not the working directory."""
    path = tmp_path / "books" / "nb.ipynb"
    path.parent.mkdir()
    path.write_text("{}")
    return path


@pytest.mark.parametrize(
    "allowed,requested,expected",
    [
        (True, True, Surface.BUTTONS),
        (False, True, Surface.BUTTONS),
        (True, False, Surface.BUTTONS),
        (False, False, Surface.NOBODY),
        (None, None, Surface.BUTTONS),
        (None, False, Surface.NOBODY),
    ],
)
def test_a_kernel_has_nobody_only_where_nothing_allows_input(
    allowed: object, requested: object, expected: Surface
) -> None:
    assert surface(shell(FakeKernel(allowed, requested))) is expected


def test_an_unknown_kernel_has_buttons() -> None:
    assert surface(shell(object())) is Surface.BUTTONS


@pytest.mark.parametrize("tty,expected", [(True, Surface.TERMINAL), (False, Surface.NOBODY)])
def test_without_a_kernel_the_terminal_decides(
    monkeypatch: pytest.MonkeyPatch,
    tty: bool,  # noqa: FBT001
    expected: Surface,
) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: tty))
    assert surface(shell()) is expected
    assert surface(None) is expected


def test_the_session_name_names_the_notebook(monkeypatch: pytest.MonkeyPatch, notebook: Path) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    assert notebook_path(shell(FRONT_END)) == notebook
    assert state_folder(shell(FRONT_END), None) == notebook.parent / ".flownb"


def test_a_session_name_inherited_by_nbclient_or_a_script_counts_for_nothing(
    monkeypatch: pytest.MonkeyPatch, notebook: Path
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    for elsewhere in (shell(NBCLIENT), shell(), None):
        assert notebook_path(elsewhere) is None
        assert state_folder(elsewhere, None) == Path.cwd() / ".flownb"


def test_a_renamed_notebook_is_unknown_but_its_folder_is_not(monkeypatch: pytest.MonkeyPatch, notebook: Path) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    notebook.rename(notebook.with_name("new.ipynb"))
    assert notebook_path(shell(FRONT_END)) is None
    assert state_folder(shell(FRONT_END), None) == notebook.parent / ".flownb"


def test_a_console_and_a_folder_that_is_gone_give_the_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("Console 1", str(tmp_path / "gone" / "nb.ipynb"), "RTC:json://nb.ipynb"):
        monkeypatch.setenv("JPY_SESSION_NAME", name)
        assert notebook_path(shell(FRONT_END)) is None
        assert state_folder(shell(FRONT_END), None) == Path.cwd() / ".flownb"


def test_vs_code_names_the_notebook_in_its_own_variable(notebook: Path) -> None:
    assert notebook_path(shell(FRONT_END, __vsc_ipynb_file__=str(notebook))) == notebook


@pytest.mark.parametrize("name", ["PAPERMILL_OUTPUT_PATH", "PAPERMILL_INPUT_PATH"])
def test_papermill_names_the_notebook_in_its_parameters(notebook: Path, name: str) -> None:
    assert notebook_path(shell(NBCLIENT, **{name: str(notebook)})) == notebook


def test_a_remote_papermill_output_gives_the_local_input(notebook: Path) -> None:
    names = {"PAPERMILL_OUTPUT_PATH": "s3://bucket/nb.ipynb", "PAPERMILL_INPUT_PATH": str(notebook)}
    assert notebook_path(shell(NBCLIENT, **names)) == notebook


def test_the_configured_folder_comes_first_then_the_variable(
    monkeypatch: pytest.MonkeyPatch, notebook: Path, tmp_path: Path
) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    monkeypatch.setenv("FLOWNB_STATE_DIR", str(tmp_path / "variable"))
    assert state_folder(shell(FRONT_END), "mine") == Path.cwd() / "mine"
    assert state_folder(shell(FRONT_END), "~/mine") == Path.home() / "mine"
    assert state_folder(shell(FRONT_END), None) == tmp_path / "variable"
    assert state_folder(shell(FRONT_END), "") == tmp_path / "variable"
