"""The errors that flownb raises, and what it says of a text that it cannot use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, JsonValue

from flownb.text.codes import Code
from flownb.text.spans import Span


class Severity(StrEnum):
    """How bad a diagnostic is."""

    ERROR = "error"
    """The workflow cannot run."""
    WARNING = "warning"
    """The workflow runs, but perhaps not as its author meant."""


class Diagnostic(BaseModel):
    """One thing wrong with a workflow's text: where it is, what is wrong, and what to write instead."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    code: Code
    """Which kind of mistake; stable, for tools and for looking it up."""
    message: str
    """What is wrong, with the value seen, in one line."""
    span: Span
    """The stretch of the text that is meant."""
    hint: str = ""
    """What to write instead; empty where there is nothing better to say than the message."""
    severity: Severity = Severity.ERROR
    """Whether the workflow can run all the same."""

    def __str__(self) -> str:
        """Return `source:line:column: error[code]: message`."""
        place = f"{self.span}:{self.span.column}"
        return f"{place}: {self.severity}[{self.code}]: {self.message}"


class Failure(BaseModel):
    """What went wrong in one node of a run, as data: it is stored, sent between processes and shown."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    node: str
    """The node's key, as `score[3]`; empty where the run itself failed."""
    type: str
    """The error class's name, as `ConnectionError`."""
    message: str
    """The error's text."""
    attempts: int = 1
    """How many attempts were made."""
    traceback: str = ""
    """The person's own frames, with the lines of their cell or file; empty where there are none."""
    place: str = ""
    """Where in the text it happened, as `In[7]:12`; empty where unknown."""
    hint: str = ""
    """What to do about it; empty where there is nothing to say."""

    def as_json(self) -> dict[str, JsonValue]:
        """Return the record that stands under `errors` in the run's state (interfaces.md, section 4)."""
        return {
            "node": self.node,
            "type": self.type,
            "message": self.message,
            "traceback": self.traceback,
            "attempts": self.attempts,
        }


def kinds_of(error: BaseException) -> Iterator[str]:
    """Yield the names of an error's classes, as `retry: {on: …}` takes them: alone, and behind each package they are in."""
    for kind in type(error).__mro__:
        yield kind.__name__
        package = kind.__module__
        while package:  # A class is known by the packages above its module too: `json.JSONDecodeError`.
            yield f"{package}.{kind.__qualname__}"
            package = package.rpartition(".")[0]


class FlowError(Exception):
    """Something that flownb could not do. The tree:

    - `FlowSyntaxError`: the text is no workflow; lists every problem
    - `FlowInputError`: inputs or secrets are missing, unknown or of the wrong type
    - `FlowStateError`: a stored run cannot be found, read, locked or resumed
      - `NoSuchNodeError`: a run has no node of that name
    - `FlowRunError`: a run failed, was rejected or was cancelled
    - `NodeError`: a node's attempt failed, for a reason that flownb itself found
      - `CommandError`: a command ended with another code than 0
      - `ModelError`: a language model could not be asked, or refused
        - `ModelConnectionError`: it could not be reached, or its answer broke off
        - `ModelTimeoutError`: it did not answer in time
      - `AnswerError`: a language model's answer is not what was asked for
      - `QueryError`: a database refused a statement
        - `DatabaseConnectionError`: there is no connection to a database, or it was lost
      - `NodeTimeoutError`: an attempt took longer than its `timeout`
      - `NodeConnectionError`: what a node talked to could not be reached, or broke off
      - `HttpStatusError`: a server answered with a status of 400 or more
      - `ExpressionError`: an expression or a template could not be worked out
      - `RejectedError`: a person rejected a checkpoint with `on_reject: fail`
    """

    def __init__(self, message: str, hint: str = "") -> None:
        """Say what is wrong, and what to do.

        Args:
            message: One line that names the place and the value seen.
            hint: What to do instead; empty where there is nothing to say.
        """
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message, and the hint on a line of its own."""
        return f"{self.message}\nhint: {self.hint}" if self.hint else self.message

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback: our own frames help nobody."""
        return [f"{type(self).__name__}: {self}"]


class FlowSyntaxError(FlowError):
    """The text is no workflow. `problems` lists everything that is wrong with it, in the text's order."""

    def __init__(self, problems: Sequence[Diagnostic], text: str = "") -> None:
        """Gather the problems of one text.

        Args:
            problems: Every diagnostic, errors and warnings.
            text: The problems drawn with their lines and carets; one line each, and its hint, where empty.
        """
        hints = [f"\nhint: {problem.hint}" if problem.hint else "" for problem in problems]
        shown = text or "\n".join(f"{problem}{hint}" for problem, hint in zip(problems, hints, strict=True))
        super().__init__(shown)
        self.args = (tuple(problems), text)
        self.problems: list[Diagnostic] = list(problems)
        """Every problem found, in the order of the text."""


class FlowInputError(FlowError):
    """Inputs or secrets are missing, unknown or of the wrong type; nothing was run."""


class FlowStateError(FlowError):
    """A stored run cannot be found, read, locked or resumed."""


class NoSuchNodeError(FlowStateError, KeyError):
    """A run has no node of that name."""


class FlowRunError(FlowError):
    """A run did not complete: it failed, was rejected or was cancelled."""

    def __init__(self, message: str, hint: str = "", errors: Sequence[Failure] = ()) -> None:
        """Say how the run ended.

        Args:
            message: One line that names the run, the node and the error.
            hint: How to go on.
            errors: Every failure of the run, the first first.
        """
        super().__init__(message, hint)
        self.args = (message, hint, tuple(errors))
        self.errors: list[Failure] = list(errors)
        """Every failure of the run."""

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows: the message, the frames of the person's own text, and the hint."""
        frames = self.errors[0].traceback.rstrip("\n") if self.errors else ""
        hint = [f"hint: {self.hint}"] if self.hint else []
        return [f"{type(self).__name__}: {self.message}", *([frames] if frames else []), *hint]


class NodeError(FlowError):
    """An attempt of a node failed for a reason that flownb itself found."""


class CommandError(NodeError):
    """A command ended with another code than 0."""

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        """Say which command ended how.

        Args:
            message: One line with the code and the last thing the command said.
            hint: What to do about it.
            exit_code: The command's exit code; negative for a signal.
        """
        super().__init__(message, hint)
        self.args = (message, hint, exit_code)
        self.exit_code = exit_code
        """The command's exit code; negative for a signal."""


class ModelError(NodeError):
    """A language model could not be asked, or refused."""

    def __init__(
        self, message: str, hint: str = "", status: int | None = None, retry_after_s: float | None = None
    ) -> None:
        """Say which model, and why.

        Args:
            message: One line that names provider and model; never a key, nor the whole prompt.
            hint: What to do about it.
            status: The HTTP status; None: there was none.
            retry_after_s: Seconds after which it asks to be tried again; None: it did not say.
        """
        super().__init__(message, hint)
        self.args = (message, hint, status, retry_after_s)
        self.status = status
        """The HTTP status; None: there was none."""
        self.retry_after_s = retry_after_s
        """Seconds after which it asks to be tried again; None: it did not say."""


class ModelConnectionError(ModelError, ConnectionError):
    """A language model could not be reached, or its answer broke off."""


class ModelTimeoutError(ModelError, TimeoutError):
    """A language model did not answer in time."""


class AnswerError(NodeError):
    """A language model's answer is not what was asked for; it is asked again at once, with this error."""

    retry_after_s = 0.0
    """Nothing is gained by waiting."""


class QueryError(NodeError):
    """A database refused a statement."""

    def __init__(self, message: str, hint: str = "", kinds: Sequence[str] = ()) -> None:
        """Say what the database said.

        Args:
            message: Its error's class and what that says, without what must not be seen.
            hint: What to do about it.
            kinds: The names of its error's classes, as `retry: {on: …}` takes them.
        """
        super().__init__(message, hint)
        self.args = (message, hint, tuple(kinds))
        self.kinds = tuple(kinds)
        """The names of the database's error and its classes, with and without their module."""


class DatabaseConnectionError(QueryError, ConnectionError):
    """There is no connection to a database, or it was lost."""


class NodeTimeoutError(NodeError, TimeoutError):
    """An attempt took longer than its `timeout` and was stopped."""


class NodeConnectionError(NodeError, ConnectionError):
    """What a node talked to could not be reached, or broke off."""


class HttpStatusError(NodeError):
    """A server answered with a status of 400 or more."""

    def __init__(self, message: str, hint: str = "", status: int = 500, retry_after_s: float | None = None) -> None:
        """Say what the server said.

        Args:
            message: One line with the status, the URL without secrets and the beginning of the body.
            hint: What to do about it.
            status: The status.
            retry_after_s: Seconds after which the server asked to be tried again; None: it did not say.
        """
        super().__init__(message, hint)
        self.args = (message, hint, status, retry_after_s)
        self.status = status
        """The status: `retry: {on: [429, 5xx]}` goes by it."""
        self.retry_after_s = retry_after_s
        """Seconds after which the server asked to be tried again; None: it did not say."""


class ExpressionError(NodeError):
    """An expression or a template could not be worked out with the values at hand."""


class RejectedError(NodeError):
    """A person rejected a checkpoint that says `on_reject: fail`."""
