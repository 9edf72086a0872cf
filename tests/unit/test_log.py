from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from pydantic import JsonValue

from flownb.errors import Failure, FlowError
from flownb.model.decision import Action, Decision, Question, Via
from flownb.model.events import (
    Asked,
    Decided,
    Event,
    Gather,
    NodeCompleted,
    NodeFailed,
    NodeSkipped,
    NodeStarted,
    Planned,
    PlannedNode,
    RunFinished,
    RunStarted,
    RunStatus,
    Taken,
)
from flownb.model.state import RunState
from flownb.render.inert import cut, one_line
from flownb.render.log import render_log, with_log, write_log
from flownb.text.logsection import find_log

BEGIN = datetime(2026, 11, 23, 10, 15, 2, 114000, tzinfo=UTC)
NASTY = (
    "| `a` | $x$ \\(y\\) \\[z\\] \\begin{a} *b* __c__ ~~d~~ [e](javascript:f) ![g](h) <script>i</script> &lt; &#60; "
    "<javascript:j> [k]: l\n\n---\n# m\r\n```\n\x1b[31m\u202e\x00 {{ n }} @@0@@ \\| \\"
)
pieces = st.lists(
    st.sampled_from([*NASTY, "](", "<a href=x>", "$$", "\\(", "```", "---", "\n", "\\|", "&amp;", "a", "_b_", "**"])
    | st.characters(),
    max_size=30,
).map("".join)


def state_of(*events: Event, plan: Sequence[PlannedNode] = (), status: RunStatus = RunStatus.COMPLETED) -> RunState:
    failures = tuple(event.failure for event in events if isinstance(event, NodeFailed) and not event.continued)
    state = RunState()
    state.apply(RunStarted(at=BEGIN, run_id="20261123T101502-k7qd", workflow="weekly-report", definition="abc"))
    state.apply(Planned(at=BEGIN, nodes=tuple(plan)))
    for event in events:
        state.apply(event)
    state.apply(RunFinished(at=BEGIN + timedelta(seconds=73.42), status=status, failures=failures))
    return state


def done(key: str, output: JsonValue, seconds: float = 1) -> tuple[Event, Event]:
    end = BEGIN + timedelta(seconds=seconds)
    return NodeStarted(at=BEGIN, key=key), NodeCompleted(at=end, key=key, output=output)


def failed(key: str, message: str, **more: object) -> tuple[Event, Event]:
    failure = Failure.model_validate({"node": key, "type": "ValueError", "message": message, **more})
    return NodeStarted(at=BEGIN, key=key), NodeFailed(at=BEGIN, key=key, failure=failure)


def rows(log: str) -> dict[str, list[Token]]:
    """Return node → the inline tokens of its last cell, as Markdown sees the log."""
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(log)
    cells = [token for index, token in enumerate(tokens) if index and tokens[index - 1].type in ("td_open", "th_open")]
    assert len(cells) % 4 == 0
    return {cells[index].content: cells[index + 3].children or [] for index in range(4, len(cells), 4)}


def shown(children: list[Token]) -> str:
    """Return what a reader sees of a cell; anything but text and our own empty-handed spans is a failure."""
    assert {token.content for token in children if token.type == "html_inline"} <= {"<span>", "</span>"}
    assert {token.type for token in children} <= {"text", "html_inline"}
    return "".join(token.content for token in children if token.type == "text")


def output_cell(value: JsonValue) -> str:
    return shown(rows(render_log(state_of(*done("a", value))))["a"])


def row(log: str, node: str) -> str:
    return next(line for line in log.split("\n") if line.startswith(f"| {node} |"))


def test_the_five_lines_end_in_two_spaces() -> None:
    assert render_log(state_of()).startswith(
        "---\n\n## Execution Log\n\n"
        "**Run ID:** `20261123T101502-k7qd`  \n**Workflow:** weekly-report  \n"
        "**Started:** 2026-11-23T10:15:02.114Z  \n**Duration:** 73.42s  \n**Status:** completed  \n\n"
        "| Node | Status | Duration | Output |\n|---|---|---|---|\n"
    )


def test_nodes_stand_in_the_order_they_began_then_those_that_never_did() -> None:
    plan = [PlannedNode(id=name, type="text", wave=0, definition="") for name in ("c", "a", "never", "b")]
    plan.append(PlannedNode(id="inner", type="text", wave=0, definition="", inside="b"))
    log = render_log(state_of(*done("b", 1), *done("a", 2), *done("publish/upload", 3), *done("c", 4), plan=plan))
    assert list(rows(log)) == ["b", "a", "publish/upload", "c", "never"]
    assert row(log, "never") == "| never | not run | - |  |"


def test_items_are_summed_up_in_their_nodes_row() -> None:
    events: list[Event] = [NodeStarted(at=BEGIN, key="score")]
    for index in range(1000):
        events += failed(f"score[{index}]", "no") if index < 3 else done(f"score[{index}]", index)
    events += [*done("score[5]/inner", 1), NodeCompleted(at=BEGIN, key="score", gather=Gather.ITEMS, count=1000)]
    log = render_log(state_of(*events))
    assert list(rows(log)) == ["score"]
    assert "| completed (1,000 items, 3 failed) |" in row(log, "score")
    assert "| 1,000 items: [null, null, null, 3, " in row(log, "score")


def test_rounds_are_counted() -> None:
    events = [NodeStarted(at=BEGIN, key="poll"), *done("poll{0}", 1), *done("poll{1}", "ready")]
    log = render_log(state_of(*events, NodeCompleted(at=BEGIN, key="poll", gather=Gather.LAST, count=2)))
    assert row(log, "poll") == "| poll | completed (2 rounds) | 1.00s | ready |"


def test_a_node_that_never_started_is_pending_while_the_run_has_not_ended() -> None:
    state = state_of(plan=[PlannedNode(id="later", type="text", wave=0, definition="")])
    state.finished_at = None
    assert row(render_log(state), "later") == "| later | pending | - |  |"


@pytest.mark.parametrize("taken", list(Taken))
def test_a_value_that_was_taken_from_elsewhere_says_so(taken: Taken) -> None:
    log = render_log(state_of(NodeStarted(at=BEGIN, key="a"), NodeCompleted(at=BEGIN, key="a", output=1, taken=taken)))
    assert row(log, "a") == f"| a | {taken} | 0.00s | 1 |"


def test_what_a_person_saw_and_said_stands_under_decisions() -> None:
    shown = {"score | length": "12", "score": '{"a": 1}\n```\n# no heading'}
    question = Question(key="review", heading="Review", text="Publish **12**?", asked_at=BEGIN, shown=shown)
    said = Decision(action=Action.INPUT, input={"note": "x" * 60}, by="ana", via=Via.NOTEBOOK, at=BEGIN)
    state = state_of(NodeStarted(at=BEGIN, key="review"), Asked(at=BEGIN, question=question))
    state.apply(Decided(at=BEGIN, key="review", decision=said))
    assert render_log(state).partition("### Decisions\n\n")[2] == (
        f'**review** input by ana (notebook): {{"note": "{"x" * 40}…, 2026-11-23T10:15:02.114Z\n\n'
        "> Publish \\*\\*12\\*\\*?  \n\n"
        f'answer:\n\n```text\n{{"note": "{"x" * 60}"}}\n```\n\n'
        "`score | length`\n\n```text\n12\n```\n\n"
        '`score`\n\n````text\n{"a": 1}\n```\n# no heading\n````\n'
    )


@pytest.mark.parametrize("count, more", [(20, ""), (23, "… and 3 more.")])
def test_at_most_20_decisions_and_errors_are_told(count: int, more: str) -> None:
    events: list[Event] = []
    for index in range(count):
        decision = Decision(action=Action.APPROVE, by=f"p{index}")
        events += [Decided(at=BEGIN, key=f"ask[{index}]", decision=decision), *failed(f"a[{index}]", f"no {index}")]
    parts = render_log(state_of(*events)).partition("### Decisions")
    for part, noun in ((parts[0], "**a["), (parts[2], "**ask[")):
        assert part.count(noun) == 20
        assert ("… and 3 more." in part) is bool(more)


def test_failed_items_that_the_run_went_on_after_are_told_with_their_index() -> None:
    why = Failure(node="a[1]", type="ValueError", message="no", place="In[1]:3", hint="do")
    events = [*done("a[0]", 1), NodeStarted(at=BEGIN, key="a[1]")]
    events.append(NodeFailed(at=BEGIN, key="a[1]", failure=why, continued=True))
    state = state_of(*events, NodeCompleted(at=BEGIN, key="a", gather=Gather.ITEMS, count=2))
    assert state.errors == [why]
    assert "### Errors\n\n**a[1]** (In[1\\]:3)\n\n```text\nValueError: no\n\nhint: do\n```\n" in render_log(state)


def test_attempts_and_fallback_stand_beside_the_status() -> None:
    log = render_log(
        state_of(
            NodeStarted(at=BEGIN, key="a", attempt=3), NodeCompleted(at=BEGIN, key="a", output="x", fallback="cached")
        )
    )
    assert row(log, "a") == "| a | completed (3 attempts, fallback: cached) | 0.00s | x |"


@pytest.mark.parametrize(
    "value, expected",
    [
        ("a" * 50, "a" * 50),
        ("a" * 51, "a" * 50 + "…"),
        ([{"title": "Wind"}], '1 item: [{"title": "Wind"}]'),
        (list(range(12)), "12 items: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]"),
        ({"n": None, "é": True}, '{"n": null, "é": true}'),
        ("two\nlines\there", "two\\nlines here"),
        (None, "null"),
        ("", ""),
    ],
)
def test_output_is_one_short_line(value: JsonValue, expected: str) -> None:
    assert output_cell(value) == expected


def test_a_value_that_could_not_be_kept_shows_its_type_and_how_it_begins() -> None:
    output: JsonValue = {"type": "pandas.DataFrame", "preview": "   a\n0  1"}
    began, ended = done("frame", output)
    assert isinstance(ended, NodeCompleted)
    log = render_log(state_of(began, ended.model_copy(update={"reusable": False})))
    assert "pandas.DataFrame:" in row(log, "frame")
    assert "preview" not in row(log, "frame")
    assert "preview" in row(render_log(state_of(began, ended)), "frame")


def test_what_needs_no_escaping_stays_readable() -> None:
    assert row(render_log(state_of(*done("cached_articles", [{"a_b": [1, 2]}]))), "cached_articles").endswith(
        '| 1 item: [{"a_b": [1, 2]}] |'
    )


def test_a_huge_value_is_not_written_out_to_show_its_start() -> None:
    class Counting(list[JsonValue]):
        seen = 0

        def __iter__(self) -> object:  # type: ignore[override] # what the encoder needs of it
            for item in range(1_000_000):
                self.seen += 1
                yield item

    value = Counting([0])
    render_log(state_of(NodeStarted(at=BEGIN, key="a"), NodeCompleted.model_construct(at=BEGIN, key="a", output=value)))
    assert value.seen < 100


@given(text=pieces)
@example(text=NASTY)
def test_any_output_shows_itself_and_does_nothing(text: str) -> None:
    assert output_cell(text) == cut(one_line(text), 50).strip()


@given(text=pieces)
@example(text=NASTY)
def test_nothing_of_a_failure_is_active(text: str) -> None:
    events = failed("a", text, traceback=text, place=text, hint=text)
    log = render_log(state_of(*events, status=RunStatus.FAILED), diagram=text or "x")
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(log)
    fold = ["<details><summary>the nodes and what they wait for</summary>\n", "</details>\n"]
    assert [token.content for token in tokens if token.type == "html_block"] == fold
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h2", "h3", "h3"]
    assert [token.info for token in tokens if token.type == "fence"] == ["text", "mermaid"]
    allowed = {"text", "html_inline", "strong_open", "strong_close", "code_inline", "hardbreak", "softbreak"}
    children = [child for token in tokens for child in token.children or []]
    assert {child.type for child in children} <= allowed
    assert {child.content for child in children if child.type == "html_inline"} <= {"<span>", "</span>"}
    assert not set(log) & {"\x1b", "\u202e", "\x00"}


@given(text=pieces)
@example(text=NASTY)
@example(text="# a\n- b\n+ c\n1. d\n2) e\n===\n---\n    code\n> f\n| g |\n|---|")
def test_nothing_of_a_question_or_its_answer_is_active(text: str) -> None:
    question = Question(key="ask", heading="Ask", text=text, asked_at=BEGIN, shown={"a": text})
    decision = Decision(action=Action.INPUT, input=text, by=text, via=Via.API)
    asked = Asked(at=BEGIN, question=question)
    log = render_log(state_of(NodeStarted(at=BEGIN, key="ask"), asked, Decided(at=BEGIN, key="ask", decision=decision)))
    tokens = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(log)
    below = tokens[next(index for index, token in enumerate(tokens) if token.content == "Decisions") :]
    blocks = {token.type.rpartition("_")[0] for token in below if token.nesting}
    assert blocks <= {"heading", "paragraph", "blockquote"}
    assert [token.tag for token in below if token.type == "heading_open"] == []
    assert not [token for token in below if token.type in ("html_block", "code_block", "hr")]
    allowed = {"text", "html_inline", "strong_open", "strong_close", "code_inline", "hardbreak", "softbreak"}
    children = [child for token in below for child in token.children or []]
    assert {child.type for child in children} <= allowed
    assert {child.content for child in children if child.type == "html_inline"} <= {"<span>", "</span>"}


def test_mathjax_finds_no_pair_of_delimiters() -> None:
    log = render_log(state_of(*done("a", "$x$ \\(y\\)")))
    assert "$" not in log
    assert "\\(" not in log


def test_a_failed_node_shows_its_error_with_place_and_hint() -> None:
    events = failed("publish", "no such host", place="weekly.flow.md:61", hint="check the address", attempts=4)
    log = render_log(state_of(*events, status=RunStatus.FAILED))
    assert row(log, "publish") == "| publish | failed | 0.00s | Error: ValueError: no such host |"
    assert log.endswith(
        "\n### Errors\n\n**publish** (weekly.flow.md:61, 4 attempts)\n\n"
        "```text\nValueError: no such host\n\nhint: check the address\n```\n"
    )


def test_a_skipped_node_has_no_output() -> None:
    log = render_log(state_of(NodeSkipped(at=BEGIN, key="a", reason="when: false")))
    assert row(log, "a") == "| a | skipped | 0.00s |  |"


@pytest.mark.parametrize(
    "decision, expected",
    [
        (Decision(action=Action.APPROVE, by="ana", via=Via.NOTEBOOK), "approve by ana (notebook)"),
        (
            Decision(action=Action.INPUT, input="shorter", by="ana", via=Via.TERMINAL),
            "input by ana (terminal): shorter",
        ),
        (Decision(action=Action.REJECT, via=Via.DEFAULT, timed_out=True), "reject (the time was over)"),
        (Decision(action=Action.REJECT, via=Via.DEFAULT), "reject (nobody could answer)"),
    ],
)
def test_a_checkpoint_shows_who_decided_what(decision: Decision, expected: str) -> None:
    question = Question(key="review", heading="Review", text="Publish?", asked_at=BEGIN)
    events: list[Event] = [
        NodeStarted(at=BEGIN, key="review"),
        Asked(at=BEGIN, question=question),
        Decided(at=BEGIN, key="review", decision=decision),
        NodeCompleted(at=BEGIN, key="review", output={}),
    ]
    status = "rejected" if decision.action == Action.REJECT else "completed"
    log = render_log(state_of(*events))
    assert row(log, "review") == f"| review | {status} | 0.00s | {expected} |"
    assert f"### Decisions\n\n**review** {expected}\n\n> Publish?  \n" in log


def test_a_once_node_that_was_asked_about_shows_its_value() -> None:
    decision = Decided(at=BEGIN, key="pay", decision=Decision(action="happened", input=7, by="ana"))
    assert "| 7 |" in row(render_log(state_of(NodeStarted(at=BEGIN, key="pay"), decision, *done("pay", 7))), "pay")


LOG = render_log(state_of(*done("a", 1)), diagram="flowchart TD\n  n0\n")
OTHER = render_log(state_of(*failed("b", "## Execution Log"), status=RunStatus.FAILED))


@pytest.mark.parametrize(
    "text", ["", "# T", "# T\n", "# T\n\n", "# T\r\n\r\ntext", "\ufeff# T\n", "---\nname: x\n---\n"]
)
def test_a_log_is_appended_and_then_replaced(text: str) -> None:
    once = with_log(text, LOG)
    assert once.startswith(text)
    assert with_log(once, LOG) == once
    assert with_log(with_log(once, OTHER), LOG) == once


def test_a_log_takes_the_documents_line_breaks() -> None:
    assert "\n" not in with_log("# T\r\n\r\ntext", LOG).replace("\r\n", "")


def test_what_stands_above_and_below_a_log_stays() -> None:
    above, below = "# T\n\n- a: 1\n\n", "\n\n\n## Next  \n```bash\nls\n```"
    text = above + "---\n## Execution Log\nold\n\n### Errors\n\n```\n---\n# no end\n```" + below
    assert with_log(text, LOG) == above + LOG.strip("\n") + below


def test_a_log_ends_at_a_thematic_break() -> None:
    text = "# T\n\n***\n## Execution Log\nold\n***\nbelow"
    assert with_log(text, LOG) == "# T\n\n" + LOG.strip("\n") + "\n\n***\nbelow"


@pytest.mark.parametrize(
    "text",
    [
        "# T\n\n## Execution Log\n",
        "text\n---\n## Execution Log\n",
        "````\n---\n\n## Execution Log\n````\n",
        "- a\n\n  ---\n\n  ## Execution Log\n",
        "> ---\n> ## Execution Log\n",
        "---\n\nbetween\n\n## Execution Log\n",
        "---\nitems:\n- a\n---\n## Execution Log\n",
        "---\n\n## Execution Logs\n",
    ],
)
def test_what_only_looks_like_a_log_is_none(text: str) -> None:
    assert find_log(text) is None


@pytest.mark.parametrize("text", ["```bash\nls\n", "text\n\n<!-- open\n", "---\nname: x\n", "<script>\n"])
def test_a_document_that_would_swallow_its_log_is_refused_and_kept(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.flow.md"
    path.write_text(text)
    with pytest.raises(FlowError, match="swallow"):
        write_log(path, LOG)
    assert path.read_text() == text


documents = st.lists(
    st.sampled_from(
        [
            "---",
            "***",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            "# T",
            "## Execution Log",
            "### Errors",
            "```",
            "~~~",
            "- a",
            "> b",
            "    ",
        ]
    )
    | st.sampled_from(
        ["<!--", "-->", "<pre>", "| a |\n|---|\n| b |", "text", "\ufeff", "\x0c", "\x85", "\x00", "Execution Log\n==="]
    )
    | st.text(max_size=5),
    max_size=14,
).map("".join)


@given(text=documents)
@example(text="---\n\n## Execution Log\nold\n---")
def test_writing_twice_is_writing_once_and_the_rest_is_kept(text: str) -> None:
    try:
        once = with_log(text, LOG)
    except FlowError:
        assert any(opening in text for opening in ("```", "~~~", "<!--", "<pre>", "---"))
        return
    found, placed = find_log(text), find_log(once)
    assert placed is not None
    above, below = (text[: found[0]], text[found[1] :]) if found else (text, "")
    assert once.startswith(above)
    assert once.endswith(below)
    assert once[placed[0] : placed[1]].replace("\r\n", "\n").replace("\r", "\n") == LOG.strip("\n")
    assert with_log(once, LOG) == once
    assert with_log(with_log(once, OTHER), LOG) == once


def test_bytes_that_are_no_utf8_and_the_files_mode_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.flow.md"
    path.write_bytes(b"\xef\xbb\xbf# caf\xe9\r\n")
    path.chmod(0o640)
    write_log(path, LOG)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf# caf\xe9\r\n\r\n---\r\n\r\n## Execution Log\r\n")
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir()] == ["a.flow.md"]


def test_a_link_to_a_document_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real.flow.md").write_text("# T\n")
    link = tmp_path / "link.flow.md"
    link.symlink_to("real.flow.md")
    write_log(link, LOG)
    assert link.is_symlink()
    assert "## Execution Log" in (tmp_path / "real.flow.md").read_text()


def test_a_write_that_fails_leaves_the_document_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flow.md"
    path.write_text("# T\n")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_log(path, LOG)
    assert path.read_text() == "# T\n"
    assert [file.name for file in tmp_path.iterdir()] == ["a.flow.md"]


def test_of_a_long_traceback_the_end_is_kept_with_whole_lines() -> None:
    lines = [f'  File "In[3]", line {number}, in deeper' for number in range(1000)]
    trace = "\n".join(["Traceback (most recent call last):", *lines, "RecursionError: the very end"])
    log = render_log(state_of(*failed("a", "no more", traceback=trace)))
    assert "RecursionError: the very end" in log
    assert "line 999, in deeper" in log
    assert "line 0, in deeper" not in log
    shown = log.partition("no more\n\n")[2].splitlines()
    assert (shown[0], shown[1] in lines) == ("…", True)
    assert len(log) < 6000
