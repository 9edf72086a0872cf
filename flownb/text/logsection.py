"""Where the execution log stands in a document (format.md, section 1.8)."""

from __future__ import annotations

import re
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
    tokens = [
        token for token in block_tokens(_without_front_matter(lines)) if token.level == 0 or token.type == "inline"
    ]
    for index, token in enumerate(tokens[:-2]):
        if token.type == "hr" and tokens[index + 1].type == "heading_open" and tokens[index + 2].content == LOG_HEADING:
            first = _first_line(token)
            last = next((_first_line(later) for later in tokens[index + 2 :] if _ends_log(later)), len(lines))
            while not lines[last - 1].strip(" \t\r\n"):
                last -= 1
            start = sum(map(len, lines[:first])) or len(text) - len(text.removeprefix("\ufeff"))
            return start, start + len("".join(lines[first:last]).rstrip("\r\n"))
    return None


def _without_front_matter(lines: list[str]) -> str:
    """Return the document with an empty line for each of its front matter, whose `---` are no thematic breaks."""
    first = lines[0].removeprefix("\ufeff")
    if first.rstrip() == "---":
        for number, line in enumerate(lines[1:], start=1):
            if line.rstrip() == "---":
                return "\n" * (number + 1) + "".join(lines[number + 1 :])
    return "".join([first, *lines[1:]])


def _ends_log(token: Token) -> bool:
    return token.type == "hr" or (token.type == "heading_open" and token.tag in ("h1", "h2"))


def _first_line(token: Token) -> int:
    assert token.map is not None
    return token.map[0]
