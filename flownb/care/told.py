"""What was found and what was deleted, as lines of text for terminal and notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from flownb.care.finding import Finding, Level
from flownb.care.sweep import Swept
from flownb.store.removal import Size

MOST_LINES: Final = 50
"""Most lines of one kind; how many there are is said in the last."""
_THOUSAND: Final = 1000


def size_text(size_bytes: int) -> str:
    """Return a size as `3.4 MB`, in powers of 1,000."""
    amount, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < _THOUSAND:
            break
        amount, unit = amount / _THOUSAND, larger
    return f"{size_bytes} byte{'s' * (size_bytes != 1)}" if unit == "bytes" else f"{amount:.1f} {unit}"


def swept_line(swept: Swept) -> str:
    """Return what one thing was that is gone, or why it is not."""
    if swept.left:
        return f"{swept.place}: {swept.left}"
    return f"{swept.place}  {swept.what}  {_files(swept.size.files)}  {size_text(swept.size.size_bytes)}"


def sum_line(gone: Sequence[Swept], root: str, *, dry_run: bool) -> str:
    """Return how much was freed in a state folder, or would be; first how many lines were left out.

    Args:
        gone: All that is gone.
        root: The state folder, as it is shown.
        dry_run: Whether nothing was deleted.
    """
    size = sum((swept.size for swept in gone), Size())
    runs = sum(swept.is_run for swept in gone)
    head = f"… and {len(gone) - MOST_LINES:,} more\n" if len(gone) > MOST_LINES else ""
    verb = "would free" if dry_run else "freed"
    told = f"{runs:,} run{'s' * (runs != 1)}, {_files(size.files)}, {size_text(size.size_bytes)}"
    return f"{head}{verb} in {root}: {told if gone else 'nothing'}"


def _files(count: int) -> str:
    return f"{count:,} file{'s' * (count != 1)}"


def finding_text(finding: Finding) -> str:
    """Return one finding, its hint on lines of its own."""
    size = f", {size_text(finding.size_bytes)}" if finding.size_bytes is not None else ""
    place = f"{finding.place}: " if finding.place else ""
    hint = finding.hint.replace("\n", "\n      ")
    return f"{place}{finding.level}[{finding.check}]: {finding.message}{size}" + (f"\nhint: {hint}" if hint else "")


def findings_text(findings: Sequence[Finding]) -> str:
    """Return findings as text, of each check at most 50, and how many there are."""
    shown: list[str] = []
    counts = Counter(finding.check for finding in findings)
    told: Counter[str] = Counter()
    for finding in findings:
        told[finding.check] += 1
        if told[finding.check] <= MOST_LINES:
            shown.append(finding_text(finding))
        elif told[finding.check] == counts[finding.check]:
            shown.append(f"… and {counts[finding.check] - MOST_LINES:,} more [{finding.check}]; --json lists all")
    levels = Counter(finding.level for finding in findings)
    parts = [
        f"{levels[level]:,} {level}{'s' * (levels[level] != 1)}"
        for level in Level
        if level is not Level.NOTE and levels[level]
    ]
    return "\n".join([*shown, ", ".join(parts) or "nothing found"])
