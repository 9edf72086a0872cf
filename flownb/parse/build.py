"""Drafts without mistakes to the frozen models."""

from __future__ import annotations

from flownb.model.nodes import Branch, Container, Group, Node, Parallel
from flownb.parse.drafts import Draft
from flownb.parse.yaml_values import Value
from flownb.spans import Span

_CONTAINERS = {"group": Group, "branch": Branch, "parallel": Parallel}


def build_node(draft: Draft) -> Node:
    """Return the node that a draft without mistakes stands for."""
    data: dict[str, object] = {
        "id": draft.id,
        "heading": draft.name.heading,
        "span": draft.name.span,
        "policy": draft.policy,
        "repeat": draft.repeat,
        "spans": _spans(draft),
        "uses": tuple(draft.uses),
        **draft.own,
    }
    if draft.is_leaf:
        assert draft.kind is not None
        body = draft.body.data if draft.body and isinstance(draft.body.data, str) else ""
        return draft.kind.model_validate({**data, "body": body})
    model: type[Container] = _CONTAINERS[draft.title]
    node = model.model_validate({**data, "children": tuple(build_node(child) for child in draft.children)})
    assert isinstance(node, Group | Branch | Parallel)
    return node


def _spans(draft: Draft) -> dict[str, Span]:
    found: dict[str, Span] = {
        key: item.value.span for key, item in draft.properties.items() if isinstance(item.value, Value)
    }
    if draft.body:
        found["body"] = draft.body.span
    return found
