"""Figures, pictures and files that go with a prompt, as bytes with their kind."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from flownb.artifacts.figures import StoredFigure
from flownb.errors import NodeError

MOST_BYTES: Final = 20_000_000
"""Of all images of one prompt together: providers take no more."""
_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF-", "application/pdf"),
)
_TAKEN: Final = "a Matplotlib figure, a picture of Pillow, the bytes of a PNG, JPEG, GIF, WebP or PDF file, or its path"

Image = tuple[bytes, str]
"""A file's bytes, and their media type."""


def images_of(values: list[tuple[str, object]], folder: Path) -> list[Image]:
    """Return what goes with a prompt. Blocks: figures are drawn, files are read.

    Args:
        values: Each expression with its value: one image or a list of them.
        folder: The document's folder, which paths must stay in.

    Raises:
        NodeError: One is no image, or cannot be read; or they are too large.
    """
    found = [_image(source, value, folder) for source, whole in values for value in _each(whole)]
    if (size := sum(len(data) for data, _ in found)) > MOST_BYTES:
        raise NodeError(
            f"`images`: they have {size:,} bytes, and at most {MOST_BYTES:,} can be sent", "make them smaller"
        )
    return found


def _each(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _each(item)
    else:
        yield value


def _image(source: str, value: Any, folder: Path) -> Image:  # Any: whatever a node made
    if isinstance(value, str | Path):
        data = _read(source, folder, Path(value))
    elif isinstance(value, bytes | bytearray):
        data = bytes(value)
    elif isinstance(value, StoredFigure):
        data = value.png
    else:
        data = _drawn(source, value)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return data, "image/webp"
    kind = next((kind for magic, kind in _MAGIC if data.startswith(magic)), "")
    if not kind:
        raise NodeError(f"`images`: `{source}` is no image that can be sent", f"give {_TAKEN}")
    return data, kind


def _drawn(source: str, value: Any) -> bytes:
    """Return a figure or a picture as a PNG file."""
    module, file = type(value).__module__.partition(".")[0], BytesIO()
    if module == "matplotlib" and hasattr(value, "savefig"):
        value.savefig(file, format="png")
    elif module == "PIL" and hasattr(value, "save"):
        value.save(file, "PNG")
    else:
        raise NodeError(f"`images`: `{source}` gave a value of type {type(value).__name__}", f"give {_TAKEN}")
    return file.getvalue()


def _read(source: str, folder: Path, path: Path) -> bytes:
    """Return a file's bytes; one outside the folder, also by a symbolic link, is refused."""
    root = folder.resolve()
    try:
        target = (root / path).resolve()
    except (OSError, ValueError) as error:  # A circle of links, a NUL.
        raise NodeError(f"`images`: `{source}` is no path: {error}", "write a path beside the document") from None
    if not target.is_relative_to(root):
        raise NodeError(f"`images`: `{source}` leads out of the document's folder", "copy the file beside the document")
    try:
        if not target.is_file():
            raise NodeError(f"`images`: `{source}`: there is no file {path}", "write a path beside the document")
        if target.stat().st_size > MOST_BYTES:
            raise NodeError(f"`images`: `{source}` has more than {MOST_BYTES:,} bytes", "make it smaller")
        return target.read_bytes()
    except OSError as error:
        raise NodeError(f"`images`: `{source}` cannot be read: {error.strerror}") from None
