"""Figures of Matplotlib as PNG and SVG; they come back as what can be shown."""

from __future__ import annotations

import struct
import sys
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.svg import why_not_shown

_LARGEST_SVG: Final = 1 << 23
"""Bytes: a browser is slow with larger ones, and the PNG shows the same."""
_SALT: Final = "flownb"
"""From which Matplotlib makes the names in an SVG, so that they are the same each time."""
_PNG: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"


@dataclass(frozen=True, slots=True)
class StoredFigure:
    """A figure that was drawn earlier: a notebook shows it, and its files can be written out."""

    png: bytes
    """The file, as pixels."""
    svg: bytes = b""
    """The file, as lines; empty where there is none."""

    def _repr_png_(self) -> bytes:
        return self.png

    def _repr_svg_(self) -> str | None:
        return self.svg.decode() or None

    def _repr_mimebundle_(self, **_options: object) -> dict[str, object]:
        shown: dict[str, object] = {"image/png": self.png, "text/plain": repr(self)}
        return shown | ({"image/svg+xml": self.svg.decode()} if self.svg else {})

    def __repr__(self) -> str:
        return f"<figure, {_size(self.png)} pixels>"


def _size(png: bytes) -> str:
    if not png.startswith(_PNG):
        raise ValueError("it is no PNG file")
    width, height = struct.unpack(">II", png[16:24])
    return f"{width} \N{MULTIPLICATION SIGN} {height}"


def _files(png: bytes, svg: bytes, keeper: Keeper) -> dict[str, JsonValue]:
    size = _size(png)
    made: dict[str, JsonValue] = {"$artifact": keeper.file("png", lambda file: _write(file, png))}
    if svg and len(svg) <= _LARGEST_SVG and not why_not_shown(svg):
        made["svg"] = {"$artifact": keeper.file("svg", lambda file: _write(file, svg))}
    return made | {"size": size, "preview": f"figure, {size} pixels"}


class _Figures:
    """A figure, drawn as it is when its node ends; the figure itself, with its axes, is not kept."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # A Figure, which carries few types.
        """Return where both files are, and size."""
        matplotlib = sys.modules["matplotlib"]
        if keeper.asks:
            keeper.ask(_texts(value))
        png, svg = BytesIO(), BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": _SALT, "svg.fonttype": "path"}):
            value.savefig(png, format="png", metadata={"Software": None})
            value.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
        keeper.ask([svg.getvalue().decode()])
        return _files(png.getvalue(), svg.getvalue(), keeper)

    def restore(self, data: Fields, restorer: Restorer) -> StoredFigure:
        """Return what can be shown; a drawing that would do more than that is refused."""
        png, svg = restorer.open(data, "png").read_bytes(), b""
        _size(png)
        if isinstance(inner := data.get("svg"), dict):
            svg = restorer.open({"type": data.get("type"), **inner}, "svg").read_bytes()
            if len(svg) > _LARGEST_SVG or (why := why_not_shown(svg)):
                raise restorer.refused(inner, why if len(svg) <= _LARGEST_SVG else "it is too large")
        return StoredFigure(png, svg)


def _texts(figure: Any) -> list[str | bytes]:
    found: list[str | bytes] = []
    for artist in figure.findobj():
        for name in ("get_text", "get_label", "get_gid", "get_url"):
            text = getattr(artist, name, lambda: None)()
            if isinstance(text, str):
                found.append(text)
    return found


def _write(file: Any, data: bytes) -> None:
    file.write(data)


class _Stored:
    """A figure that came back once, and is passed on."""

    def keep(self, value: StoredFigure, keeper: Keeper) -> dict[str, JsonValue]:
        """Return where both files are, and size."""
        keeper.ask([value.svg.decode()])
        return _files(value.png, value.svg, keeper)

    def restore(self, data: Fields, restorer: Restorer) -> StoredFigure:
        """Return what can be shown."""
        return _Figures().restore(data, restorer)


FIGURE: Final[Kind] = _Figures()
STORED: Final[Kind] = _Stored()
