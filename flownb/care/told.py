"""What was found and what was deleted, as lines of text for terminal and notebook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class Tally:
    """Adds up what is swept, and says what of it is shown: at most 50 lines."""

    root: str
    """The state folder, as it is shown."""
    dry_run: bool
    """Whether nothing is deleted."""
    runs: int = 0
    """How many runs are gone."""
    things: int = 0
    """How many things are gone: runs, and what was not whole or not named."""
    size: Size = field(default_factory=Size)
    """What they held."""
    failures: int = 0
    """How many things could not be deleted."""

    def take(self, swept: Swept) -> str:
        """Return the line for one thing; empty where enough was shown."""
        if swept.left:
            self.failures += swept.is_failure
            return f"left: {swept.place}: {swept.left}"
        self.things += 1
        self.runs += swept.is_run
        self.size += swept.size
        size = size_text(swept.size.size_bytes)
        return f"{swept.place}  {swept.what}  {_files(swept.size.files)}  {size}" if self.things <= MOST_LINES else ""

    def total(self) -> str:
        """Return what was freed, or would be; before it, how many lines were left out."""
        more = self.things - MOST_LINES
        head = f"… and {more:,} more\n" if more > 0 else ""
        verb = "would free" if self.dry_run else "freed"
        told = (
            f"{self.runs:,} run{'s' * (self.runs != 1)}, {_files(self.size.files)}, {size_text(self.size.size_bytes)}"
        )
        return f"{head}{verb} in {self.root}: {told if self.things else 'nothing'}"


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
