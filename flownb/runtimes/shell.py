"""Bash scripts: each in a group of its own, which is gone when the node is done."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, cast

from flownb.errors import CommandError, NodeError
from flownb.expressions import Target, render
from flownb.model.nodes import Leaf, ShellNode, ShellOutput
from flownb.runtimes.base import Scope
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.runtimes.output import redacted
from flownb.runtimes.process import Output, finish, start

KILL_AFTER: Final = 2.0
"""Seconds from SIGTERM to SIGKILL."""
_LONGEST: Final = 500
_SIGNALLED: Final = 128
_NOT_FOUND: Final = 127


class ShellRuntime:
    """Runs `bash` nodes.

    A script's standard input is empty. When bash has ended, whatever it left running in its process group is ended
    too: a finished node leaves nothing behind (a script that wants that starts it with `setsid`). Nothing at all is left
    of a script that was stopped, or whose runner was killed. The script reaches
    bash through memory: it may be of any size, and neither it nor the values in it show in the list of processes.
    """

    def __init__(self, kill_after: float = KILL_AFTER) -> None:
        """Say how patient it is.

        Args:
            kill_after: Seconds from SIGTERM to SIGKILL.
        """
        self._kill_after = kill_after

    async def run(self, node: Leaf, scope: Scope) -> object:
        """Run the script and return what it printed to its standard output.

        Cancelling sends SIGTERM to all of its processes, then SIGKILL, and waits until they are gone.

        Raises:
            CommandError: It ended with another code than 0, or by a signal.
            NodeError: It could not be started, or did not print what `output` says.
        """
        shell = cast("ShellNode", node)  # The registry hands over no other kind.
        script = str(render(shell.body, scope.values, Target.SHELL))
        environment = {name: str(render(text, scope.values)) for name, text in shell.env.items()}
        folder = _folder(shell, scope)
        show = redacted(scope)
        with _script_file(script) as file:
            path = f"/dev/fd/{file}"
            stdout, stderr = Output("stdout", show), Output("stderr", show, _naming(path, shell, script))
            arguments = ("bash", "-euo", "pipefail", path)
            try:
                process = start(
                    arguments, folder, {**scope.environment, **environment}, file, self._kill_after, scope.held
                )
            except FileNotFoundError as error:
                raise NodeError("bash was not found", "install bash, or put its folder on PATH") from error
        code = await finish(process, stdout, stderr, self._kill_after)
        if code:
            raise _failure(code, scope.redactor.text(stderr.last_line()))
        return _value(stdout.whole(), shell.output)


def _folder(node: ShellNode, scope: Scope) -> Path:
    if node.cwd is None:
        return scope.folder
    folder = scope.folder / str(render(node.cwd, scope.values))
    if not folder.is_dir():
        raise NodeError(f"`cwd`: there is no folder {scope.redactor.text(str(folder))}")
    return folder


@contextmanager
def _script_file(script: str) -> Iterator[int]:
    """Yield the number of an open file that holds the script and has no name: it ends with those that have it open."""
    data = script.encode("utf-8", "surrogateescape")
    with os.fdopen(os.memfd_create("flownb"), "wb") if hasattr(os, "memfd_create") else TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file.fileno()


def _naming(path: str, node: ShellNode, script: str) -> Callable[[str], str]:
    """Return what puts the person's own place where bash names the script's file and line: `In[7]:12: …`."""
    place = node.spans.get("body", node.span)
    known = script.count("\n") == node.body.count("\n")  # Else a template made lines, and bash counts those.
    pattern = re.compile(rf"^{re.escape(path)}: line (\d+):", re.MULTILINE)

    def own_place(match: re.Match[str]) -> str:
        line = int(match[1])
        return f"{place.source}:{place.line + line - 1}:" if known else f"{place.source}: line {line} of the script:"

    return lambda text: pattern.sub(own_place, text) if path in text else text


def _failure(code: int, last_line: str) -> CommandError:
    number = -code if code < 0 else code - _SIGNALLED
    name = ""
    with suppress(ValueError):
        name = signal.Signals(number).name
    suffix = f" ({name})" if name else ""
    ended = f"exit code {code}{suffix}" if code >= 0 else f"killed by {name or f'signal {number}'}"
    hint = ""
    if code == _NOT_FOUND:
        hint = "install the command, or put its folder on PATH"
    elif number == signal.SIGPIPE:
        hint = "a command wrote to one that had ended, as in `… | head`: write `… | { head; cat > /dev/null; }`"
    elif not last_line and not name:
        hint = "a command failed without a word, and the script stops at the first that does (`set -euo pipefail`)"
    said = last_line if len(last_line) <= _LONGEST else last_line[: _LONGEST - 1] + "…"
    return CommandError(f"{ended}: {said}" if said else ended, hint, code)


def _value(text: str, output: ShellOutput) -> object:
    if text.endswith("\n"):
        text = text[:-1].removesuffix("\r")
    match output:
        case ShellOutput.TEXT:
            return text
        case ShellOutput.LINES:
            return [line.removesuffix("\r") for line in text.split("\n")] if text else []
        case ShellOutput.JSON:
            try:
                return load_json(text)
            except JsonTextError as error:
                where = f" in line {error.line}" if error.line else ""
                raise NodeError(f"`output: json`: what was printed is no JSON: {error}{where}") from None
