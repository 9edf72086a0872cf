"""The documents that `type: flow` nodes run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flownb.errors import Diagnostic
from flownb.model.nodes import FlowNode
from flownb.model.workflow import Workflow
from flownb.parse.drafts import Draft
from flownb.parse.found import Found, has_errors, problem
from flownb.parse.meaning import Sense
from flownb.parse.source import MAX_BYTES, decode
from flownb.templates.expressions import is_template
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean, nearest
from flownb.text.yaml import Value

ReadFlow = Callable[[str, Path, tuple[Path, ...]], tuple[Workflow | None, list[Diagnostic]]]
"""Text, path and the paths of the documents on the way to it → what `diagnose` says of it."""


@dataclass(slots=True)
class Subflows:
    """Reads the documents of a document's `flow` nodes."""

    folder: Path
    """The document's folder."""
    allowed: tuple[str, ...]
    """Folders outside of it whose documents may be run."""
    way: tuple[Path, ...]
    """The documents that run each other down to this one, resolved."""
    read: ReadFlow
    """How a document is read."""
    texts: Mapping[Path, str]
    """Resolved path → text that stands for the document there."""
    known: dict[Path, Workflow | None] = field(default_factory=dict)
    """The documents that were read: each is read once."""

    def run(self, sense: Sense) -> Found[dict[str, Workflow]]:
        """Return id → workflow of every `flow` node of a document."""
        found = {}
        for draft, meaning in sense.of.items():
            path = draft.value("path")
            if draft.kind is FlowNode and path is not None and isinstance(meaning.fields.own.get("path"), str):
                workflow = yield from self._workflow(path, str(path.data))
                if workflow:
                    yield from self._check_inputs(draft, workflow)
                    found[draft.id] = workflow
        return found

    def _workflow(self, value: Value, text: str) -> Found[Workflow | None]:
        """Return the workflow that a path names; None where it cannot be used, which is reported."""
        if is_template(text):
            yield from self._refuse(
                value,
                f"'{shortened(text, 40)}' is a template: which document runs must be known before",
                "write its path",
            )
            return None
        try:
            path = (self.folder / text).resolve()
            roots = [self.folder.resolve(), *((self.folder / folder).resolve() for folder in self.allowed)]
            if not any(path.is_relative_to(root) for root in roots):
                hint = f"move it there, or name its folder in the front matter: `allow_paths: [{shortened(str(Path(text).parent), 40)}]`"
                yield from self._refuse(value, f"'{shortened(text, 40)}' is outside the document's folder", hint)
                return None
            if path in self.way:
                circle = " → ".join(step.name for step in (*self.way[self.way.index(path) :], path))
                yield problem(
                    Code.FLOW_CIRCLE,
                    f"documents run each other in a circle: {circle}",
                    value.span,
                    "take one of the calls away",
                )
                return None
            if path not in self.known:
                self.known[path] = yield from self._load(path, text)
            return self.known[path]
        except (OSError, ValueError, RuntimeError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            hint = "paths are relative to the document's folder"
            yield from self._refuse(
                value, f"'{shortened(text, 40)}' cannot be read: {reason[:1].lower()}{reason[1:]}", hint
            )
            return None

    def _load(self, path: Path, shown: str) -> Found[Workflow | None]:
        text, wrong = (self.texts[path], []) if path in self.texts else decode(_content(path), shown)
        workflow = None
        if not has_errors(wrong):
            workflow, wrong = self.read(text, path, self.way)
        yield from wrong
        return workflow

    def _refuse(self, value: Value, what: str, hint: str) -> Found[None]:
        yield problem(Code.FLOW_PATH, what, value.span, hint)

    def _check_inputs(self, draft: Draft, workflow: Workflow) -> Found[None]:
        """Report inputs that the other document does not have, and those it needs and is not given."""
        value = draft.value("inputs")
        given = value.keys if value else {}
        for name, span in given.items():
            if name not in workflow.inputs:
                known = f"it has {', '.join(workflow.inputs)}" if workflow.inputs else "it has none"
                what = f"'{workflow.name}' has no input '{shortened(name, 30)}'"
                yield problem(Code.FLOW_INPUT, what, span, did_you_mean(name, workflow.inputs, known))
        meant = {nearest(name, workflow.inputs) for name in given if name not in workflow.inputs}
        missing = [
            name for name, spec in workflow.inputs.items() if spec.required and name not in given and name not in meant
        ]
        if missing and "inputs" not in draft.properties:
            what = f"'{workflow.name}' needs {_named(missing)}, and '{draft.id}' gives none"
            hint = f"add `- inputs: {{{', '.join(f'{name}: …' for name in missing)}}}`"
            yield problem(Code.FLOW_INPUT, what, draft.name.span, hint)
        elif missing and value:
            what = f"'{workflow.name}' also needs {_named(missing)}"
            yield problem(Code.FLOW_INPUT, what, draft.properties["inputs"].key_span, f"add `{missing[0]}: …`")


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 4)


def _named(names: list[str]) -> str:
    return f"the input{'s' if len(names) > 1 else ''} {', '.join(names)}"
