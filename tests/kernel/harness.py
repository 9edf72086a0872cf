"""A real ipykernel, driven as a front end does: cells, outputs, widgets, clicks, typing, interrupts, kills.

    with kernel(cwd=tmp_path) as k:
        cell = k.start("%%flow ...")
        k.click("Approve")              # waits until the button is shown
        out = cell.finish()             # waits for its end
        assert out.ok and "approved" in out.text

All in one thread: whatever waits reads what the kernel sends meanwhile. Nothing here sleeps.
Another ipykernel than this one's: `FLOWNB_KERNEL_PYTHON=/tmp/v631/bin/python pytest tests/kernel`.
"""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).parents[2]
PATIENCE_S = float(os.environ.get("FLOWNB_PATIENCE_S", "30"))
"""Seconds after which something that should happen counts as not happening."""
VIEW = "application/vnd.jupyter.widget-view+json"

Message = dict[str, Any]
"""A message of the Jupyter protocol."""


@dataclass
class Output:
    """One output of a cell, as a saved notebook would hold it."""

    kind: str
    """`stream`, `display_data`, `execute_result` or `error`."""
    data: dict[str, Any] = field(default_factory=dict)
    """The mime bundle; of a stream `{"text/plain": …}`, of an error its `ename`, `evalue` and `traceback`."""
    name: str = ""
    """`stdout` or `stderr`."""
    display_id: str = ""

    @property
    def markdown(self) -> str:
        return str(self.data.get("text/markdown", ""))

    @property
    def text(self) -> str:
        """What a person reads of it: Markdown where there is some, else plain text; nothing for a widget."""
        if self.kind == "error":
            return "\n".join(self.data["traceback"])
        if VIEW in self.data:
            return ""
        return self.markdown or str(self.data.get("text/plain", ""))


@dataclass
class Cell:
    """A cell that runs or ran."""

    kernel: Kernel
    code: str
    id: str
    """The id of its request: the parent of all it publishes."""
    outputs: list[Output] = field(default_factory=list)
    published: list[Message] = field(default_factory=list)
    """Every message with this cell as parent, as it came."""
    reply: Message | None = None
    idle: bool = False
    clears: bool = False

    @property
    def done(self) -> bool:
        return self.idle and self.reply is not None

    @property
    def status(self) -> str:
        """`ok`, `error` or `aborted`; empty while it runs."""
        return "" if self.reply is None else str(self.reply["content"]["status"])

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def text(self) -> str:
        return "\n".join(text for text in (output.text for output in self.outputs) if text)

    @property
    def stdout(self) -> str:
        return "".join(output.text for output in self.outputs if output.name == "stdout")

    @property
    def markdown(self) -> list[str]:
        """The Markdown of every output that has some."""
        return [output.markdown for output in self.outputs if output.markdown]

    @property
    def error(self) -> dict[str, Any] | None:
        """`ename`, `evalue`, `traceback` of what it raised."""
        return next((output.data for output in self.outputs if output.kind == "error"), None)

    def finish(self, timeout_s: float = PATIENCE_S) -> Cell:
        """Wait for its end."""
        self.kernel.wait_until(lambda: self.done, f"end of the cell {self.code[:60]!r}", timeout_s)
        return self

    def wait_for(self, text: str, timeout_s: float = PATIENCE_S) -> Cell:
        """Wait until its output holds `text`."""
        self.kernel.wait_until(lambda: text in self.text, f"the output {text!r}", timeout_s)
        return self


@dataclass
class Widget:
    """A widget's model, as the front end knows it."""

    comm_id: str
    state: dict[str, Any]
    parent: str
    """The id of the request in whose name it was made."""

    @property
    def model(self) -> str:
        return str(self.state.get("_model_name", ""))


class Kernel:
    """A running kernel and what its front end knows of it."""

    def __init__(self, python: str, cwd: Path | None, environment: dict[str, str]) -> None:
        argv = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        self._spec = KernelSpec(argv=argv, language="python")
        self._start: dict[str, Any] = {
            "cwd": str(cwd or ROOT),
            "env": {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
            "stderr": subprocess.DEVNULL if not os.environ.get("FLOWNB_KERNEL_STDERR") else None,
        }
        self.ignores_late_updates = False
        """Whether the front end is one in which the outputs of a cell that has ended cannot be changed."""
        self._begin()

    def _begin(self) -> None:
        self.cells: dict[str, Cell] = {}
        self.widgets: dict[str, Widget] = {}
        self.idle_for: set[str] = set()
        self.replies: dict[str, Message] = {}
        self.statuses: list[tuple[str, str]] = []
        """Every `busy` and `idle` with its parent's id, in order."""
        self.heard: list[Message] = []
        """Every message that all front ends get (iopub), in order."""
        self.manager = KernelManager()
        self.manager._kernel_spec = self._spec
        self.manager.start_kernel(**self._start)
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_S)

    def start(self, code: str, *, stdin: bool = True, **execute: Any) -> Cell:
        """Send a cell, as a front end does (`stdin=False`: as nbclient does), and do not wait."""
        cell = Cell(self, code, "")
        cell.id = self.client.execute(code, allow_stdin=stdin, **execute)
        self.cells[cell.id] = cell
        return cell

    def run(self, code: str, *, stdin: bool = True, timeout_s: float = PATIENCE_S) -> Cell:
        """Send a cell and wait for its end."""
        return self.start(code, stdin=stdin).finish(timeout_s)

    def value(self, expression: str) -> str:
        """Return the repr of an expression, worked out in a cell of its own."""
        cell = self.run(f"print(repr({expression}))")
        assert cell.ok, cell.text
        return cell.stdout.strip()

    def request(self, kind: str, content: dict[str, Any], *, channel: str = "shell", **header: Any) -> str:
        """Send any request and return its id."""
        message = self.client.session.msg(kind, content)
        message["header"].update(header)
        getattr(self.client, f"{channel}_channel").send(message)
        return str(message["header"]["msg_id"])

    def ask(self, kind: str, content: dict[str, Any], *, channel: str = "shell") -> Message:
        """Send any request and wait for its reply."""
        sent = self.request(kind, content, channel=channel)
        self.wait_until(lambda: sent in self.replies, f"reply to {kind}")
        return self.replies[sent]

    def heard_text(self) -> str:
        """Return everything that all front ends got, as text."""
        return str([message["content"] for message in self.heard])

    def shown(self) -> list[Widget]:
        """Return every widget that stands in an output, or inside one that does."""
        seen: dict[str, Widget] = {}
        views = [output.data[VIEW] for cell in self.cells.values() for output in cell.outputs if VIEW in output.data]
        todo = [view["model_id"] for view in views]
        while todo:
            widget = self.widgets.get(todo.pop(0))
            if widget is not None and widget.comm_id not in seen:
                seen[widget.comm_id] = widget
                todo.extend(_referred(widget.state.get("children", [])))
        return list(seen.values())

    def find(self, model: str, label: str) -> Widget | None:
        """Return the newest widget shown whose model name begins with `model` and that says `label`, if enabled."""
        for widget in reversed(self.shown()):
            said = (widget.state.get("description", ""), widget.state.get("placeholder", ""))
            if widget.model.startswith(model) and label in said and not widget.state.get("disabled"):
                return widget
        return None

    def button(self, label: str, timeout_s: float = PATIENCE_S) -> Widget:
        """Wait until a button that says `label` is shown and enabled."""
        return self._found("Button", label, timeout_s)

    def field(self, label: str, timeout_s: float = PATIENCE_S) -> Widget:
        """Wait until a text field (Text, Textarea) with that description or placeholder is shown."""
        return self._found("Text", label, timeout_s)

    def _found(self, model: str, label: str, timeout_s: float) -> Widget:
        self.wait_until(lambda: self.find(model, label) is not None, f"{model} {label!r}", timeout_s)
        widget = self.find(model, label)
        assert widget is not None
        return widget

    def tell(self, widget: Widget, data: dict[str, Any], *, subshell: str | None = None) -> str:
        """Send a widget message, on the main shell or on a subshell, and return its id; do not wait."""
        header = {} if subshell is None else {"subshell_id": subshell}
        return self.request("comm_msg", {"comm_id": widget.comm_id, "data": data}, **header)

    def click(self, label: str, *, subshell: str | None = None, timeout_s: float = PATIENCE_S) -> str:
        """Wait until the button is shown, click it and wait until the kernel dealt with that; return the message's id."""
        widget = self.button(label, timeout_s)
        sent = self.tell(widget, {"method": "custom", "content": {"event": "click"}}, subshell=subshell)
        self._wait_idle(sent, f"the click on {label!r}", timeout_s)
        return sent

    def type(self, label: str, text: str, *, subshell: str | None = None, timeout_s: float = PATIENCE_S) -> None:
        """Type `text` key by key: as ipywidgets does, each next one is sent only after the kernel was idle for the last."""
        widget = self.field(label, timeout_s)
        for end in range(1, len(text) + 1):
            update = {"method": "update", "state": {"value": text[:end]}, "buffer_paths": []}
            sent = self.tell(widget, update, subshell=subshell)
            widget.state["value"] = text[:end]
            self._wait_idle(sent, f"typing {text[:end]!r}", timeout_s)

    def _wait_idle(self, sent: str, what: str, timeout_s: float) -> None:
        self.wait_until(lambda: sent in self.idle_for, f"idle after {what}", timeout_s)

    def subshell(self) -> str | None:
        """Make a subshell and return its id; None where the kernel has none (ipykernel 6)."""
        info = self.ask("kernel_info_request", {}, channel="control")
        if "kernel subshells" not in info["content"].get("supported_features", []):
            return None
        return str(self.ask("create_subshell_request", {}, channel="control")["content"]["subshell_id"])

    @property
    def pid(self) -> int:
        provisioner: Any = self.manager.provisioner
        return int(provisioner.process.pid)

    def interrupt(self, *, message: bool = False) -> None:
        """Press the stop button: a SIGINT to the kernel's process group, or an interrupt_request."""
        if message:
            self.ask("interrupt_request", {}, channel="control")
        else:
            self.manager.interrupt_kernel()

    def kill(self) -> None:
        """Kill -9, and wait until it is dead."""
        os.kill(self.pid, signal.SIGKILL)
        provisioner: Any = self.manager.provisioner
        provisioner.process.wait()

    def restart(self) -> None:
        """Kill the kernel and begin with a new one in the same folder; cells and widgets are forgotten."""
        self.close()
        self._begin()

    def close(self) -> None:
        """End the kernel at once."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def wait_until(self, true: Callable[[], bool], what: str, timeout_s: float = PATIENCE_S) -> None:
        """Read what the kernel sends until `true`; fail with what was seen when it takes longer than `timeout_s`."""
        end = time.monotonic() + timeout_s
        while not true():
            if time.monotonic() > end:
                seen = "\n".join(f"--- {cell.code[:60]!r}: {cell.status}\n{cell.text}" for cell in self.cells.values())
                raise TimeoutError(f"no {what} within {timeout_s} s; outputs:\n{seen}")
            assert self.manager.is_alive(), f"the kernel died while waiting for {what}"
            self.read(0.05)

    def read(self, timeout_s: float = 0.0) -> None:
        """Take what the kernel sent so far; wait up to `timeout_s` for the first."""
        for channel, hear in (("iopub", self._hear), ("shell", self._note_reply), ("control", self._note_reply)):
            take = getattr(self.client, f"get_{channel}_msg")
            wait_s = timeout_s if channel == "iopub" else 0.0
            with suppress(queue.Empty):
                hear(take(timeout=wait_s))
                while True:
                    hear(take(timeout=0.0))

    def _note_reply(self, message: Message) -> None:
        parent = message["parent_header"].get("msg_id", "")
        self.replies[parent] = message
        if parent in self.cells:
            self.cells[parent].reply = message

    def _hear(self, message: Message) -> None:
        kind, content = message["msg_type"], message["content"]
        parent = message["parent_header"].get("msg_id", "")
        cell = self.cells.get(parent)
        self.heard.append(message)
        if cell is not None:
            cell.published.append(message)
        if kind == "status":
            self.statuses.append((content["execution_state"], parent))
            if content["execution_state"] == "idle":
                self.idle_for.add(parent)
                if cell is not None:
                    cell.idle = True
        elif kind.startswith("comm_"):
            self._hear_comm(kind, content, parent)
        elif kind == "update_display_data":
            self._update_displays(content)
        elif cell is not None:
            _add_output(cell, kind, content)

    def _hear_comm(self, kind: str, content: dict[str, Any], parent: str) -> None:
        comm, data = content["comm_id"], content.get("data", {})
        if kind == "comm_open":
            self.widgets[comm] = Widget(comm, dict(data.get("state", {})), parent)
        elif kind == "comm_close":
            self.widgets.pop(comm, None)
        elif comm in self.widgets and data.get("method") == "update":
            self.widgets[comm].state.update(data.get("state", {}))

    def _update_displays(self, content: dict[str, Any]) -> None:
        for cell in self.cells.values():
            for output in cell.outputs:
                if self.ignores_late_updates and cell.done:
                    continue
                if output.display_id and output.display_id == content["transient"].get("display_id"):
                    output.data = content["data"]


def _add_output(cell: Cell, kind: str, content: dict[str, Any]) -> None:
    """Do with an output message what a front end does."""
    if kind == "clear_output":
        cell.clears = bool(content["wait"])
        if not cell.clears:
            cell.outputs.clear()
        return
    if kind not in {"stream", "display_data", "execute_result", "error"}:
        return
    if cell.clears:
        cell.outputs.clear()
        cell.clears = False
    last = cell.outputs[-1] if cell.outputs else None
    match kind:
        case "stream" if last is not None and last.name == content["name"]:
            last.data["text/plain"] += content["text"]
        case "stream":
            cell.outputs.append(Output(kind, {"text/plain": content["text"]}, content["name"]))
        case "error":
            cell.outputs.append(Output(kind, content))
        case _:
            shown = content.get("transient", {}).get("display_id", "")
            cell.outputs.append(Output(kind, content["data"], display_id=shown))


def _referred(value: Any) -> list[str]:
    """Return the ids of the models that a container's `children` name."""
    return [item.removeprefix("IPY_MODEL_") for item in value if isinstance(item, str)]


@contextmanager
def kernel(cwd: Path | None = None, *, python: str = "", **environment: str) -> Iterator[Kernel]:
    """Start a kernel and end it at last.

    Args:
        cwd: Its working directory; the repository where None.
        python: The interpreter; empty: FLOWNB_KERNEL_PYTHON, else this one.
        environment: Variables set for it, as `JPY_SESSION_NAME="/home/ana/nb.ipynb"`.
    """
    started = Kernel(python or os.environ.get("FLOWNB_KERNEL_PYTHON", "") or sys.executable, cwd, environment)
    try:
        yield started
    finally:
        started.close()
