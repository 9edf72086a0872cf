"""The workflow that docs/runtime-http.md shows runs, in Python and by the command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import flownb
from flownb.model.http_node import HttpNode
from flownb.parse.keys import own_keys
from tests.web import Asked, Reply, Web, serving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/runtime-http.md").read_text()
WORKFLOW = re.findall(r"^````markdown\n(.*?)^````$", PAGE, re.MULTILINE | re.DOTALL)[0]


def answer(asked: Asked) -> Reply:
    match asked.method, asked.path.partition("?")[0]:
        case "GET", "/articles":
            return Reply(body={"items": [{"title": "a"}, {"title": "b"}], "next": "/more"})
        case "GET", "/more":
            return Reply(body={"items": [{"title": "c"}], "next": None})
        case _:
            return Reply(201, asked.json())


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        server.answer = answer
        yield server


def test_the_workflow_of_the_page_does_what_it_says(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_TOKEN", "sesame-open")
    workflow = flownb.parse(WORKFLOW)
    assert flownb.validate(workflow) == []
    run = flownb.run(workflow, {"base": web.url}, state_dir=tmp_path)
    assert run.outputs == {"sent": {"titles": ["a", "b", "c"], "by": "flownb"}}
    assert web.paths == ["/articles?topic=wind&tags=new&tags=long", "/more", "/notes"]
    assert [asked.header("Authorization") for asked in web.asked] == ["Bearer sesame-open"] * 2 + [None]
    assert web.connections == 1


def test_the_command_line_runs_it(web: Web, tmp_path: Path) -> None:
    path = tmp_path / "notes.flow.md"
    path.write_text(WORKFLOW)
    done = subprocess.run(
        [sys.executable, "-m", "flownb", "run", str(path), "-i", f"base={web.url}", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SITE_TOKEN": "sesame-open"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["outputs"]["sent"]["titles"] == ["a", "b", "c"]
    assert "| sent | completed |" in path.read_text()


def test_without_the_extra_one_error_names_the_pip_line(web: Web, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['httpx2'] = None\n"
        "import flownb\n"
        f"run = flownb.run(flownb.parse('## A\\n\\n```http\\nGET {web.url}\\n```'), state_dir=sys.argv[1])\n"
        "print(run.errors[0].message, run.errors[0].hint)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "`http` nodes need httpx2, which is not installed pip install 'flownb[http]'"


def test_the_page_names_every_property() -> None:
    assert {key for key in own_keys(HttpNode) if f"`{key}" not in PAGE and f"- {key}:" not in PAGE} == set()
