"""What the name of a file says of what it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Final

from flownb.model.file_nodes import FileFormat

_BY_SUFFIX: Final[Mapping[str, FileFormat]] = {
    **dict.fromkeys((".json", ".geojson"), FileFormat.JSON),
    **dict.fromkeys((".yaml", ".yml"), FileFormat.YAML),
    **dict.fromkeys((".csv", ".tsv"), FileFormat.CSV),
    **dict.fromkeys((".jsonl", ".ndjson"), FileFormat.LINES),
    **dict.fromkeys((".parquet", ".pq"), FileFormat.PARQUET),
    **dict.fromkeys(
        (
            *(
                ".avif",
                ".bin",
                ".bmp",
                ".bz2",
                ".docx",
                ".flac",
                ".gif",
                ".ico",
                ".jpeg",
                ".jpg",
                ".mp3",
                ".mp4",
                ".npy",
            ),
            *(
                ".npz",
                ".odt",
                ".ogg",
                ".pdf",
                ".png",
                ".pptx",
                ".tar",
                ".tif",
                ".tiff",
                ".wav",
                ".webp",
                ".xlsx",
                ".xz",
            ),
            *(".zip", ".zst"),
        ),
        FileFormat.BYTES,
    ),
}
"""What is text with all other suffixes."""
_JSON_LINES: Final = frozenset({".jsonl", ".ndjson"})


def format_of(name: str) -> FileFormat:
    """Return the format that a file's name says; `text` where it says none. `.gz` at its end is left aside."""
    return _BY_SUFFIX.get(_suffix(name), FileFormat.TEXT)


def is_packed(name: str) -> bool:
    """Return whether a file is gzip, by its name."""
    return PurePath(name).suffix.lower() == ".gz"


def has_json_lines(name: str) -> bool:
    """Return whether each line of a file is JSON, by its name."""
    return _suffix(name) in _JSON_LINES


def has_tabs(name: str) -> bool:
    """Return whether tabs part the cells of a table, by its name."""
    return _suffix(name) == ".tsv"


def _suffix(name: str) -> str:
    path = PurePath(name)
    return (PurePath(path.stem) if is_packed(name) else path).suffix.lower()
