"""What a person sees of an error in their code: their own lines and what those called, none of flownb's."""

from __future__ import annotations

from pathlib import Path
from traceback import FrameSummary, StackSummary, TracebackException, extract_tb
from typing import Final

_PACKAGE: Final = str(Path(__file__).resolve().parent.parent) + "/"
_ENTRANCE: Final = "enter_body"
"""How the names of those functions of flownb begin that call a person's text; what is above them is left out."""


def person_frames(error: BaseException) -> str:
    """Return the error's traceback without flownb's frames, and the errors that led to it.

    Empty where the error did not come from a person's text: there is nothing to show then but its message.
    """
    origin = _origin(error)
    shown = TracebackException.from_exception(origin)
    if _below_entrance(origin):
        _strip(shown, set())
        return "".join(shown.format())
    if isinstance(origin, SyntaxError) and origin.filename:
        return "".join(shown.format_exception_only())
    return ""


def person_place(error: BaseException) -> str:
    """Return where in the text it happened, as `In[7]:12`: the deepest line of the same text; empty where unknown."""
    origin = _origin(error)
    frames = _below_entrance(origin)
    if frames:
        lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
        return f"{frames[0].filename}:{lines[-1]}"
    if isinstance(origin, SyntaxError) and origin.filename:
        return f"{origin.filename}:{origin.lineno}"
    return ""


def _origin(error: BaseException) -> BaseException:
    """Return the person's error that one of flownb's stands for (a body's `exit()`), else the error itself."""
    seen = {id(error)}
    origin = error
    while not _below_entrance(origin) and origin.__cause__ is not None and id(origin.__cause__) not in seen:
        origin = origin.__cause__
        seen.add(id(origin))
    return origin


def _below_entrance(error: BaseException) -> list[FrameSummary]:
    """Return the frames from the person's text on; none where their text was not entered."""
    frames = extract_tb(error.__traceback__)
    entered = [index for index, frame in enumerate(frames) if _is_own(frame) and frame.name.startswith(_ENTRANCE)]
    return [frame for frame in frames[entered[0] + 1 :] if not _is_own(frame)] if entered else []


def _strip(shown: TracebackException, seen: set[int]) -> None:
    """Take flownb's frames out of an error, of those that led to it, and of those in a group."""
    if id(shown) in seen:
        return
    seen.add(id(shown))
    frames = list(shown.stack)
    entered = [index for index, frame in enumerate(frames) if _is_own(frame) and frame.name.startswith(_ENTRANCE)]
    kept = frames[entered[0] + 1 :] if entered else frames
    shown.stack = StackSummary.from_list([frame for frame in kept if not _is_own(frame)])
    for other in (shown.__cause__, shown.__context__, *(shown.exceptions or ())):
        if other is not None:
            _strip(other, seen)


def _is_own(frame: FrameSummary) -> bool:
    return frame.filename.startswith(_PACKAGE)
