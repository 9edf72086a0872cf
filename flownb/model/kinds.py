"""The kinds of leaf that flownb brings, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flownb.model.file_nodes import ReadNode, WriteNode
from flownb.model.http_node import HttpNode
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
from flownb.model.prompt_node import PromptNode
from flownb.model.sql_node import SqlNode

BUILTIN_KINDS: Final[Mapping[str, type[Leaf]]] = {
    kind.TITLE: kind
    for kind in (
        PythonNode,
        ShellNode,
        HttpNode,
        TextNode,
        MarkdownNode,
        JsonNode,
        YamlNode,
        ExpressionNode,
        ReadNode,
        WriteNode,
        FlowNode,
        CheckpointNode,
        PromptNode,
        SqlNode,
    )
}
"""The kinds of leaf that flownb brings, by name."""
