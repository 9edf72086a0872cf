"""Whether a drawing in SVG is only a drawing: nothing in it runs, and it asks for nothing from outside."""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

_ELEMENTS: Final = frozenset(
    {
        *("svg", "g", "defs", "style", "path", "use", "rect", "circle", "ellipse", "line", "polyline", "polygon"),
        *("text", "tspan", "image", "clipPath", "linearGradient", "radialGradient", "stop", "pattern", "marker"),
        *("mask", "symbol", "title", "desc", "metadata", "RDF", "Work", "Agent", "type", "date", "format", "creator"),
    }
)
"""What Matplotlib draws with; nothing that runs, links or embeds."""
_IMAGE: Final = "data:image/png;base64,"
_DEEPEST: Final = 100


def why_not_shown(data: bytes) -> str:
    """Return why a drawing is not shown; empty where it can be.

    Args:
        data: The SVG file.
    """
    look = _Look()
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = look.begin, look.end
    parser.CharacterDataHandler, parser.EntityDeclHandler = look.text, look.entity
    parser.buffer_text = True
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        return f"it is no XML ({error})"
    return look.found[0] if look.found else ""


class _Look:
    """What was found on the way through a drawing."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._depth = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if name.rpartition(":")[2] not in _ELEMENTS:
            self.found.append(f"it holds <{name[:40]}>")
        if self._depth > _DEEPEST:
            self.found.append("it is nested too deeply")
        for attribute, value in attributes.items():
            inner = attribute.rpartition(":")[2].lower()
            is_link = inner in ("href", "src") and not _is_inside(value, name)
            if inner.startswith("on") or is_link or _reaches_out(value, attribute):
                self.found.append(f"its attribute {attribute[:40]} runs something or reaches outside")

    def end(self, _name: str) -> None:
        self._depth -= 1

    def text(self, data: str) -> None:
        if _reaches_out(data, ""):
            self.found.append("its text reaches outside")

    def entity(self, *_arguments: object) -> None:
        self.found.append("it defines entities")


def _is_inside(link: str, element: str) -> bool:
    return (
        link.startswith("#")
        or (link.startswith(_IMAGE) and element == "image")
        or element.startswith("cc:")
        or element == "dc:type"
    )


def _reaches_out(text: str, attribute: str) -> bool:
    low = "".join(text.lower().split())
    is_name = attribute.startswith("xmlns") or attribute in ("rdf:resource", "rdf:about")
    outside = "url(" in low.replace("url(#", "") or "@import" in low or "javascript:" in low
    return outside and not is_name
