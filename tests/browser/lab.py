"""A real JupyterLab server on this machine, and the processes of its kernels."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import psutil

ROOT: Final = Path(__file__).parents[2]
START_S: Final = 60.0
"""How long the server may take to answer."""

SETTINGS: Final = {
    # Every cell stays in the page, also one that is scrolled away.
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    # No request leaves this machine, and nothing pops up over the notebook.
    "@jupyterlab/apputils-extension/notification": {
        "checkForUpdates": False,
        "doNotDisturbMode": True,
        "fetchNews": "false",
    },
}
"""JupyterLab's plug-in → its settings."""


def free_port() -> int:
    """Return a loopback port that nobody listened on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Lab:
    """A JupyterLab server with folders of its own, which ends with the `with` block."""

    folder: Path
    """Where all that it writes goes; notebooks are in `folder/work`."""
    port: int = field(default_factory=free_port)
    """Where it listens, on loopback only."""
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    """What a request must show."""
    process: subprocess.Popen[bytes] | None = None
    """The server; None before and after the `with` block."""

    @property
    def work(self) -> Path:
        """The folder that JupyterLab shows."""
        return self.folder / "work"

    @property
    def log(self) -> Path:
        """What the server and its kernels printed."""
        return self.folder / "server.log"

    def url(self, notebook: str) -> str:
        """Return the address that opens a notebook in a fresh workspace."""
        return f"http://127.0.0.1:{self.port}/lab/tree/{urllib.parse.quote(notebook)}?reset&token={self.token}"

    def write_notebook(self, name: str, cells: list[str]) -> Path:
        """Write a notebook of code cells into the server's folder."""
        kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
        code: list[dict[str, object]] = [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {},
                "execution_count": None,
                "outputs": [],
                "source": cell,
            }
            for number, cell in enumerate(cells)
        ]
        notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": kernel}, "cells": code}
        path = self.work / name
        path.write_text(json.dumps(notebook, indent=1), encoding="utf-8")
        return path

    def kernel_pid(self, notebook: str) -> int:
        """Return the process that runs a notebook's kernel: the server's child that has its connection file."""
        assert self.process is not None
        sessions = self._get("api/sessions")
        kernel = next(session["kernel"]["id"] for session in sessions if session["path"] == notebook)
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # It has ended in the meantime.
                if any(kernel in argument for argument in child.cmdline()):
                    return int(child.pid)
        raise LookupError(f"no process of the server has kernel {kernel}")

    def execution_state(self, notebook: str) -> str:
        """Return what the server knows of a notebook's kernel: `idle`, `busy`, `starting`, …; `none` without one."""
        for session in self._get("api/sessions"):
            if session["path"] == notebook and session["kernel"]:
                return str(session["kernel"]["execution_state"])
        return "none"

    def __enter__(self) -> Self:
        """Start the server and wait until it answers."""
        self._write_settings()
        self.work.mkdir(parents=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command(), cwd=self.work, env=self._environment(), stdout=log, stderr=log, start_new_session=True
            )
        self._wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        """End the server with every process that it started."""
        assert self.process is not None
        started = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in started:
            if child.is_running():
                child.kill()
        self.process = None

    def _command(self) -> list[str]:
        return [
            sys.executable,
            "-m",
            "jupyterlab",
            "--no-browser",
            "--allow-root",
            "--ip=127.0.0.1",
            f"--port={self.port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.work}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.extension_manager=readonly",
        ]

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "FLOWNB_", "JPY_"))
        }
        folders = (
            "HOME",
            "IPYTHONDIR",
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
        own = {name: str(self.folder / name.lower()) for name in folders}
        for path in own.values():
            Path(path).mkdir(parents=True, exist_ok=True)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        return (
            inherited
            | own
            | {
                "JUPYTERLAB_SETTINGS_DIR": str(self.folder / "settings"),
                "PYTHONPATH": os.pathsep.join(paths),
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            }
        )

    def _write_settings(self) -> None:
        for plugin, values in SETTINGS.items():
            path = self.folder / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")

    def _wait_until_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                self._get("api/status")
            except (ConnectionError, RuntimeError):
                time.sleep(0.1)
            else:
                return
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text(encoding='utf-8')}")

    def _get(self, path: str) -> Any:  # The server's JSON, of any shape.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"/{path}", headers={"Authorization": f"token {self.token}"})
            answer = connection.getresponse()
            body = answer.read()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{path}: {answer.status} {body!r}")
        return json.loads(body)
