"""Sections to drafts of nodes: what each section is, before its properties are understood."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flownb.model.nodes import Foreach, Leaf, Loop, Use
from flownb.model.policy import Policy
from flownb.parse.fences import Fences, report_look_alikes, sort_fences
from flownb.parse.ids import Name, check_id, read_name
from flownb.parse.keys import CONTAINERS, MARKERS, REPEATS, Kinds, has_body
from flownb.parse.properties import Property, fence_value, is_property_list, read_fence, read_list
from flownb.parse.sections import BulletList, Section
from flownb.parse.source import Problems, Source
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean, one_of
from flownb.text.spans import Span, both_lines
from flownb.text.yaml import Value

GROUP = "group"
"""The name of a section that only holds nodes."""


@dataclass(slots=True, eq=False)
class Draft:
    """A node in the making. What is broken in it has been reported; what is left is used to look at the rest."""

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
    policy: Policy = field(default_factory=Policy)
    """How it is run."""
    repeat: Foreach | Loop | None = None
    """Whether it repeats."""
    own: dict[str, object] = field(default_factory=dict)
    """The values of the properties that only its kind has."""
    uses: list[Use] = field(default_factory=list)
    """The names that it reads."""

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


def read_outline(root: Section, kinds: Kinds, source: Source, problems: Problems) -> Outline:
    """Return what the document's sections are."""
    reader = _Reader(kinds, source, problems)
    outline = Outline()
    preamble = sort_fences(root, kinds, source, problems)
    if preamble.body:
        fence = preamble.body
        problems.error(
            Code.NO_HEADING,
            f"this {fence.words[0]} fence stands above the first heading, so it belongs to no node",
            source.span(fence.line, fence.info_column, len(fence.info)),
            f"put a heading above it, as `## Fetch data`, or write `{fence.words[0]} example` to show it only",
        )
    report_look_alikes(preamble.look_alikes, source, problems, is_missed=False)
    sections = root.children
    if reader.is_title(sections):
        outline.title = read_name(sections[0], source).heading
        reader.fences(sections[0])
        sections = [*sections[0].children, *sections[1:]]
    outline.nodes = [draft for section in sections for draft in reader.section(section)]
    for draft in outline.walk():
        _register(draft, outline.by_id, problems)
    return outline


def _register(draft: Draft, by_id: dict[str, Draft], problems: Problems) -> None:
    for child in draft.children:
        child.parent = draft
    known_as = check_id(draft.name, problems)
    if known_as is None:
        return
    first = by_id.setdefault(known_as, draft)
    if first is not draft:
        problems.error(
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
    problems: Problems

    def is_title(self, sections: Sequence[Section]) -> bool:
        """Return whether the first heading is the document's title (format.md 1.3)."""
        if not sections or sections[0].level != 1 or any(section.level == 1 for section in sections[1:]):
            return False
        first = sections[0]
        fences = sort_fences(first, self.kinds, self.source, Problems())
        return fences.body is None and self.find_list(first, fences) is None

    def fences(self, section: Section) -> Fences:
        """Return a section's fences."""
        return sort_fences(section, self.kinds, self.source, self.problems)

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

    def section(self, section: Section) -> list[Draft]:
        """Return the nodes of a section: itself or not, and those below it."""
        fences = self.fences(section)
        block = self.find_list(section, fences)
        heard = Problems()
        listed = read_list(block, self.source, self.kinds.all_keys, heard) if block else []
        listed += [read_fence(fence, self.source, heard) for fence in fences.properties]
        children = [draft for child in section.children for draft in self.section(child)]
        keys = {item.key for item in listed}
        is_node = fences.body is not None or not keys.isdisjoint(MARKERS)
        is_missed = bool(listed) and fences.body is None and not children
        report_look_alikes(fences.look_alikes, self.source, self.problems, is_missed=is_missed)
        if not is_node and not children:
            return self.prose(section, listed, heard, fences)
        self.problems.found += heard.found
        if not is_node:
            draft = Draft(read_name(section, self.source), GROUP, is_leaf=False, children=children)
            self.keep(draft, listed)
            return [draft]
        self.late_list(section, fences)
        return self.node(section, fences, listed, children)

    def prose(self, section: Section, listed: Sequence[Property], heard: Problems, fences: Fences) -> list[Draft]:
        """Report a property list that belongs to nothing; where a mistyped `type` made it so, the section is a node."""
        if not listed and not heard.found:
            return []
        name = read_name(section, self.source)
        if fences.look_alikes:
            return [Draft(name, "")]
        is_broken = any(problem.code is Code.PROPERTY_ITEM for problem in heard.found)
        for item in listed:
            if is_broken or (item.key not in self.kinds.all_keys and did_you_mean(item.key, MARKERS)):
                self.problems.found += heard.found
                draft = Draft(name, "")
                self.keep(draft, listed)
                return [draft]
        where = listed[0].key_span if listed else heard.found[0].span
        self.problems.error(
            Code.STRAY_PROPERTIES,
            f"'{shortened(name.heading, 40)}' has properties, but nothing that they are for: its body is missing",
            where,
            f"add a fence below the list, as {_example('python')}, or `- type: …`; in a list that is prose no item begins with a property's name",
        )
        return [Draft(name, "")]

    def late_list(self, section: Section, fences: Fences) -> None:
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
                self.problems.warn(Code.LATE_PROPERTIES, what, where, "move it above the fence")

    def node(self, section: Section, fences: Fences, listed: list[Property], children: list[Draft]) -> list[Draft]:
        """Return the node that a section is, and the nodes below it that are not its own."""
        draft = Draft(read_name(section, self.source), "")
        if fences.body:
            draft.body = fence_value(fences.body, self.source)
            draft.is_cut = not fences.body.is_closed
            word = fences.body.words[0]
            draft.kind = self.kinds.words[word]
            draft.title = draft.kind.TITLE if draft.kind else word
        self.read_type(draft, next((item for item in listed if item.key == "type"), None), fences)
        if draft.title in CONTAINERS or (not draft.title and "type" not in {item.key for item in listed}):
            draft.title, draft.is_leaf = draft.title or GROUP, False
        self.keep(draft, listed)
        self.check_body(draft, fences, children)
        if not draft.is_leaf:
            draft.children = children
            return [draft]
        return [draft, *children]

    def read_type(self, draft: Draft, item: Property | None, fences: Fences) -> None:
        """Find a node's kind by its `type`."""
        value = item.value if item else None
        if item is None or value is None:
            self.refuse_later(draft, self.fence_span(fences))
            return
        word = value.data
        if not isinstance(word, str) or word not in self.kinds.types:
            known = ("", "a plain section with nodes below it is a group already: leave `type` out")[word == GROUP]
            hint = known or did_you_mean(str(word), self.kinds.types, f"known are {one_of(sorted(self.kinds.types))}")
            shown = shortened(word if isinstance(word, str) else value.raw or str(word), 30)
            what = f"node '{draft.id}' has the unknown type '{shown}'"
            self.problems.error(Code.NODE_TYPE, what, value.span, hint)
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
            self.problems.error(Code.TYPE_CONFLICT, what, value.span, hint)
            return
        draft.kind, draft.title = kind, title
        self.refuse_later(draft, value.span)

    def fence_span(self, fences: Fences) -> Span | None:
        """Return where the body's runtime is named."""
        body = fences.body
        return self.source.span(body.line, body.info_column, len(body.words[0])) if body else None

    def refuse_later(self, draft: Draft, where: Span | None) -> None:
        """Report a kind that the format has and this version does not run."""
        if draft.kind is None and draft.title and draft.title not in CONTAINERS and where:
            what = f"node '{draft.id}' is of type {draft.title}, which is not in this version yet"
            self.problems.error(Code.NOT_YET, what, where, "use a python or bash node in its place")

    def check_body(self, draft: Draft, fences: Fences, children: Sequence[Draft]) -> None:
        """Report a body that is missing or too much, and a container without nodes."""
        repeat = draft.repeats
        where = draft.properties[repeat or "type"].key_span if repeat or "type" in draft.properties else draft.name.span
        if fences.look_alikes and draft.body is None and not children:
            return
        if draft.kind and draft.body is None and has_body(draft.kind):
            what = f"node '{draft.id}' is of type {draft.title} and has no body"
            self.problems.error(Code.MISSING_BODY, what, where, f"put a fence below the list: {_example(draft.title)}")
        elif draft.kind and draft.body is not None and not has_body(draft.kind):
            what = f"a {draft.title} node has no body"
            span = self.fence_span(fences) or where
            self.problems.error(
                Code.TYPE_CONFLICT, what, span, f"write `- type: {draft.title}` and properties, without a fence"
            )
        elif not draft.is_leaf and not children:
            what = f"'{draft.id}' has no nodes: nothing would be {'repeated' if draft.title == GROUP else 'run'}"
            hint = f"add a fence below the list, as {_example('python')}, or nodes under deeper headings"
            if draft.title != GROUP:
                hint = "add nodes under headings one level deeper"
            self.problems.error(Code.EMPTY_CONTAINER, what, where, hint)
        elif draft.is_leaf and repeat and children:
            what = f"'{draft.id}' repeats, and has both a body of its own and nodes below it"
            hint = "give the body a heading of its own below this one, or begin the next node at this heading's level"
            self.problems.error(Code.BODY_AND_CHILDREN, what, where, hint)

    def keep(self, draft: Draft, listed: Sequence[Property]) -> None:
        """Give a node its properties; report those that it cannot have."""
        repeats = any(item.key in REPEATS for item in listed)
        is_plain = draft.title == GROUP and not repeats
        allowed = self.kinds.allowed(draft.title, is_plain_group=is_plain)
        for item in listed:
            first = draft.properties.get(item.key)
            if first:
                self.report_twice(first, item)
            elif item.key not in self.kinds.all_keys:
                what = f"unknown property '{shortened(item.key, 30)}'"
                hint = did_you_mean(item.key, allowed) or did_you_mean(item.key, self.kinds.all_keys)
                hint = hint or f"a {draft.title or 'node'} has {one_of(sorted(allowed))}"
                self.problems.error(Code.UNKNOWN_KEY, what, item.key_span, hint)
            elif draft.title and item.key not in allowed:
                self.report_kind(draft, item, is_plain=is_plain)
            else:
                draft.properties[item.key] = item

    def report_twice(self, first: Property, second: Property) -> None:
        """Report a property that is given twice."""
        lines = both_lines(first.key_span, second.key_span)
        if first.is_fenced != second.is_fenced:
            what = f"'{second.key}' is both listed and given by a fence: {lines}"
            self.problems.error(Code.LISTED_AND_FENCED, what, second.key_span, "keep one of them")
        else:
            self.problems.error(
                Code.DUPLICATE_KEY, f"the key '{second.key}' stands twice: {lines}", second.key_span, "keep one of them"
            )

    def report_kind(self, draft: Draft, item: Property, *, is_plain: bool) -> None:
        """Report a property of other kinds."""
        if is_plain:
            what = f"'{item.key}' cannot be set on a plain group"
            hint = "a group takes `when` and `needs`; set it on its nodes, or for all in the front matter (`defaults`, `timeout`)"
        else:
            what = f"'{item.key}' is no property of a {draft.title} node"
            hint = f"only {one_of(self.kinds.owners(item.key))} has it"
        self.problems.error(Code.NOT_FOR_KIND, what, item.key_span, hint)


def _example(word: str) -> str:
    return f"```{word}"


def known_values(draft: Draft) -> Mapping[str, Value]:
    """Return a draft's properties that could be read."""
    return {key: item.value for key, item in draft.properties.items() if item.value is not None}
