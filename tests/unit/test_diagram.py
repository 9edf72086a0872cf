from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownb.errors import Failure
from flownb.model.events import AttemptFailed, Gather, NodeCompleted, NodeStarted, Planned, PlannedNode, RunStarted
from flownb.model.node_state import NodeStatus
from flownb.model.state import RunState
from flownb.render.diagram import mermaid, statuses, text_tree

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def planned(node_id: str, kind: str = "text", wave: int = 0, **more: object) -> PlannedNode:
    return PlannedNode.model_validate({"id": node_id, "type": kind, "wave": wave, "definition": "", **more})


PLAN = (
    planned("articles", "http", fallback="cached_articles"),
    planned("cached_articles", "read", reserved=True),
    planned("research", "group", 1, waits_for=("articles",), repeat="foreach articles"),
    planned("summary", "python", 1, inside="research", waits_for=("articles",)),
    planned("review", "checkpoint", 2, waits_for=("research",), asks="\nPublish **{{ n }}**?\nReally?"),
    planned("tell_us", "bash", reserved=True),
)


def state_of(*finished: str) -> RunState:
    state = RunState()
    state.apply(RunStarted(at=NOW, run_id="r", workflow="w", definition=""))
    state.apply(Planned(at=NOW, nodes=PLAN))
    for key in finished:
        state.apply(NodeStarted(at=NOW, key=key))
        state.apply(NodeCompleted(at=NOW, key=key))
    return state


def test_the_chart_shows_containers_questions_waits_and_fallbacks() -> None:
    assert mermaid(PLAN).splitlines() == [
        "flowchart TD",
        '  n0["articles<br/>http"]',
        '  n1["cached_articles<br/>read"]',
        '  subgraph n2["research, foreach articles"]',
        '    n3["summary<br/>python"]',
        "  end",
        '  n4{{"review<br/>checkpoint<br/>Publish #42;#42;#123;#123; n #125;#125;#42;#42;#63;"}}',
        '  n5["tell_us<br/>bash"]',
        "  n0 -.->|fallback| n1",
        "  n0 --> n2",
        "  n0 --> n3",
        "  n2 --> n4",
    ]


def test_the_chart_colours_nodes_by_status() -> None:
    lines = mermaid(PLAN, state_of("articles", "research[0]/summary")).splitlines()
    assert "  class n0,n3 completed" in lines
    assert "  class n1,n2,n4,n5 pending" in lines
    assert "  class n1,n5 reserved" in lines


def test_the_chart_says_how_many_items_there_were() -> None:
    state = state_of("research[0]", "research[1]")
    state.apply(NodeCompleted(at=NOW, key="research", gather=Gather.ITEMS, count=2))
    assert "foreach \N{MULTIPLICATION SIGN}2" in mermaid(PLAN, state)


def test_no_arrow_joins_a_container_to_what_is_in_it() -> None:
    plan = (planned("a", "group", waits_for=("b",), repeat="until b"), planned("b", inside="a", waits_for=("a",)))
    assert "-->" not in mermaid(plan)


def test_a_sub_flows_nodes_stand_in_the_node_that_calls_it() -> None:
    lines = mermaid((planned("publish", "flow"), planned("publish/upload"))).splitlines()
    assert lines[1:] == ['  subgraph n0["publish, flow"]', '    n1["publish#47;upload<br/>text"]', "  end"]


@given(text=st.text() | st.sampled_from(['"]; click n0 "javascript:x"', "%%{init}%%", "`a`", "$$x$$", "<b>", "#quot;"]))
def test_no_text_of_a_workflow_becomes_syntax(text: str) -> None:
    lines = mermaid(
        (planned("a", "checkpoint", asks=text), planned("b", text, repeat=text, waits_for=("a",)))
    ).splitlines()
    assert len(lines) == 4
    for line in lines[1:3]:
        label = re.fullmatch(r'  n[01](?:\{\{|\[\[|\[)"(.*)"(?:\}\}|\]\]|\])', line)
        assert label, line
        rest = re.sub("#\\d+;|<br/>|[ ,…_\N{MULTIPLICATION SIGN}]", "", label[1])
        assert rest == "" or rest.isalnum()


def test_a_very_large_plan_stays_within_what_mermaid_draws() -> None:
    plan = [planned(f"n{i}", waits_for=tuple(f"n{j}" for j in range(max(0, i - 5), i))) for i in range(1000)]
    chart = mermaid(plan)
    assert 'more["and 800 more nodes"]' in chart
    assert chart.count("-->") <= 450
    assert len(chart) < 50_000


def test_the_tree_shows_waves_waits_questions_and_what_runs_after_a_failure_only() -> None:
    assert text_tree(PLAN).splitlines() == [
        "wave 0",
        "  articles (http), else cached_articles",
        "wave 1",
        "  research (foreach articles) <- articles",
        "    summary (python) <- articles",
        "wave 2",
        "  review (checkpoint) <- research",
        "    asks: Publish **{{ n }}**?",
        "only after a failure",
        "  cached_articles (read): in place of articles",
        "  tell_us (bash): when the run failed",
    ]


def test_the_tree_marks_what_is_done() -> None:
    lines = text_tree(PLAN, state_of("articles")).splitlines()
    assert lines[1] == "  ✓ articles (http), else cached_articles"
    assert lines[3] == "  · research (foreach articles) <- articles"


def test_the_tree_shows_no_escape_codes() -> None:
    assert "\x1b" not in text_tree((planned("a", "checkpoint", asks="\x1b[2Jgone"),))


def test_of_items_the_loudest_status_is_shown() -> None:
    state = state_of("research[0]/summary", "research[2]/summary")
    state.apply(NodeStarted(at=NOW, key="research[1]/summary"))
    failure = Failure(node="research[1]/summary", type="E", message="")
    state.apply(AttemptFailed(at=NOW, key="research[1]/summary", failure=failure, wait_s=1))
    assert statuses(PLAN, state)["summary"] == NodeStatus.RUNNING


@pytest.mark.parametrize("kind", ["branch", "parallel"])
def test_containers_say_what_they_are(kind: str) -> None:
    assert f"a ({kind})" in text_tree((planned("a", kind), planned("b", inside="a")))
