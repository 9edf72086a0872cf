"""Markdown to nested sections with their fences and bullet lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

LOG_HEADING: Final = "Execution Log"
"""The heading of the part that the engine writes."""
_MARKUP: Final = re.compile(r"[*_`\[\]<>&!\\~]")
_MAX_HEADING: Final = 500
"""The longest heading whose inline markup is looked at."""
_BULLET: Final = re.compile(r" {0,3}[-+*](?=[ \t]|$)[ \t]*")
_BLOCKS: Final = MarkdownIt("commonmark").enable("table").disable(["inline", "text_join"])
_INLINE: Final = MarkdownIt("commonmark")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block. Lines and columns count from 0."""

    line: int
    """The opening line."""
    info: str
    """What stands behind the opening marks, without spaces around it."""
    info_column: int
    """The column of `info`."""
    content: str
    """Its text, with the last line break."""
    indent: int
    """How far the opening marks are indented; as much is taken from each line of the content."""
    is_closed: bool
    """Whether it has a closing line."""

    @property
    def words(self) -> list[str]:
        """The words of the info string; a word in braces counts as one."""
        return self.info.split()

    @property
    def body(self) -> str:
        """Its text without the last line break."""
        return self.content.removesuffix("\n")


@dataclass(frozen=True, slots=True)
class Item:
    """An item of a bullet list. Lines and columns count from 0."""

    line: int
    """Its first line."""
    end: int
    """The line below its last."""
    column: int
    """Where its content begins in the first line."""


@dataclass(frozen=True, slots=True)
class BulletList:
    """A bullet list of a section's own, not one inside another block."""

    items: tuple[Item, ...]
    """Its items, in order."""


@dataclass(slots=True)
class Section:
    """A heading and all up to the next heading of the same or a higher level."""

    level: int
    """1 to 6; 0 for the document itself, which has no heading."""
    line: int
    """The heading's line, counted from 0."""
    heading: str = ""
    """The heading's text as written, without the marks around it."""
    blocks: list[Fence | BulletList] = field(default_factory=list)
    """Fences and bullet lists before its first child heading, in order."""
    children: list[Section] = field(default_factory=list)
    """The sections in it."""

    @property
    def fences(self) -> Iterator[Fence]:
        """Its fences, in order."""
        return (block for block in self.blocks if isinstance(block, Fence))


def read_sections(lines: Sequence[str], first: int) -> Section:
    """Return the document as a section of level 0; the engine's own log (format.md 1.8) is left out.

    Args:
        lines: The document's lines.
        first: The line in which the body begins, counted from 0: what is above it is front matter.
    """
    root = Section(0, first)
    open_sections = [root]
    tokens = _BLOCKS.parse("\n".join(lines[first:]))
    for place in _outside_log(tokens):
        token = tokens[place]
        line = first + (token.map or [0])[0]
        match token.type:
            case "heading_open":
                section = Section(int(token.tag[1]), line, tokens[place + 1].content)
                while open_sections[-1].level >= section.level:
                    open_sections.pop()
                open_sections[-1].children.append(section)
                open_sections.append(section)
            case "fence":
                open_sections[-1].blocks.append(_fence(token, lines, line))
            case "bullet_list_open":
                items = tuple(_items(tokens, place, lines, first))
                if items:
                    open_sections[-1].blocks.append(BulletList(items))
            case _:
                pass
    return root


def _own_blocks(tokens: Sequence[Token]) -> Iterator[int]:
    """Yield the places of the document's own blocks, none that stands inside another."""
    return (place for place, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0)


def _log_begins(tokens: Sequence[Token], place: int, after_break: bool) -> bool:  # noqa: FBT001 positional in a loop
    return after_break and tokens[place].type == "heading_open" and tokens[place + 1].content.strip() == LOG_HEADING


def _log_ends(token: Token) -> bool:
    return token.type == "hr" or (token.type == "heading_open" and token.tag in {"h1", "h2"})


def _outside_log(tokens: Sequence[Token]) -> Iterator[int]:
    """Yield the places of the document's own blocks, without those of the engine's log (format.md 1.8)."""
    in_log = after_break = False
    for place in _own_blocks(tokens):
        in_log = (in_log and not _log_ends(tokens[place])) or _log_begins(tokens, place, after_break)
        after_break = tokens[place].type == "hr"
        if not in_log:
            yield place


def plain_heading(text: str) -> str:
    """Return a heading as it reads once rendered: without emphasis, code marks and link targets."""
    if not _MARKUP.search(text) or len(text) > _MAX_HEADING:
        return text
    parts: list[str] = [
        "" if token.type == "html_inline" else token.content or (" " if token.tag == "br" else "")
        for token in _INLINE.parseInline(text)[0].children or []
    ]
    return "".join(parts)


def _fence(token: Token, lines: Sequence[str], line: int) -> Fence:
    opening = lines[line]
    indent = len(opening) - len(opening.lstrip(" "))
    behind = opening.find(token.markup) + len(token.markup)
    info_column = behind + len(opening[behind:]) - len(opening[behind:].lstrip())
    height = (token.map or [0, 1])[1] - (token.map or [0, 1])[0]
    closing = lines[line + height - 1] if height > 1 else ""
    marks = closing.strip()
    is_closed = (
        height > 1
        and len(closing) - len(closing.lstrip(" ")) <= 3  # noqa: PLR2004 CommonMark: four spaces make code
        and len(marks) >= len(token.markup)
        and not marks.strip(token.markup[0])
    )
    return Fence(line, token.info.strip(), info_column, token.content, indent, is_closed)


def _items(tokens: Sequence[Token], place: int, lines: Sequence[str], first: int) -> Iterator[Item]:
    """Yield the items of the bullet list that opens at `place`."""
    for number in range(place + 1, len(tokens)):
        token = tokens[number]
        if token.level == 0:
            return
        if token.level == 1 and token.type == "list_item_open" and token.map:
            line = first + token.map[0]
            marks = _BULLET.match(lines[line])
            if marks:
                yield Item(line, first + token.map[1], marks.end())
