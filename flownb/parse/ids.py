"""From a heading to a node's id."""

from __future__ import annotations

import keyword
import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from flownb.parse.found import Found, problem
from flownb.parse.sections import Section, plain_heading
from flownb.parse.source import Source
from flownb.templates.expressions import RESERVED_NAMES
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.spans import Span

_BY_HAND: Final = re.compile(r"\{#([^{}]*)\}\s*\Z")
"""An id set by hand, looked for where the last `{#` stands: searched for from every place, it would take the square of the length."""
_ASCII: Final = re.compile(r"[^a-z0-9]+")
_CONSTANTS: Final = frozenset({"true", "false", "none"})
"""What expressions read as constants, so that no node can be meant."""
_JOINER: Final = "\u200d"
_FILLERS: Final = frozenset("\u115f\u1160\u3164\uffa0\u034f\u17b4\u17b5\u180b\u180c\u180d\u180f")
"""Letters and marks that show as nothing."""
_SELECTORS: Final = frozenset(map(chr, [*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0)]))
"""Variation selectors: they choose how the character before them looks."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a heading calls its section."""

    id: str
    """The id; empty where the heading gives none."""
    heading: str
    """The heading as the person wrote it, without `{#id}`."""
    span: Span
    """The heading's text."""
    id_span: Span
    """What the id was made of: `{#id}`'s content, else the heading's text."""
    is_by_hand: bool
    """Whether `{#id}` sets it."""


def read_name(section: Section, source: Source) -> Name:
    """Return a section's id and heading; nothing is checked yet."""
    first = section.heading.split("\n")[0]
    line = source.lines[section.line] if section.line < len(source.lines) else ""
    column = max(0, line.find(first))
    span = source.span(section.line, column, len(first))
    last = section.heading.rfind("{#")
    by_hand = _BY_HAND.match(section.heading, last) if last >= 0 else None
    if by_hand is None:
        heading = " ".join(section.heading.split("\n"))
        return Name(identifier(plain_heading(heading)), heading, span, span, is_by_hand=False)
    heading = section.heading[: by_hand.start()].rstrip()
    at = source.span(section.line, column + by_hand.start(1), len(by_hand[1])) if "\n" not in section.heading else span
    return Name(unicodedata.normalize("NFKC", by_hand[1]), heading, span, at, is_by_hand=True)


def identifier(text: str) -> str:
    """Return a heading's text as an identifier (format.md 1.5).

    >>> identifier("Fetch the data!")
    'fetch_the_data'
    """
    if text.isascii():
        return _ASCII.sub("_", text.lower()).strip("_")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).lower())
    kept = (letter if _is_kept(letter) else "_" for letter in folded if letter not in _SELECTORS)
    return re.sub("_+", "_", "".join(kept)).strip("_")


def _is_kept(letter: str) -> bool:
    return letter != "_" and f"a{letter}".isidentifier()


def slug(text: str) -> str:
    """Return a text as a name for a folder: `a-z`, `0-9` and `-`; empty where nothing is left of it.

    >>> slug("Täglicher Bericht (neu)")
    'taglicher-bericht-neu'
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    return _ASCII.sub("-", plain)[:80].strip("-")


def check_id(name: Name) -> Found[str | None]:
    """Report what keeps a heading from naming a node; return the id by which others will name it, None for none."""
    by_hand = "set one at the heading's end, as `{#fetch_data}`"
    hidden = _hidden(name.id if name.is_by_hand else name.heading)
    if hidden:
        what = (
            f"the id of '{shortened(name.heading)}' is made from text with an invisible character, U+{ord(hidden):04X}"
        )
        yield problem(Code.INVISIBLE_CHARACTER, what, name.id_span, "delete it: type the heading anew")
        return identifier("".join(letter for letter in name.heading if not _hidden(letter))) or None
    if not name.id.isidentifier():
        shown = shortened(name.id)
        what = f"'{shown}' is no identifier" if shown else f"the heading '{shortened(name.heading)}' gives no id"
        if shown and shown[0].isdigit() and not name.is_by_hand:
            what, by_hand = f"the id '{shown}' begins with a digit", f"begin with a letter, or {by_hand}"
        if name.is_by_hand:
            by_hand = f"write `{{#{identifier(name.id) or 'fetch_data'}}}`"
        yield problem(Code.BAD_ID, what, name.id_span, by_hand)
        return None
    word = name.id
    if keyword.iskeyword(word) or word in RESERVED_NAMES or word in _CONSTANTS:
        owner = "Python" if keyword.iskeyword(word) else "flownb's own" if word in RESERVED_NAMES else "expressions"
        what = f"'{word}' cannot be an id: it is a word of {owner}"
        yield problem(Code.RESERVED_ID, what, name.id_span, f"use another heading, or set the id: `{{#{word}_step}}`")
    return word


def _hidden(text: str) -> str | None:
    """Return the first character that nobody sees; a joiner between emoji is none."""
    if text.isascii():
        return None
    for place, letter in enumerate(text):
        if letter == _JOINER and not any(
            _is_kept(near) for near in text[max(0, place - 1) : place + 2] if near != _JOINER
        ):
            continue
        if letter in _FILLERS or unicodedata.category(letter) == "Cf":
            return letter
    return None
