"""Errors on their way between processes: with the lines they passed, and what led to them."""

from __future__ import annotations

import ast
import builtins
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from types import CodeType, TracebackType
from typing import Final

import cloudpickle

_PACKAGE: Final = str(Path(__file__).resolve().parent.parent) + "/"
_DEEPEST: Final = 20
"""How many errors that led to one another are sent."""
_MOST_FRAMES: Final = 200
"""An endless recursion has a thousand frames, all the same."""
_CARRIED: Final = ("status", "retry_after_s", "message", "hint")
"""Attributes that a retry and the log look at; a stand-in has them too."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """One line that an error passed."""

    filename: str
    is_own: bool
    name: str
    line: int
    columns: tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class SentError:
    """An error as data: it pickles whatever the error is."""

    pickled: bytes
    """The error itself; empty where it cannot be pickled."""
    kinds: tuple[tuple[str, str], ...]
    """Module and name of its class and those above, down to a builtin one: a stand-in has the same."""
    text: str
    """What it says."""
    carried: dict[str, object]
    """Attribute → value, for a stand-in."""
    frames: tuple[_Frame, ...]
    """The lines that it passed, the outermost first."""
    cause: SentError | None
    """What it was raised from."""
    context: SentError | None
    """What was being handled."""
    hides_context: bool
    """Whether that is not shown."""
    parts: tuple[SentError, ...]
    """The errors of a group."""


def send_error(error: BaseException) -> SentError:
    """Return an error as data, with its frames and what led to it."""
    return _send(error, frozenset())


def _send(error: BaseException, above: frozenset[int]) -> SentError:
    above = above | {id(error)}

    def linked(other: BaseException | None) -> SentError | None:
        return None if other is None or id(other) in above or len(above) > _DEEPEST else _send(other, above)

    group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return SentError(
        pickled=_pickled(error),
        kinds=_kinds(type(error)),
        text=_text(error),
        carried={
            name: value for name in _CARRIED if isinstance(value := getattr(error, name, None), int | float | str)
        },
        frames=_frames(error),
        cause=linked(error.__cause__),
        context=linked(error.__context__),
        hides_context=error.__suppress_context__,
        parts=tuple(_send(part, above) for part in group),
    )


def receive_error(sent: SentError) -> BaseException:
    """Return the error that was sent; one of the same name and bases where it cannot be made again here."""
    error = _unpickled(sent.pickled) or _stand_in(sent)
    _link(error, sent)
    return error


def _link(error: BaseException, sent: SentError) -> None:
    error.__traceback__ = _traceback(sent.frames)
    error.__context__ = receive_error(sent.context) if sent.context else None
    error.__cause__ = receive_error(sent.cause) if sent.cause else None
    error.__suppress_context__ = sent.hides_context
    if isinstance(error, BaseExceptionGroup):
        for part, data in zip(error.exceptions, sent.parts, strict=False):
            _link(part, data)


def _pickled(error: BaseException) -> bytes:
    """Return the error pickled, if that can be read again: a class with an `__init__` of its own often cannot."""
    try:
        data: bytes = cloudpickle.dumps(error)
    except Exception:  # noqa: BLE001 A stranger's class.
        return b""
    return data if _unpickled(data) is not None else b""


def _unpickled(data: bytes) -> BaseException | None:
    try:
        error = cloudpickle.loads(data) if data else None
    except Exception:  # noqa: BLE001 A stranger's class.
        return None
    return error if isinstance(error, BaseException) else None


def _kinds(kind: type[BaseException]) -> tuple[tuple[str, str], ...]:
    names = [(each.__module__, each.__qualname__) for each in kind.__mro__]
    end = next(index for index, (module, _) in enumerate(names) if module == "builtins")
    return tuple(names[: end + 1])


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as broken:  # noqa: BLE001 A stranger's `__str__`.
        return f"(no text: {type(broken).__name__})"


def _stand_in(sent: SentError) -> BaseException:
    """Return an error with the class names and the text of one that cannot be made here: `retry` and the log go by those."""
    if sent.parts:
        return BaseExceptionGroup(str(sent.carried["message"]), [receive_error(part) for part in sent.parts])
    text = sent.text
    kind = _builtin(sent.kinds[-1][1])
    for module, name in reversed(sent.kinds[:-1]):
        kind = type(name.rpartition(".")[2], (kind,), {"__module__": module, "__qualname__": name})
    kind = type(kind.__name__, (kind,), {"__module__": kind.__module__, "__qualname__": kind.__qualname__})
    kind.__str__ = lambda _self: text  # type: ignore[method-assign]  # The class is this one error's.
    error = kind.__new__(kind, text)
    error.__dict__.update(sent.carried)
    return error


def _builtin(name: str) -> type[BaseException]:
    kind = getattr(builtins, name, None)
    return kind if isinstance(kind, type) and issubclass(kind, BaseException) else Exception


def _frames(error: BaseException) -> tuple[_Frame, ...]:
    frames = []
    for frame in extract_tb(error.__traceback__):
        where = (frame.end_lineno, frame.colno, frame.end_colno)
        columns = (where[0], where[1], where[2]) if None not in where else None
        is_own = frame.filename.startswith(_PACKAGE)  # flownb may be installed elsewhere there.
        filename = frame.filename.removeprefix(_PACKAGE) if is_own else frame.filename
        frames.append(_Frame(filename, is_own, frame.name, frame.lineno or 1, columns))  # type: ignore[arg-type]  # None is not in it.
    half = _MOST_FRAMES // 2
    return tuple(frames if len(frames) <= _MOST_FRAMES else frames[:half] + frames[-half:])


class _Here(Exception):  # noqa: N818 It only makes frames.
    """Raised by code that stands where a frame was."""


def _traceback(frames: tuple[_Frame, ...]) -> TracebackType | None:
    """Return a traceback through the same lines: its texts are looked up here, where the notebook's cells are known."""
    trace: TracebackType | None = None
    for frame in reversed(frames):
        try:
            exec(_code(frame), {"_Here": _Here})  # noqa: S102 It holds nothing but `raise _Here`.
        except _Here as here:
            made = here.__traceback__
            assert made is not None, "it was raised"
            made = made.tb_next
            assert made is not None, "it was raised in the code"
            last = made.tb_lasti if frame.columns else -1
            trace = TracebackType(trace, made.tb_frame, last, frame.line)
    return trace


def _code(frame: _Frame) -> CodeType:
    """Return code that raises at the frame's very place."""
    end_line, column, end_column = frame.columns or (frame.line, 0, 0)
    tree = ast.parse("raise _Here")
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt | ast.expr):
            node.lineno, node.end_lineno = frame.line, max(end_line, frame.line)
            node.col_offset, node.end_col_offset = column, end_column
    filename = _PACKAGE + frame.filename if frame.is_own else frame.filename
    code: CodeType = compile(tree, filename, "exec", dont_inherit=True)
    return code.replace(co_name=frame.name, co_qualname=frame.name)
