"""The main job as a person does it in JupyterLab: Run All, cards, a click, the log, a dead kernel, a resume."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.notebook_page import WAIT_S, NotebookPage

Open = Callable[[str, list[str]], NotebookPage]

PICTURES: Final = os.environ.get("FLOWNB_PICTURES", "")
SCREENSHOTS: Final = Path(__file__).parents[2] / "docs" / "screenshots"
CELL: Final = """\
%%flow -o run
# Weekly report

## Articles

- retry: {max: 3, base: 200ms}

```python
with open("tries.txt", "a") as file:
    file.write("x")
if len(open("tries.txt").read()) < 3:
    raise ConnectionError("503 from news.example.com")
["Offshore wind doubles", "Solar at night", "A quiet week for coal"]
```

## Score

- foreach: articles
- as: title

```python
{"title": title, "score": round(len(title) / 25, 2)}
```

## Review

- show: [best]
- input: text
- timeout: 1h

```checkpoint
Publish **{{ score | length }} articles**? They go to all readers at once.
```

## Publish

```bash
echo published {{ best.title[0] }} | tee -a published.txt
```
"""
BEST: Final = """\
## Best

```python
import pandas as pd
pd.DataFrame(score).sort_values("score", ascending=False).reset_index(drop=True)
```

## Review
"""
JOB: Final = CELL.replace("## Review\n", BEST)


def test_run_all_click_read_kill_resume(open_notebook: Open) -> None:
    notebook = open_notebook("weekly.ipynb", ["%load_ext flownb", JOB, "run.wait().status"])
    notebook.run_all()
    expect(button(notebook, "Approve")).to_be_visible(timeout=WAIT_S * 1000)
    notebook.type_into("your answer", "Thank you all")
    notebook.click_button("Submit")
    notebook.wait_for_text("answered by")
    notebook.wait_for_text("Execution Log")
    notebook.wait_for_text("RunStatus.COMPLETED")
    before, flow, status = notebook.read_outputs()
    assert before == ""
    assert "Execution Log" in flow
    assert "completed (3 attempts)" in flow
    assert "Thank you all" in flow
    assert "COMPLETED" in status
    assert (notebook.lab.work / "published.txt").read_text() == "published Offshore wind doubles\n"
    assert button(notebook, "Submit").count() == 0


def test_a_killed_kernel_resumes_at_the_question_without_repeating(open_notebook: Open) -> None:
    cells = ["%load_ext flownb", JOB, "%flow_resume last -o again"]
    notebook = open_notebook("killed.ipynb", cells)
    for name in ("tries.txt", "published.txt"):
        (notebook.lab.work / name).unlink(missing_ok=True)
    notebook.run_cell(0)
    notebook.run_cell(1)
    expect(button(notebook, "Approve")).to_be_visible(timeout=WAIT_S * 1000)
    notebook.kill_kernel()
    notebook.run_cell(0)
    notebook.wait_for_idle()
    notebook.run_cell(2)
    notebook.wait_for_text("reuse: articles")
    button(notebook, "Approve").last.click()
    notebook.wait_for_text("approved by")
    notebook.wait_for_text("Execution Log")
    assert (notebook.lab.work / "tries.txt").read_text() == "xxx"
    assert (notebook.lab.work / "published.txt").read_text() == "published Offshore wind doubles\n"


@pytest.mark.parametrize("mode", ["default", "until-asked"])
def test_a_saved_notebook_reads_without_a_kernel(open_notebook: Open, mode: str) -> None:
    cell = JOB.replace("%%flow", "%%flow --until-asked") if mode == "until-asked" else JOB
    notebook = open_notebook(f"saved-{mode}.ipynb", ["%load_ext flownb", cell])
    notebook.run_all()
    button(notebook, "Approve").last.click(timeout=WAIT_S * 1000)
    notebook.wait_for_text("approved by")
    notebook.wait_for_idle()
    notebook.save()
    notebook.reload()
    notebook.wait_for_text("approved by")
    assert "Execution Log" in notebook.read_outputs()[1]
    assert "Error displaying widget" not in notebook.read_outputs()[1]


TWO: Final = """\
%%flow --until-asked
## Figure
```python
import plotly.graph_objects as go
go.Figure(go.Bar(x=["wind", "sun"], y=[1, 22]))
```
## One
- show: [figure]
```checkpoint
Is this **right**?
```
## Two
```checkpoint
Really?
```
"""


def test_a_plotly_figure_is_drawn_in_its_card_and_the_next_question_takes_the_same_place(open_notebook: Open) -> None:
    notebook = open_notebook("two.ipynb", ["%load_ext flownb", TWO, "print('free')"])
    notebook.run_all()
    expect(notebook.page.locator(".flownb-card .js-plotly-plot .bars .point").nth(1)).to_be_visible(
        timeout=WAIT_S * 1000
    )
    assert notebook.page.locator(".js-plotly-plot").count() == 1
    notebook.wait_for_text("free")
    picture(notebook, "card-plotly")
    notebook.click_button("Approve")
    notebook.wait_for_text("Really?")
    expect(notebook.page.locator(".flownb-card")).to_have_count(1)
    picture(notebook, "card-second")
    notebook.click_button("Reject")
    notebook.wait_for_text("Status: rejected")
    assert notebook.page.locator(".flownb-card").count() == 0
    assert "Error displaying widget" not in "".join(notebook.read_outputs())
    picture(notebook, "card-after")


def picture(notebook: NotebookPage, name: str) -> None:
    """Keep a picture where somebody wants to look: `FLOWNB_PICTURES=/tmp/pictures pytest tests/browser`."""
    if PICTURES:
        notebook.page.screenshot(path=Path(PICTURES) / f"{name}.png")


def button(notebook: NotebookPage, name: str) -> Locator:
    return notebook.outputs().get_by_role("button", name=name, exact=True)
