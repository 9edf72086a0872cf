"""The kinds of leaf that flownb brings, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flownb.model.nodes import (
    CheckpointNode,
    ExpressionNode,
    FlowNode,
    JsonNode,
    Leaf,
    MarkdownNode,
    PythonNode,
    ShellNode,
    TextNode,
    YamlNode,
)
from flownb.model.sql_node import SqlNode

BUILTIN_KINDS: Final[Mapping[str, type[Leaf]]] = {
    kind.TITLE: kind
    for kind in (
        PythonNode,
        ShellNode,
        TextNode,
        MarkdownNode,
        JsonNode,
        YamlNode,
        ExpressionNode,
        FlowNode,
        CheckpointNode,
        SqlNode,
    )
}
"""The kinds of leaf that flownb brings, by name."""

LATER_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "http": (),
    "prompt": (),
    "read": (),
    "write": (),
}
"""Kinds of the format that this version does not run yet → their aliases; parsing refuses them by name."""
