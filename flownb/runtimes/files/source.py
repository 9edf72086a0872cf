"""A file that is read from front to back: unpacked where it is gzip, with its encoding, until it is to end."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import BinaryIO, Final, cast

from flownb.errors import NodeError
from flownb.model.file_names import is_packed
from flownb.runtimes.files.halting import Halt
from flownb.store.files import open_file

_BUFFER: Final = 1 << 20
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # Before UTF-16, whose mark it begins with.
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class _Raw(io.RawIOBase):
    """A descriptor that is read until the node is to end."""

    def __init__(self, descriptor: int, halt: Halt) -> None:
        super().__init__()
        self._descriptor, self._halt = descriptor, halt

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self._halt.check()
        return os.readv(self._descriptor, [buffer])  # type: ignore[list-item] # io hands over a writable buffer

    def close(self) -> None:
        if not self.closed:
            os.close(self._descriptor)
        super().close()


@contextmanager
def opened(path: Path, shown: str, halt: Halt) -> Iterator[io.BufferedReader]:
    """Yield the bytes of a regular file, unpacked where its name ends in `.gz`.

    Args:
        path: The file, symbolic links resolved.
        shown: What the document calls it: its suffix counts, and messages say it.
        halt: Ends the reading.

    Raises:
        NodeError: It cannot be opened or read, or is no whole gzip file.
    """
    try:
        with ExitStack() as stack:
            file = io.BufferedReader(_Raw(open_file(path, os.O_RDONLY), halt), _BUFFER)
            stack.callback(file.close)
            packed = stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb")) if is_packed(shown) else file
            yield cast("io.BufferedReader", packed)  # A GzipFile peeks and reads as one does.
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        hint = "make it anew; where it is no gzip, its name must not end in `.gz`"
        raise NodeError(f"{shown} is no whole gzip file: {error}", hint) from None
    except OSError as error:
        raise NodeError(f"{shown} cannot be read: {error.strerror or error}", _remedy(error)) from None


def encoding_of(file: io.BufferedReader) -> str:
    """Return the encoding that a file's first bytes say; UTF-8 where they say none."""
    start = file.peek(4)[:4]
    return next((encoding for mark, encoding in _MARKS if start.startswith(mark)), "utf-8")


def text_of(file: io.BufferedReader) -> io.TextIOWrapper:
    """Return a file as text without a byte order mark, its line breaks as they are.

    What it raises as UnicodeDecodeError says nothing of the place: see `not_text`.
    """
    return io.TextIOWrapper(cast("BinaryIO", file), encoding_of(file), newline="")


def chunks_of(file: io.BufferedReader) -> Iterator[str]:
    """Yield a file's text, without a byte order mark and with plain line breaks, a megabyte at a time."""
    encoding = encoding_of(file)
    plain = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    while chunk := file.read(_BUFFER):
        yield plain.decode(chunk)
    yield plain.decode(b"", final=True)


def not_text(path: Path, shown: str, halt: Halt) -> NodeError:
    """Return the error for a file that is not the text that it should be, with the first line that is none. Blocks."""
    with opened(path, shown, halt) as file:
        encoding = encoding_of(file)
        wrong = next(filter(None, map(_wrong_byte, file, count(1))), None) if encoding.startswith("utf-8") else None
    if wrong:
        hint = "convert it (`iconv -f latin1 -t utf-8`), or read it with `format: bytes`"
        return NodeError(f"{shown}:{wrong[0]}: not UTF-8: the byte 0x{wrong[1]:02x}", hint)
    return NodeError(f"{shown} is not {encoding.upper()}, as its first bytes say", "read it with `format: bytes`")


def _wrong_byte(content: bytes, line: int) -> tuple[int, int] | None:
    """Return a line's number and the first byte in it that is no UTF-8; None: there is none."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        return line, content[error.start]
    return None


def _remedy(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "paths are from the document's folder on"
    return "let it be readable, and a regular file"
