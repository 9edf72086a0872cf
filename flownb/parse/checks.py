"""The third pass: whether what is named exists where it is named, and containers hold what they may."""

from __future__ import annotations

from collections.abc import Collection, Container

from flownb.parse.document import Document
from flownb.parse.drafts import Draft, Outline
from flownb.parse.fields import Fields
from flownb.parse.file_nodes import check_file_node
from flownb.parse.found import Found, problem
from flownb.parse.meaning import Sense
from flownb.parse.references import Checker
from flownb.text.codes import Code


def check(document: Document, sense: Sense, variables: Container[str] | None) -> Found[None]:
    """Find what does not hold in a document as a whole; `variables` are the notebook's, None for a file."""
    outline, head = document.outline, document.head
    called = {sense.fallback(draft) for draft in sense.of} | {head.settings.on_error}
    for draft, meaning in sense.of.items():
        yield from _item_name(draft, outline)
        yield from _children(draft, meaning.fields, called)
        yield from check_file_node(draft, meaning.fields.own, may_leave=bool(head.settings.allow_paths))
    yield from Checker(outline, sense, head, variables).run()


def _children(draft: Draft, fields: Fields, called: Collection[str | None]) -> Found[None]:
    """Report what a branch's or a parallel group's children cannot be; those that are `called` at failures are apart."""
    children = [child for child in draft.children if child.id not in called]
    if draft.title == "branch":
        defaults = [child for child in children if "when" not in child.properties]
        for extra in defaults[1:]:
            what = f"branch '{draft.id}' has two children without `when`: '{defaults[0].id}' and '{extra.id}'"
            hint = "only one can be the default: give the other a `when`"
            yield problem(Code.BRANCH_DEFAULT, what, extra.name.span, hint)
    wait = fields.own.get("wait")
    value = draft.value("wait")
    if isinstance(wait, int) and value and wait > len(children) > 0:
        what = f"'wait' asks for {wait} of {len(children)} children"
        yield problem(Code.WAIT_COUNT, what, value.span, f"write at most {len(children)}, or `all`")


def _item_name(draft: Draft, outline: Outline) -> Found[None]:
    """Report an item that is called like a node."""
    value = draft.value("as")
    if value and isinstance(value.data, str) and value.data in outline.by_id and "foreach" in draft.properties:
        line = outline.by_id[value.data].name.span.line
        what = f"'{value.data}' cannot be an item's name: it is the id of the node in line {line}"
        yield problem(Code.AS_NAME, what, value.span, "give the item another name")
