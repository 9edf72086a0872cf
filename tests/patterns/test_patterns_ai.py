"""The patterns that ask language models, on a server that answers as one would, and at first as one should not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import flownb
from flownb.model.decision import Request
from tests.models import ModelServer, Reply, Script, serving, text_in
from tests.patterns.conftest import Site

Copy = Callable[[str], Path]
Complete = Callable[..., flownb.Run]
Ask = Callable[..., Any]
MODEL = "openai:gpt-5-mini"


def asked_in(body: dict[str, Any]) -> str:
    """Return the text of a request's last message."""
    return text_in(body["messages"][-1]["content"])


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModelServer]]:
    """Return what starts a server of models, to which all prompts then go."""
    open_servers = []

    def start(*replies: Reply | str, script: Script | None = None) -> ModelServer:
        context = serving(*replies, script=script)
        server = context.__enter__()
        open_servers.append(context)
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.base}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-no-one-at-all")
        return server

    yield start
    for context in open_servers:
        context.__exit__(None, None, None)


def test_ai_summary(completed: Complete, model: Ask, tmp_path: Path) -> None:
    (tmp_path / "article.txt").write_text("The wind blew all week. {{ 7 * 7 }}")
    server = model(Reply(status=429, headers={"retry-after-ms": "5"}, body={}), "It was windy.")
    run = completed("ai-summary")
    assert (tmp_path / "summary.md").read_text() == "> It was windy.\n"
    assert server.prompts()[1].endswith("\n\nThe wind blew all week. {{ 7 * 7 }}")
    assert server.asked[1]["messages"][0]["role"] == "system"
    assert run.nodes["summary"].attempts == 2
    assert f"| {MODEL} | 1 | 10 | 5 |" in run.log


def test_ai_extraction_with_a_type(completed: Complete, model: Ask) -> None:
    wrong = {"customer": "Ana", "wanted_by": "soon", "items": ["tea"], "priority": "urgent"}
    right = {"customer": "Ana", "wanted_by": "2026-12-01", "items": ["tea", "rice"]}
    server = model(json.dumps(wrong), f"```json\n{json.dumps(right)}\n```")
    run = completed("ai-extract", mail="Dear all, tea and rice, please.")
    assert run["order"] == {**right, "wanted_by": date(2026, 12, 1), "priority": "low"}
    assert run["line"] == "Ana: tea, rice (low, by 2026-12-01)"
    assert "`answer.wanted_by` was given 'soon'" in server.prompts()[1]
    assert "`answer.priority` was given 'urgent'" in server.prompts()[1]


@pytest.mark.parametrize(
    "kind, routed, requests",
    [("bug", "ticket opened: It fails", 1), ("question", "Because.", 2), ("other", "filed", 1)],
)
def test_ai_classifies_and_routes(kind: str, routed: str, requests: int, completed: Complete, model: Ask) -> None:
    server = model(json.dumps({"answer": kind}), "Because.")
    run = completed("ai-route", message="It fails")
    assert run["kind"] == kind
    assert run.outputs == {"routed": routed}
    assert len(server.asked) == requests


def test_ai_for_each_reaches_its_limit_and_never_passes_it(completed: Complete, model: Ask) -> None:
    server: ModelServer

    def script(number: int, body: dict[str, Any]) -> Reply:
        score = int(re.findall(r"review (\d)", asked_in(body))[0])
        server.waits_for(lambda: server.inside >= 3 or len(server.asked) > 6, 2)
        server.waits_for(lambda: server.inside > 3, 0.05)
        return Reply("I think 5!" if number == 0 else json.dumps({"score": score, "why": "so"}))

    server = model(script=script)
    run = completed("ai-foreach", reviews=[f"review {number}" for number in (1, 2, 3, 4, 5)])
    scores = run["scores"]
    assert isinstance(scores, list)
    assert [score["score"] for score in scores] == [1, 2, 3, 4, 5]
    assert run["mean"] == 3
    assert server.most_at_once == 3
    assert len(server.asked) == 6
    assert "| scores | completed (5 items, 90 tokens) |" in run.log


def test_ai_refines_until_it_is_good_enough(completed: Complete, model: Ask) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        text = asked_in(body)
        if text.startswith("Write"):
            return Reply("Wind!")
        if text.startswith("Improve"):
            return Reply(re.findall(r"wind: (.*)", text)[0] + "!")
        marks = text.count("!")
        return Reply(json.dumps({"score": 2 * marks + 2, "critique": f"only {marks}"}))

    server = model(script=script)
    run = completed("ai-refine", topic="wind")
    assert run.outputs == {"slogan": "Wind!!!"}
    assert run.nodes["work"].count == 3
    assert [text.splitlines()[0] for text in server.prompts()] == [
        "Write a slogan about wind.",
        "Give this slogan 0 to 10 points, and say what is wrong with it: Wind!",
        "Improve this slogan about wind: Wind!",
        "Give this slogan 0 to 10 points, and say what is wrong with it: Wind!!",
        "Improve this slogan about wind: Wind!!",
        "Give this slogan 0 to 10 points, and say what is wrong with it: Wind!!!",
    ]
    assert "It was criticised so: only 2" in server.prompts()[4]


@pytest.mark.parametrize(
    "decision, sent",
    [
        (flownb.Decision(action="approve"), "We are sorry."),
        (flownb.Decision(action="input", input="We are very sorry."), "We are very sorry."),
        (flownb.Decision(action="reject"), None),
    ],
)
def test_a_person_approves_what_ai_has_drafted(
    decision: flownb.Decision, sent: str | None, document: Copy, model: Ask, tmp_path: Path
) -> None:
    server = model("We are sorry.")
    asked: list[Request] = []

    def decide(request: Request) -> flownb.Decision:
        asked.append(request)
        return decision

    run = flownb.run(document("ai-approval"), {"complaint": "Too cold."}, decide=decide)
    assert run.status == ("completed" if sent else "rejected")
    assert asked[0].values == {"draft": "We are sorry."}
    assert (tmp_path / "sent.txt").exists() is bool(sent)
    if sent:
        assert (tmp_path / "sent.txt").read_text() == sent
    assert len(server.asked) == 1


def test_a_draft_that_waits_is_not_asked_for_again(document: Copy, model: Ask, tmp_path: Path) -> None:
    server = model("We are sorry.", "We are not.")
    run = flownb.run(document("ai-approval"), {"complaint": "Too cold."}, decide=lambda _: None)
    assert run.status == "waiting"
    again = flownb.resume(run.id, state_dir=tmp_path / ".flownb", decide=lambda _: flownb.Decision(action="approve"))
    assert again.status == "completed"
    assert (tmp_path / "sent.txt").read_text() == "We are sorry."
    assert len(server.asked) == 1


def test_full_content_pipeline_with_ai(document: Copy, site: Site, model: Ask, tmp_path: Path) -> None:
    def script(_: int, body: dict[str, Any]) -> Reply:
        text = asked_in(body)
        if text.startswith("How interesting"):
            points = min(5, text.count("very") // 2)
            return Reply(json.dumps({"points": points if "refused" in text or points != 4 else "four"}))
        if text.startswith("Write a teaser"):
            return Reply(f"Read number {text[-1]} today, it is worth it")
        line = text.partition("\n")[2].replace("\n", " / ")
        return Reply(line[: max(40, len(line) * 2 // 3)])

    server = model(script=script)
    asked: list[Request] = []

    def decide(request: Request) -> flownb.Decision:
        asked.append(request)
        assert not (tmp_path / "site.txt").exists()
        return flownb.Decision(action="input", input="well done", by="ana")

    run = flownb.run(document("ai-content-pipeline"), {"base": site.base}, decide=decide)
    assert run.status == "completed", run.errors
    assert run.nodes["articles"].attempts == 3
    best = run["best"]
    assert isinstance(best, list)
    assert [(article["id"], article["points"]) for article in best] == [(3, 4), (2, 3)]
    assert run.nodes["score[2]"].attempts == 2
    assert run["teasers"] == [f"Read number {number} today, it is worth it" for number in (3, 2)]
    polished = run["polish"]
    assert isinstance(polished, str)
    assert len(polished) <= 40
    assert run.nodes["polish"].count == 2
    assert (tmp_path / "site.txt").read_text() == f"{polished}\n"
    assert asked[0].text == f"Publish 2 articles as “{polished}”?"
    assert run.outputs == {"published": "1", "note": "well done"}
    assert f"| {MODEL} | {len(server.asked)} | {10 * len(server.asked)} |" in run.log
    assert not (tmp_path / "failures.log").exists()
