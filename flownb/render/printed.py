"""What a run's nodes printed, kept within bounds and counted, for the log's part `Printed` (format.md, section 8)."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Final

from flownb.model.key import whole_of
from flownb.render.inert import cut, fenced

MOST_CHARACTERS: Final = 20_000
"""Most characters kept of what a node printed: one half from its beginning, one from its end."""
MOST_PRINTED: Final = 100_000
"""Most characters kept of what all nodes printed: the first nodes' stay; of the others the end only."""
_LATE_CHARACTERS: Final = 1_000
_OPEN_LINES: Final = 8
_LINE_CHARACTERS: Final = 500


class _Tape:
    """What one node printed: its beginning, its end, and how many lines in all."""

    def __init__(self, most: int, *, keeps_start: bool) -> None:
        self._most = most // 2 if keeps_start else most
        self._keeps_start = keeps_start
        self._start = ""
        self._pieces: list[str] = []
        self._length = 0
        self._breaks = 0
        self._ends_open = False
        self._is_cut = not keeps_start

    @property
    def kept(self) -> int:
        return len(self._start) + self._length

    @property
    def lines(self) -> int:
        """How many lines were printed, also those that are not kept."""
        return self._breaks + self._ends_open

    def add(self, text: str) -> None:
        if not text:
            return
        self._breaks += text.count("\n")
        self._ends_open = not text.endswith("\n")
        if self._keeps_start and len(self._start) < self._most:
            room = self._most - len(self._start)
            self._start, text = self._start + text[:room], text[room:]
        self._pieces.append(text)
        self._length += len(text)
        if self._length > 2 * self._most:
            self._trim()

    def _trim(self) -> None:
        kept = "".join(self._pieces)
        if len(kept) > self._most:
            kept, self._is_cut = kept[-self._most :], True
        self._pieces, self._length = [kept], len(kept)

    def end(self) -> list[str]:
        """Return its last lines, as a terminal would show them."""
        self._trim()
        return _shown(self._start * (not self._is_cut) + "".join(self._pieces))

    def text(self) -> tuple[str, int]:
        """Return what a terminal would show of it, cut in the middle, and how many lines are left out there."""
        self._trim()
        end = "".join(self._pieces)
        if not self._is_cut:
            return "\n".join(_shown(self._start + end)), 0
        # Whole lines only, where there are any.
        start = self._start.rpartition("\n")[0] if "\n" in self._start else self._start
        end = end.partition("\n")[2] or end
        first, last = _shown(start) if start else [], _shown(end)
        left_out = self.lines - (start.count("\n") + bool(start)) - (end.count("\n") + (not end.endswith("\n")))
        if left_out <= 0:
            return "\n".join([*first, *last]), 0
        return "\n".join([*first, f"… {_counted(left_out)} left out …", *last]), left_out


class Tapes:
    """What all nodes printed. Not thread-safe: whoever holds it locks."""

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        """Begin with nothing.

        Args:
            redact: Takes the secrets out of a text, also those that came in pieces.
        """
        self._redact = redact
        self._tapes: dict[str, _Tape] = {}
        self._kept = 0

    def take(self, key: str, text: str) -> None:
        """Take what a node, item or round printed; it stands under its node."""
        holder = whole_of(key)
        tape = self._tapes.get(holder)
        if tape is None:
            is_late = self._kept >= MOST_PRINTED
            tape = _Tape(_LATE_CHARACTERS if is_late else MOST_CHARACTERS, keeps_start=not is_late)
            self._tapes[holder] = tape
        before = tape.kept
        tape.add(text)
        self._kept += tape.kept - before

    def last(self, keys: set[str], lines: int) -> str:
        """Return the last lines that some nodes printed, as Markdown."""
        parts = []
        for key, tape in self._tapes.items():
            if key in keys and (end := tape.end()[-lines:]) and any(end):
                parts.append(f"`{key}`\n\n{fenced(self._redact(chr(10).join(end)))}")
        return "\n".join(parts)

    def folded(self) -> str:
        """Return all that was printed, folded a node, as Markdown in which nothing is active."""
        parts: list[str] = []
        left = MOST_PRINTED
        for at, (key, tape) in enumerate(self._tapes.items()):
            text, left_out = tape.text()
            left -= len(text)
            if left < 0 < at:
                parts.append(f"… and {len(self._tapes) - at:,} more nodes printed.\n")
                break
            if text:
                cut_out = f", {left_out:,} of them left out in the middle" if left_out else ""
                is_open = " open" if tape.lines <= _OPEN_LINES else ""
                summary = f"<summary><code>{html.escape(key)}</code> printed {_counted(tape.lines)}{cut_out}</summary>"
                parts.append(f"<details{is_open}>{summary}\n\n{fenced(self._redact(text))}\n</details>\n")
        return "\n".join(parts)


def _shown(text: str) -> list[str]:
    """Return a text's lines as a terminal shows them: what was written over is gone."""
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")
    return [cut(line.rstrip("\r").rpartition("\r")[2], _LINE_CHARACTERS) for line in lines]


def _counted(lines: int) -> str:
    return f"{lines:,} line" + "s" * (lines != 1)
