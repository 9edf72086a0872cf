"""Pictures of Pillow in PNG files."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

from PIL import Image
from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer
from flownb.artifacts.scalars import text_in

_MOST_PIXELS: Final = 1 << 28
"""Of one picture: 268 million. What has more is neither kept nor opened."""
_MODES: Final = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
"""Of Pillow, that PNG has too."""
_SAFE: Final = ("L", "LA", "RGB", "RGBA")
_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR"


def check_png(data: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file, in pixels.

    Args:
        data: The file.

    Raises:
        ValueError: It is none, or would be too large in memory.
    """
    if not data.startswith(_SIGNATURE):
        raise ValueError("it is no PNG file")
    width, height = struct.unpack(">II", data[16:24])
    if not 0 < width * height <= _MOST_PIXELS:
        raise ValueError(f"it says that it is {width} \N{MULTIPLICATION SIGN} {height} pixels large")
    return width, height


def open_png(path: Path) -> Image.Image:
    """Return the picture in a file, read to its end.

    Raises:
        ValueError: It is none, damaged, or too large in memory.
    """
    data = path.read_bytes()
    return _opened(data)


def _opened(data: bytes) -> Image.Image:
    check_png(data)
    try:
        image = Image.open(BytesIO(data), formats=("PNG",))
        image.load()
    except (OSError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(str(error)) from error
    made = Image.new(image.mode, image.size)
    made.paste(image)
    if image.mode == "P":
        made.putpalette(image.getpalette("RGB") or [])
    if "transparency" in image.info:
        made.info["transparency"] = image.info["transparency"]
    return made


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


class _Images:
    """A picture: mode, size, pixels, palette; not what else its file said (place, camera, resolution)."""

    def keep(self, value: Image.Image, keeper: Keeper) -> dict[str, JsonValue]:
        """Return where the file is, and size."""
        if value.mode not in _MODES:
            raise keeper.unkept(value, f"PNG has no mode {value.mode}; use .convert('RGB')")
        if not 0 < value.width * value.height <= min(_MOST_PIXELS, Image.MAX_IMAGE_PIXELS or _MOST_PIXELS):
            raise keeper.unkept(value, "it has no pixels, or too many")
        file = BytesIO()
        plain = value.copy()
        plain.info = {name: value.info[name] for name in ("transparency",) if name in value.info}
        plain.save(file, "PNG", compress_level=4)
        data = file.getvalue()
        if value.mode not in _SAFE or plain.info:
            made = _opened(data)
            if (made.mode, made.size, made.tobytes()) != (value.mode, value.size, value.tobytes()):
                raise keeper.unkept(value, "PNG would give other pixels back; use .convert('RGB')")
        name = keeper.file("png", lambda sink: _write(sink, data))
        size = f"{value.width} \N{MULTIPLICATION SIGN} {value.height}"
        return {"$artifact": name, "mode": value.mode, "size": size, "preview": f"{value.mode}, {size} pixels"}

    def restore(self, data: Fields, restorer: Restorer) -> Image.Image:
        """Return the picture."""
        made = open_png(restorer.open(data, "png"))
        if made.mode != text_in(data, "mode"):
            raise restorer.refused(data, f"it is of mode {made.mode}")
        return made


IMAGE: Final[Kind] = _Images()
