"""The example of docs/runtime-prompt.md runs, and its table lists the properties that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flownb
from flownb.model.prompt_node import PROVIDERS, PromptNode
from flownb.parse.keys import own_keys
from tests.models import serving

PAGE = (Path(__file__).parents[2] / "docs/runtime-prompt.md").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_example_runs(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ticket = '{"kind": "bug", "urgent": true, "title": "Export fails"}'
    workflow = flownb.parse(EXAMPLE)
    assert flownb.validate(workflow) == []
    with serving("It is a bug.", ticket, "We look into it at once!") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-of-no-one-at-all")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{server.base}/v1")
        run = flownb.run(workflow, state_dir=state_dir)
    assert run.status == "completed", run.errors
    assert run["ticket"] == {"kind": "bug", "urgent": True, "title": "Export fails"}
    assert run["answer"] == "We look into it at once!"
    assert "“Export fails”" in server.prompts()[2]
    assert server.asked[0]["messages"][0]["content"].startswith("You sort mails.")
    assert "at most six words" in server.asked[0]["messages"][0]["content"]


def test_the_table_lists_every_property_and_provider() -> None:
    rows = re.findall(r"^\| (`.*?) \|(.*)\|$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(name for name, _ in rows))) == own_keys(PromptNode)
    assert set(PROVIDERS) <= set(re.findall(r"`(\w+)`", rows[0][1]))
