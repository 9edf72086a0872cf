"""The server, the browser and, where a test failed, its picture."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, sync_playwright

from tests.browser.lab import Lab
from tests.browser.notebook_page import NotebookPage

CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
FAILURES: Final = Path(__file__).parent / "failures"
REPORTS: Final = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep how a test's own part ended, for the fixture that takes the picture."""
    report = yield
    if report.when == "call":
        item.stash[REPORTS] = report
    return report


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Return one JupyterLab server for all browser tests."""
    with Lab(tmp_path_factory.mktemp("lab")) as server:
        yield server


# One browser a test: Playwright's loop runs in this thread while it is open, and the tests after it call asyncio.run.
@pytest.fixture
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    """Return an empty page; when the test fails, it is kept as a picture in `failures`."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 1280, "height": 1000}, device_scale_factor=2)
        opened.set_default_timeout(20_000)
        yield opened
        report = request.node.stash.get(REPORTS, None)
        if report is not None and report.failed:
            FAILURES.mkdir(exist_ok=True)
            opened.screenshot(path=FAILURES / f"{re.sub(r'[^A-Za-z0-9_]+', '-', request.node.name)}.png")
        browser.close()


@pytest.fixture
def open_notebook(lab: Lab, page: Page) -> Callable[[str, list[str]], NotebookPage]:
    """Return a function: write a notebook with these code cells, and open it."""

    def open_it(name: str, cells: list[str]) -> NotebookPage:
        lab.write_notebook(name, cells)
        return NotebookPage(lab, page, name)

    return open_it
