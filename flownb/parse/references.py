"""Whether every name that a node reads is defined where it reads it, and every id that it names exists."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from flownb.model.nodes import Foreach, Use
from flownb.parse.drafts import Draft, Outline
from flownb.parse.found import Found, problem
from flownb.parse.frontmatter import Head
from flownb.parse.meaning import Sense
from flownb.templates.expressions import RESERVED_NAMES
from flownb.text.codes import Code
from flownb.text.nearest import did_you_mean
from flownb.text.spans import Span

_SEES_BODY: Final = frozenset({"until", "collect"})
"""Properties of a container or leaf that are worked out after its body, so that they see what is in it."""
_BEFORE_REPEAT: Final = frozenset({"foreach", "when", "needs"})
"""Properties that are worked out before the first item or round."""
_MAPPING_METHODS: Final = frozenset({"get", "items", "keys", "values"})
_ONLY_IN: Final[Mapping[str, str]] = {
    "item": "it exists only inside a `foreach` that names its item so",
    "index": "it exists only inside a `foreach`",
    "round": "it exists only inside a loop (`until`, `while`)",
    "previous": "it exists only inside a loop (`until`, `while`)",
    "loop": "it exists only inside `{% for … %}`",
    "error": "it exists only in a node that a `fallback` or `on_error` names",
    "saved": "it exists only in python bodies, which put there what is to outlive a crash",
}
"""Reserved name → where it is defined, for those that are not defined everywhere."""
_PYTHON_NAMES: Final = frozenset(name for name in dir(builtins) if not name.startswith("_"))


@dataclass(slots=True)
class Checker:
    """Looks at every name and id of a document."""

    outline: Outline
    """The document's nodes."""
    sense: Sense
    """What they say."""
    head: Head
    """Its front matter."""
    variables: Container[str] | None
    """The notebook's variables; None for a file."""
    called: dict[str, str] = field(default_factory=dict)
    """Id of a node that runs only when another failed → what names it."""
    credit: int = 20_000
    """How many words may still be compared with mistyped ones, so that no document takes long."""

    def run(self) -> Found[None]:
        """Check fallbacks, then every use."""
        yield from self._calls()
        for draft, meaning in self.sense.of.items():
            for use in meaning.reads.uses:
                yield from self.use(use, draft, meaning.reads.loose)
        for use in self.sense.outputs:
            yield from self.use(use, None)

    def _calls(self) -> Found[None]:
        """Check what `fallback` and `on_error` name."""
        target = self.head.settings.on_error
        if target and self.head.on_error_span:
            yield from self._call("on_error", target, self.head.on_error_span, None)
        for draft in self.outline.walk():
            value = draft.value("fallback")
            target = self.sense.fallback(draft)
            if target and value:
                yield from self._call("fallback", target, value.span, draft)
        yield from self._fallback_circles()

    def _call(self, key: str, target: str, span: Span, caller: Draft | None) -> Found[None]:
        found = yield from self._node(key, target, span, caller)
        if found is None:
            return
        if found.is_plain_group:
            what = f"'{key}' names the plain group '{target}', which cannot be run as one node"
            yield problem(Code.GROUP_VALUE, what, span, f"name one of its nodes: {_listed(found)}")
        else:
            self.called[target] = f"`{key}`" if caller is None else f"`fallback` of '{caller.id}'"

    def _fallback_circles(self) -> Found[None]:
        """Report fallbacks that lead back to themselves or to what is around them."""
        called = {draft.id: self.sense.fallback(draft) for draft in self.outline.by_id.values()}
        after = {caller: target for caller, target in called.items() if target}
        reported: set[str] = set()
        for start in after:
            path = [start]
            while (following := after.get(path[-1])) and following not in path and len(path) <= len(after):
                path.append(following)
            if following and following == start and not reported & set(path):
                reported |= set(path)
                yield from self._circle([*path, start])
        for draft in self.outline.by_id.values():
            target = after.get(draft.id)
            if target and target != draft.id and target in {outer.id for outer in draft.around()}:
                yield from self._circle([draft.id, target])

    def _circle(self, path: list[str]) -> Found[None]:
        value = self.outline.by_id[path[0]].value("fallback")
        if value:
            what = f"fallbacks form a circle: {' → '.join(path)}"
            yield problem(
                Code.FALLBACK_CIRCLE, what, value.span, "let one of them fall back to another node, or to none"
            )

    def use(self, use: Use, draft: Draft | None, loose: Collection[str] = ()) -> Found[None]:
        """Check one name.

        Args:
            use: The place that reads it.
            draft: The node that reads it; None for the document's outputs.
            loose: Names that are not to be blamed for being unknown.
        """
        if use.field == "needs":
            found = yield from self._node("needs", use.name, use.span, draft)
            if found:
                yield from self._may_wait(use, found, draft)
        elif use.name in self._items(use, draft):
            return
        elif use.name in RESERVED_NAMES:
            yield from self._reserved(use, draft)
        elif use.name in self.outline.by_id:
            yield from self._value(use, self.outline.by_id[use.name], draft)
        elif not (use.guarded or use.name in loose or self._is_variable(use.name)):
            yield from self._unknown(use, draft)

    def _is_variable(self, name: str) -> bool:
        return self.variables is not None and name in self.variables

    def _items(self, use: Use, draft: Draft | None) -> set[str]:
        """Return the names of items, and `index`, that a place sees."""
        found: set[str] = set()
        for outer in self._repeating(use, draft):
            if "foreach" in outer.properties:
                value = outer.value("as")
                found |= {str(value.data) if value else "item", "index"}
                repeat = self.sense.of[outer].fields.repeat
                if not isinstance(repeat, Foreach) or repeat.as_name not in found:
                    found.add("item")  # What is broken in it was reported: nothing follows from that.
        return found

    def _repeating(self, use: Use, draft: Draft | None) -> Iterator[Draft]:
        """Yield what repeats around a place."""
        if draft is None:
            return
        if use.field not in _BEFORE_REPEAT:
            yield draft
        yield from draft.around()

    def _reserved(self, use: Use, draft: Draft | None) -> Found[None]:
        name, attribute = use.name, use.attribute
        if use.guarded:
            return
        if name == "inputs" and attribute and self.head.is_readable and attribute not in self.head.input_names:
            if attribute not in _MAPPING_METHODS or use.field != "body":
                known = self.head.input_names
                otherwise = f"add it to the front matter: `inputs: {{{attribute}: str}}`"
                what = f"the front matter has no input '{attribute}'"
                yield problem(Code.UNKNOWN_INPUT, what, use.span, self._meant(attribute, known, otherwise))
        elif name == "secrets" and attribute and self.head.is_readable and attribute not in self.head.secrets:
            otherwise = f"add it to the front matter: `secrets: [{attribute}]`"
            what = f"the front matter has no secret '{attribute}'"
            yield problem(Code.UNKNOWN_SECRET, what, use.span, self._meant(attribute, self.head.secrets, otherwise))
        elif (
            name == "nodes" and attribute and attribute not in self.outline.by_id and attribute not in _MAPPING_METHODS
        ):
            yield from self._missing(f"no node has the id '{attribute}'", attribute, use.span)
        elif name in _ONLY_IN and not self._is_defined(use, draft) and not _is_pythons_own(use, draft):
            yield problem(Code.UNKNOWN_NAME, f"'{name}' is not defined here", use.span, _ONLY_IN[name])

    def _is_defined(self, use: Use, draft: Draft | None) -> bool:
        """Return whether a reserved name that exists in some places only exists here; item names are looked at before."""
        match use.name:
            case "round" | "previous":
                return any(not {"until", "while"}.isdisjoint(outer.properties) for outer in self._repeating(use, draft))
            case "error":
                return draft is not None and any(outer.id in self.called for outer in (draft, *draft.around()))
            case "saved":
                return draft is not None and draft.title == "python" and use.field == "body"
            case _:
                return False

    def _node(self, key: str, target: str, span: Span, draft: Draft | None) -> Found[Draft | None]:
        """Return the node that a property names; None where it may not, which is reported."""
        found = self.outline.by_id.get(target)
        if found is None:
            yield from self._missing(f"'{key}' names '{target}', and no node has this id", target, span)
        elif not self._sees(found, key, draft):
            yield from self._report_hidden(found, span)
            return None
        return found

    def _missing(self, what: str, name: str, span: Span) -> Found[None]:
        yield problem(Code.UNKNOWN_NODE, what, span, self._meant(name, self.outline.by_id, self._ids_hint()))

    def _meant(self, name: str, known: Collection[str], otherwise: str) -> str:
        """Return the hint for a name that is none of those known."""
        self.credit -= len(known)
        return did_you_mean(name, known, otherwise) if self.credit > 0 else otherwise

    def _ids_hint(self) -> str:
        ids = list(islice(self.outline.by_id, 8))
        more = " …" if len(self.outline.by_id) > len(ids) else ""
        return f"there are {', '.join(ids)}{more}" if ids else ""

    def _value(self, use: Use, found: Draft, draft: Draft | None) -> Found[None]:
        """Check a name that is a node's."""
        if not self._sees(found, use.field, draft):
            if not (use.guarded or self._is_variable(use.name)):
                yield from self._report_hidden(found, use.span)
        elif found is draft and use.field in _SEES_BODY:
            return
        elif found.is_plain_group and not _is_around(found, draft):
            what = f"'{found.id}' is a plain group and has no value"
            yield problem(Code.GROUP_VALUE, what, use.span, f"name one of its nodes: {_listed(found)}")
        else:
            yield from self._may_wait(use, found, draft)

    def _may_wait(self, use: Use, found: Draft, draft: Draft | None) -> Found[None]:
        """Report a reference to itself, to what is around it or in it, and to a node that only runs when called."""
        if draft is not None and (found is draft or _is_around(found, draft) or _is_around(draft, found)):
            if _is_around(draft, found) and use.field in _SEES_BODY:
                return
            owner = (
                "itself"
                if found is draft
                else f"'{found.id}', which is {'around' if _is_around(found, draft) else 'in'} it"
            )
            hint = (
                "`previous` holds the last round's value"
                if draft.repeats in {"until", "while"}
                else "refer to another node"
            )
            yield problem(Code.SELF_REFERENCE, f"'{draft.id}' refers to {owner}", use.span, hint)
            return
        within = [outer for outer in (found, *found.around()) if outer.id in self.called]
        if within and not (draft and _is_around(within[0], draft)):
            caller = self.called[within[0].id]
            what = f"'{found.id}' runs only when another node failed ({caller}), so nothing can refer to it"
            hint = (
                "refer to the failed node: its value is then the fallback's"
                if caller.startswith("`fallback`")
                else "take it away"
            )
            yield problem(Code.RESERVED_NODE, what, use.span, hint)

    def _sees(self, found: Draft, key: str, draft: Draft | None) -> bool:
        """Return whether a place sees a node: those in a `foreach`, loop or branch are seen only within it."""
        hidden_by = next((outer for outer in found.around() if outer.hides_nodes), None)
        if hidden_by is None:
            return True
        return (hidden_by is draft and key in _SEES_BODY) or (draft is not None and _is_around(hidden_by, draft))

    def _report_hidden(self, found: Draft, span: Span) -> Found[None]:
        outer = [container for container in found.around() if container.hides_nodes][-1]
        kind = outer.repeats or outer.title
        what = f"'{found.id}' is inside the {kind} '{outer.id}' and is not seen from here"
        yield problem(Code.OUT_OF_SCOPE, what, span, f"refer to '{outer.id}'")

    def _unknown(self, use: Use, draft: Draft | None) -> Found[None]:
        name = use.name
        what = f"nothing defines '{name}'"
        if name in self.head.input_names:
            hint = f"did you mean 'inputs.{name}'?"
        elif name in self.head.secrets:
            hint = f"did you mean 'secrets.{name}'?"
        else:
            is_python = draft is not None and draft.title == "python" and use.field == "body"
            close = self._meant(name, self._known(use, draft, is_python=is_python), "")
            hint = close or self._unknown_hint(is_python=is_python)
        yield problem(Code.UNKNOWN_NAME, what, use.span, hint)

    def _known(self, use: Use, draft: Draft | None, *, is_python: bool) -> list[str]:
        """Return the names that a place could have meant."""
        if self.credit <= 0:
            return []
        seen = [i for i, d in self.outline.by_id.items() if d is not draft and self._sees(d, use.field, draft)]
        always = RESERVED_NAMES - _ONLY_IN.keys()
        return [*self._items(use, draft), *seen, *always, *(_PYTHON_NAMES if is_python else ())]

    def _unknown_hint(self, *, is_python: bool) -> str:
        if is_python:
            return "assign or import it in this body, or refer to a node by its id: bodies share no names"
        return "refer to a node by its id, to an input as `inputs.name`, and put text in quotes"


def _is_around(outer: Draft, inner: Draft | None) -> bool:
    return inner is not None and any(container is outer for container in inner.around())


def _listed(group: Draft) -> str:
    return ", ".join(_leaf_ids(group.children))


def _leaf_ids(drafts: Iterable[Draft]) -> Iterator[str]:
    for draft in drafts:
        if draft.is_plain_group:
            yield from _leaf_ids(draft.children)
        elif draft.id:
            yield draft.id


def _is_pythons_own(use: Use, draft: Draft | None) -> bool:
    """Return whether a Python body means its builtin: `round(2.5)` outside of loops."""
    return draft is not None and draft.title == "python" and use.field == "body" and hasattr(builtins, use.name)
