"""What is tainted: it holds something of a secret, whatever it looks like, and is never kept (interfaces.md, section 4).

Taint goes by the value: from a secret through every node that only puts together what it reads, through items, rounds and
inputs of sub-flows. What python and bash make is looked at: it is tainted where it shows a secret in some encoding.
"""

from __future__ import annotations

from collections.abc import Iterable

from flownb.engine.namespace import Namespace
from flownb.engine.outcome import HIDDEN
from flownb.errors import ExpressionError
from flownb.model.nodes import Use
from flownb.templates.expressions import Key, Name, evaluate, expression_names
from flownb.templates.terms import REDACTED, MissingError


def tainted(names: Namespace, uses: Iterable[Use | Name]) -> frozenset[Key]:
    """Return name and attribute of what some uses read that is tainted at a place."""
    if not names.context.services.redactor:
        return frozenset()
    return frozenset((use.name, use.attribute) for use in uses if _is_tainted(names, use.name, use.attribute))


def _is_tainted(names: Namespace, name: str, attribute: str | None) -> bool:
    program, services = names.program, names.context.services
    if name in names.names:
        return name in names.tainted
    if name in program.graph.nodes:
        return names.key_of(name) in names.context.ledger.tainted
    match name:
        case "secrets":
            return True
        case "inputs":
            return attribute in program.tainted if attribute else bool(program.tainted)
        case "env":
            return services.redactor.holds(services.environment.get(attribute) if attribute else services.environment)
        case _:
            return services.redactor.holds(program.variables.get(name))


def worked_out(names: Namespace, source: str, uses: Iterable[Use], key: str) -> object:
    """Return the value of an expression at a place; its error shows no value where one that it reads is tainted."""
    uses = list(uses)
    try:
        return evaluate(source, names.values(uses, key))
    except ExpressionError as error:
        if tainted(names, uses) and not isinstance(error.__cause__, MissingError):
            raise ExpressionError(HIDDEN) from None
        raise


def shown(names: Namespace, source: str, uses: Iterable[Use], key: str) -> object:
    """Return what a person is shown of an expression's value."""
    value = worked_out(names, source, uses, key)
    if tainted(names, expression_names(source)):
        return REDACTED
    redactor = names.context.services.redactor
    return redactor.json(value) if redactor.holds(value) else value  # type: ignore[arg-type] # only JSON holds any
