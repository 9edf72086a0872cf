"""Dependable workflows in Jupyter notebooks, written as Markdown."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from flownb.api import parse, resume, run, run_async, runs, show, validate
    from flownb.errors import Diagnostic as Problem
    from flownb.errors import FlowError, FlowInputError, FlowRunError, FlowStateError, FlowSyntaxError
    from flownb.model.decision import Decision
    from flownb.runs.run import Run

__version__ = "0.1.0"

__all__ = [
    "Decision",
    "FlowError",
    "FlowInputError",
    "FlowRunError",
    "FlowStateError",
    "FlowSyntaxError",
    "Problem",
    "Run",
    "parse",
    "resume",
    "run",
    "run_async",
    "runs",
    "show",
    "validate",
]

_PLACES: Final = {
    "Decision": "flownb.model.decision:Decision",
    "FlowError": "flownb.errors:FlowError",
    "FlowInputError": "flownb.errors:FlowInputError",
    "FlowRunError": "flownb.errors:FlowRunError",
    "FlowStateError": "flownb.errors:FlowStateError",
    "FlowSyntaxError": "flownb.errors:FlowSyntaxError",
    "Problem": "flownb.errors:Diagnostic",
    "Run": "flownb.runs.run:Run",
    "parse": "flownb.api:parse",
    "resume": "flownb.api:resume",
    "run": "flownb.api:run",
    "run_async": "flownb.api:run_async",
    "runs": "flownb.api:runs",
    "show": "flownb.api:show",
    "validate": "flownb.api:validate",
}
"""Public name → where it is defined: `import flownb` costs nothing, the first use of a name does."""


class _Package(ModuleType):
    """Keeps `flownb.parse` the function, although importing the package of that name would put that in its place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in _PLACES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:  # Any: as many types as there are public names
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'flownb' has no attribute {name!r}")
    module, _, attribute = place.partition(":")
    value = globals()[name] = getattr(import_module(module), attribute)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register flownb's magics: what `%load_ext flownb` calls."""
    from flownb.notebook.magics import load  # noqa: PLC0415 IPython is there only now

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics back: what `%unload_ext flownb` calls."""
    from flownb.notebook.magics import unload  # noqa: PLC0415 IPython is there only now

    unload(shell)
