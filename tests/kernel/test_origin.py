"""What real kernels say of where they run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.harness import kernel

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]


def test_a_front_end_has_buttons_and_nbclient_has_nobody() -> None:
    code = "from flownb.notebook.origin import surface; print(surface(get_ipython()))"
    with kernel() as k:
        assert k.run(code).stdout.strip() == "buttons"
        assert k.run(code, stdin=False).stdout.strip() == "nobody"


def test_the_state_lies_beside_the_notebook_of_the_session(tmp_path: Path) -> None:
    notebook = tmp_path / "nb.ipynb"
    notebook.write_text("{}")
    code = "from flownb.notebook.origin import state_folder; print(state_folder(get_ipython(), None))"
    with kernel(JPY_SESSION_NAME=str(notebook)) as k:
        assert k.run(code).stdout.strip() == str(tmp_path / ".flownb")
        assert k.run(code, stdin=False).stdout.strip() != str(tmp_path / ".flownb")
