"""The log as JupyterLab shows it, in a trusted notebook and with values that try to be more than text."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

from playwright.sync_api import expect

from tests.browser.notebook_page import NotebookPage

Open = Callable[[str, list[str]], NotebookPage]

LOG = """\
from datetime import UTC, datetime
from IPython.display import Markdown
from flownb.errors import Failure
from flownb.model.events import *
from flownb.model.state import RunState
from flownb.render.diagram import mermaid
from flownb.render.log import render_log

now = datetime(2026, 11, 23, tzinfo=UTC)
values = [
    "<img src=x onerror='window.hacked=1'>",
    "<script>window.hacked=1</script>",
    "[link](javascript:window.hacked=1)",
    "$\\\\href{javascript:window.hacked=1}{x}$ and $y$",
    "\\\\(a\\\\) \\\\[b\\\\] \\\\begin{align}c\\\\end{align}",
    "| a | `b` | **c** __d__ &lt;",
]
state = RunState()
state.apply(RunStarted(at=now, run_id="r", workflow="<b>w</b> $x$ y$", definition=""))
asks = '"]; click n0 "javascript:window.hacked=1" %%{init: {}}%% `x` $$y$$ <img src=x onerror="window.hacked=1">'
plan = [PlannedNode(id="first", type="text", wave=0, definition=""),
        PlannedNode(id="group", type="group", wave=1, definition="", repeat="foreach '<b>x</b>'", waits_for=("first",)),
        PlannedNode(id="inner", type="python", wave=1, definition="", inside="group"),
        PlannedNode(id="review", type="checkpoint", wave=2, definition="", asks=asks, waits_for=("group",)),
        PlannedNode(id="reserve", type="text", wave=0, definition="", reserved=True)]
plan[0] = plan[0].model_copy(update={"fallback": "reserve"})
state.apply(Planned(at=now, nodes=tuple(plan)))
for number, value in enumerate(values):
    state.apply(NodeStarted(at=now, key=f"value_{number}"))
    state.apply(NodeCompleted(at=now, key=f"value_{number}", output=value))
failures = tuple(Failure(node="bad", type="ValueError", message=value, place=value, hint=value) for value in values)
state.apply(RunFinished(at=now, status=RunStatus.FAILED, failures=failures))
Markdown(render_log(state, mermaid(tuple(plan), state)))
"""


def test_a_log_is_drawn_and_nothing_in_it_is_active(open_notebook: Open) -> None:
    notebook = open_notebook("log.ipynb", [LOG])
    notebook.run_all()
    notebook.wait_for_idle()
    output = notebook.wait_for_text("Execution Log")
    output.get_by_text("the nodes and what they wait for").click()
    picture = output.locator(".jp-RenderedMermaid img")
    expect(picture).to_be_visible(timeout=60_000)
    assert not output.locator(".jp-mod-warning").count()
    drawn = unquote(picture.get_attribute("src") or "")
    assert "foreach '&lt;b&gt;x&lt;/b&gt;'" in drawn
    assert "<a " not in drawn
    assert output.get_by_role("row").count() == 1 + 6 + 4
    assert [cell.inner_text() for cell in output.locator("tbody tr td:last-child").all()][:6] == [
        "<img src=x onerror='window.hacked=1'>",
        "<script>window.hacked=1</script>",
        "[link](javascript:window.hacked=1)",
        r"$\href{javascript:window.hacked=1}{x}$ and $y$",
        r"\(a\) \[b\] \begin{align}c\end{align}",
        "| a | `b` | **c** __d__ &lt;",
    ]
    assert output.locator("a[href^=javascript], mjx-container, .MathJax, table img").count() == 0
    assert notebook.page.evaluate("window.hacked") is None
