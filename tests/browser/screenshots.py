"""Makes the pictures of the README anew: `python -m tests.browser.screenshots [FOLDER]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.lab import Lab
from tests.browser.notebook_page import NotebookPage
from tests.browser.test_main_job import JOB, SCREENSHOTS, button

SETTLED_MS = 1000
"""Time for fonts, styles and Mermaid to come to rest."""


def take(page: Page, path: Path, selector: str, block: str, more: int) -> None:
    """Scroll to an element, and `more` pixels further, and take the picture."""
    page.wait_for_timeout(SETTLED_MS)
    page.locator(selector).first.evaluate(f"element => element.scrollIntoView({{block: '{block}'}})")
    page.evaluate(f"document.querySelector('.jp-WindowedPanel-outer').scrollBy(0, {more})")
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=path)


def main(folder: Path) -> None:
    """Run the job, and take a picture at the question and at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with Lab(Path(tempfile.mkdtemp())) as lab, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        lab.write_notebook("weekly-report.ipynb", ["%load_ext flownb", JOB])
        notebook = NotebookPage(lab, page, "weekly-report.ipynb")
        page.keyboard.press("Control+b")  # The folder's list goes.
        notebook.run_all()
        button(notebook, "Submit").last.wait_for()
        take(page, folder / "checkpoint.png", ".flownb-card", "end", 30)
        notebook.type_into("your answer", "Thank you all")
        notebook.click_button("Submit")
        notebook.wait_for_text("answered by")
        notebook.wait_for_text("Execution Log")
        take(page, folder / "log.png", ".jp-OutputArea-output h2", "start", -20)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SCREENSHOTS)
