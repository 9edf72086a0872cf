"""What a run's nodes printed and displayed, kept within bounds for the notebook."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from flownb.notebook.publishing import BUNDLE, Display
from flownb.notebook.safe_html import display_html, safe_html
from flownb.render.inert import cut, fenced
from flownb.runtimes.base import Printed

MOST_CHARACTERS: Final = 20_000
"""Most characters kept of what a node printed: the end of it."""
MOST_PRINTED: Final = 100_000
"""Most characters kept of what all nodes printed: the first nodes' stay."""
MOST_DISPLAYS: Final = 20
"""Most displays kept of a node."""
LIVE_LINES: Final = 6
"""Lines shown of a node that runs."""
_OPEN_LINES: Final = 8
_LINE_CHARACTERS: Final = 500
_STREAMS: Final = ("stdout", "stderr")


def is_readable(kind: str) -> bool:
    """Return whether a MIME type's data may show a text: all but pictures that are packed."""
    return not kind.startswith(("image/", "audio/", "video/")) or kind.startswith("image/svg")


@dataclass(slots=True)
class _Tape:
    """What one node printed."""

    pieces: list[str] = field(default_factory=list)
    length: int = 0
    dropped: int = 0
    is_error: bool = False

    def add(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text)
        if self.length > 2 * MOST_CHARACTERS:
            kept = "".join(self.pieces)[-MOST_CHARACTERS:]
            self.dropped += self.length - len(kept)
            self.pieces, self.length = [kept], len(kept)

    @property
    def text(self) -> str:
        """What a terminal would show of it."""
        lines = "".join(self.pieces)[-MOST_CHARACTERS:].replace("\r\n", "\n").split("\n")
        return "\n".join(cut(line.rstrip("\r").rpartition("\r")[2], _LINE_CHARACTERS) for line in lines).strip("\n")


@dataclass(slots=True)
class Picture:
    """One display of a node, with the name under which it can be changed."""

    key: str
    """The node whose line it stands under."""
    data: dict[str, Any]
    """MIME type → data."""
    metadata: dict[str, Any]
    """What belongs to it."""
    display_id: str
    """The body's own name for it; empty: none."""
    changed: bool = True
    """Whether it is not yet drawn as it is now."""
    slot: str = ""
    """The name under which it stands in the notebook; empty: it does not yet."""


class Shown:
    """Everything that a run's nodes showed. Not thread-safe: whoever holds it locks."""

    def __init__(self, redact: Callable[[Any], Any]) -> None:
        """Begin with nothing.

        Args:
            redact: Takes the secrets out of JSON-like data.
        """
        self._redact = redact
        self._tapes: dict[str, _Tape] = {}
        self.pictures: list[Picture] = []
        """All displays, in the order in which they came."""

    def take(self, key: str, printed: Printed) -> None:
        """Take what a node, item or round shows."""
        holder = re.split(r"[\[{]", key, maxsplit=1)[0]
        if printed.mime in _STREAMS:
            self._tapes.setdefault(holder, _Tape()).add(str(printed.data))
        elif printed.mime == BUNDLE and isinstance(printed.data, Display):
            self._display(holder, printed.data)
        elif printed.mime == "text/markdown":
            self._display(holder, Display({"text/html": safe_html(str(printed.data)), "text/plain": printed.data}))
        else:
            self._display(holder, Display({printed.mime: printed.data}))

    def _display(self, holder: str, display: Display) -> None:
        own = [picture for picture in self.pictures if picture.key == holder]
        if display.data is None:
            for picture in own:
                picture.data, picture.changed = {"text/plain": ""}, True
            return
        data = {kind: self._redact(value) if is_readable(kind) else value for kind, value in display.data.items()}
        if display.update:
            for picture in self.pictures:
                if display.display_id and picture.display_id == display.display_id:
                    picture.data, picture.metadata, picture.changed = data, dict(display.metadata), True
        elif len(own) < MOST_DISPLAYS:
            self.pictures.append(Picture(holder, data, dict(display.metadata), display.display_id))

    def tail(self, keys: set[str]) -> str:
        """Return the last lines that some nodes printed, as Markdown."""
        parts = []
        for key, tape in self._tapes.items():
            if key in keys and (text := tape.text):
                last = "\n".join(text.split("\n")[-LIVE_LINES:])
                parts.append(f"`{key}`\n\n{fenced(last)}")
        return "\n".join(parts)

    def folded(self) -> str:
        """Return all that was printed, folded a node, as Markdown in which nothing is active."""
        parts: list[str] = []
        left = MOST_PRINTED
        for at, (key, tape) in enumerate(self._tapes.items()):
            text = tape.text
            left -= len(text)
            if left < 0 < at:
                parts.append(f"… and {len(self._tapes) - at:,} more nodes printed.")
                break
            if text:
                count = text.count("\n") + 1
                lines = f"{count:,} line" + "s" * (count != 1)
                cut_off = ", the beginning is left out" if tape.dropped else ""
                is_open = " open" if count <= _OPEN_LINES else ""
                summary = f"<summary><code>{html.escape(key)}</code> printed {lines}{cut_off}</summary>"
                parts.append(f"<details{is_open}>{summary}\n\n{fenced(text)}\n</details>\n")
        return "\n".join(parts)

    def late_html(self) -> str:
        """Return all displays that stand nowhere yet as one piece of HTML."""
        parts = [
            f"<p><b>{html.escape(picture.key)}</b></p>\n{display_html(picture.data)}"
            for picture in self.pictures
            if not picture.slot
        ]
        return "\n".join(parts)
