"""A document's text to a workflow, or to all that is wrong with it at once."""

from __future__ import annotations

import gc
from collections.abc import Callable, Collection, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flownb.errors import Diagnostic, FlowSyntaxError
from flownb.model.nodes import BUILTIN_KINDS, Leaf, Node, Use
from flownb.model.workflow import Workflow
from flownb.parse.build import build_node
from flownb.parse.drafts import Draft, Outline, read_outline
from flownb.parse.fields import fill_fields
from flownb.parse.frontmatter import Head, read_front_matter
from flownb.parse.ids import slug
from flownb.parse.keys import Kinds
from flownb.parse.references import Checker
from flownb.parse.sections import TooLargeError, read_sections
from flownb.parse.source import Problems, read_document
from flownb.parse.subflows import Subflows
from flownb.parse.uses import Reader
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


def diagnose(
    text: str,
    *,
    name: str | None = None,
    path: Path | None = None,
    source: str = "<text>",
    first_line: int = 1,
    kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS,
    variables: Container[str] | None = None,
    transform: Callable[[str], str] | None = None,
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

    Returns:
        The workflow, None where any problem is an error; and the problems, warnings too.
    """
    way = (path.resolve(),) if path else ()
    setting = _Setting(name, path, source, first_line, Kinds(kinds), variables, transform, way)
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


def parse_workflow(
    text: str,
    *,
    name: str | None = None,
    path: Path | None = None,
    source: str = "<text>",
    first_line: int = 1,
    kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS,
    variables: Container[str] | None = None,
    transform: Callable[[str], str] | None = None,
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
    )
    if workflow is None:
        raise FlowSyntaxError(problems)
    return workflow


def _diagnose(text: str, setting: _Setting) -> tuple[Workflow | None, list[Diagnostic]]:
    problems = Problems()
    source = read_document(text, setting.source, setting.first_line, problems)
    if source is None:
        return None, problems.found
    head = read_front_matter(source, problems)
    try:
        root = read_sections(source.lines, head.end)
    except TooLargeError as error:
        problems.error(Code.TOO_LARGE, error.message, source.whole_line(error.line), error.hint)
        return None, _sorted(problems.found, setting.source)
    outline = read_outline(root, setting.kinds, source, problems)
    outputs, loose = _read_uses(outline, head, setting, problems)
    checker = Checker(outline, head, setting.variables, problems)
    checker.run(loose)
    for use in outputs:
        checker.use(use, None)
    if not outline.nodes and not problems.has_errors:
        what, hint = "nothing here would run: there is no node", "put a fence below a heading, as ```python"
        problems.error(Code.NO_NODES, what, source.whole_line(min(head.end, len(source.lines) - 1)), hint)
    subflows = _subflows(outline, head, setting, problems)
    workflow = None
    if not problems.has_errors:
        workflow = _workflow(text, outline, head, setting, outputs, subflows)
        circles = find_circles(workflow)
        problems.found += circles
        workflow = None if circles else workflow
    return workflow, _sorted(problems.found, setting.source)


def _read_uses(
    outline: Outline, head: Head, setting: _Setting, problems: Problems
) -> tuple[list[Use], dict[str, Collection[str]]]:
    """Understand every draft's properties and bodies; return what the outputs read, and loose names by id."""
    reader = Reader(problems, outline.by_id, setting.transform)
    loose: dict[str, Collection[str]] = {}
    defaults = head.defaults
    for draft in outline.walk():
        fill_fields(draft, defaults, problems)
        names = reader.fill(draft)
        if names:
            loose[draft.id] = names
        _check_item_name(draft, outline, problems)
    called = {draft.policy.fallback for draft in outline.walk()} | {head.settings.on_error}
    for draft in outline.walk():
        _check_children(draft, called, problems)
    outputs = [
        use for name, value in (head.outputs or {}).items() for use in reader.expression(f"outputs.{name}", value)
    ]
    return outputs, loose


def _check_children(draft: Draft, called: Collection[str | None], problems: Problems) -> None:
    """Report what a branch's or a parallel group's children cannot be; those that are `called` at failures are apart."""
    children = [child for child in draft.children if child.id not in called]
    if draft.title == "branch":
        defaults = [child for child in children if "when" not in child.properties]
        for extra in defaults[1:]:
            what = f"branch '{draft.id}' has two children without `when`: '{defaults[0].id}' and '{extra.id}'"
            hint = "only one can be the default: give the other a `when`"
            problems.error(Code.BRANCH_DEFAULT, what, extra.name.span, hint)
    wait = draft.own.get("wait")
    value = draft.value("wait")
    if isinstance(wait, int) and value and wait > len(children) > 0:
        what = f"'wait' asks for {wait} of {len(children)} children"
        problems.error(Code.WAIT_COUNT, what, value.span, f"write at most {len(children)}, or `all`")


def _check_item_name(draft: Draft, outline: Outline, problems: Problems) -> None:
    """Report an item that is called like a node."""
    value = draft.value("as")
    if value and isinstance(value.data, str) and value.data in outline.by_id and "foreach" in draft.properties:
        line = outline.by_id[value.data].name.span.line
        what = f"'{value.data}' cannot be an item's name: it is the id of the node in line {line}"
        problems.error(Code.AS_NAME, what, value.span, "give the item another name")


def _subflows(outline: Outline, head: Head, setting: _Setting, problems: Problems) -> dict[str, Workflow]:
    folder = setting.path.parent if setting.path else Path()

    def read(text: str, path: Path, way: tuple[Path, ...]) -> tuple[Workflow | None, list[Diagnostic]]:
        shown = str(path.relative_to(folder.resolve())) if path.is_relative_to(folder.resolve()) else str(path)
        inner = _Setting(None, path, str(folder / shown), 1, setting.kinds, None, None, (*way, path))
        return _diagnose(text, inner)

    return Subflows(folder, head.settings.allow_paths, setting.way, read, problems).run(outline)


def _workflow(
    text: str, outline: Outline, head: Head, setting: _Setting, outputs: list[Use], subflows: dict[str, Workflow]
) -> Workflow:
    settings = head.settings
    return Workflow(
        name=_name(outline, head, setting),
        title=outline.title,
        version=settings.version,
        description=settings.description,
        inputs=head.inputs,
        secrets=head.secrets,
        outputs=None if head.outputs is None else {key: str(value.data) for key, value in head.outputs.items()},
        output_uses=tuple(outputs),
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        order=settings.order,
        on_error=settings.on_error,
        allow_paths=settings.allow_paths,
        nodes=_nodes(outline),
        text=text,
        path=setting.path,
        source=setting.source,
        first_line=setting.first_line,
        subflows=subflows,
    )


def _nodes(outline: Outline) -> tuple[Node, ...]:
    return tuple(build_node(draft) for draft in outline.nodes)


def _name(outline: Outline, head: Head, setting: _Setting) -> str:
    """Return the workflow's name (format.md, section 2)."""
    file = setting.path.name if setting.path else ""
    stem = next((file.removesuffix(suffix) for suffix in _SUFFIXES if file.endswith(suffix)), "")
    return head.name or slug(setting.name or "") or slug(outline.title) or slug(stem) or "flow"


def name_of(text: str, kinds: Mapping[str, type[Leaf]] = BUILTIN_KINDS) -> str:
    """Return the name that a document gives its workflow, whatever else is wrong with it."""
    unheard = Problems()
    setting = _Setting(None, None, "", 1, Kinds(kinds), None, None)
    source = read_document(text, "", 1, unheard)
    if source is None:
        return "flow"
    head = read_front_matter(source, unheard)
    try:
        outline = read_outline(read_sections(source.lines, head.end), setting.kinds, source, unheard)
    except TooLargeError:
        outline = Outline()
    return _name(outline, head, setting)


def _sorted(found: list[Diagnostic], source: str) -> list[Diagnostic]:
    """Return problems in the order of the text, those of other documents below."""
    return sorted(
        found,
        key=lambda problem: (
            problem.span.source != source,
            problem.span.source,
            problem.span.line,
            problem.span.column,
        ),
    )
