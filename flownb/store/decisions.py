"""The answers to a run's questions: whoever answers first, from whichever process, has decided."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import quote

from filelock import FileLock
from pydantic import ValidationError
from pydantic_core import to_json

from flownb.errors import FlowStateError
from flownb.model.decision import Decision, Question, check_answer
from flownb.model.state import RunState, decision_json
from flownb.secrets import Redactor
from flownb.store.files import (
    PRIVATE,
    TO_WRITE,
    Disk,
    discard,
    kind_of,
    make_folder,
    names_in,
    read_file,
    sync_folder,
    write_beside,
    write_private,
)
from flownb.store.paths import RunPaths, check_folders, found_at, removed
from flownb.store.storable import readable, readable_text

_LONGEST: Final = 200
"""Bytes of a file's name before its ending; file systems take 255."""

_NO_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""How file systems say that they know no hard links."""


def answer(paths: RunPaths, state: RunState, key: str, decision: Decision) -> Decision:
    """Answer an open question of a run that is not this process's own.

    Secrets whose values this process's environment has are not stored; of others the run's own process takes care.

    Args:
        paths: The run.
        state: What its journal says.
        key: The node's key.
        decision: The answer, with its `at` set.

    Returns:
        The answer that stands: the one given, or another that came first.

    Raises:
        FlowStateError: There is no such question, its time is over, or the answer cannot be written.
        FlowInputError: It is no answer to the question.
    """
    question = asked(state, key)
    redactor = Redactor(os.environ.get(name, "") for name in state.secrets)
    earlier = state.decisions.get(key) or stored(paths, key, redactor)
    if earlier is not None:
        return earlier
    checked = check_answer(question, decision)
    if question.deadline is not None and decision.at is not None and decision.at >= question.deadline:
        raise FlowStateError(
            f"`{key}` could be answered until {question.deadline:%Y-%m-%d %H:%M:%S} UTC: {question.default} holds",
            f"to ask again: flownb resume {state.run_id} --from {key}",
        )
    return offer(paths, key, checked, redactor=redactor)


def asked(state: RunState, key: str) -> Question:
    """Return what a run asks, or asked, at a node.

    Raises:
        FlowStateError: It does not ask there; the message says where it does.
    """
    question = state.questions.get(key)
    if question is None:
        waiting = ", ".join(f"`{item.key}`" for item in state.open_questions) or "nothing"
        raise FlowStateError(f"run {state.run_id} does not ask `{key}`", f"it waits for: {waiting}")
    return question


def offer(paths: RunPaths, key: str, decision: Decision, *, redactor: Redactor | None = None) -> Decision:
    """Answer a question, unless it is answered already. Safe between threads and processes; on the disk on return.

    Args:
        paths: The run.
        key: The node's key.
        decision: The answer, with its `at` set.
        redactor: Knows the secrets; None: there are none.

    Returns:
        The answer that stands, as it is stored: without secrets. It is `decision`, or another that came first.

    Raises:
        FlowStateError: It cannot be written, or the one that came first cannot be read.
    """
    earlier = stored(paths, key, redactor)
    if earlier is not None:
        return earlier
    path = paths.decisions / _name(key)
    decision = _hidden(decision, redactor)
    data = _data(decision)
    try:
        make_folder(paths.decisions, paths.disk)
        beside = write_beside(path, data, paths.disk, PRIVATE)
        try:
            first = _publish(beside, path, paths.disk)
        finally:
            discard(beside, paths.disk)
        sync_folder(paths.decisions, paths.disk)  # Also when another was first: it may not be on the disk yet.
    except OSError as error:
        raise FlowStateError(f"cannot write the decision on '{key}' ({path}): {error}", TO_WRITE) from error
    # Where another was first and that was withdrawn at once, it is asked anew.
    return decision if first else offer(paths, key, decision, redactor=redactor)


def _hidden(decision: Decision, redactor: Redactor | None) -> Decision:
    """Return an answer without secrets; itself where there are none in it."""
    said = {"input": decision.input, "by": decision.by}
    if not redactor or not redactor.holds(said):
        return decision
    return decision.model_copy(update={"input": redactor.json(decision.input), "by": redactor.text(decision.by)})


def _data(decision: Decision) -> bytes:
    said = {"input": readable(decision.input), "by": readable_text(decision.by)}
    return to_json(decision_json(decision) | said, indent=2, inf_nan_mode="constants") + b"\n"


def stored(paths: RunPaths, key: str, redactor: Redactor | None = None) -> Decision | None:
    """Return the answer to a question; None: there is none yet. Cheap enough to be asked again and again.

    Args:
        paths: The run.
        key: The node's key.
        redactor: Knows the secrets: an answer that holds one, from a process that did not, is stored anew without it.

    Raises:
        FlowStateError: There is one, but it cannot be read; or the run's folder is gone.
    """
    check_folders(paths, paths.decisions)
    path = paths.decisions / _name(key)
    try:
        decision = Decision.model_validate_json(read_file(path, paths.disk))
        clean = _hidden(decision, redactor)
        if clean is not decision:
            write_private(path, _data(clean), paths.disk)
        return clean  # noqa: TRY300
    except FileNotFoundError:
        if not found_at(paths.folder, paths.disk):
            raise removed(paths) from None
        return None
    except (OSError, ValidationError) as error:
        raise FlowStateError(
            f"cannot read the decision on '{key}' ({path}): {error}", "repair or remove that file"
        ) from error


def withdraw(paths: RunPaths, keys: Iterable[str]) -> None:
    """Move answers aside, so that their questions are asked again; they stay beside, as `<name>.json.1`.

    Args:
        paths: The run; held by the caller.
        keys: Keys of nodes, each just itself; those without an answer do no harm.

    Raises:
        FlowStateError: They cannot be moved.
    """
    check_folders(paths, paths.decisions)
    try:
        answered = names_in(paths.decisions, paths.disk).intersection(map(_name, keys))
        for name in answered:
            _move_aside(paths.decisions / name, paths.disk)
        if answered:
            sync_folder(paths.decisions, paths.disk)
    except OSError as error:
        raise FlowStateError(f"cannot move decisions aside in {paths.decisions}: {error}", TO_WRITE) from error


def _publish(beside: Path, path: Path, disk: Disk) -> bool:
    """Give a whole file its name, unless that is taken; return whether it was free."""
    try:
        disk.link(beside, path)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with FileLock(path.parent / ".lock", mode=PRIVATE, thread_local=False, fallback_to_soft=False):
            if kind_of(path, disk):
                return False
            disk.move(beside, path)
    return True


def _move_aside(path: Path, disk: Disk) -> None:
    number = 1
    while kind_of(aside := path.with_name(f"{path.name}.{number}"), disk):
        number += 1
    disk.move(path, aside)


def _name(key: str) -> str:
    """Return the name of a key's file: `review.json`, `score%5B3%5D.json`; of a very long key the end is a hash."""
    name = "".join(letter if letter.isalnum() or letter in "_-" else quote(letter, safe="") for letter in key)
    encoded = name.encode()
    if len(encoded) > _LONGEST:
        digest = hashlib.sha256(key.encode()).hexdigest()[:32]
        name = f"{encoded[: _LONGEST - 33].decode(errors='ignore')}~{digest}"
    return f"{name}.json"
