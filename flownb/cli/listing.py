"""The command that lists the kinds of node that there are."""

from __future__ import annotations

from collections.abc import Sequence

import click
from pydantic import JsonValue

from flownb.runtimes.listing import ListedRuntime, list_runtimes
from flownb.runtimes.registry import load_registry
from flownb.terminal.output import print_result, tell


@click.command("runtimes")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--state", expose_value=False, hidden=True, help="Nothing is kept by this command.")
def show_runtimes(*, as_json: bool) -> int:
    """List the kinds of node that there are: flownb's own, and what other packages bring."""
    registry = load_registry()
    listed = list_runtimes(registry)
    print_result(runtimes_json(listed) if as_json else runtimes_text(listed))
    for problem in registry.problems:
        tell(problem)
    return 0


def runtimes_text(listed: Sequence[ListedRuntime]) -> str:
    """Return one line for each kind: its words, the package that brings it, and what it lacks."""
    words = [f"{each.name} ({', '.join(each.aliases)})" if each.aliases else each.name for each in listed]
    width = max(map(len, words), default=0)
    return "\n".join(f"{word:{width}}  {_told(each)}" for word, each in zip(words, listed, strict=True))


def runtimes_json(listed: Sequence[ListedRuntime]) -> list[dict[str, JsonValue]]:
    """Return name, aliases, package, extra, whether that is optional and installed, and what is missing, for each kind."""
    return [
        {
            "name": each.name,
            "aliases": list(each.aliases),
            "from": each.source,
            "extra": each.extra or None,
            "optional": each.is_optional,
            "installed": not each.missing,
            "missing": list(each.missing),
        }
        for each in listed
    ]


def _told(each: ListedRuntime) -> str:
    if not each.extra:
        return each.source
    use = "tables need" if each.is_optional else "needs"
    state = f"not installed: {', '.join(each.missing)}" if each.missing else "installed"
    return f"{each.source}, {use} flownb[{each.extra}] ({state})"
