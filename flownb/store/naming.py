"""How the place of a run is told to a person."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from flownb.store.paths import RunPaths, state_folder_in


def short_path(path: Path) -> str:
    """Return a path as it is shown: relative where it lies below the working directory."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def state_option(paths: RunPaths) -> str:
    """Return the option that a later command needs to find a run; empty where its default does."""
    if paths.root.resolve() == state_folder_in().resolve():
        return ""
    return f" --state {shlex.quote(short_path(paths.root))}"
