"""What a node's value depends on (format.md, section 4.6): what the node is, and a digest of every value that it reads."""

from __future__ import annotations

import io
import json
import re
import tokenize
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b, sha256
from typing import Final

from pydantic import JsonValue

from flownb.model.nodes import BodyKind, Container, FlowNode, Foreach, Leaf, Loop, Node, Use, walk
from flownb.model.workflow import Workflow
from flownb.plan.graph import Graph

_NOT_MEANT: Final = {"id", "heading", "span", "spans", "uses", "policy", "repeat", "children", "default", "on_reject"}
"""Fields that say where a node stands or how it is run, not what it makes."""
VARIABLE: Final = "the variable "
"""How what a node reads of a notebook's variables begins."""
_OF_ALL: Final = frozenset({"foreach", "until", "while"})
_ENCODE: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
"""Made once: making it is half the work for a small value."""
_DIGEST_BYTES: Final = 12
_ADDRESS: Final = re.compile(r" at 0x[0-9a-fA-F]+")


def definition_of(text: str) -> str:
    """Return a document's sha256, as state names it."""
    return sha256(text.encode()).hexdigest()


def digest_of(value: object) -> str:
    """Return a digest of data: equal data have the same one.

    Raises:
        ValueError: It is no data, or it is nested too deeply.
        TypeError: It is no data.
    """
    return blake2b(_ENCODE(value).encode(), digest_size=_DIGEST_BYTES).hexdigest()


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


def define(graph: Graph, hide: Callable[[str], str] = str) -> dict[str, str]:
    """Return id → the digest of what a node is: its kind, body and the properties that carry meaning; `id[]`: what one item is.

    Not its place, prose, comments, retry or timeout. That of a container covers all in it. A checkpoint is judged by what its
    question comes to, whatever this says.

    Args:
        graph: The workflow's waits.
        hide: Takes the secrets out of a text: whoever has a digest could try which short one gives it.
    """
    found: dict[str, str] = {}
    for node in graph.nodes.values():
        record = _definition(graph, node)
        found[node.id] = _digest(record, hide)
        match node.repeat:
            case Foreach(as_name=name, collect=collect):
                found[f"{node.id}[]"] = _digest({**record, "foreach": [name, collect]}, hide)
            case Loop():
                found[f"{node.id}[]"] = _digest({**record, "loop": None}, hide)
            case None:
                pass
    return found


def _digest(record: JsonValue, hide: Callable[[str], str]) -> str:
    return sha256(hide(json.dumps(record, sort_keys=True, separators=(",", ":"))).encode()).hexdigest()


def _definition(graph: Graph, node: Node) -> dict[str, JsonValue]:
    record: dict[str, JsonValue] = node.model_dump(mode="json", exclude=_NOT_MEANT | {"body"}, exclude_defaults=True)
    groups = graph.enclosing.get(node.id, ())
    record["kind"] = node.TITLE
    record["when"] = [holder.policy.when for holder in (*groups, node) if holder.policy.when]
    if node.policy.files:
        record["files"] = list(node.policy.files)
    match node.repeat:
        case Foreach(items=items, as_name=name, collect=collect):
            record["foreach"] = [items, name, collect]
        case Loop(condition=condition, until=until):
            record["loop"] = [condition, until]
        case None:
            pass
    if isinstance(node, Container):
        record["in it"] = [[child.id, _definition(graph, child)] for child in node.children]
    if isinstance(node, Leaf):
        record["body"] = plain_python(node.body) if node.BODY is BodyKind.PYTHON else node.body
    if isinstance(node, FlowNode) and node.id in graph.workflow.subflows:
        record["flow"] = _whole_text(graph.workflow.subflows[node.id])
    return record


def _whole_text(workflow: Workflow) -> JsonValue:
    """Return what stands for a workflow's text with those of its sub-flows, and theirs; they form no circle."""
    return [definition_of(workflow.text), *(_whole_text(workflow.subflows[name]) for name in sorted(workflow.subflows))]


def uses_of(graph: Graph, node: Node, *, is_one: bool = False) -> Iterator[Use]:
    """Yield everything that a node, or anything in it, reads from outside itself, and what the groups around it read.

    Args:
        graph: Where it stands.
        node: The node.
        is_one: Whether one item or round is meant, which reads what its own `foreach` or loop gives.
    """
    inside = {inner.id for inner in walk((node,))} if isinstance(node, Container) else {node.id}
    for group in graph.enclosing.get(node.id, ()):
        yield from group.uses
    for use in _uses(node, frozenset(), is_one=is_one):
        if use.name not in inside:
            yield use


def _uses(node: Node, local: frozenset[str], *, is_one: bool = False) -> Iterator[Use]:
    """Yield every use in a node, but those of names that something in it gives."""
    own = local
    if isinstance(node.repeat, Foreach) and not is_one:
        own = local | {node.repeat.as_name, "item", "index"}
    elif isinstance(node.repeat, Loop) and not is_one:
        own = local | {"round", "previous"}
    for use in node.uses:
        if is_one and use.field in _OF_ALL:
            continue  # It says which items or rounds there are: one of them reads what it was given.
        if use.name not in (local if use.field == "foreach" else own):
            yield use
    if isinstance(node, Container):
        for child in node.children:
            yield from _uses(child, own)


def changed_input(reads: Mapping[str, str], now: Mapping[str, str]) -> str | None:
    """Return the first thing that a node read from outside the workflow's nodes and that is another now; None: nothing.

    What is not known now, as a notebook's variable that this kernel does not have, counts as the same.
    """
    return next((name for name, digest in reads.items() if now.get(name, digest) != digest), None)


def is_read_same(before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return whether a node reads what it read; a notebook's variable that this kernel does not have counts as the same."""
    if before == now:
        return True
    absent = {name: digest for name, digest in before.items() if name.startswith(VARIABLE) and name not in now}
    return before == {**now, **absent}


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
