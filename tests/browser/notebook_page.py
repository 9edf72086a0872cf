"""One notebook open in a real JupyterLab, as a person sees it: found by roles, labels and text."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from typing import Final

from playwright.sync_api import Locator, Page, expect

from tests.browser.lab import Lab

WAIT_S: Final = 60.0
"""How long anything may take to show, in seconds; nothing is measured."""

STARTED: Final = """() => {
  window.flownbStarted = false;
  const observer = new MutationObserver(changes => {
    const texts = changes.flatMap(change => [change.target, ...change.addedNodes]).map(node => node.textContent.trim());
    if (texts.includes("[*]:")) { window.flownbStarted = true; observer.disconnect(); }
  });
  observer.observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


class NotebookPage:
    """What a person does with one notebook, and what they read."""

    def __init__(self, lab: Lab, page: Page, name: str) -> None:
        """Open a notebook that lies in the server's folder, and wait until its kernel is ready."""
        self.lab = lab
        self.page = page
        self.name = name
        page.goto(lab.url(name))
        self.wait_for_idle()

    def run_all(self) -> None:
        """Choose *Run, Run All* and return when the cells have started; they may well not be done."""
        self._watch_for_start()
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function("window.flownbStarted", timeout=WAIT_S * 1000)

    def run_cell(self, number: int) -> None:
        """Run one code cell, counted from 0, with Shift+Enter."""
        self._watch_for_start()
        self.cells().nth(number).get_by_role("textbox").first.click()
        self.page.keyboard.press("Shift+Enter")
        self.page.wait_for_function("window.flownbStarted", timeout=WAIT_S * 1000)

    def wait_for_idle(self) -> None:
        """Wait until the kernel is idle and no cell is running or queued."""
        expect(self.page.get_by_role("button", name="| Idle")).to_be_visible(timeout=WAIT_S * 1000)
        expect(self.page.get_by_text("[*]:")).to_have_count(0, timeout=WAIT_S * 1000)

    def wait_for_text(self, text: str | re.Pattern[str]) -> Locator:
        """Wait until a text shows anywhere below the cells' inputs, and return it."""
        found = self.outputs().filter(has_text=text).last
        expect(found).to_be_visible(timeout=WAIT_S * 1000)
        return found

    def click_button(self, name: str) -> None:
        """Click a button that stands in an output, by its label."""
        button = self.outputs().get_by_role("button", name=name, exact=True).last
        button.click(timeout=WAIT_S * 1000)

    def type_into(self, label: str, text: str) -> None:
        """Type a text, key by key, into the field of an output that has this placeholder or label."""
        fields = self.outputs()
        field = fields.get_by_placeholder(label).or_(fields.get_by_label(label)).last
        field.click(timeout=WAIT_S * 1000)
        field.press_sequentially(text, delay=20)

    def read_outputs(self) -> list[str]:
        """Return what shows below each code cell, `""` where nothing does."""
        cells = self.cells()
        return [
            "\n".join(cells.nth(number).locator(".jp-OutputArea-output").all_inner_texts()).strip()
            for number in range(cells.count())
        ]

    def cells(self) -> Locator:
        """Return the code cells, in the notebook's order."""
        return self.page.get_by_label(re.compile("^Code Cell Content"))

    def outputs(self) -> Locator:
        """Return all outputs of all cells; JupyterLab gives them neither role nor label, so this is their class."""
        return self.page.locator(".jp-OutputArea-output")

    def kill_kernel(self) -> None:
        """End the kernel's process with SIGKILL, and wait until the server has started another and the page knows it."""
        killed = self.lab.kernel_pid(self.name)
        os.kill(killed, signal.SIGKILL)
        self._wait_for_new_kernel(killed)

    def restart_kernel(self) -> None:
        """Restart the kernel by the button in the toolbar."""
        old = self.lab.kernel_pid(self.name)
        self.page.get_by_role("button", name="Restart the kernel", exact=True).click()
        self.page.get_by_role("dialog").get_by_role("button", name="Confirm Kernel Restart").click()
        self._wait_for_new_kernel(old)

    def interrupt_kernel(self) -> None:
        """Interrupt the kernel by the button in the toolbar."""
        self.page.get_by_role("button", name="Interrupt the kernel").click()

    def save(self) -> None:
        """Save the notebook, and wait until its file has changed."""
        path = self.lab.work / self.name
        before = path.stat().st_mtime_ns
        self.page.get_by_role("button", name="Save and create checkpoint").click()
        self._until(lambda: path.stat().st_mtime_ns != before, "the notebook to be saved")

    def reload(self) -> None:
        """Load the page anew; the kernel lives on."""
        self.page.reload()
        expect(self.page.get_by_role("button", name=re.compile(r"\| (Idle|Busy)"))).to_be_visible(timeout=WAIT_S * 1000)

    def _watch_for_start(self) -> None:
        """Have the page note the next `[*]:`, which may stand there for a few milliseconds only."""
        self.page.evaluate(STARTED)

    def _wait_for_new_kernel(self, old: int) -> None:
        self._until(lambda: self._pid_now() not in {None, old}, "a new kernel")
        dialog = self.page.get_by_role("dialog")
        ready = self.page.get_by_role("button", name="| Idle")
        expect(dialog.or_(ready).first).to_be_visible(timeout=WAIT_S * 1000)
        if dialog.count():
            dialog.get_by_role("button").last.click()
        self.wait_for_idle()

    def _pid_now(self) -> int | None:
        try:
            return self.lab.kernel_pid(self.name)
        except LookupError:
            return None

    def _until(self, is_true: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while not is_true():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {WAIT_S:.0f} s for {what}")
            self.page.wait_for_timeout(50)
