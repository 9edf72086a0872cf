"""What the signals that end a process do to the run that goes on in it."""

from __future__ import annotations

from collections.abc import Callable

from flownb.runs.session import Session


class Stop:
    """What Ctrl-C, SIGTERM and SIGHUP do: they stop the session, as soon as there is one. Fit for signal handlers."""

    def __init__(self) -> None:
        """Begin without a session."""
        self._session: Session | None = None
        self._early: list[Callable[[Session], None]] = []

    def __call__(self) -> None:
        """Take a SIGINT."""
        self._do(Session.interrupt)

    def end(self, number: int) -> None:
        """Take a signal that tells this process to end."""
        self._do(lambda session: session.end(number))

    def at(self, session: Session) -> Session:
        """Say which session it is; where it was to be stopped before, it is stopped now."""
        self._session = session
        for stop in self._early:
            stop(session)
        return session

    def _do(self, stop: Callable[[Session], None]) -> None:
        if self._session is not None:
            stop(self._session)
        else:
            self._early.append(stop)
