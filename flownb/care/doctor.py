"""Runs the checks, and lets no secret's value out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flownb.care.checks import CHECKS, Check
from flownb.care.finding import Finding, Level
from flownb.care.site import look_round
from flownb.secrets import Redactor


def examine(
    place: Path, state: Path | None, environment: Mapping[str, str], checks: Sequence[Check] = CHECKS
) -> Iterator[Finding]:
    """Give what the checks find, in their order. Blocks; it writes nothing, and its memory does not grow with the files.

    Args:
        place: A folder, a state folder or a document, as `look_round` takes it.
        state: One more state folder; None: there is none.
        environment: Variable → value: the values of secrets are looked up there.
        checks: What is looked for.

    Raises:
        FlowInputError: There is nothing to check at `place`.
    """
    site = look_round(place, state, environment)
    # Names of files and messages about damaged ones may hold a value too.
    redactor = Redactor(environment.get(name, "") for name in site.secrets)
    for check in checks:
        for finding in check(site):
            place_told, message, hint = map(redactor.text, (finding.place, finding.message, finding.hint))
            yield replace(finding, place=place_told, message=message, hint=hint)


def is_something(findings: Sequence[Finding]) -> bool:
    """Return whether anything was found that a person should know of; notes are not."""
    return any(finding.level is not Level.NOTE for finding in findings)
