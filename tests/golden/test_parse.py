"""What documents are parsed into: golden file `parse.md`."""

from __future__ import annotations

from collections.abc import Iterator

from flownb.model.nodes import Container, Foreach, Leaf, Loop, Node
from flownb.parse.workflow import diagnose
from tests.golden.runner import Case, CheckGolden, golden


def outline(node: Node, depth: int = 0) -> Iterator[str]:
    """Yield a line for each node: id, kind, what it says of itself, and what it reads where."""
    said = [f"{key}={value}" for key, value in node.policy.model_dump(exclude_defaults=True, mode="json").items()]
    match node.repeat:
        case Foreach() | Loop():
            repeat = node.repeat.model_dump(exclude_defaults=True, mode="json")
            said.append(f"{node.repeat.kind}={ {key: value for key, value in repeat.items() if key != 'kind'} }")
        case None:
            pass
    skipped = {"id", "heading", "span", "policy", "repeat", "spans", "uses", "body", "children"}
    said += [
        f"{key}={value}" for key, value in node.model_dump(exclude=skipped, exclude_defaults=True, mode="json").items()
    ]
    if isinstance(node, Leaf) and node.body:
        said.append(f"body={node.spans['body'].line}:{node.spans['body'].column} {node.body!r}")
    uses = [
        f"{use.field}:{use.name}{'.' + use.attribute if use.attribute else ''}@{use.span.line}:{use.span.column}"
        for use in node.uses
    ]
    said += [f"uses {', '.join(uses)}"] if uses else []
    yield f"{'  ' * depth}{node.id} [{node.TITLE}, line {node.span.line}] {'; '.join(said)}".rstrip()
    if isinstance(node, Container):
        for child in node.children:
            yield from outline(child, depth + 1)


@golden("parse.md")
def test_document_is_parsed_into(case: Case, check_golden: CheckGolden) -> None:
    workflow, problems = diagnose(case.input, source="x")
    lines = [str(problem) for problem in problems]
    if workflow is not None:
        skipped = {"nodes", "text", "source", "output_uses", "subflows", "inputs", "secrets"}
        said = workflow.model_dump(exclude=skipped, exclude_defaults=True, mode="json")
        lines += [f"{key}: {value}" for key, value in said.items()]
        for name, given in workflow.inputs.items():
            told = given.model_dump(exclude={"span"}, exclude_defaults=True, mode="json")
            lines.append(f"input {name}: {told} at {given.span.line}:{given.span.column}")
        lines += [f"secret {name} at {span.line}:{span.column}" for name, span in workflow.secrets.items()]
        lines += [line for node in workflow.nodes for line in outline(node)]
    check_golden(case, "\n".join(lines))
