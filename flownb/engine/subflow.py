"""The other workflow that a `flow` node runs, with inputs of its own."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from flownb.engine.namespace import Namespace, Program, body_uses
from flownb.engine.taint import tainted
from flownb.model.nodes import FlowNode
from flownb.model.record import Record
from flownb.model.workflow import bind_inputs
from flownb.plan.fingerprint import define
from flownb.plan.graph import build_graph
from flownb.templates.expressions import Key, render, template_names


def subprogram(names: Namespace, node: FlowNode, key: str) -> Program:
    """Return the program that a `flow` node runs.

    Raises:
        FlowInputError: The inputs that the node gives are not those that the other workflow takes.
    """
    workflow = names.program.workflow.subflows[node.id]
    values = names.body_values(node, key)
    inputs = bind_inputs(workflow, {name: _rendered(value, values) for name, value in node.inputs.items()})
    hidden = tainted(names, body_uses(node))
    tainted_inputs = frozenset(name for name, value in node.inputs.items() if _reads(value, hidden))
    graph = build_graph(workflow)
    folder = workflow.path.parent if workflow.path else names.program.folder
    definitions = define(graph, names.context.services.redactor.text)
    return Program(workflow, graph, Record(inputs), definitions, folder, tainted=tainted_inputs)


def _rendered(value: JsonValue, values: Mapping[str, object]) -> object:
    """Return data with every text in it rendered."""
    match value:
        case str():
            return render(value, values)
        case list():
            return [_rendered(item, values) for item in value]
        case dict():
            return {name: _rendered(item, values) for name, item in value.items()}
        case _:
            return value


def _reads(value: JsonValue, keys: frozenset[Key]) -> bool:
    """Return whether a text in some data reads one of some names."""
    match value:
        case str():
            return any((name.name, name.attribute) in keys for name in template_names(value))
        case list():
            return any(_reads(item, keys) for item in value)
        case dict():
            return any(_reads(item, keys) for item in value.values())
        case _:
            return False
