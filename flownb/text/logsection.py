"""Where the execution log stands in a document (format.md, section 1.8)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from flownb.text.markdown import block_tokens

if TYPE_CHECKING:
    from markdown_it.token import Token

LOG_HEADING: Final = "Execution Log"
"""What the log's heading says."""
_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")


def find_log(text: str) -> tuple[int, int] | None:
    """Return where the log stands: from its thematic break to the end of its last line that is not blank.

    Args:
        text: A whole document, with its front matter.

    Returns:
        Offsets in characters, the second exclusive and before the line break; None where there is no log. A heading
        in a fence, a list or a quotation is none.
    """
    if LOG_HEADING not in text:
        return None
    lines = [found.group() for found in _LINE.finditer(text)]
    tokens = block_tokens(_without_front_matter(lines))
    blocks = [
        (token, inner.content if inner else "")
        for token, inner in zip_longest(tokens, tokens[1:])
        if token.level == 0 and token.nesting >= 0
    ]
    are_log = list(belong_to_log(blocks))
    if True not in are_log:
        return None
    heading = are_log.index(True)
    first = _first_line(blocks[heading - 1][0])
    below = zip(blocks[heading:], are_log[heading:], strict=True)
    last = next((_first_line(token) for (token, _), is_log in below if not is_log), len(lines))
    while not lines[last - 1].strip(" \t\r\n"):
        last -= 1
    start = sum(map(len, lines[:first])) or len(text) - len(text.removeprefix("\ufeff"))
    return start, start + len("".join(lines[first:last]).rstrip("\r\n"))


def belong_to_log(blocks: Iterable[tuple[Token, str]]) -> Iterator[bool]:
    """Yield for each outermost block whether it belongs to a log, which begins with the heading below a thematic break.

    Args:
        blocks: The token that opens each block, and of a heading its text.
    """
    is_log = after_break = False
    for token, text in blocks:
        is_heading = token.type == "heading_open"
        ends = token.type == "hr" or (is_heading and token.tag in ("h1", "h2"))
        is_log = (is_log and not ends) or (after_break and is_heading and text.strip() == LOG_HEADING)
        after_break = token.type == "hr"
        yield is_log


def _without_front_matter(lines: list[str]) -> str:
    """Return the document with an empty line for each of its front matter, whose `---` are no thematic breaks."""
    first = lines[0].removeprefix("\ufeff")
    if first.rstrip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip() == "---":
                return "\n" * (number + 1) + "".join(lines[number + 1 :])
    return "".join([first, *lines[1:]])


def _first_line(token: Token) -> int:
    assert token.map is not None
    return token.map[0]
