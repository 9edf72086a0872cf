"""Turns Markdown and displays that hold data into HTML that shows itself and does nothing else."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from markdown_it import MarkdownIt

from flownb.render.inert import visible

_MATH: Final = re.compile(r"\$|\\(?=[(\[]|begin\{|(?:eq)?ref\{)")
_TAG: Final = re.compile(r"<[^>]*>")


def safe_html(markdown: str) -> str:
    """Return a text's Markdown as HTML: HTML in it is shown as text, links that run code are none, `$` is no formula.

    A template's text holds data, and a trusted notebook runs whatever HTML stands in Markdown.
    """
    made: str = _reader().render(visible(markdown))
    # Between tags only: in an attribute the element would end it, and MathJax does not look there.
    parts, tags = _TAG.split(made), [*_TAG.findall(made), ""]
    return "".join(_MATH.sub(_escaped, part) + tag for part, tag in zip(parts, tags, strict=True))


def display_html(data: Mapping[str, Any]) -> str:
    """Return a display's richest form as HTML: its own HTML or picture, else its text, escaped.

    Args:
        data: MIME type → data.
    """
    if "text/html" in data:
        return str(data["text/html"])
    for kind in ("image/png", "image/jpeg", "image/gif"):
        if kind in data:
            return f'<img src="data:{kind};base64,{html.escape(as_text(data[kind]))}">'
    if "image/svg+xml" in data:
        return f'<img src="data:image/svg+xml;base64,{b64encode(str(data["image/svg+xml"]).encode()).decode()}">'
    if "text/markdown" in data:
        return safe_html(str(data["text/markdown"]))
    return f"<pre>{html.escape(visible(str(data.get('text/plain', ''))))}</pre>"


def as_text(value: object) -> str:
    """Return a display's data as it is written in JSON: bytes in base64."""
    return b64encode(value).decode() if isinstance(value, bytes) else str(value).strip()


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


def _escaped(found: re.Match[str]) -> str:
    return f"<span>&#{ord(found.group())};</span>"
