"""Markdown's tokens; the one place where markdown-it-py comes in, with the first document that is read."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token


@cache
def commonmark(*, blocks_only: bool = False) -> MarkdownIt:
    """Return a parser of CommonMark, made on first use.

    Args:
        blocks_only: Whether it finds blocks only, tables too, and leaves the text in them as it was written.
    """
    # markdown-it-py takes 35 ms to import, a sixth of `import flownb` (DECISIONS.md, 43).
    from markdown_it import MarkdownIt  # noqa: PLC0415 see above

    made = MarkdownIt("commonmark")
    return made.enable("table").disable(["inline", "text_join"]) if blocks_only else made


def block_tokens(text: str) -> list[Token]:
    """Return the tokens of a text's blocks; the text inside them is not looked at."""
    return commonmark(blocks_only=True).parse(text)


def inline_tokens(text: str) -> list[Token]:
    """Return the tokens of one line of text, as a heading's."""
    return commonmark().parseInline(text)[0].children or []
