"""Prompts in whole runs: attempts, what they cost, what a resume does, and what stands in the files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import flownb
from flownb.model.events import AttemptFailed, Event, Used
from flownb.model.usage import Usage, added, tokens_of
from flownb.render.log import render_log
from flownb.store.paths import find_run
from flownb.store.snapshot import stored_state
from tests.models import ModelServer, Reply, serving

KEY = "sk-proj-Zq81xyNotARealKey"
MODEL = "openai:gpt-4.1-mini"
ONE = Usage(requests=1, input_tokens=10, output_tokens=5)
At = Callable[[ModelServer], None]


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> At:
    """Return what leads prompts to a server."""

    def lead(server: ModelServer) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.base}/v1")

    return lead


def document(properties: str = "", body: str = "Count.", head: str = "", more: str = "") -> flownb.Workflow:
    front = f"---\nname: w\n{head}\n---\n" if head else ""
    return flownb.parse(
        f"{front}# W\n\n## Ask\n\n- model: {MODEL}\n{properties}\n\n```prompt\n{body}\n```\n{more}", name="w"
    )


def test_a_wrong_answer_is_asked_again_twice_where_no_retry_is_said(state_dir: Path, at: At) -> None:
    events: list[Event] = []
    with serving("no", '{"n": "x"}', '{"n": 3}') as server:
        at(server)
        run = flownb.run(document("- output: {n: int}"), state_dir=state_dir, listen=events.append)
    assert run.status == "completed"
    assert run["ask"] == {"n": 3}
    assert run.nodes["ask"].attempts == 3
    assert [event.wait_s for event in events if isinstance(event, AttemptFailed)] == [0, 0]
    first, second, third = server.prompts()
    assert first == "Count."
    assert "the answer is no JSON" in second
    assert "`answer.n` was given 'x': wanted int" in third
    assert "| ask | completed (3 attempts, 45 tokens) |" in run.log


def test_after_three_wrong_answers_it_is_failed(state_dir: Path, at: At) -> None:
    with serving("no") as server:
        at(server)
        run = flownb.run(document("- output: int"), state_dir=state_dir)
    assert run.status == "failed"
    assert len(server.asked) == 3
    assert (run.errors[0].type, run.errors[0].attempts) == ("AnswerError", 3)


@pytest.mark.parametrize(
    "properties, asked",
    [
        ("- retry: 0", 1),
        ("- retry: {max: 4, base: 1h}", 5),
        ("- retry: {max: 4, on: 429}", 1),
        ("- once: true", 1),
    ],
)
def test_where_retry_is_said_it_holds_for_wrong_answers(properties: str, asked: int, state_dir: Path, at: At) -> None:
    with serving("no") as server:
        at(server)
        run = flownb.run(document(f"- output: int\n{properties}"), state_dir=state_dir)
    assert run.status == "failed"
    assert len(server.asked) == asked


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=429, body={}),
        Reply(status=503, body={}),
        Reply(status=529, body={}),
        Reply("a long answer", cut_after=1),
        Reply("late", wait_s=1),
    ],
    ids=["429", "503", "529", "cut", "timeout"],
)
def test_what_may_pass_is_tried_again_where_retry_is_said(reply: Reply, state_dir: Path, at: At) -> None:
    with serving(reply, "fine") as server:
        at(server)
        properties = "- timeout: 600ms\n- retry: {max: 1, base: 1ms}"
        run = flownb.run(document(properties), state_dir=state_dir)
    assert (run.status, run["ask"], run.nodes["ask"].attempts) == ("completed", "fine", 2)


@pytest.mark.parametrize("reply", [Reply(status=401, body={}), Reply(status=400, body={}), Reply("x", reason="length")])
def test_what_will_not_pass_is_not_tried_again(reply: Reply, state_dir: Path, at: At) -> None:
    with serving(reply, "fine") as server:
        at(server)
        run = flownb.run(document("- retry: 3"), state_dir=state_dir)
    assert run.status == "failed"
    assert len(server.asked) == 1


def test_what_may_pass_is_not_tried_again_without_retry(state_dir: Path, at: At) -> None:
    with serving(Reply(status=503, body={}), "fine") as server:
        at(server)
        assert flownb.run(document(), state_dir=state_dir).status == "failed"
    assert len(server.asked) == 1


def test_retry_after_is_obeyed(state_dir: Path, at: At) -> None:
    events: list[Event] = []
    with serving(Reply(status=429, headers={"Retry-After": "1"}, body={}), "fine") as server:
        at(server)
        run = flownb.run(document("- retry: {max: 1, base: 1ms}"), state_dir=state_dir, listen=events.append)
    assert run.status == "completed"
    assert [event.wait_s for event in events if isinstance(event, AttemptFailed)] == [1]
    assert server.at[1] - server.at[0] >= 1


# What it costs.


def test_tokens_stand_in_state_and_log_and_are_summed_for_the_run(state_dir: Path, at: At) -> None:
    more = f"\n## Each\n\n- foreach: [1, 2]\n- model: {MODEL}\n- output: int\n\n```prompt\n{{{{ item }}}}\n```\n"
    with serving(script=lambda number, _: Reply("no" if number == 1 else "7")) as server:
        at(server)
        run = flownb.run(document(more=more), state_dir=state_dir)
    assert run.status == "completed"
    state = json.loads((state_dir / "w" / f"{run.id}.json").read_text())
    assert state["usage"] == {MODEL: {"requests": 4, "input_tokens": 40, "output_tokens": 20}}
    assert state["nodes"]["ask"]["usage"] == {MODEL: {"requests": 1, "input_tokens": 10, "output_tokens": 5}}
    items = [state["nodes"][f"each[{index}]"]["usage"][MODEL]["requests"] for index in (0, 1)]
    assert sorted(items) == [1, 2]
    assert "usage" not in state["nodes"]["each"]
    assert "| ask | completed (15 tokens) |" in run.log
    assert "| each | completed (2 items, 45 tokens) |" in run.log
    rows = "| Model | Requests | Tokens in | Tokens out |\n|---|---|---|---|\n| openai:gpt-4.1-mini | 4 | 40 | 20 |\n"
    assert f"### Models\n\n{rows}" in run.log


def test_a_journal_and_a_state_file_give_the_same_usage_back(state_dir: Path, at: At) -> None:
    with serving("no", "7") as server:
        at(server)
        run = flownb.run(document("- output: int"), state_dir=state_dir)
    paths = find_run(state_dir, run.id)
    from_journal = stored_state(paths)
    paths.journal.unlink()
    from_file = stored_state(paths)
    for state in (from_journal, from_file):
        assert state.usage == {MODEL: ONE + ONE}
        assert state.nodes["ask"].usage == {MODEL: ONE + ONE}
        assert "| ask | completed (2 attempts, 30 tokens) |" in render_log(state)


def test_a_run_without_prompts_says_nothing_of_models(state_dir: Path) -> None:
    run = flownb.run(flownb.parse("# W\n\n## A\n\n```expr\n1\n```\n", name="w"), state_dir=state_dir)
    assert "usage" not in (state_dir / "w" / f"{run.id}.json").read_text()
    assert "### Models" not in run.log
    assert "token" not in run.log


def test_what_was_spent_stays_spent_when_a_node_runs_again(state_dir: Path, at: At) -> None:
    with serving("fine") as server:
        at(server)
        run = flownb.run(document(more="\n## Then\n\n```bash\ntest -e {{ ask }}\n```\n"), state_dir=state_dir)
        assert run.status == "failed"
        text = document(body="Count again.", more="\n## Then\n\n```bash\ntrue {{ ask }}\n```\n")
        again = flownb.run(text, state_dir=state_dir, run_id=run.id)
    assert again.status == "completed"
    state = stored_state(find_run(state_dir, run.id))
    assert state.usage == {MODEL: ONE + ONE}
    assert state.nodes["ask"].usage == {MODEL: ONE}


def test_usage_adds_up_by_model() -> None:
    sums = added(added(added({}, "a", ONE), "b", ONE), "a", ONE)
    assert sums == {"a": ONE + ONE, "b": ONE}
    assert tokens_of(sums) == 45


# Resuming.

PARTS = [
    ("- temperature: 0.5", "- temperature: 0.6"),
    ("- max_tokens: 50", "- max_tokens: 60"),
    ("- output: int", "- output: float"),
    ("- system: be kind", "- system: be strict"),
    ("", "- base_url: http://127.0.0.1:1/v1\n- retry: 0"),
    ("", "- images: '[]'"),
]


@pytest.mark.parametrize("before, after", PARTS)
def test_what_carries_meaning_is_part_of_the_fingerprint(before: str, after: str, state_dir: Path, at: At) -> None:
    then = "\n## Then\n\n```bash\ntest -e ready {{ ask }}\n```\n"
    with serving("7") as server:
        at(server)
        run = flownb.run(document(before, more=then), state_dir=state_dir)
        assert run.status == "failed"
        flownb.run(document(f"{before}\n- timeout: 20s", more=then), state_dir=state_dir, run_id=run.id)
        assert len(server.asked) == 1
        again = flownb.run(document(after, more=then), state_dir=state_dir, run_id=run.id)
    assert again.nodes["ask"].attempts == 1
    assert len(server.asked) == 2 or again.errors[0].type == "ModelConnectionError"


def test_a_wrong_answer_before_a_kill_is_known_after_it(state_dir: Path, at: At) -> None:
    """The journal of a run that was killed in its second attempt: what was wrong is told, and the attempt counts."""
    with serving("no", "no", "7") as server:
        at(server)
        run = flownb.run(document("- output: int"), state_dir=state_dir)
        assert len(server.asked) == 3
        journal = find_run(state_dir, run.id).journal
        lines = journal.read_bytes().splitlines(keepends=True)
        second = [at for at, line in enumerate(lines) if b'"node_started"' in line][1]
        journal.write_bytes(b"".join(lines[: second + 1]))
        again = flownb.resume(run.id, state_dir=state_dir)
    assert again.status == "completed"
    assert again.nodes["ask"].attempts == 2
    assert len(server.asked) == 4
    assert "the answer is no" in server.prompts()[3] or "does not fit" in server.prompts()[3]


# Secrets.


def test_no_file_holds_the_key_or_what_a_model_says_of_a_secret(state_dir: Path, at: At) -> None:
    secret = "hunter2hunter2"
    head = "secrets: [OPENAI_API_KEY, WORD]"
    with pytest.MonkeyPatch.context() as patch, serving(f"You said {secret}, and {KEY}") as server:
        at(server)
        patch.setenv("WORD", secret)
        run = flownb.run(document(body="Say {{ secrets.WORD }}", head=head), state_dir=state_dir)
    assert run.status == "completed"
    assert server.prompts() == [f"Say {secret}"]
    assert run["ask"] == f"You said {secret}, and {KEY}"
    kept = "".join(path.read_text() for path in state_dir.rglob("*") if path.is_file())
    for hidden in (secret, KEY):
        assert hidden not in kept
        assert hidden not in run.log
    assert "You said •••, and •••" in run.log


def test_an_undeclared_key_stands_in_no_file_either(state_dir: Path, at: At) -> None:
    with serving(Reply(status=400, body={"error": {"message": f"what is {KEY}?"}})) as server:
        at(server)
        run = flownb.run(document(), state_dir=state_dir)
    assert run.errors[0].message == f"{MODEL} answered 400: what is •••?"
    assert KEY not in "".join(path.read_text() for path in state_dir.rglob("*") if path.is_file())


def test_a_missing_key_is_one_error_before_the_request(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    run = flownb.run(document("- retry: 3"), state_dir=state_dir)
    assert run.nodes["ask"].attempts == 1
    assert run.errors[0].message == f"{MODEL} needs a key, and OPENAI_API_KEY is not set"
    assert "`secrets: [OPENAI_API_KEY]`" in run.errors[0].hint


def test_what_is_used_is_told_to_who_listens(state_dir: Path, at: At) -> None:
    events: list[Event] = []
    with serving("fine") as server:
        at(server)
        flownb.run(document(), state_dir=state_dir, listen=events.append)
    assert [(event.key, event.model, event.usage) for event in events if isinstance(event, Used)] == [
        ("ask", MODEL, ONE)
    ]


def test_a_system_fence_is_the_system_property(state_dir: Path, at: At) -> None:
    fence = "\n```text system\nYou know {{ ['wind'] | first }}.\n```\n"
    with serving("fine") as server:
        at(server)
        run = flownb.run(document(more=fence), state_dir=state_dir)
    assert run.status == "completed"
    assert server.asked[0]["messages"][0] == {"role": "system", "content": "You know wind."}


def test_the_model_may_be_a_template(state_dir: Path, at: At) -> None:
    text = '# W\n\n## Ask\n\n- foreach: [a, b]\n- model: "openai:{{ item }}"\n\n```prompt\nHi\n```\n'
    with serving("fine") as server:
        at(server)
        run = flownb.run(flownb.parse(text.replace("[a, b]", '["a", "b"]'), name="w"), state_dir=state_dir)
    assert run.status == "completed"
    assert sorted(asked["model"] for asked in server.asked) == ["a", "b"]
    assert re.findall(r"\| openai:(\w) \| 1 \|", run.log) in (["a", "b"], ["b", "a"])
