r"""The lines of a journal: sealed with a checksum, read back, and what is torn told from what is damaged.

Since format 2 a line is an event's JSON with its checksum as the last field, `…,"crc":"1a2b3c4d"}`: zlib.crc32 of what
stands before that field. A batch, all that is written with one sync, is a line, and further ones that begin with a
space. So an intact line that begins without one says that all before it had been synced: what is bad there is damage.
What a power cut makes of the last batch ends early, or has zeros in it; zeros behind the last line break are an end.

Lines of format 1 have no checksum, and each line of a batch but the last ends in a space.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

from pydantic import ValidationError
from pydantic_core import from_json

from flownb.errors import FlowStateError
from flownb.model.events import EVENTS, FORMAT, Event, RunResumed, RunStarted

_UNSEALED: Final = 1
"""The last format whose lines have no checksum."""
_OPENS: Final = b',"crc":"'
_SEAL: Final = len(_OPENS) + len('1a2b3c4d"}')
"""Bytes of a seal, at the end of a line."""
_GOES_ON: Final = (b" ", b"\0")
"""How a line begins that goes on with a batch, or what a power cut left of it; one of format 1 never does."""
_ENDS_1: Final = (b" ", b"\0")
"""How a line of format 1 ends that may not be its batch's last: what ends in zeros may have ended in anything."""


def seal(line: bytes) -> bytes:
    """Return an event's JSON, an object with something in it, with its checksum as the last field."""
    body = line[:-1]
    return b'%b%b%08x"}' % (body, _OPENS, crc32(body))


def join(lines: Sequence[bytes]) -> bytes:
    """Return sealed lines as one batch."""
    return b"\n ".join(lines) + b"\n"


def scan(data: bytes, path: Path) -> tuple[list[Event], int]:
    """Return a journal's events, and how many bytes hold them: what follows is torn, or an end in zeros.

    Args:
        data: What is in it.
        path: The journal, for messages.

    Raises:
        FlowStateError: It is damaged, or of a newer format; the message names the line.
    """
    events: list[Event] = []
    size = written = 0
    *lines, rest = data.split(b"\n")
    for index, line in enumerate(lines):
        try:
            event = _read(line, written)
        except ValueError as error:
            _refuse_newer(line, path, index + 1)
            if _is_torn(lines[index:], rest, written):
                return events, size
            raise _damaged(path, index + 1, error) from error
        if isinstance(event, RunStarted | RunResumed):
            if event.format > FORMAT:
                raise _newer(path, index + 1, event.format)
            written = event.format
        events.append(event)
        size += len(line) + 1
    if _is_sealed(rest.rstrip(b"\0")[:-1].removeprefix(b" ")):
        raise _damaged(path, len(lines) + 1, ValueError("its line break is something else"))
    return events, size


def _read(line: bytes, written: int) -> Event:
    """Return the event in a line.

    Args:
        line: Without its line break.
        written: The format of the lines before; 0: this is the first.

    Raises:
        ValueError: There is none, or it is not as it was written.
    """
    text = line.removeprefix(b" ")
    if _is_sealed(text):
        return EVENTS.validate_json(text[:-_SEAL] + b"}")
    if text[-_SEAL:].startswith(_OPENS):
        raise ValueError("its checksum is wrong")
    if written > _UNSEALED:
        raise ValueError("it has no checksum")
    event = EVENTS.validate_json(line)
    if isinstance(event, RunStarted | RunResumed) and event.format > _UNSEALED:
        raise ValueError("it has no checksum")
    return event


def _is_sealed(line: bytes) -> bool:
    """Return whether a line is as it was written."""
    body = line[:-_SEAL]
    return line.startswith(b"{") and line[-_SEAL:] == b'%b%08x"}' % (_OPENS, crc32(body))


def _is_torn(lines: Sequence[bytes], rest: bytes, written: int) -> bool:
    """Return whether bad lines are what a power cut made of the last batch.

    Args:
        lines: The first bad one and all after it.
        rest: What follows the last line break.
        written: The format of the lines before; 0: there are none.
    """
    bad, *later = lines
    if any(_is_sealed(line) for line in later):
        return False  # A batch begins there, so all before it had been synced.
    if written != _UNSEALED and b"\0" not in bad:
        return False  # It ends where a line ends, and is another one.
    if written > _UNSEALED or any(line.startswith(_GOES_ON) for line in (*later, rest)):
        return True
    return _object(bad) is None and all(line.endswith(_ENDS_1) for line in lines[:-1])


def _object(line: bytes) -> dict[str, object] | None:
    """Return what a line holds; None: no JSON object."""
    try:
        content = from_json(line)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _damaged(path: Path, line: int, error: ValueError) -> FlowStateError:
    """Return the error for a line that is not as flownb wrote it."""
    why = str(error)
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        why = f"not an event: {where + ': ' if where else ''}{first['msg']}"
    return damaged(path, line, why)


def damaged(path: Path, line: int, why: str) -> FlowStateError:
    """Return the error for a journal that is not as flownb wrote it, or was written by something else."""
    return FlowStateError(
        f"{path}:{line}: the journal is damaged: {why}",
        "it was not written by flownb, or was changed since; restore the file, or start a new run",
    )


def _refuse_newer(line: bytes, path: Path, number: int) -> None:
    """Raise where a line that cannot be read says that a newer flownb wrote it."""
    written = (_object(line) or {}).get("format")
    if isinstance(written, int) and written > FORMAT:
        raise _newer(path, number, written)


def _newer(path: Path, line: int, written: int) -> FlowStateError:
    return FlowStateError(
        f"{path}:{line}: the journal has format {written}, this flownb reads up to format {FORMAT}",
        "use the flownb that wrote it, or a newer one",
    )
