"""The browser harness itself, on ipywidgets alone: what the tests of flownb rely on."""

from __future__ import annotations

from collections.abc import Callable

from tests.browser.notebook_page import NotebookPage

Open = Callable[[str, list[str]], NotebookPage]

BUTTON = """\
import os
import ipywidgets
button = ipywidgets.Button(description="Approve")
label = ipywidgets.Label("waiting")
button.on_click(lambda _: setattr(label, "value", f"approved in {os.getpid()}"))
ipywidgets.VBox([button, label])
"""


def test_a_click_reaches_the_kernel_and_its_answer_shows(open_notebook: Open) -> None:
    notebook = open_notebook("click.ipynb", [BUTTON, "print('hello')"])
    notebook.run_all()
    notebook.wait_for_idle()
    before, hello = notebook.read_outputs()
    assert "waiting" in before
    assert hello == "hello"
    notebook.click_button("Approve")
    notebook.wait_for_text(f"approved in {notebook.lab.kernel_pid(notebook.name)}")
    assert "waiting" not in notebook.read_outputs()[0]


def test_a_killed_kernel_comes_back_empty(open_notebook: Open) -> None:
    notebook = open_notebook("kill.ipynb", ["value = 1", "print('value' in dir())"])
    notebook.run_all()
    notebook.wait_for_idle()
    old = notebook.lab.kernel_pid(notebook.name)
    notebook.kill_kernel()
    assert notebook.lab.kernel_pid(notebook.name) != old
    assert notebook.read_outputs()[1] == "True"
    notebook.run_cell(1)
    notebook.wait_for_idle()
    assert notebook.read_outputs()[1] == "False"


def test_a_kernel_killed_in_the_middle_of_a_cell_comes_back(open_notebook: Open) -> None:
    notebook = open_notebook("middle.ipynb", ["print('started')\nimport time; time.sleep(600)", "print('after')"])
    notebook.run_all()
    notebook.wait_for_text("started")
    notebook.kill_kernel()
    notebook.run_cell(1)
    notebook.wait_for_text("after")


def test_a_restarted_kernel_is_another_process(open_notebook: Open) -> None:
    notebook = open_notebook("restart.ipynb", ["import os; print(os.getpid())"])
    notebook.run_all()
    notebook.wait_for_idle()
    (first,) = notebook.read_outputs()
    notebook.restart_kernel()
    notebook.run_all()
    notebook.wait_for_idle()
    assert notebook.read_outputs() != [first]


def test_what_is_saved_holds_the_outputs(open_notebook: Open) -> None:
    notebook = open_notebook("save.ipynb", ["print('kept')"])
    notebook.run_all()
    notebook.wait_for_idle()
    notebook.save()
    assert '"kept\\n"' in (notebook.lab.work / "save.ipynb").read_text(encoding="utf-8")
    notebook.reload()
    notebook.wait_for_text("kept")
