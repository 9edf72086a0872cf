"""What hypothesis makes up for the tests: JSON values, events, and whole runs."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st
from pydantic import JsonValue

from flownb.errors import Failure
from flownb.model import events as e
from flownb.model.decision import Action, Decision, Question, Via
from flownb.model.nodes import DefaultAction
from flownb.model.usage import Usage

texts = st.text(max_size=20)
ids = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
keys = st.one_of(
    ids,
    st.builds("{}[{}]".format, ids, st.integers(0, 99)),
    st.builds("{}[{}]/{}".format, ids, st.integers(0, 9), ids),
    st.builds("{}{{{}}}".format, ids, st.integers(0, 99)),
)
moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 hypothesis adds the zone

json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
named_values = st.dictionaries(ids, json_values, max_size=3)

failures = st.builds(
    Failure,
    node=keys,
    type=st.sampled_from(["ValueError", "ConnectionError"]),
    message=texts,
    attempts=st.integers(1, 5),
    traceback=texts,
    place=texts,
    hint=texts,
)
questions = st.builds(
    Question,
    key=keys,
    heading=texts,
    text=texts,
    input=json_values,
    show=st.lists(texts, max_size=2).map(tuple),
    default=st.sampled_from(DefaultAction),
    asked_at=moments,
    deadline=st.none() | moments,
    actions=st.lists(texts, max_size=3).map(tuple),
)
decisions = st.builds(
    Decision,
    action=st.sampled_from([action.value for action in Action]),
    input=json_values,
    by=texts,
    at=st.none() | moments,
    via=st.sampled_from([via.value for via in Via]),
    timed_out=st.booleans(),
)
planned_nodes = st.builds(
    e.PlannedNode,
    id=ids,
    type=st.sampled_from(["bash", "python"]),
    wave=st.integers(0, 9),
    waits_for=st.lists(ids, max_size=2).map(tuple),
    definition=texts,
    inside=texts,
    reserved=st.booleans(),
)
run_started = st.builds(
    e.RunStarted,
    at=moments,
    run_id=ids,
    workflow=ids,
    inputs=named_values,
    secrets=st.lists(ids, max_size=2).map(tuple),
    definition=texts,
    document=st.none() | texts,
)
usages = st.builds(Usage, requests=st.integers(0, 9), input_tokens=st.integers(0), output_tokens=st.integers(0))
node_started = st.builds(e.NodeStarted, at=moments, key=keys, attempt=st.integers(1, 9), definition=texts)

events: st.SearchStrategy[e.Event] = st.one_of(
    run_started,
    st.builds(
        e.RunResumed, at=moments, inputs=named_values, definition=texts, forget=st.lists(keys, max_size=2).map(tuple)
    ),
    st.builds(e.Planned, at=moments, nodes=st.lists(planned_nodes, max_size=3).map(tuple)),
    node_started,
    st.builds(e.AttemptFailed, at=moments, key=keys, failure=failures, wait_s=st.floats(0, 60)),
    st.builds(
        e.NodeCompleted,
        at=moments,
        key=keys,
        output=json_values,
        reusable=st.booleans(),
        fallback=st.none() | ids,
        gather=st.none() | st.sampled_from(e.Gather),
        count=st.integers(0, 9),
        parts=st.dictionaries(ids, keys, max_size=2),
    ),
    st.builds(e.Used, at=moments, key=keys, model=texts, usage=usages),
    st.builds(e.NodeFailed, at=moments, key=keys, failure=failures, continued=st.booleans()),
    st.builds(e.NodeSkipped, at=moments, key=keys, reason=texts),
    st.builds(e.NodeCancelled, at=moments, key=keys),
    st.builds(e.Asked, at=moments, question=questions),
    st.builds(e.Decided, at=moments, key=keys, decision=decisions),
    st.builds(e.RunWaiting, at=moments),
    st.builds(
        e.RunFinished,
        at=moments,
        status=st.sampled_from(e.RunStatus),
        outputs=named_values,
        failures=st.lists(failures, max_size=2).map(tuple),
    ),
)
"""Any event, not one that makes sense where it stands."""


@st.composite
def histories(draw: st.DrawFn) -> list[e.Event]:
    """Make what could be written of a run: attempts fail only of what was started, parts are there to be gathered."""
    history: list[e.Event] = [draw(run_started)]
    for start in draw(st.lists(node_started, max_size=6)):
        key, at = start.key, start.at
        ends: st.SearchStrategy[list[e.Event]] = st.one_of(
            st.just([]),
            st.builds(lambda value, key=key, at=at: [e.NodeCompleted(at=at, key=key, output=value)], json_values),
            st.builds(lambda why, key=key, at=at: [e.NodeFailed(at=at, key=key, failure=why)], failures),
            st.builds(
                lambda why, value, key=key, at=at: [
                    e.Used(at=at, key=key, model="m", usage=Usage(requests=1, output_tokens=3)),
                    e.AttemptFailed(at=at, key=key, failure=why, wait_s=1.0),
                    e.NodeStarted(at=at, key=key, attempt=2),
                    e.NodeCompleted(at=at, key=key, output=value),
                ],
                failures,
                json_values,
            ),
            st.builds(
                lambda values, key=key, at=at: [
                    *(e.NodeCompleted(at=at, key=f"{key}[{i}]", output=value) for i, value in enumerate(values)),
                    e.NodeCompleted(at=at, key=key, gather=e.Gather.ITEMS, count=len(values)),
                ],
                st.lists(json_values, max_size=3),
            ),
            st.builds(
                lambda question, decision, key=key, at=at: [
                    e.Asked(at=at, question=question.model_copy(update={"key": key})),
                    e.Decided(at=at, key=key, decision=decision),
                ],
                questions,
                decisions,
            ),
        )
        history += [start, *draw(ends)]
    if draw(st.booleans()):
        history.append(e.RunFinished(at=draw(moments), status=draw(st.sampled_from(e.RunStatus))))
    return history
