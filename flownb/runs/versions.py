"""The versions of Python and of what bodies import: noted with each run, named where they changed, never a reason to run again."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from flownb.model.nodes import BodyKind, Leaf, walk
from flownb.model.workflow import Workflow
from flownb.plan.imports import imported


def versions_of(workflow: Workflow, folder: Path) -> dict[str, str]:
    """Return `Python` and each package that a body imports → version; not of the standard library, nor of modules in the folder."""
    found = {"Python": platform.python_version()}
    for name in sorted(_imported(workflow) - sys.stdlib_module_names):
        is_local = (folder / f"{name}.py").is_file() or (folder / name).is_dir()
        version = None if is_local else _version(name)
        if version:
            found[name] = version
    return found


def other_versions(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what has another version than before, as `pandas 3.0 (was 2.2)`."""
    return ", ".join(f"{name} {now[name]} (was {was})" for name, was in before.items() if now.get(name, was) != was)


def _imported(workflow: Workflow) -> set[str]:
    names: set[str] = set()
    for node in walk(workflow.nodes):
        if isinstance(node, Leaf) and node.BODY is BodyKind.PYTHON:
            names.update(imported(node.body))
    for other in workflow.subflows.values():
        names |= _imported(other)
    return names


@lru_cache(maxsize=256)
def _version(name: str) -> str | None:
    """Return the version of the package that a module belongs to; None where none is installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        packages = _packages().get(name, ())
        return metadata.version(packages[0]) if packages else None


@lru_cache(maxsize=1)
def _packages() -> Mapping[str, list[str]]:
    """Return module → packages; slow, so looked at only for a module that is not called as its package, as `yaml`."""
    return metadata.packages_distributions()
