"""Markdown to nested sections with their fences and bullet lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import tee
from typing import TYPE_CHECKING, Final

from flownb.text.markdown import block_tokens, inline_tokens

if TYPE_CHECKING:
    from markdown_it.token import Token

from flownb.text.logsection import belong_to_log

_MARKUP: Final = re.compile(r"[*`\[\]<>&!\\~]|(?<!\w)_")
"""What may be Markdown inside a line; `_` behind a letter opens no emphasis (CommonMark 6.2)."""
_MAX_HEADING: Final = 500
"""The longest heading whose inline markup is looked at."""
_BULLET: Final = re.compile(r" {0,3}[-+*](?=[ \t]|$)[ \t]*")
_ATX: Final = re.compile(r"#{1,6}(?:[ \t]|$)")
_ITEM: Final = re.compile(r"[ \t]*(?:[-+*>|]|[0-9]+[.)])")
MAX_LINES: Final = 120_000
"""The most lines of a document."""
MAX_HEADINGS: Final = 20_000
"""The most headings of a document."""
MAX_ITEMS: Final = 20_000
"""The most lines of one section that belong to lists, tables and quotes."""
_MARKS: Final = re.compile(r"[-+*>0-9.) \t]*")
_PART: Final = 50
"""The fewest lines that are read at once: to begin with a part costs as much as a few lines."""
MAX_QUOTE_STEPS: Final = 500_000
"""How many lines markdown-it-py may look at for quotes: each quote that begins looks at all up to the next empty line."""


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
    below: int = 0
    """The line below the heading, counted from 0."""
    blocks: list[Fence | BulletList] = field(default_factory=list)
    """Fences and bullet lists before its first child heading, in order."""
    children: list[Section] = field(default_factory=list)
    """The sections in it."""

    @property
    def fences(self) -> Iterator[Fence]:
        """Its fences, in order."""
        return (block for block in self.blocks if isinstance(block, Fence))


class TooLargeError(Exception):
    """A document has more of something than is read, so that no document takes long."""

    def __init__(self, message: str, line: int, hint: str) -> None:
        """Say of what there is too much, and from which line on, counted from 0."""
        super().__init__(message, line, hint)
        self.message, self.line, self.hint = message, line, hint


def read_sections(lines: Sequence[str], first: int) -> Section:
    """Return the document as a section of level 0; the engine's own log (format.md 1.8) is left out.

    Args:
        lines: The document's lines.
        first: The line in which the body begins, counted from 0: what is above it is front matter.

    Raises:
        TooLargeError: There are more lines, headings or list items than are read.
    """
    if len(lines) > MAX_LINES:
        message = f"the document has {len(lines):,} lines; at most {MAX_LINES:,} are read"
        raise TooLargeError(message, MAX_LINES, "keep data in files of their own")
    root = Section(0, first)
    open_sections = [root]
    count = 0
    for block in _outside_log(_blocks(lines, first)):
        match block.token.type:
            case "heading_open":
                count += 1
                if count > MAX_HEADINGS:
                    message = f"the document has more than {MAX_HEADINGS:,} headings"
                    raise TooLargeError(message, block.line, "move parts of it into sub-flows (`type: flow`)")
                below = block.offset + (block.token.map or [0, 0])[1]
                section = Section(int(block.token.tag[1]), block.line, block.inner[0].content, below)
                while open_sections[-1].level >= section.level:
                    open_sections.pop()
                open_sections[-1].children.append(section)
                open_sections.append(section)
            case "fence":
                open_sections[-1].blocks.append(_fence(block.token, lines, block.line))
            case "bullet_list_open":
                items = tuple(_items(block, lines))
                if items:
                    open_sections[-1].blocks.append(BulletList(items))
            case _:
                pass
    return root


@dataclass(frozen=True, slots=True)
class _Block:
    """One of the document's own blocks, none that stands inside another."""

    token: Token
    """The token that opens it."""
    inner: list[Token]
    """What is in it."""
    line: int
    """Its first line, counted from 0 in the document."""
    offset: int
    """The document's line that is line 0 of its tokens."""


def _blocks(lines: Sequence[str], first: int) -> Iterator[_Block]:
    """Yield the document's own blocks in order.

    A heading at the start of a line ends whatever is open but a fence and HTML, so the document can be read part by part,
    and the tokens of a part are gone before the next is read.
    """
    bounds = [first]
    for number in range(first + _PART, len(lines)):
        if number - bounds[-1] >= _PART and _ATX.match(lines[number]):
            bounds.append(number)
    bounds.append(len(lines))
    place = 0
    while place < len(bounds) - 1:
        width = 1
        while True:
            end = min(place + width, len(bounds) - 1)
            part = lines[bounds[place] : bounds[end]]
            tokens = _tokens(part, bounds[place])
            if end == len(bounds) - 1 or not _is_open(tokens, part):
                break
            width *= 2
        yield from _own_blocks(tokens, bounds[place])
        place = end


def _tokens(part: Sequence[str], line: int) -> list[Token]:
    if len(part) > MAX_ITEMS and sum(1 for text in part if _ITEM.match(text)) > MAX_ITEMS:
        message = f"one section has more than {MAX_ITEMS:,} lines of lists, tables and quotes"
        raise TooLargeError(message, line, "keep data in files of their own")
    if (at := _tangled(part)) is not None:
        message = "too many quotes (`>`) begin and end here without an empty line between them"
        raise TooLargeError(message, line + at, "put an empty line below each quote")
    return block_tokens("\n".join(part))


def _tangled(part: Sequence[str]) -> int | None:
    """Return the line at which the quotes of a part become too much work; None where they do not."""
    steps = begun = before = 0
    for number, text in enumerate(part):
        marks = _MARKS.match(text)
        depth = marks[0].count(">") if marks else 0
        begun = begun + max(0, depth - before) if text.strip() else 0
        steps += begun
        before = depth
        if steps > MAX_QUOTE_STEPS:
            return number
    return None


def _is_open(tokens: Sequence[Token], part: Sequence[str]) -> bool:
    """Return whether a part of a document ends inside a fence or HTML, so that what follows belongs to it."""
    last = tokens[-1] if tokens else None
    if last is None or last.map is None or last.type not in {"fence", "html_block"}:
        return False
    return last.type == "html_block" or not _fence(last, part, last.map[0]).is_closed


def _own_blocks(tokens: Sequence[Token], offset: int) -> Iterator[_Block]:
    place = 0
    while place < len(tokens):
        token = tokens[place]
        end = place + 1
        while token.nesting > 0 and tokens[end].level > 0:
            end += 1
        yield _Block(token, list(tokens[place + 1 : end]), offset + (token.map or [0])[0], offset)
        place = end + (token.nesting > 0)


def _outside_log(blocks: Iterable[_Block]) -> Iterator[_Block]:
    """Return the blocks that do not belong to the engine's log (format.md 1.8)."""
    told, shown = tee(blocks)
    are_log = belong_to_log((block.token, block.inner[0].content if block.inner else "") for block in told)
    return (block for block, is_log in zip(shown, are_log, strict=True) if not is_log)


def plain_heading(text: str) -> str:
    """Return a heading as it reads once rendered: without emphasis, code marks and link targets."""
    if not _MARKUP.search(text) or len(text) > _MAX_HEADING:
        return text
    parts: list[str] = [
        "" if token.type == "html_inline" else token.content or (" " if token.tag == "br" else "")
        for token in inline_tokens(text)
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


def _items(block: _Block, lines: Sequence[str]) -> Iterator[Item]:
    """Yield the items of a bullet list."""
    for token in block.inner:
        if token.level == 1 and token.type == "list_item_open" and token.map:
            line = block.offset + token.map[0]
            marks = _BULLET.match(lines[line])
            if marks:
                yield Item(line, block.offset + token.map[1], marks.end())
