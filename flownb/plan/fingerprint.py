"""What a node's value depends on, as one number: it decides what a resume uses again."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final

from pydantic import JsonValue

from flownb.model.nodes import BodyKind, Container, FlowNode, Foreach, Leaf, Loop, Node
from flownb.model.workflow import Workflow
from flownb.plan.graph import TOP, Graph, Unit, references

_NOT_MEANT: Final = {"id", "heading", "span", "spans", "uses", "policy", "repeat", "children", "default", "on_reject"}
"""Fields that say where a node stands or how it is run, not what it makes."""
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


Hide = Callable[[str], str]
"""Takes the secrets out of a text."""


def fingerprints(graph: Graph, inputs: Mapping[str, JsonValue], hide: Hide = str) -> dict[str, str]:
    """Return id → fingerprint for every node.

    A fingerprint covers a node's kind, body and the properties that carry meaning, the inputs that it reads, and the
    fingerprints of the nodes that it refers to; not its place, prose, comments, retry or timeout.

    Args:
        graph: The workflow's waits.
        inputs: Input → value; they must be JSON.
        hide: Takes the secrets out of a text: whoever has a hash could try which short one gives it.
    """
    done: dict[str, str] = {}
    _body(graph, TOP, inputs, "", done, hide)
    for unit in graph.reserved.values():
        _unit(graph, unit, inputs, "", done, hide)
    return done


def _body(
    graph: Graph, owner: str, inputs: Mapping[str, JsonValue], context: str, done: dict[str, str], hide: Hide
) -> None:
    body = graph.bodies[owner]
    for index in body.order:
        _unit(graph, body.units[index], inputs, context, done, hide)


def _unit(
    graph: Graph, unit: Unit, inputs: Mapping[str, JsonValue], context: str, done: dict[str, str], hide: Hide
) -> None:
    """Fingerprint one unit and all in it.

    `context` is what the containers around it give it: their items and conditions, and what these refer to.
    """
    node = unit.node
    referred = sorted({target for target, for_failure in references(graph, node) if not for_failure})
    own: list[JsonValue] = [_definition(graph, node, hide), list(unit.whens), _inputs_read(node, inputs), context]
    if isinstance(node, Container):
        direct = {target for use in node.uses for target in graph.targets(use.name)}
        inner = _digest([*own, *(done.get(target, "") for target in referred if target in direct)], hide)
        _body(graph, node.id, inputs, inner, done, hide)
        own += [done.get(child.node.id, "") for child in graph.bodies[node.id].units]
    done[node.id] = _digest([*own, *(done.get(target, "") for target in referred)], hide)


def _digest(parts: list[JsonValue], hide: Hide) -> str:
    return sha256(hide(json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))).encode()).hexdigest()


def _definition(graph: Graph, node: Node, hide: Hide) -> dict[str, JsonValue]:
    record: dict[str, JsonValue] = node.model_dump(mode="json", exclude=_NOT_MEANT | {"body"})
    record["kind"], record["when"] = node.TITLE, node.policy.when
    match node.repeat:
        case Foreach(items=items, as_name=name, collect=collect):
            record["foreach"] = [items, name, collect]
        case Loop(condition=condition, until=until):
            record["loop"] = [condition, until]
        case None:
            pass
    if isinstance(node, Leaf):
        record["body"] = plain_python(node.body) if node.BODY is BodyKind.PYTHON else node.body
    if isinstance(node, FlowNode) and node.id in graph.workflow.subflows:
        record["flow"] = _whole_text(graph.workflow.subflows[node.id], hide)
    return record


def _whole_text(workflow: Workflow, hide: Hide) -> JsonValue:
    """Return what stands for a workflow's text with those of its sub-flows, and theirs; they form no circle."""
    return [
        definition_of(hide(workflow.text)),
        *(_whole_text(workflow.subflows[name], hide) for name in sorted(workflow.subflows)),
    ]


def _inputs_read(node: Node, inputs: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the inputs that a node itself reads: all of them where it reads them as a whole."""
    read: dict[str, JsonValue] = {}
    for use in node.uses:
        if use.name == "inputs":
            read |= inputs if use.attribute is None else {use.attribute: inputs.get(use.attribute)}
    return read


def value_digest(value: object, redact: Callable[[str], str]) -> str:
    """Return a digest of what a value holds: of data and tables; of another object what it shows of itself.

    Args:
        value: Anything.
        redact: Takes the secrets out of a text: they are no part of the digest.
    """
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = _text_of(value)
    return sha256(redact(text).encode("utf-8", "backslashreplace")).hexdigest()


def _text_of(value: object) -> str:
    """Return all of a table or an array as text; of another object its `repr`, without its address."""
    try:
        if callable(to_csv := getattr(value, "to_csv", None)):
            return str(to_csv())
        if callable(to_bytes := getattr(value, "tobytes", None)):
            return f"{getattr(value, 'dtype', '')} {getattr(value, 'shape', '')} {sha256(to_bytes()).hexdigest()}"
        return _ADDRESS.sub("", repr(value))
    except Exception as error:  # noqa: BLE001 a stranger's object
        return f"({type(value).__qualname__}: {type(error).__name__})"


def definition_of(text: str) -> str:
    """Return a document's sha256, as state names it."""
    return sha256(text.encode()).hexdigest()


def plain_python(body: str) -> str:
    """Return Python code without comments, blank lines and spaces at line ends: what is left is what it means.

    Code that cannot be split into tokens (it holds `!ls`, say) is returned as it is.
    """
    if "#" not in body and '"""' not in body and "'''" not in body:
        return "\n".join(line.rstrip() for line in body.splitlines() if line.strip())
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(body).readline))
    except (tokenize.TokenError, SyntaxError):
        return body
    lines = body.splitlines()
    keep: set[int] = set()
    for token in tokens:
        first, last = token.start[0], token.end[0]
        if token.type == tokenize.COMMENT:
            lines[first - 1] = lines[first - 1][: token.start[1]].rstrip()
        elif token.type == tokenize.STRING and last > first:
            keep |= set(range(first, last))
    return "\n".join(
        line if number in keep else line.rstrip()
        for number, line in enumerate(lines, 1)
        if number in keep or line.strip()
    )
