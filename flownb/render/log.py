"""Draw a run's state as its execution log (format.md, section 8), and keep that log at a document's end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from flownb.artifacts.shown import shown
from flownb.errors import Failure, FlowError
from flownb.model.decision import Action, Decision, Via
from flownb.model.events import RunStatus
from flownb.model.key import is_whole, part_of, whole_of
from flownb.model.node_state import NodeState, NodeStatus
from flownb.model.state import RunState, stamp
from flownb.model.usage import tokens_of
from flownb.render.inert import code_span, cut, fenced, inert, one_line, quoted
from flownb.text.logsection import LOG_HEADING, find_log

_OUTPUT_CHARACTERS: Final = 50
_MOST_ERRORS: Final = 20
_MOST_DECISIONS: Final = 20
_MESSAGE_CHARACTERS: Final = 4000
_NOTHING: Final = "-"
_BREAK: Final = r"(?:\r\n|\r(?!\n)|\n)"
_BLANK_START: Final = re.compile(rf"{_BREAK}[ \t]*{_BREAK}")
_BLANK_END: Final = re.compile(rf"(?:^|{_BREAK})[ \t]*{_BREAK}\Z")
_ANSWERS: Final = frozenset({Action.APPROVE, Action.REJECT, Action.INPUT})


def render_log(state: RunState, diagram: str | None = None, printed: str = "") -> str:
    """Return the log as Markdown in which nothing that comes from data, answers or messages is active.

    The table has a row for each node outside items and rounds, in the order in which they began, then those that never
    did; items and rounds are summed up in their node's row.

    Args:
        state: What happened. Secrets are already out of it.
        diagram: Mermaid text for `### Graph`; None: no such part.
        printed: Markdown for `### Printed`, folded already; empty: no such part.
    """
    parts = [f"---\n\n## {LOG_HEADING}\n", _summary(state), _table(state)]
    if errors := state.errors:
        parts.append(_errors(errors))
    if state.decisions:
        parts.append(_decisions(state))
    if state.usage:
        parts.append(_usage(state))
    if printed:
        parts.append(f"### Printed\n\n{printed}")
    if diagram:
        graph = fenced(diagram, "mermaid")
        parts.append(
            f"### Graph\n\n<details><summary>the nodes and what they wait for</summary>\n\n{graph}\n</details>\n"
        )
    return "\n".join(parts)


def write_log(path: Path, log: str) -> None:
    """Put the log into a document, in place of the one before or at the end; all else stays as it is, to the byte.

    The file is replaced in one step and keeps its mode; a log that stands there already is not written again.

    Raises:
        FlowError: The document ends in something that would swallow the log, as a fence that is never closed.
        OSError: The file cannot be read or written; it is then as it was.
    """
    target = path.resolve()
    before = target.read_bytes()
    after = with_log(before.decode("utf-8", "surrogateescape"), log).encode("utf-8", "surrogateescape")
    if after != before:
        _replace(target, after)


def with_log(text: str, log: str) -> str:
    """Return a document's text with this log in place of the one before, or at its end.

    Raises:
        FlowError: The document ends in something that would swallow the log.
    """
    line_break = _line_break(text)
    body = log.strip("\n").replace("\n", line_break)
    found = find_log(text)
    if found:
        above, below = text[: found[0]], text[found[1] :]
        if below.strip() and not _BLANK_START.match(below):
            below = _line_break(below) + below
    else:
        above, below = text + _gap(text, line_break), line_break
    if find_log(above + body + below) != (len(above), len(above) + len(body)):
        raise FlowError(
            "the execution log cannot be written: the document's end would swallow it",
            "close the last fence, `<!--`, `<script>`, `<style>`, `<pre>` or front matter of the document",
        )
    return above + body + below


def preview(value: JsonValue) -> str:
    """Return a node's value on one line of at most 50 characters and `…`, not yet inert."""
    match value:
        case str():
            text = value[: 2 * _OUTPUT_CHARACTERS]
        case list():
            noun = "item" if len(value) == 1 else "items"
            text = f"{len(value):,} {noun}: {_json_start(value)}"
        case _:
            text = _json_start(value)
    return cut(one_line(text), _OUTPUT_CHARACTERS)


def _preview_of_unkept(value: JsonValue) -> str:
    """Return what can be shown of a value that could not be kept: its type and how it begins."""
    match value:
        case {"type": str(kind), "preview": str(shown)}:
            return cut(" ".join(f"{kind}: {shown}".split()), _OUTPUT_CHARACTERS)
        case _:
            return preview(value)


def describe_decision(decision: Decision) -> str:
    """Return who decided what, as `approve by ana (notebook)`, not yet inert."""
    if decision.timed_out:
        return f"{decision.action} (the time was over)"
    if decision.via == Via.DEFAULT:
        return f"{decision.action} (nobody could answer)"
    by = f" by {decision.by}" if decision.by else ""
    said = f": {preview(decision.input)}" if decision.input is not None else ""
    return f"{decision.action}{by} ({decision.via}){said}"


def _with_notes(word: str, node: NodeState, sums: _Sums) -> str:
    """Return the column Status: its word with what else is to be known, as `completed (3 attempts)`, not yet inert."""
    items, rounds, failed = sums.items, sums.rounds, sums.failed
    notes = [_count(node.attempts, "attempt")] if node.attempts > 1 else []
    notes += [_count(items, "item")] if items else []
    notes += [_count(rounds, "round")] if rounds else []
    notes += [f"{failed:,} failed"] if failed else []
    notes += [_count(sums.tokens, "token")] if sums.tokens else []
    notes += [f"fallback: {node.fallback}"] if node.fallback else []
    notes += ["the run went on"] if node.continued and node.status == NodeStatus.FAILED else []
    return f"{word} ({', '.join(notes)})" if notes else word


def seconds(duration_s: float | None) -> str:
    """Return a duration as `4.10s`; `-` where there is none."""
    return _NOTHING if duration_s is None else f"{duration_s:.2f}s"


def _summary(state: RunState) -> str:
    pairs = {
        "Run ID": code_span(state.run_id),
        "Workflow": inert(state.workflow),
        "Started": stamp(state.started_at) or _NOTHING,
        "Duration": seconds(state.duration_s),
        "Status": str(state.seen_status),
    }
    return "".join(f"**{name}:** {value}  \n" for name, value in pairs.items())


def _table(state: RunState) -> str:
    rows = ["| Node | Status | Duration | Output |", "|---|---|---|---|"]
    sums, waiting = _sums(state), state.clock.waiting_holders()
    shown = [key for key in state.nodes if is_whole(key)]
    shown += [node.id for node in state.plan if node.id not in state.nodes and not node.inside]
    for key in shown:
        node = state.nodes.get(key) or NodeState()
        word = str(NodeStatus.WAITING) if key in waiting else _status_word(state, key, node)
        status = _with_notes(word, node, sums.get(key, _Sums()))
        cells = (key, status, seconds(node.duration_s), _output(state, key, node))
        rows.append("| " + " | ".join(inert(cell) for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def _status_word(state: RunState, key: str, node: NodeState) -> str:
    """Return what the column Status says of a node."""
    decision = state.decisions.get(key)
    if decision and decision.action == Action.REJECT:
        return "rejected"
    if node.taken and node.status is NodeStatus.COMPLETED:
        return node.taken
    if node.status is NodeStatus.PENDING and state.finished_at is not None:
        return "not run"
    return node.status


@dataclass(slots=True)
class _Sums:
    """What a node's items and rounds add up to."""

    items: int = 0
    rounds: int = 0
    failed: int = 0
    """Of both."""
    tokens: int = 0
    """Of language models, by itself and all in it."""


def _sums(state: RunState) -> dict[str, _Sums]:
    """Return node → what its items and rounds add up to; nothing for a node without."""
    sums: dict[str, _Sums] = {}
    for key, node in state.nodes.items():
        part = part_of(key)
        if part and is_whole(part.owner):
            of_owner = sums.setdefault(part.owner, _Sums())
            of_owner.items += part.is_item
            of_owner.rounds += not part.is_item
            of_owner.failed += node.status == NodeStatus.FAILED
        if node.usage:
            sums.setdefault(whole_of(key), _Sums()).tokens += tokens_of(node.usage)
    return sums


def _usage(state: RunState) -> str:
    """Return what language models were asked in this run, by model."""
    rows = ["| Model | Requests | Tokens in | Tokens out |", "|---|---|---|---|"]
    for model, usage in state.usage.items():
        cells = (model, f"{usage.requests:,}", f"{usage.input_tokens:,}", f"{usage.output_tokens:,}")
        rows.append("| " + " | ".join(inert(cell) for cell in cells) + " |")
    return "### Models\n\n" + "\n".join(rows) + "\n"


def _output(state: RunState, key: str, node: NodeState) -> str:
    decision = state.decisions.get(key)
    if decision and decision.action in _ANSWERS:
        return describe_decision(decision)
    match node.status:
        case NodeStatus.FAILED:
            return cut(f"Error: {_headline(node.error)}", _OUTPUT_CHARACTERS) if node.error else "Error"
        case NodeStatus.COMPLETED:
            if not node.reusable:
                return _preview_of_unkept(node.output)
            return preview(shown(node.output) if node.tagged else node.output)
        case NodeStatus.WAITING if key in state.questions and state.status != RunStatus.REJECTED:
            question = state.questions[key]
            asked = f"asked again: {question.again}" if question.again else "asked"
            return f"{asked}, until {stamp(question.deadline)}" if question.deadline else asked
        case _:
            return ""


def _errors(failures: list[Failure]) -> str:
    parts = ["### Errors\n"]
    for failure in failures[:_MOST_ERRORS]:
        about = [inert(failure.place)] if failure.place else []
        about += [_count(failure.attempts, "attempt")] if failure.attempts > 1 else []
        notes = f" ({', '.join(about)})" if about else ""
        parts.append(f"**{inert(failure.node or 'run')}**{notes}\n")
        parts.append(fenced(_explanation(failure)))
    if len(failures) > _MOST_ERRORS:
        parts.append(f"… and {len(failures) - _MOST_ERRORS:,} more.\n")
    return "\n".join(parts)


def _decisions(state: RunState) -> str:
    """Return who decided what, on which question, with what was shown."""
    parts = ["### Decisions\n"]
    for key, decision in list(state.decisions.items())[:_MOST_DECISIONS]:
        at = f", {stamp(decision.at)}" if decision.at else ""
        parts.append(f"**{inert(key)}** {inert(describe_decision(decision) + at)}\n")
        question = state.questions.get(key)
        if question is not None:
            parts += [f"asked again: {question.again}\n"] if question.again else []
            parts.append(quoted(cut(question.text, _MESSAGE_CHARACTERS)))
        if len(said := _said(decision)) > _OUTPUT_CHARACTERS:
            parts.append(f"answer:\n\n{fenced(said)}")
        if question is not None:
            parts += [f"{code_span(source)}\n\n{fenced(rows)}" for source, rows in question.shown.items()]
    if len(state.decisions) > _MOST_DECISIONS:
        parts.append(f"… and {len(state.decisions) - _MOST_DECISIONS:,} more.\n")
    return "\n".join(parts)


def _said(decision: Decision) -> str:
    """Return what was submitted with a decision, in full; empty where nothing was."""
    if decision.input is None:
        return ""
    return cut(
        decision.input if isinstance(decision.input, str) else _json_start(decision.input, _MESSAGE_CHARACTERS),
        _MESSAGE_CHARACTERS,
    )


def _explanation(failure: Failure) -> str:
    headline = cut(f"{failure.type}: {failure.message}".rstrip(": \n"), _MESSAGE_CHARACTERS)
    traceback = failure.traceback.strip("\n").removesuffix(headline).strip("\n")
    parts = [headline]
    parts += ["", _end_of(traceback)] if traceback else []
    parts += ["", f"hint: {failure.hint}"] if failure.hint else []
    return "\n".join(parts)


def _end_of(traceback: str) -> str:
    """Return a traceback, of a long one its last lines: the error is at the end, with the line that raised it."""
    if len(traceback) <= _MESSAGE_CHARACTERS:
        return traceback
    end = traceback[-_MESSAGE_CHARACTERS:]
    return "…\n" + (end.partition("\n")[2] or end)


def _headline(failure: Failure) -> str:
    return one_line(f"{failure.type}: {failure.message[: 2 * _OUTPUT_CHARACTERS]}")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _json_start(value: JsonValue, most: int = _OUTPUT_CHARACTERS) -> str:
    """Return the first characters of a value's JSON; the rest is not worked out, however large it is."""
    text = ""
    for piece in json.JSONEncoder(ensure_ascii=False).iterencode(value):
        text += piece[: 2 * most]
        if len(text) > most:
            break
    return text


def _line_break(text: str) -> str:
    """Return the document's first line break, which the log then has too."""
    found = re.search(r"\r\n|\r|\n", text)
    return found.group() if found else "\n"


def _gap(text: str, line_break: str) -> str:
    """Return what makes the last line of a text a blank one: a `---` at the very start would open front matter."""
    if _BLANK_END.search(text):
        return ""
    if text.endswith("\r"):
        return "\r"  # With a line feed it would be one line break, not two.
    return line_break if text.endswith("\n") or not text.removeprefix("\ufeff") else line_break * 2


def _replace(target: Path, content: bytes) -> None:
    """Write a file in one step: it is the old one or the new one, never half of it."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), target.stat().st_mode & 0o7777)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
