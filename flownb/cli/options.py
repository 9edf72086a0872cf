"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., object])  # As click writes it: a command may take anything.


def with_state(command: _F) -> _F:
    """Give a command the option `--state`."""
    return click.option(
        "--state",
        type=click.Path(path_type=Path),
        envvar="FLOWNB_STATE_DIR",
        metavar="DIR",
        help="Where runs are kept.",
    )(command)


def ignoring_state(command: _F) -> _F:
    """Let a command that keeps nothing take `--state` all the same."""
    return click.option("--state", expose_value=False, hidden=True, help="Nothing is kept by this command.")(command)


def with_json(command: _F) -> _F:
    """Give a command the option `--json`, as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def with_inputs(command: _F) -> _F:
    """Give a command the option `-i`, as `given`."""
    return click.option(
        "-i", "given", multiple=True, metavar="NAME=VALUE", help="An input; the value is read as YAML. May be repeated."
    )(command)


def with_suspend(command: _F) -> _F:
    """Give a command the option `--suspend`."""
    return click.option("--suspend", is_flag=True, help="At a checkpoint save, say how to go on, and exit with 75.")(
        command
    )
