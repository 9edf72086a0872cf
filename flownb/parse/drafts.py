"""Sections to drafts of nodes: what each section is, before its properties are understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flownb.errors import Diagnostic
from flownb.model.nodes import Leaf
from flownb.parse.fences import Fences, report_look_alikes, sort_fences
from flownb.parse.found import Found, collected, problem, warning
from flownb.parse.ids import Name, check_id, read_name
from flownb.parse.keys import CONTAINERS, MARKERS, REPEATS, Kinds, has_body
from flownb.parse.properties import Property, fence_value, is_property_list, read_fence, read_list
from flownb.parse.sections import BulletList, Section
from flownb.parse.source import Source
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean, one_of
from flownb.text.spans import Span, both_lines
from flownb.text.yaml import Value

GROUP = "group"
"""The name of a section that only holds nodes."""


@dataclass(slots=True, eq=False)
class Draft:
    """What a section is, before it is understood. What is broken in it has been reported; the rest is looked at all the same."""

    name: Name
    """Its heading and id."""
    title: str
    """Its kind's name; empty where it cannot be told."""
    kind: type[Leaf] | None = None
    """The kind of a leaf; None for containers and what cannot be told."""
    body: Value | None = None
    """Its fence's text."""
    properties: dict[str, Property] = field(default_factory=dict)
    """Its properties by key, without those that it cannot have."""
    children: list[Draft] = field(default_factory=list)
    """The nodes in it."""
    parent: Draft | None = None
    """The container around it."""
    is_cut: bool = False
    """Whether its fence is never closed, so that nothing can be said of what is in it."""
    is_leaf: bool = True
    """Whether it is no container, also where its kind cannot be told."""

    @property
    def id(self) -> str:
        """Its id."""
        return self.name.id

    @property
    def repeats(self) -> str | None:
        """Which property makes it repeat."""
        return next((key for key in REPEATS if key in self.properties), None)

    @property
    def is_plain_group(self) -> bool:
        """Whether it is only structure: its nodes are seen from everywhere."""
        return self.title == GROUP and self.repeats is None

    @property
    def hides_nodes(self) -> bool:
        """Whether the nodes in it are seen only within it."""
        return not self.is_leaf and (self.title == "branch" or self.repeats is not None)

    def value(self, key: str) -> Value | None:
        """Return a property's value; None where it is not set or cannot be read."""
        found = self.properties.get(key)
        return found.value if found else None

    def around(self) -> Iterator[Draft]:
        """Yield the containers around it, from the inside out."""
        current = self.parent
        while current is not None:
            yield current
            current = current.parent


@dataclass(slots=True)
class Outline:
    """What a document's sections are."""

    title: str = ""
    """The document's title."""
    nodes: list[Draft] = field(default_factory=list)
    """Its top-level nodes and groups."""
    by_id: dict[str, Draft] = field(default_factory=dict)
    """Every node and group by its id, the first where two have the same."""

    def walk(self) -> Iterator[Draft]:
        """Yield every node and group in the document's order."""
        stack = list(reversed(self.nodes))
        while stack:
            draft = stack.pop()
            yield draft
            stack.extend(reversed(draft.children))


def read_outline(root: Section, kinds: Kinds, source: Source) -> Found[Outline]:
    """Return what the document's sections are."""
    reader = _Reader(kinds, source)
    outline = Outline()
    preamble = yield from sort_fences(root, kinds, source)
    if preamble.body:
        fence = preamble.body
        yield problem(
            Code.NO_HEADING,
            f"this {fence.words[0]} fence stands above the first heading, so it belongs to no node",
            source.span(fence.line, fence.info_column, len(fence.info)),
            f"put a heading above it, as `## Fetch data`, or write `{fence.words[0]} example` to show it only",
        )
    yield from report_look_alikes(preamble.look_alikes, source, is_missed=False)
    sections = root.children
    if reader.is_title(sections):
        outline.title = read_name(sections[0], source).heading
        yield from sort_fences(sections[0], kinds, source)
        sections = [*sections[0].children, *sections[1:]]
    for section in sections:
        outline.nodes += yield from reader.section(section)
    for draft in outline.walk():
        yield from _register(draft, outline.by_id)
    return outline


def _register(draft: Draft, by_id: dict[str, Draft]) -> Found[None]:
    for child in draft.children:
        child.parent = draft
    known_as = yield from check_id(draft.name)
    if known_as is None:
        return
    first = by_id.setdefault(known_as, draft)
    if first is not draft:
        yield problem(
            Code.DUPLICATE_ID,
            f"the id '{draft.id}' stands twice: {both_lines(first.name.span, draft.name.span)}",
            draft.name.id_span,
            f"use another heading, or set the id at its end: `{{#{draft.id}_2}}`",
        )


@dataclass(slots=True)
class _Reader:
    """Reads sections one by one."""

    kinds: Kinds
    source: Source

    def is_title(self, sections: Sequence[Section]) -> bool:
        """Return whether the first heading is the document's title (format.md 1.3)."""
        if not sections or sections[0].level != 1 or any(section.level == 1 for section in sections[1:]):
            return False
        first = sections[0]
        fences, _ = collected(sort_fences(first, self.kinds, self.source))
        return fences.body is None and self.find_list(first, fences) is None

    def find_list(self, section: Section, fences: Fences) -> BulletList | None:
        """Return a section's property list (format.md 1.7)."""
        in_node = fences.body is not None
        for block in section.blocks:
            if block is fences.body:
                return None
            if isinstance(block, BulletList) and (
                (in_node and self.is_below_heading(block, section))
                or is_property_list(block, self.source, self.kinds.all_keys, in_node=in_node)
            ):
                return block
        return None

    def is_below_heading(self, block: BulletList, section: Section) -> bool:
        """Return whether nothing stands between a list and its section's heading."""
        return not any(line.strip() for line in self.source.lines[section.below : block.items[0].line])

    def section(self, section: Section) -> Found[list[Draft]]:
        """Return the nodes of a section: itself or not, and those below it."""
        fences = yield from sort_fences(section, self.kinds, self.source)
        block = self.find_list(section, fences)
        listed, heard = collected(self.properties(block, fences))
        children: list[Draft] = []
        for child in section.children:
            children += yield from self.section(child)
        keys = {item.key for item in listed}
        is_node = fences.body is not None or not keys.isdisjoint(MARKERS)
        is_missed = bool(listed) and fences.body is None and not children
        yield from report_look_alikes(fences.look_alikes, self.source, is_missed=is_missed)
        if not is_node and not children:
            return (yield from self.prose(section, listed, heard, fences))
        yield from heard
        if not is_node:
            draft = Draft(read_name(section, self.source), GROUP, is_leaf=False, children=children)
            yield from self.keep(draft, listed)
            return [draft]
        yield from self.late_list(section, fences)
        return (yield from self.node(section, fences, listed, children))

    def properties(self, block: BulletList | None, fences: Fences) -> Found[list[Property]]:
        """Return the properties of a section's list and fences."""
        listed = (yield from read_list(block, self.source, self.kinds.all_keys)) if block else []
        for fence in fences.properties:
            listed.append((yield from read_fence(fence, self.source)))
        return listed

    def prose(
        self, section: Section, listed: Sequence[Property], heard: Sequence[Diagnostic], fences: Fences
    ) -> Found[list[Draft]]:
        """Report a property list that belongs to nothing; where a mistyped `type` made it so, the section is a node."""
        if not listed and not heard:
            return []
        name = read_name(section, self.source)
        if fences.look_alikes:
            return [Draft(name, "")]
        is_broken = any(item.code is Code.PROPERTY_ITEM for item in heard)
        for item in listed:
            if is_broken or (item.key not in self.kinds.all_keys and did_you_mean(item.key, MARKERS)):
                yield from heard
                draft = Draft(name, "")
                yield from self.keep(draft, listed)
                return [draft]
        where = listed[0].key_span if listed else heard[0].span
        yield problem(
            Code.STRAY_PROPERTIES,
            f"'{shortened(name.heading, 40)}' has properties, but nothing that they are for: its body is missing",
            where,
            f"add a fence below the list, as {_example('python')}, or `- type: …`; in a list that is prose no item begins with a property's name",
        )
        return [Draft(name, "")]

    def late_list(self, section: Section, fences: Fences) -> Found[None]:
        """Warn of properties below the body, where they are prose."""
        if fences.body is None:
            return
        below = section.blocks[section.blocks.index(fences.body) + 1 :]
        for block in below:
            if isinstance(block, BulletList) and is_property_list(
                block, self.source, self.kinds.all_keys, in_node=False
            ):
                item = block.items[0]
                where = self.source.span(item.line, item.column, len(self.source.lines[item.line]) - item.column)
                what = "this list stands below the node's body, so it is prose and sets no property"
                yield warning(Code.LATE_PROPERTIES, what, where, "move it above the fence")

    def node(
        self, section: Section, fences: Fences, listed: list[Property], children: list[Draft]
    ) -> Found[list[Draft]]:
        """Return the node that a section is, and the nodes below it that are not its own."""
        draft = Draft(read_name(section, self.source), "")
        if fences.body:
            draft.body = fence_value(fences.body, self.source)
            draft.is_cut = not fences.body.is_closed
            word = fences.body.words[0]
            draft.kind = self.kinds.words[word]
            draft.title = draft.kind.TITLE
        yield from self.read_type(draft, next((item for item in listed if item.key == "type"), None))
        if draft.title in CONTAINERS or (not draft.title and "type" not in {item.key for item in listed}):
            draft.title, draft.is_leaf = draft.title or GROUP, False
        yield from self.keep(draft, listed)
        yield from self.check_body(draft, fences, children)
        if not draft.is_leaf:
            draft.children = children
            return [draft]
        return [draft, *children]

    def read_type(self, draft: Draft, item: Property | None) -> Found[None]:
        """Find a node's kind by its `type`."""
        value = item.value if item else None
        if item is None or value is None:
            return
        word = value.data
        if not isinstance(word, str) or word not in self.kinds.types:
            known = ("", "a plain section with nodes below it is a group already: leave `type` out")[word == GROUP]
            hint = known or did_you_mean(str(word), self.kinds.types, f"known are {one_of(sorted(self.kinds.types))}")
            shown = shortened(word if isinstance(word, str) else value.raw or str(word), 30)
            what = f"node '{draft.id}' has the unknown type '{shown}'"
            yield problem(Code.NODE_TYPE, what, value.span, hint)
            return
        kind = self.kinds.words.get(word)
        title = kind.TITLE if kind else word
        if draft.title and title != draft.title:
            what = f"`type: {word}` and a {draft.title} fence: a node is of one kind"
            hint = (
                "leave `type` out: the fence says it"
                if word not in CONTAINERS
                else f"a {word} has no fence, only nodes below it"
            )
            yield problem(Code.TYPE_CONFLICT, what, value.span, hint)
            return
        draft.kind, draft.title = kind, title

    def fence_span(self, fences: Fences) -> Span | None:
        """Return where the body's runtime is named."""
        body = fences.body
        return self.source.span(body.line, body.info_column, len(body.words[0])) if body else None

    def check_body(self, draft: Draft, fences: Fences, children: Sequence[Draft]) -> Found[None]:
        """Report a body that is missing or too much, and a container without nodes."""
        repeat = draft.repeats
        where = draft.properties[repeat or "type"].key_span if repeat or "type" in draft.properties else draft.name.span
        if fences.look_alikes and draft.body is None and not children:
            return
        if draft.kind and draft.kind.BODY_ELSE in draft.properties:
            yield from _check_content(draft, draft.properties[draft.kind.BODY_ELSE])
        elif draft.kind and draft.body is None and has_body(draft.kind):
            what = f"node '{draft.id}' is of type {draft.title} and has no body"
            other = f", or add `- {draft.kind.BODY_ELSE}: …`" if draft.kind.BODY_ELSE else ""
            yield problem(Code.MISSING_BODY, what, where, f"put a fence below the list: {_example(draft.title)}{other}")
        elif draft.kind and draft.body is not None and not has_body(draft.kind):
            what = f"a {draft.title} node has no body"
            span = self.fence_span(fences) or where
            yield problem(
                Code.TYPE_CONFLICT, what, span, f"write `- type: {draft.title}` and properties, without a fence"
            )
        elif not draft.is_leaf and not children:
            what = f"'{draft.id}' has no nodes: nothing would be {'repeated' if draft.title == GROUP else 'run'}"
            hint = f"add a fence below the list, as {_example('python')}, or nodes under deeper headings"
            if draft.title != GROUP:
                hint = "add nodes under headings one level deeper"
            yield problem(Code.EMPTY_CONTAINER, what, where, hint)
        elif draft.is_leaf and repeat and children:
            what = f"'{draft.id}' repeats, and has both a body of its own and nodes below it"
            hint = "give the body a heading of its own below this one, or begin the next node at this heading's level"
            yield problem(Code.BODY_AND_CHILDREN, what, where, hint)

    def keep(self, draft: Draft, listed: Sequence[Property]) -> Found[None]:
        """Give a node its properties; report those that it cannot have."""
        if not listed:
            return
        repeats = any(item.key in REPEATS for item in listed)
        is_plain = draft.title == GROUP and not repeats
        allowed = self.kinds.allowed(draft.title, is_plain_group=is_plain)
        for item in listed:
            first = draft.properties.get(item.key)
            if first:
                yield self.given_twice(first, item)
            elif item.key not in self.kinds.all_keys:
                what = f"unknown property '{shortened(item.key, 30)}'"
                hint = did_you_mean(item.key, allowed) or did_you_mean(item.key, self.kinds.all_keys)
                hint = hint or f"a {draft.title or 'node'} has {one_of(sorted(allowed))}"
                yield problem(Code.UNKNOWN_KEY, what, item.key_span, hint)
            elif draft.title and item.key not in allowed:
                yield self.not_for_kind(draft, item, is_plain=is_plain)
            else:
                draft.properties[item.key] = item

    def given_twice(self, first: Property, second: Property) -> Diagnostic:
        """Return what to say of a property that is given twice."""
        lines = both_lines(first.key_span, second.key_span)
        if first.is_fenced != second.is_fenced:
            what = f"'{second.key}' is both listed and given by a fence: {lines}"
            return problem(Code.LISTED_AND_FENCED, what, second.key_span, "keep one of them")
        what = f"the key '{second.key}' stands twice: {lines}"
        return problem(Code.DUPLICATE_KEY, what, second.key_span, "keep one of them")

    def not_for_kind(self, draft: Draft, item: Property, *, is_plain: bool) -> Diagnostic:
        """Return what to say of a property of other kinds."""
        if is_plain:
            what = f"'{item.key}' cannot be set on a plain group"
            hint = "a group takes `when` and `needs`; set it on its nodes, or for all in the front matter (`defaults`, `timeout`)"
        else:
            what = f"'{item.key}' is no property of a {draft.title} node"
            hint = f"only {one_of(self.kinds.owners(item.key))} has it"
        return problem(Code.NOT_FOR_KIND, what, item.key_span, hint)


def _example(word: str) -> str:
    return f"```{word}"


def known_values(draft: Draft) -> Mapping[str, Value]:
    """Return a draft's properties that could be read."""
    return {key: item.value for key, item in draft.properties.items() if item.value is not None}


def _check_content(draft: Draft, other: Property) -> Found[None]:
    """Report a body beside the property that stands in its place."""
    if draft.body is not None:
        what = f"the content of '{draft.id}' is given twice: by '{other.key}' and by the body"
        yield problem(Code.LISTED_AND_FENCED, what, other.key_span, "keep one of them")
