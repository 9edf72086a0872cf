"""A document's text to a workflow, or to all that is wrong with it at once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from flownb.errors import Diagnostic, FlowSyntaxError
from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.nodes import Leaf
from flownb.model.workflow import Workflow
from flownb.parse.build import build_node
from flownb.parse.checks import check
from flownb.parse.document import Document, read_document
from flownb.parse.found import Found, collected, has_errors, problem, told
from flownb.parse.frontmatter import Head, read_front_matter
from flownb.parse.ids import slug
from flownb.parse.keys import Kinds
from flownb.parse.meaning import Sense, understand
from flownb.parse.source import read_source
from flownb.parse.subflows import Subflows
from flownb.plan.plan import find_circles
from flownb.templates.expressions import keep_with, keeping
from flownb.text.codes import Code

_SUFFIXES = (".flow.md", ".md")


@dataclass(frozen=True, slots=True)
class _Setting:
    """What a document is read with, besides its text."""

    name: str | None
    path: Path | None
    source: str
    first_line: int
    kinds: Kinds
    variables: Container[str] | None
    transform: Callable[[str], str] | None
    way: tuple[Path, ...] = ()
    subflows: Mapping[Path, str] = field(default_factory=dict)


def diagnose(  # noqa: PLR0913 each is another side of where a text stands
    text: str,
    *,
    name: str | None = None,
    path: Path | None = None,
    source: str = "<text>",
    first_line: int = 1,
    kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS,
    variables: Container[str] | None = None,
    transform: Callable[[str], str] | None = None,
    subflows: Mapping[Path, str] = MappingProxyType({}),
) -> tuple[Workflow | None, list[Diagnostic]]:
    """Return a text's workflow and everything that is wrong with it, in the order of the text.

    Args:
        text: The document: a `%%flow` cell below its first line, or a file.
        name: The workflow's name where the front matter sets none; None: from the title or the path.
        path: The file that it is; sub-flows are looked for beside it.
        source: What messages call it, as `In[7]`.
        first_line: The number of the text's first line: 2 in a cell.
        kinds: Name → kind of every runtime there is.
        variables: The names of the notebook's variables; None in a file.
        transform: IPython's rewriting of a cell (`!ls`, `%time`) that keeps the number of lines; None outside notebooks.
        subflows: Resolved path → text that stands for the document there.

    Returns:
        The workflow, None where any problem is an error; and the problems, warnings too.
    """
    way = (path.resolve(),) if path else ()
    setting = _Setting(name, path, source, first_line, Kinds(kinds), variables, transform, way, subflows)
    with _without_collecting(), keeping() as kept:
        workflow, problems = _diagnose(text, setting)
    if workflow is not None:
        keep_with(workflow, kept)
    return workflow, problems


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Let the garbage wait: nearly all that a parse makes is kept, and looking for cycles in it takes a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def parse_workflow(  # noqa: PLR0913 the same
    text: str,
    *,
    name: str | None = None,
    path: Path | None = None,
    source: str = "<text>",
    first_line: int = 1,
    kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS,
    variables: Container[str] | None = None,
    transform: Callable[[str], str] | None = None,
    subflows: Mapping[Path, str] = MappingProxyType({}),
) -> Workflow:
    """Return a text's workflow; arguments as for `diagnose`.

    Raises:
        FlowSyntaxError: It is none; `problems` lists everything that is wrong with it.
    """
    workflow, problems = diagnose(
        text,
        name=name,
        path=path,
        source=source,
        first_line=first_line,
        kinds=kinds,
        variables=variables,
        transform=transform,
        subflows=subflows,
    )
    if workflow is None:
        raise FlowSyntaxError(problems)
    return workflow


def _diagnose(text: str, setting: _Setting) -> tuple[Workflow | None, list[Diagnostic]]:
    document, unread = collected(read_document(text, setting.source, setting.first_line, setting.kinds))
    if document is None:
        return None, told(unread, setting.source)
    sense, misread = collected(understand(document, setting.transform))
    subflows, lost = collected(_subflows(document, sense, setting))
    found = told(chain(unread, misread, check(document, sense, setting.variables), lost), setting.source)
    if has_errors(found):
        return None, found
    if not document.outline.nodes:
        return None, told([*found, _empty(document)], setting.source)
    workflow = _workflow(text, document, sense, subflows, setting)
    circles = find_circles(workflow)
    return None if circles else workflow, told([*found, *circles], setting.source)


def _empty(document: Document) -> Diagnostic:
    what, hint = "nothing here would run: there is no node", "put a fence below a heading, as ```python"
    source = document.source
    return problem(Code.NO_NODES, what, source.whole_line(min(document.head.end, len(source.lines) - 1)), hint)


def _subflows(document: Document, sense: Sense, setting: _Setting) -> Found[dict[str, Workflow]]:
    folder = setting.path.parent if setting.path else Path()

    def read(text: str, path: Path, way: tuple[Path, ...]) -> tuple[Workflow | None, list[Diagnostic]]:
        shown = str(path.relative_to(folder.resolve())) if path.is_relative_to(folder.resolve()) else str(path)
        inner = _Setting(None, path, str(folder / shown), 1, setting.kinds, None, None, (*way, path), setting.subflows)
        return _diagnose(text, inner)

    subflows = Subflows(folder, document.head.settings.allow_paths, setting.way, read, setting.subflows)
    return (yield from subflows.run(sense))


def _workflow(
    text: str, document: Document, sense: Sense, subflows: dict[str, Workflow], setting: _Setting
) -> Workflow:
    outline, head, settings = document.outline, document.head, document.head.settings
    return Workflow(
        name=_name(head, outline.title, setting),
        title=outline.title,
        version=settings.version,
        description=settings.description,
        inputs=dict(head.inputs),
        secrets=dict(head.secrets),
        outputs=None if head.outputs is None else {key: str(value.data) for key, value in head.outputs.items()},
        output_uses=sense.outputs,
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        order=settings.order,
        on_error=settings.on_error,
        allow_paths=settings.allow_paths,
        nodes=tuple(build_node(draft, sense) for draft in outline.nodes),
        text=text,
        path=setting.path,
        source=setting.source,
        first_line=setting.first_line,
        subflows=subflows,
    )


def _name(head: Head, title: str, setting: _Setting) -> str:
    """Return the workflow's name (format.md, section 2)."""
    file = setting.path.name if setting.path else ""
    stem = next((file.removesuffix(suffix) for suffix in _SUFFIXES if file.endswith(suffix)), "")
    return head.name or slug(setting.name or "") or slug(title) or slug(stem) or "flow"


def name_of(text: str, kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS) -> str:
    """Return the name that a document gives its workflow, whatever else is wrong with it."""
    setting = _Setting(None, None, "", 1, Kinds(kinds), None, None)
    source, _ = collected(read_source(text, "", 1))
    if source is None:
        return "flow"
    head, _ = collected(read_front_matter(source))
    document, _ = collected(read_document(text, "", 1, setting.kinds))
    return _name(head, document.outline.title if document else "", setting)
