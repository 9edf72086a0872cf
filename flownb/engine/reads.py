"""What a node reads at its place, as digests: the half of its fingerprint that only the run knows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from flownb.engine.namespace import Namespace, Program
from flownb.model.decision import Question
from flownb.model.key import last_part_of
from flownb.model.nodes import Node, Use
from flownb.plan.fingerprint import VARIABLE, digest_of, uses_of, value_digest
from flownb.secrets import Redactor
from flownb.templates.expressions import RESERVED_NAMES

_DATA: Final = (str, int, float, list, dict, tuple, type(None))


def reads_of(names: Namespace, node: Node, *, is_one: bool = False, only: str | None = None) -> dict[str, str]:
    """Return what a node reads → the digest of the value, when it is about to start.

    Secrets, the time, the process environment and what is known of the run itself are not among it.

    Args:
        names: What names mean there.
        node: The node.
        is_one: Whether one item or round of it is meant.
        only: The one property that is meant; None: all and the body.
    """
    found: dict[str, str] = {}
    for use in uses_of(names.program.graph, node, is_one=is_one):
        if only is None or use.field == only:
            found.update(_read(names, use))
    return found


def evidence_of(question: Question, shown: Mapping[str, object], redact: Callable[[str], str]) -> dict[str, str]:
    """Return what a decision is made on: the digests of the question, as rendered, its answers, and what is shown."""
    found = {"the question": digest_of(question.text), "what can be answered": digest_of(question.input)}
    found |= {f"what `{source}` shows": value_digest(value, redact) for source, value in shown.items()}
    return found


def is_evidence(name: str) -> bool:
    """Return whether something that a checkpoint reads is what the person decides on."""
    return name.startswith(("the question", "what "))


def _read(names: Namespace, use: Use) -> Iterable[tuple[str, str]]:
    graph, ledger = names.program.graph, names.context.ledger
    if use.field == "needs":
        for target in graph.targets(use.name):
            state = ledger.state.nodes.get(names.key_of(target))
            yield f"needs {target}", state.fingerprint if state else ""
    elif use.name in names.names:
        is_hidden = use.name in names.tainted
        yield use.name, "" if is_hidden else _digest(names.names[use.name]) or _origin(names)
    elif use.name in graph.nodes:
        yield use.name, ledger.digest_of(names.key_of(use.name))
    elif use.name == "inputs":
        yield from names.program.input_digests(use.attribute)
    else:
        yield from variable_digest(names.program, use.name, names.context.services.redactor)


def variable_digest(program: Program, name: str, redactor: Redactor) -> Iterator[tuple[str, str]]:
    """Yield the label and the digest of a notebook's variable, where there is one of that name that is data and no secret."""
    if name in RESERVED_NAMES or name not in program.variables:
        return
    value = program.variables[name]
    digest = "" if redactor.holds(value) else _digest(value)
    if digest:
        yield f"{VARIABLE}{name}", digest


def _digest(value: object) -> str:
    """Return the digest of data; an empty text for what is none."""
    if not isinstance(value, _DATA):
        return ""
    try:
        return digest_of(value)
    except (TypeError, ValueError, RecursionError):
        return ""


def _origin(names: Namespace) -> str:
    """Return what stands for an item, or a round's `previous`, that is no data: where it comes from."""
    part = last_part_of(names.prefix)
    state = names.context.ledger.state.nodes.get(part.owner) if part else None
    place = names.names.get("index", names.names.get("round", ""))
    return f"~{state.fingerprint if state else ''} {place}"
