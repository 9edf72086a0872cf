"""The command line: keep the state folder in order."""

from __future__ import annotations

from pathlib import Path

import click

from flownb.care.sweep import Rule, Swept, sweep
from flownb.care.told import MOST_LINES, sum_line, swept_line
from flownb.cli.options import with_state
from flownb.errors import FlowInputError
from flownb.model.policy import parse_duration
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
    rule = Rule(keep, _age(older))
    gone: list[Swept] = []
    left = 0
    for swept in sweep(root, rule, utc_now(), dry_run=dry_run):
        if swept.left:
            left += swept.is_failure
            say(f"warning: left: {swept_line(swept)}")
            continue
        gone.append(swept)
        if len(gone) <= MOST_LINES:
            print_result(swept_line(swept))
    print_result(sum_line(gone, short_path(root), dry_run=dry_run))
    return 1 if left else 0


def _age(text: str | None) -> float | None:
    """Return an age in seconds."""
    try:
        return None if text is None else parse_duration(text)
    except ValueError as error:
        raise FlowInputError(f"--older {text}: {error}", "as in: --older 30d") from None
