r"""Turn text from anywhere into text that shows itself and does nothing else.

In a trusted notebook Markdown output runs the HTML in it, and JupyterLab hands `$…$` and `\(…\)` to MathJax, which knows
links of its own; a terminal obeys escape codes. So what comes from data, answers and messages goes through here.
"""

from __future__ import annotations

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)
_LINE_BREAK: Final = re.compile("\r\n|[\r\n\x0b\x0c\x85\u2028\u2029]")
_ACTIVE: Final = re.compile(
    r"(?P<math>\$|\\(?=[(\[$]|begin\{|(?:eq)?ref\{))"  # MathJax reads these in the page, whatever Markdown made of them
    r"|[\\`*~|<>]"
    r"|\](?=[(\[:])"  # the middle of a link or an image, or the end of a link's name
    r"|&(?=[#\w])"
    r"|(?<![^\W_])_|_(?![^\W_])"  # at a word's edge, where it could be emphasis: `cached_articles` stays as it is
)
_STARTS: Final = re.compile(r"^(\d*)([#+=.)-])")
"""What makes a line of a paragraph a heading, a list or a rule."""
_HTML: Final = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_BACKTICKS: Final = re.compile("`+")


def visible(text: str) -> str:
    r"""Return the text with control characters and marks that turn the direction of reading written out, as `\x1b`.

    Line feeds and tabs stay.
    """
    return _UNSEEN.sub(lambda found: _written_out(found.group()), text.replace("\r\n", "\n"))


def visible_json(text: str) -> str:
    """Return JSON that means the same, and in which nothing stands as it is that `visible` writes out."""
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def one_line(text: str) -> str:
    r"""Return the text on one line: line breaks become `\n`, tabs become spaces."""
    return visible(_LINE_BREAK.sub(r"\\n", text).replace("\t", " "))


def cut(text: str, limit: int) -> str:
    """Return the text, or its first `limit` characters and `…`."""
    return text if len(text) <= limit else text[:limit] + "…"


def inert(text: str) -> str:
    """Return Markdown for one line, also in a table's cell, that shows this text as it is."""
    return _ACTIVE.sub(_escaped, one_line(text))


def code_span(text: str) -> str:
    """Return the text as a code span; not for a table's cell, where a `|` would end it."""
    shown = one_line(text)
    ticks = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    edge = " " if len(ticks) > 1 or shown != shown.strip() else ""
    return f"{ticks}{edge}{shown}{edge}{ticks}"


def quoted(text: str) -> str:
    """Return the text as a quotation, line for line, in which it shows itself."""
    lines = [_STARTS.sub(r"\g<1>\\\g<2>", inert(line.strip())) for line in text.strip("\r\n").splitlines()]
    return "".join(f"> {line}  \n" if line else ">\n" for line in lines or [""])


def fenced(text: str, language: str = "text") -> str:
    """Return the text as a fenced block, with a fence longer than any in it."""
    shown = visible(text).strip("\n")
    ticks = "`" * max(3, 1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    return f"{ticks}{language}\n{shown}\n{ticks}\n"


def _written_out(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 the last code that two digits hold


def _escaped(found: re.Match[str]) -> str:
    character = found.group()
    if found["math"]:
        # An element of its own ends MathJax's search for the other end; a backslash would not, nor would an entity.
        return f"<span>&#{ord(character)};</span>"
    return _HTML.get(character) or f"\\{character}"
