"""Whether a drawing in SVG is only a drawing: nothing in it runs, and it asks for nothing from outside."""

from __future__ import annotations

from typing import Final
from xml.parsers import expat

_ELEMENTS: Final = frozenset(
    (
        "svg g defs style path use rect circle ellipse line polyline polygon text tspan image clipPath "
        "linearGradient radialGradient stop pattern marker mask symbol title desc metadata "
        "RDF Work Agent type date format creator"
    ).split()
)
"""What Matplotlib draws with; nothing that runs, links or embeds."""
_IMAGE: Final = "data:image/png;base64,"
_DEEPEST: Final = 100


def why_not_shown(data: bytes) -> str:
    """Return why a drawing is not shown; empty where it can be.

    Args:
        data: The SVG file.
    """
    found: list[str] = []
    depth = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if name.rpartition(":")[2] not in _ELEMENTS:
            found.append(f"it holds <{name[:40]}>")
        if depth > _DEEPEST:
            found.append("it is nested too deeply")
        for attribute, value in attributes.items():
            inner = attribute.rpartition(":")[2].lower()
            is_link = inner in ("href", "src") and not attribute.startswith("xmlns") and not _is_inside(value, name)
            if inner.startswith("on") or is_link or _reaches_out(value, attribute):
                found.append(f"its attribute {attribute[:40]} runs something or reaches outside")

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    def text(data: str) -> None:
        if _reaches_out(data, ""):
            found.append("its text reaches outside")

    def entity(*_arguments: object) -> None:
        found.append("it defines entities")

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = begin, end, text
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        return f"it is no XML ({error})"
    return found[0] if found else ""


def _is_inside(link: str, element: str) -> bool:
    return link.startswith("#") or (link.startswith(_IMAGE) and element == "image") or element.startswith("cc:") or element == "dc:type"


def _reaches_out(text: str, attribute: str) -> bool:
    low = "".join(text.lower().split())
    is_name = attribute.startswith("xmlns") or attribute in ("rdf:resource", "rdf:about")
    outside = "url(" in low.replace("url(#", "") or "@import" in low or "javascript:" in low
    return outside and not is_name
