"""What a run's nodes printed and displayed, kept within bounds for the notebook."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from flownb.model.key import whole_of
from flownb.notebook.publishing import BUNDLE, Display, hidden
from flownb.notebook.safe_html import display_html, safe_html
from flownb.render.printed import Tapes
from flownb.runtimes.base import Printed

MOST_DISPLAYS: Final = 20
"""Most displays kept of a node."""
LIVE_LINES: Final = 6
"""Lines shown of a node that runs."""
_STREAMS: Final = ("stdout", "stderr")


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
        self._tapes = Tapes()
        self.pictures: list[Picture] = []
        """All displays, in the order in which they came."""

    def take(self, key: str, printed: Printed) -> None:
        """Take what a node, item or round shows."""
        holder = whole_of(key)
        if printed.mime in _STREAMS:
            self._tapes.take(key, str(printed.data))
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
        clean = hidden(display, self._redact)
        data, metadata = dict(clean.data or {}), dict(clean.metadata)
        if display.update:
            for picture in self.pictures:
                if display.display_id and picture.display_id == display.display_id:
                    picture.data, picture.metadata, picture.changed = data, metadata, True
        elif len(own) < MOST_DISPLAYS:
            self.pictures.append(Picture(holder, data, metadata, display.display_id))

    def tail(self, keys: set[str]) -> str:
        """Return the last lines that some nodes printed, as Markdown."""
        return self._tapes.last(keys, LIVE_LINES)

    def folded(self) -> str:
        """Return all that was printed, folded a node, as Markdown in which nothing is active."""
        return self._tapes.folded()

    def late_html(self) -> str:
        """Return all displays that stand nowhere yet as one piece of HTML."""
        parts = [
            f"<p><b>{html.escape(picture.key)}</b></p>\n{display_html(picture.data)}"
            for picture in self.pictures
            if not picture.slot
        ]
        return "\n".join(parts)
