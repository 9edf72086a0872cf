"""The first pass: a text to drafts of its nodes."""

from __future__ import annotations

from dataclasses import dataclass

from flownb.parse.drafts import Outline, read_outline
from flownb.parse.found import Found, problem
from flownb.parse.frontmatter import Head, read_front_matter
from flownb.parse.keys import Kinds
from flownb.parse.sections import TooLargeError, read_sections
from flownb.parse.source import Source, read_source
from flownb.text.codes import Code


@dataclass(frozen=True, slots=True)
class Document:
    """What a text holds."""

    source: Source
    """Its lines."""
    head: Head
    """What its front matter says."""
    outline: Outline
    """What its sections are."""


def read_document(text: str, name: str, first_line: int, kinds: Kinds) -> Found[Document | None]:
    """Return what a text holds; None where it is too large to be looked at."""
    source = yield from read_source(text, name, first_line)
    if source is None:
        return None
    head = yield from read_front_matter(source)
    try:
        root = read_sections(source.lines, head.end)
    except TooLargeError as error:
        yield problem(Code.TOO_LARGE, error.message, source.whole_line(error.line), error.hint)
        return None
    return Document(source, head, (yield from read_outline(root, kinds, source)))
