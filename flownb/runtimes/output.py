"""What a node shows, on its way to whoever looks, without the secrets in it."""

from __future__ import annotations

import threading
from typing import Final

from flownb.runtimes.base import Printed, Scope
from flownb.secrets import Stream

_STREAMS: Final = ("stdout", "stderr")


class Redacted:
    """Takes what one attempt of a node shows and hands it on without secrets; thread-safe.

    What may be the beginning of a secret is held back until more comes of that stream, or `end` is called.
    """

    def __init__(self, scope: Scope) -> None:
        """Begin with nothing.

        Args:
            scope: What the attempt sees: its `redactor` and where it shows things.
        """
        self._redactor, self._show = scope.redactor, scope.printed
        self._streams = {mime: Stream(scope.redactor) for mime in _STREAMS}
        self._lock = threading.Lock()

    def __call__(self, printed: Printed) -> None:
        """Take something that the node showed."""
        data = printed.data
        if not self._redactor or not isinstance(data, str):
            self._show(printed)
        elif printed.mime not in self._streams:
            self._show(Printed(printed.mime, self._redactor.text(data)))
        else:
            with self._lock:
                self._hand_on(printed.mime, self._streams[printed.mime].take(data))

    def end(self) -> None:
        """Hand on what was held back: the node is done."""
        with self._lock:
            for mime, stream in self._streams.items():
                self._hand_on(mime, stream.end())

    def _hand_on(self, mime: str, text: str) -> None:
        if text:
            self._show(Printed(mime, text))


def redacted(scope: Scope) -> Redacted:
    """Return what takes a node's output and hands it on to `scope.printed` without secrets."""
    return Redacted(scope)
