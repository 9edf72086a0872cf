"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue


class Level(StrEnum):
    """How much a finding matters."""

    PROBLEM = "problem"
    """Something is wrong."""
    TASK = "task"
    """Nothing is wrong, but a person has something to do."""
    NOTE = "note"
    """Good to know; it counts as nothing found."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a check found; it never holds a secret's value."""

    check: str
    """Which check, as `secrets`."""
    level: Level
    """How much it matters."""
    place: str
    """The file, as it is shown, with a line or a cell where there is one; a run as `workflow/run_id`; empty: no place."""
    message: str
    """What was found."""
    hint: str = ""
    """What to do about it; empty where there is nothing to say."""
    size_bytes: int | None = None
    """How large it is; None: that does not matter."""

    def as_json(self) -> dict[str, JsonValue]:
        """Return what `flownb doctor --json` lists."""
        return {
            "check": self.check,
            "level": self.level,
            "place": self.place,
            "message": self.message,
            "hint": self.hint,
            "size_bytes": self.size_bytes,
        }
