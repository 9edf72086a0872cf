"""What a node shows, on its way to whoever looks, without the secrets in it."""

from __future__ import annotations

from collections.abc import Callable

from flownb.runtimes.base import Printed, Scope


def redacted(scope: Scope) -> Callable[[Printed], None]:
    """Return what takes a node's output and hands it on to `scope.printed` without secrets; thread-safe."""
    text, show = scope.redactor.text, scope.printed

    def hand_on(printed: Printed) -> None:
        data = printed.data
        show(Printed(printed.mime, text(data)) if isinstance(data, str) else printed)

    return hand_on
