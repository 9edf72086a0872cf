"""What a checkpoint asks, and what a person answers."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from flownb.errors import FlowInputError
from flownb.model.frozen import Frozen
from flownb.model.nodes import DefaultAction
from flownb.model.types import convert, describe, type_defaults


class Action(StrEnum):
    """What a person can say to a checkpoint."""

    APPROVE = "approve"
    """Go on."""
    REJECT = "reject"
    """Do not go on."""
    INPUT = "input"
    """Go on, with an answer."""
    HAPPENED = "happened"
    """What was under way did happen; its value may be given."""
    AGAIN = "again"
    """Run it again."""
    FAIL = "fail"
    """Let it fail."""


class Via(StrEnum):
    """The way that a decision came."""

    NOTEBOOK = "notebook"
    """A button in a notebook, or `%flow_decide`."""
    TERMINAL = "terminal"
    """The prompt of a terminal."""
    COMMAND = "command"
    """`flownb decide`."""
    API = "api"
    """The `decide` argument, or `Run.decide`."""
    DEFAULT = "default"
    """Nobody: the default was taken, because no one could answer or the time was over."""


class Decision(Frozen):
    """An answer to a checkpoint."""

    action: str
    """`approve`, `reject` or `input`; of a node with `once: true` `happened`, `again` or `fail`."""
    input: JsonValue = None
    """What was submitted with it."""
    by: str = ""
    """Who: the login name; empty where nobody answered."""
    at: datetime | None = None
    """When, in UTC; None: now."""
    via: str = Via.API
    """How: a `Via`."""
    timed_out: bool = False
    """Whether the time to answer was over."""


class Question(Frozen):
    """What a run asks and waits for."""

    key: str
    """The node's key."""
    heading: str
    """The node's heading."""
    text: str
    """The question, in Markdown, with its values in it."""
    input: JsonValue = None
    """`text`, a type (format.md section 6), or None: nothing can be submitted."""
    show: tuple[str, ...] = ()
    """The expressions whose values are shown with it."""
    shown: dict[str, str] = {}
    """Expression of `show` → what there was to see of its value, in at most 20 rows."""
    evidence: str = ""
    """A digest of what is asked and shown: an answer holds while it is the same; empty: not known."""
    again: str = ""
    """Why it is asked again, as `what is shown changed`; empty: it is not."""
    default: DefaultAction = DefaultAction.REJECT
    """What is taken where no one answers."""
    asked_at: datetime
    """When it was first asked, in UTC."""
    deadline: datetime | None = None
    """Until when it can be answered, in UTC; None: for ever."""
    actions: tuple[str, ...] = (Action.APPROVE, Action.REJECT)
    """What may be said, in the order that it is offered."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question on its way to whoever can answer: what `decide` functions are given."""

    question: Question
    """What is asked, as it is stored."""
    values: Mapping[str, object]
    """Expression of `show` → its value."""
    is_settled: Callable[[], bool]
    """Whether somebody else has answered meanwhile, or the time is over; thread-safe."""
    hide: Callable[[str], str] = str
    """Takes the secrets out of a text; what is shown of `values` goes through it."""

    @property
    def node(self) -> str:
        """The node's key."""
        return self.question.key

    @property
    def text(self) -> str:
        """The question, in Markdown."""
        return self.question.text


def user_name() -> str:
    """Return who sits here: the login name, else the number of the user."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"


def check_answer(question: Question, decision: Decision) -> Decision:
    """Return a decision with what was submitted converted to what the question asks for.

    Raises:
        FlowInputError: It is no answer to this question.
    """
    if decision.action not in question.actions:
        offered = ", ".join(question.actions)
        raise FlowInputError(f"`{question.key}` cannot be answered with '{decision.action}'", f"it offers: {offered}")
    if decision.action != Action.INPUT or question.input in ("text", "any"):
        return decision
    try:
        value = convert(question.input, decision.input, "input")
    except ValueError as error:
        raise FlowInputError(f"`{question.key}`: {error}", f"it asks for {describe(question.input)}") from None
    return decision.model_copy(update={"input": to_jsonable_python(value)})


def with_defaults(question: Question, decision: Decision) -> Decision:
    """Return an approval that came without input with what the type's defaults give, where every field has one (format.md 7.1)."""
    if decision.action != Action.APPROVE or decision.input is not None:
        return decision
    return decision.model_copy(update={"input": type_defaults(question.input)})
