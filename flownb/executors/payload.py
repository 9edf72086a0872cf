"""A body and its outcome as bytes, for places that share no memory: through cloudpickle, and never through a file."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from types import CodeType
from typing import Any, Final

import cloudpickle

from flownb.errors import FlowError, NodeError
from flownb.executors.tracebacks import SentError, receive_error, send_error
from flownb.runtimes.python import PythonBody, compile_body
from flownb.runtimes.saved import Saved

ELSEWHERE: Final = "set `executor: thread` for this node: there values need not be sent"
"""What to do with a value that cannot be sent."""
Function = Callable[[], object] | Callable[[], Coroutine[object, object, object]]
"""A body, plain or one that awaits."""
Began = Callable[[asyncio.AbstractEventLoop, asyncio.Task[object]], None]
"""Takes the loop and the task of a body that awaits."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of a body: its value or its error."""

    value: object = None
    error: SentError | None = None


def pack_body(function: Function, *, is_async: bool) -> bytes:
    """Return a body with its values as bytes.

    Raises:
        NodeError: Some of it cannot be sent; it names what.
    """
    sent = _slim(function)
    try:
        data: bytes = cloudpickle.dumps((sent, is_async))
    except Exception as error:
        raise _unsent(sent, error) from error
    return data


def carry_out(payload: bytes, began: Began | None = None) -> bytes:
    """Carry out a body that came as bytes, on this thread, and return its outcome as bytes; raises nothing.

    Args:
        payload: What `pack_body` returned.
        began: Called with the loop and the task of a body that awaits, there.
    """
    try:
        function, is_async = cloudpickle.loads(payload)
        outcome = _Outcome(_perform(function, is_async, began))
    except BaseException as error:  # noqa: BLE001 Whatever it is, it is the node's failure.
        return pack_error(error)
    try:
        data: bytes = cloudpickle.dumps(outcome)
    except Exception as error:  # noqa: BLE001 A stranger's value.
        path, part, why = _culprit(outcome.value, "", error)
        where = f"{path} of the value, a `{_kind(part)}`," if path else f"the value, a `{_kind(part)}`,"
        return pack_error(
            NodeError(f"{where} cannot be sent back: {_said(why)}", f"give plain data back, or {ELSEWHERE}")
        )
    return data


def pack_error(error: BaseException) -> bytes:
    """Return an error, as the outcome of a body, as bytes."""
    data: bytes = cloudpickle.dumps(_Outcome(error=send_error(error)))
    return data


def open_outcome(data: bytes) -> object:
    """Return the value that came back, or raise the error that did, with the lines that it passed there.

    Raises:
        NodeError: The value cannot be made again here.
    """
    try:
        outcome = cloudpickle.loads(data)
    except Exception as error:
        hint = f"what its class needs is missing here; give plain data back, or {ELSEWHERE}"
        raise NodeError(f"the value that came back cannot be read: {_said(error)}", hint) from error
    assert isinstance(outcome, _Outcome), "nothing else is packed"
    if outcome.error is not None:
        raise receive_error(outcome.error)
    return outcome.value


def saved_of(function: Function) -> Saved | None:
    """Return the `saved` that a body uses; None: it uses none."""
    body = getattr(function, "__self__", function)
    found = body.values.get("saved") if isinstance(body, PythonBody) else None
    return found if isinstance(found, Saved) else None


def pack_change(name: str, value: object, is_gone: bool) -> bytes:  # noqa: FBT001 as a Change
    """Return a change of `saved` as bytes, for the process that keeps it.

    Raises:
        NodeError: The value cannot be sent.
    """
    try:
        data: bytes = cloudpickle.dumps((name, value, is_gone))
    except Exception as error:
        raise NodeError(f"saved[{name!r}]: a `{_kind(value)}` cannot be sent: {_said(error)}", ELSEWHERE) from error
    return data


def keep_change(saved: Saved | None, data: bytes) -> bytes:
    """Keep a change that came as bytes, and return what is to be answered: nothing, or why it is not kept. Blocks."""
    assert saved is not None and saved.change is not None, "it was sent along"  # noqa: PT018 One thing.
    try:
        saved.change(*cloudpickle.loads(data))
    except Exception as error:  # noqa: BLE001 It is raised where the change was made.
        hint = error.hint if isinstance(error, FlowError) else ""
        answer: bytes = cloudpickle.dumps((error.message if isinstance(error, FlowError) else _said(error), hint))
        return answer
    return b""


def take_answer(answer: bytes) -> None:
    """Raise NodeError where a change was not kept."""
    if answer:
        raise NodeError(*cloudpickle.loads(answer))


def _perform(function: Callable[[], Any], is_async: bool, began: Began | None) -> object:  # noqa: FBT001 Any: see Function.
    value = asyncio.run(_awaited(function, began)) if is_async else function()
    if inspect.iscoroutine(value):
        value.close()
        raise NodeError("the value is a coroutine that nobody awaited", "write `await` before the call")
    return value


async def _awaited(function: Callable[[], Coroutine[object, object, object]], began: Began | None) -> object:
    task = asyncio.current_task()
    if began is not None and task is not None:
        began(asyncio.get_running_loop(), task)
    return await function()


def _slim(function: Function) -> Function:
    """Return a body without the names that it does not read: what a notebook puts into all of them stays there."""
    body = getattr(function, "__self__", function)
    if not isinstance(body, PythonBody):
        return function
    read = set(_names(compile_body(body.source, body.filename, body.first_line)))
    slim = replace(body, values={name: value for name, value in body.values.items() if name in read})
    return slim if body is function else slim.begin


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _unsent(function: Function, error: Exception) -> NodeError:
    """Return what says which of a body's values cannot be sent."""
    body = getattr(function, "__self__", function)
    values: Mapping[str, object] = body.values if isinstance(body, PythonBody) else {}
    for name, value in values.items():
        why = _refusal(value)
        if why is not None:
            path, part, why = _culprit(value, "", why)
            return NodeError(
                f"`{name}{path}`, a `{_kind(part)}`, cannot be sent to another process: {_said(why)}", ELSEWHERE
            )
    return NodeError(f"the body cannot be sent to another process: {_said(error)}", ELSEWHERE)


def _refusal(value: object) -> Exception | None:
    try:
        cloudpickle.dumps(value)
    except Exception as error:  # noqa: BLE001 A stranger's value.
        return error
    return None


def _culprit(value: object, path: str, why: Exception) -> tuple[str, object, Exception]:
    """Return the path, as `["rows"][3]`, the value and the refusal of what in a value cannot be sent."""
    parts: Iterator[tuple[object, object]] = iter(())
    if isinstance(value, dict):
        parts = iter(dict.items(value))
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for key, part in parts:
        refusal = None if isinstance(part, str | int | float | None) else _refusal(part)
        if refusal is not None:
            is_circle = isinstance(refusal, RecursionError)
            return (f"{path}[{key!r}]", part, refusal) if is_circle else _culprit(part, f"{path}[{key!r}]", refusal)
    return path, value, why


def _kind(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
