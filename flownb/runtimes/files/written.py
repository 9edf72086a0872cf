"""What a node wrote into a file, as a label and a digest, so that a resume sees whether it is still there."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

WROTE: Final = "what it wrote to "
"""How the label of a whole file begins; the path as the document says it follows."""
ADDED: Final = "what it added to "
"""How the label of lines at a file's end begins. Their digest begins with where they stand, as `120+35:`."""
_CHUNK: Final = 1 << 20
_SHORT: Final = 24


def digest_text(digest: str, place: str = "") -> str:
    """Return a digest as the journal holds it.

    Args:
        digest: A sha256, in hexadecimal.
        place: Of lines that were added: offset and length in bytes, as `120+35`; empty: it is the whole file's.
    """
    return f"{place}:{digest[:_SHORT]}" if place else digest[:_SHORT]


def written_digest(path: Path, place: str = "") -> str:
    """Return the digest of a file, or of a stretch of it, as it is now. Blocks while it reads.

    Args:
        path: The file.
        place: Offset and length in bytes, as `120+35`; empty: the whole file.

    Raises:
        OSError: It cannot be read.
        ValueError: That is no place.
    """
    total = sha256()
    with path.open("rb") as file:
        offset, left = map(int, place.split("+")) if place else (0, -1)
        file.seek(offset)
        while left and (chunk := file.read(_CHUNK if left < 0 else min(left, _CHUNK))):
            total.update(chunk)
            left -= len(chunk) if left > 0 else 0
    return digest_text(total.hexdigest(), place)
