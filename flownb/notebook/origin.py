"""Where a cell runs: in which notebook, beside which folder, and whether anyone can click there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from flownb.store.paths import state_folder_in

_CONSOLES: Final = frozenset({"jupyter-console", "jupyter_console", "jupyter-qtconsole", "qtconsole"})
"""Commands and modules of the consoles that start kernels."""
_MOST_WORDS: Final = 4
"""`python -m jupyter_console` and `python …/bin/jupyter-console` name it among their first words."""

_PAPERMILL: Final = ("PAPERMILL_OUTPUT_PATH", "PAPERMILL_INPUT_PATH")
"""What `papermill --inject-paths` sets; the output is the notebook that holds the run."""


class Surface(StrEnum):
    """Who can answer a question that a cell asks."""

    BUTTONS = "buttons"
    """A front end with a person before it, or a kernel that does not say."""
    TERMINAL = "terminal"
    """IPython on a terminal: ask there."""
    CONSOLE = "console"
    """`jupyter console` or the Qt console: a kernel whose front end shows text only; ask by `input()`."""
    NOBODY = "nobody"
    """nbclient, papermill, `jupyter execute`, a pipe: no one will answer."""


def surface(shell: object) -> Surface:
    """Return who can answer a question of the cell that runs now.

    The sign is whether `input()` would work: nbclient and its kin say no in the request, front ends say yes.

    Args:
        shell: IPython's shell; None outside of IPython.
    """
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return Surface.TERMINAL if sys.stdin is not None and sys.stdin.isatty() else Surface.NOBODY
    said = [
        answer for answer in (getattr(kernel, "_allow_stdin", None), _stdin_in_request(kernel)) if answer is not None
    ]
    if said and not any(said):
        return Surface.NOBODY
    return Surface.CONSOLE if _is_of_console(os.getppid()) else Surface.BUTTONS


@lru_cache(maxsize=1)
def _is_of_console(parent: int) -> bool:
    """Return whether the process that started this kernel is a console: nothing in its messages says so."""
    return any(Path(word).name in _CONSOLES for word in _command_of(parent)[:_MOST_WORDS])


def _command_of(process: int) -> list[str]:
    """Return the words of a process's command; none where it cannot be found out."""
    try:
        return [part.decode(errors="replace") for part in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")]
    except OSError:
        pass
    try:  # Without /proc, as on macOS.
        listed = subprocess.run(
            ["ps", "-o", "args=", "-p", str(process)], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return listed.stdout.split()


def _stdin_in_request(kernel: Any) -> bool | None:  # Any: every kernel differs
    """Return `allow_stdin` of the request that runs the cell; None where it does not say."""
    try:
        content = kernel.get_parent("shell")["content"]
    except (AttributeError, KeyError, LookupError, TypeError):
        return None
    allowed = content.get("allow_stdin") if isinstance(content, Mapping) else None
    return allowed if isinstance(allowed, bool) else None


def notebook_path(shell: object) -> Path | None:
    """Return the notebook that the cell stands in, as an absolute path; None where that is not known or it is no file.

    A notebook that was renamed keeps its old name until the kernel restarts, and gives None.

    Args:
        shell: IPython's shell; None outside of IPython.
    """
    return next((path for path in _candidates(shell) if path.is_file()), None)


def _candidates(shell: object) -> Iterator[Path]:
    """Yield the absolute paths that front ends name as the notebook, the surest first; they need not exist."""
    names = getattr(shell, "user_ns", {})
    said = [names.get(name) for name in ("__vsc_ipynb_file__", *_PAPERMILL)]
    # Whatever a kernel starts inherits the variable. Jupyter's server sets it, and there someone can click.
    if getattr(shell, "kernel", None) is not None and surface(shell) is Surface.BUTTONS:
        said.append(os.environ.get("JPY_SESSION_NAME"))
    for text in said:
        if isinstance(text, str) and text.endswith(".ipynb") and "://" not in text:
            yield Path(text).absolute()


def state_folder(shell: object, configured: str | None) -> Path:
    """Return the absolute folder that runs are kept in; it need not exist.

    Args:
        shell: IPython's shell; None outside of IPython.
        configured: `%config Flow.state_dir`; None or empty where it is not set. Next comes the variable
            FLOWNB_STATE_DIR, then `.flownb` beside the notebook, then `.flownb` in the working directory.
    """
    chosen = configured or os.environ.get("FLOWNB_STATE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    beside = next((path.parent for path in _candidates(shell) if path.parent.is_dir()), Path.cwd())
    return state_folder_in(beside)
