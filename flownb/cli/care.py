"""The command line: keep the state folder in order."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from flownb.care.doctor import examine, is_something
from flownb.care.schema_text import NAMES, schema_text
from flownb.care.sweep import read_rule, sweep
from flownb.care.told import Tally, findings_text
from flownb.cli.options import ignoring_state, with_json, with_state
from flownb.runs.session import utc_now
from flownb.store.naming import short_path
from flownb.store.paths import state_folder_in
from flownb.terminal.output import print_result, say


@click.command("gc")
@click.option("--keep", type=click.IntRange(min=0), metavar="N", help="Keep the newest N of each workflow.")
@click.option("--older", metavar="AGE", help="Only runs that ended longer ago, as 30d or 12h.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@with_state
def gc(*, keep: int | None, older: str | None, dry_run: bool, state: Path | None) -> int:
    """Delete runs that ended, and files that nothing needs; without --keep and --older only such files.

    Runs that go on, wait or were interrupted are never touched. As in: flownb gc --keep 20 --older 30d
    """
    root = state or state_folder_in()
    tally = Tally(short_path(root), dry_run)
    for swept in sweep(root, read_rule(keep, older), utc_now(), dry_run=dry_run):
        line = tally.take(swept)
        if swept.left:
            say(f"warning: {line}")
        elif line:
            print_result(line)
    print_result(tally.total())
    return 1 if tally.failures else 0


@click.command("doctor")
@click.argument("path", type=click.Path(path_type=Path), default=".")
@with_json
@with_state
def doctor(*, path: Path, as_json: bool, state: Path | None) -> int:
    """Look for what is wrong with PATH: a folder and those below it, a notebook or a .flow.md (default: this folder).

    Values of secrets in notebooks and state folders, damaged runs, what died processes left, files open to others, runs
    that wait or were interrupted, and what is large. Nothing is changed. Exits with 1 where anything is found.
    """
    found = list(examine(path, state, os.environ))
    print_result([finding.as_json() for finding in found] if as_json else findings_text(found))
    return 1 if is_something(found) else 0


@click.command("schema")
@click.argument("name", type=click.Choice(NAMES), required=False)
@ignoring_state
def schema(*, name: str | None) -> int:
    """Print a JSON Schema: of the state file, a line of the journal, a decision, front matter or a property list."""
    if name is not None:
        print_result(schema_text(name))
        return 0
    width = max(map(len, NAMES))
    for each in NAMES:
        known = json.loads(schema_text(each))
        print_result(f"{each.ljust(width)}  {known['$id']}  {known['title']}")
    return 0
