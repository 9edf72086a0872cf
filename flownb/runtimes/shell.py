"""Bash scripts: each in a group of its own, which is gone when the node is done."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, cast

from flownb.errors import CommandError, NodeError
from flownb.model.nodes import Leaf, ShellNode, ShellOutput
from flownb.runtimes.base import Scope
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.runtimes.output import redacted
from flownb.runtimes.process import Output, finish, start
from flownb.templates.expressions import Script, render, render_script, shown_insertion
from flownb.templates.shell.variables import without_variables

KILL_AFTER: Final = 2.0
"""Seconds from SIGTERM to SIGKILL."""
_LONGEST: Final = 500
_SIGNALLED: Final = 128
_NOT_FOUND: Final = 127


class ShellRuntime:
    """Runs `bash` nodes.

    A script's standard input is empty. When bash has ended, whatever it left running in its process group is ended
    too: a finished node leaves nothing behind (a script that wants that starts it with `setsid`). Nothing at all is left
    of a script that was stopped, or whose runner was killed. The script and the values in it reach bash through memory,
    each through a file of its own that has no name: they may be of any size, and neither shows in the list of processes.
    A value is a variable that is not exported: no command that the script starts inherits it, nor the open file, which is
    closed before the first line runs.
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
        script = render_script(shell.body, scope.values)
        environment = {name: str(render(text, scope.values)) for name, text in shell.env.items()}
        folder = _folder(shell, scope)
        show = redacted(scope)
        with ExitStack() as files:
            values = [files.enter_context(_file(_values(script)))] if script.variables else []
            prelude = _prelude(script, *values) if values else ""
            file = files.enter_context(_file((prelude + script.text).encode("utf-8", "surrogateescape")))
            path = f"/dev/fd/{file}"
            stdout, stderr = Output("stdout", show), Output("stderr", show, _naming(path, shell, script, prelude))
            arguments = ("bash", "-euo", "pipefail", path)
            try:
                whole = {**_inherited(shell, scope), **environment}
                process = start(arguments, folder, whole, (file, *values), self._kill_after, scope.held)
            except FileNotFoundError as error:
                raise NodeError("bash was not found", "install bash, or put its folder on PATH") from error
        try:
            code = await finish(process, stdout, stderr, self._kill_after)
        finally:
            show.end()
        if code:
            raise _failure(code, scope.redactor.text(stderr.last_line()))
        return _value(stdout.whole(), shell.output)


def _inherited(node: ShellNode, scope: Scope) -> dict[str, str]:
    """Return the process environment without the variables of secrets that the script does not name."""
    words = set(re.findall(r"\w+", node.body))
    return {name: value for name, value in scope.environment.items() if name not in scope.secrets or name in words}


def _folder(node: ShellNode, scope: Scope) -> Path:
    if node.cwd is None:
        return scope.folder
    folder = scope.folder / str(render(node.cwd, scope.values))
    if not folder.is_dir():
        raise NodeError(f"`cwd`: there is no folder {scope.redactor.text(str(folder))}")
    return folder


@contextmanager
def _file(data: bytes) -> Iterator[int]:
    """Yield the number of an open file that holds data and has no name: it ends with those that have it open."""
    with os.fdopen(os.memfd_create("flownb"), "wb") if hasattr(os, "memfd_create") else TemporaryFile() as file:
        file.write(data)
        file.flush()
        file.seek(0)
        yield file.fileno()


def _values(script: Script) -> bytes:
    """Return what a script's variables hold, a NUL behind each text."""
    texts = [f"{item}\0" for variable in script.variables for item in variable.items]
    return "".join(texts).encode("utf-8", "surrogateescape")


def _prelude(script: Script, values: int) -> str:
    """Return what gives a script its variables.

    It stands in the script's first line, so that lines keep their numbers. Arrays, which is what `mapfile` makes, are never
    exported, not by `set -a` either. What `set -x` in the environment would print of it is dropped.

    Args:
        script: The script.
        values: The number of the open file that holds the values.
    """
    readers = [
        f'mapfile -d "" -t -n {len(variable.items)} -u {values} {variable.name}'
        if variable.items
        else f"{variable.name}=()"
        for variable in script.variables
    ]
    failed = "{ echo 'flownb needs bash 4.4 or later' >&2; exit 2; }"
    return f"{{ {' && '.join(readers)} && exec {values}<&-; }} 2>/dev/null || {failed}; "


def _naming(path: str, node: ShellNode, script: Script, prelude: str) -> Callable[[str], str]:
    """Return what puts the person's own words where bash names the script's file and line, or flownb's variables: `In[7]:12: …`."""
    place = node.spans.get("body", node.span)
    known = script.text.count("\n") == node.body.count("\n")  # Else a template made lines, and bash counts those.
    pattern = re.compile(rf"^{re.escape(path)}: line (\d+):", re.MULTILINE)

    def own_place(match: re.Match[str]) -> str:
        line = int(match[1])
        return f"{place.source}:{place.line + line - 1}:" if known else f"{place.source}: line {line} of the script:"

    def shown(number: int) -> str:
        offset = script.variables[number - 1].offset if number <= len(script.variables) else 0
        return shown_insertion(node.body, offset)

    def own_words(text: str) -> str:
        text = pattern.sub(own_place, text) if path in text else text
        return without_variables(text.replace(prelude, "") if prelude else text, shown)

    return own_words


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
