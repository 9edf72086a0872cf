"""Drafts without mistakes to the frozen models."""

from __future__ import annotations

from flownb.model.nodes import Branch, Container, Foreach, Group, Node, Parallel
from flownb.model.policy import ExecutorName, Policy
from flownb.parse.drafts import Draft
from flownb.parse.fields import Fields
from flownb.parse.meaning import Sense
from flownb.text.spans import Span
from flownb.text.yaml import Value

_CONTAINERS = {"group": Group, "branch": Branch, "parallel": Parallel}


def build_node(draft: Draft, sense: Sense, around: ExecutorName | None = None) -> Node:
    """Return the node that a draft without mistakes stands for.

    Args:
        draft: The draft, with all below it.
        sense: What drafts say.
        around: Where python bodies run that do not say it, as what is around says; None: it says nothing.
    """
    fields = sense.of[draft].fields
    policy = _with_executor(draft, fields, around)
    data: dict[str, object] = {
        "id": draft.id,
        "heading": draft.name.heading,
        "span": draft.name.span,
        "policy": policy,
        "repeat": fields.repeat,
        "spans": _spans(draft),
        "uses": sense.of[draft].reads.uses,
        **fields.own,
    }
    if draft.is_leaf:
        assert draft.kind is not None
        body = draft.body.data if draft.body and isinstance(draft.body.data, str) else ""
        return draft.kind.model_validate({**data, "body": body})
    model: type[Container] = _CONTAINERS[draft.title]
    node = model.model_validate(
        {**data, "children": tuple(build_node(child, sense, policy.executor) for child in draft.children)}
    )
    assert isinstance(node, Group | Branch | Parallel)
    return node


def _with_executor(draft: Draft, fields: Fields, around: ExecutorName | None) -> Policy:
    """Return a draft's policy with the executor of format.md section 3: threads where things are to overlap."""
    if fields.policy.executor is not None:
        return fields.policy
    overlaps = draft.title == "parallel" or (
        isinstance(fields.repeat, Foreach) and fields.repeat.concurrency is not None
    )
    executor = ExecutorName.THREAD if overlaps else around
    return fields.policy.model_copy(update={"executor": executor}) if executor is not None else fields.policy


def _spans(draft: Draft) -> dict[str, Span]:
    found: dict[str, Span] = {
        key: item.value.span for key, item in draft.properties.items() if isinstance(item.value, Value)
    }
    if draft.body:
        found["body"] = draft.body.span
    return found
