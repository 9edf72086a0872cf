"""A real PostgreSQL of Debian's packages: a cluster of its own on a free port of loopback, run by an unprivileged user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Final

USER: Final = "postgres"
PASSWORD: Final = "s3cr3t-of-the-cluster"


def binaries() -> Path:
    """Return the folder of the newest server there is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "no PostgreSQL: .ci/system postgresql"
    return found[-1]


def _as_user() -> list[str]:
    """Return what a command begins with, so that no server is run by root, which it would refuse."""
    if os.getuid():
        return []
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups"]


class Postgres:
    """One cluster."""

    def __init__(self) -> None:
        """Make it and start its server."""
        self.folder = Path(tempfile.mkdtemp(prefix="flownb-postgres-"))
        if not os.getuid():
            os.chown(self.folder, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        word = self.folder / "password"
        word.write_text(PASSWORD)
        word.chmod(0o644)
        self._run("initdb", "-D", self.data, "-U", USER, "-A", "scram-sha-256", f"--pwfile={word}", "-E", "UTF8", "-N")
        self.start()

    @property
    def data(self) -> str:
        """Where it keeps its files."""
        return str(self.folder / "data")

    @property
    def url(self) -> str:
        """How SQLAlchemy finds it."""
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -F"
        self._run("pg_ctl", "-D", self.data, "-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server: `immediate` cuts every connection, as a crash does."""
        self._run("pg_ctl", "-D", self.data, "-w", "-m", mode, "stop")

    def close(self) -> None:
        """Stop it for good and take its files away."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*_as_user(), str(binaries() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            check=False,
            text=True,
        )
        assert not done.returncode, done.stderr
