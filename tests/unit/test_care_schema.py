"""The JSON Schemas in the package are those of the code, and what flownb writes fits them; `pytest --regen` writes them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator

import flownb
from flownb.care.schema import SCHEMAS
from flownb.care.schema_text import NAMES, schema_text
from flownb.model import events as e
from flownb.model.decision import Decision, Request
from flownb.model.events import FORMAT
from flownb.model.state_file import SCHEMA
from tests.schemas import check_files, validator
from tests.unit.test_parse_schema import ROOT, compare

EVERYTHING = """\
---
inputs: {n: int, word: {type: str, default: a}}
secrets: [TOKEN]
---
# Everything

## Numbers

```python
list(range(inputs.n))
```

## Squares

- foreach: numbers

```python
item ** 2
```

## Rounds

- until: rounds > 2

```python
(previous or 0) + 1
```

## Never

- when: inputs.n > 100

```expr
1
```

## Word

```expr
inputs.word
```

## Review

- input: text

```checkpoint
Go on with {{ squares | sum }}?
```

## Together

- type: parallel
- wait: 1

### Slow

```bash
sleep 20
```

### Quick

```expr
1
```

## Bad

- retry: {max: 1, base: 1ms}

```python
import os
saved["seen"] = (inputs.n, 1)
if not os.path.exists("go"): raise OSError("not yet")
float("nan")
```
"""
KEPT = ROOT / "tests/data"


def said(request: Request) -> Decision:
    return Decision(action="input", input="fine", by="ana")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a run that waited, failed, was resumed and completed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "s3cr3t-t0ken")
    Path("everything.flow.md").write_text(EVERYTHING)
    run = flownb.run("everything.flow.md", {"n": 3}, decide=lambda _: None)
    assert run.status == "waiting"
    assert flownb.resume("last", decide=said).status == "failed"
    Path("go").touch()
    assert flownb.resume("last", inputs={"n": 4}, decide=said).status == "completed"
    return tmp_path


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_schema_in_the_package_is_the_one_of_the_models(name: str, request: pytest.FixtureRequest) -> None:
    schema = SCHEMAS[name]()
    Draft202012Validator.check_schema(schema)
    text = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    compare(ROOT / f"flownb/schema/{name}.json", text, regen=bool(request.config.getoption("--regen")))


def test_every_schema_is_kept_and_says_which_layout_it_is_of() -> None:
    assert tuple(SCHEMAS) == NAMES
    assert sorted(path.stem for path in (ROOT / "flownb/schema").iterdir()) == sorted(NAMES)
    ids = {name: json.loads(schema_text(name))["$id"] for name in NAMES}
    assert (ids["state"], ids["journal"]) == (f"urn:flownb:state:{SCHEMA}", f"urn:flownb:journal:{FORMAT}")
    assert len(set(ids.values())) == len(NAMES)
    assert json.loads(schema_text("state"))["properties"]["schema"]["const"] == SCHEMA


def test_every_field_of_state_and_journal_is_described() -> None:
    for name in ("state", "journal", "decision"):
        schema = json.loads(schema_text(name))
        for part in (schema, *schema["$defs"].values()):
            silent = [
                key for key, value in part.get("properties", {}).items() if key != "kind" and "description" not in value
            ]
            assert silent == [], (name, part.get("title"))


def test_what_a_real_run_writes_fits(folder: Path) -> None:
    counts = check_files(folder / ".flownb")
    assert counts["state"] == 1
    assert counts["decision"] >= 1
    kinds = {kind.model_fields["kind"].default for kind in get_args(e.Event)}
    assert kinds - set(counts) == {"used"}, "the patterns with language models write that one, and check it likewise"


@pytest.mark.parametrize("number", range(1, FORMAT))
def test_what_older_versions_wrote_fits(number: int) -> None:
    counts = check_files(KEPT / f"format-{number}" / "state")
    assert (counts["state"], counts["run_started"]) == (4, 4)


def test_what_show_prints_fits_also_of_a_run_that_was_interrupted(state_dir: Path) -> None:
    shutil.copytree(KEPT / "format-1" / "state", state_dir)
    for run in flownb.runs(state_dir=state_dir):
        validator("state").validate(flownb.show(run.run_id, state_dir).as_json())


def spoilt(record: Mapping[str, Any], **changes: object) -> dict[str, Any]:
    return {key: value for key, value in {**record, **changes}.items() if value is not ...}


def test_a_state_that_is_none_does_not_fit(folder: Path) -> None:
    state = json.loads(next((folder / ".flownb").glob("*/*.json")).read_bytes())
    node = state["nodes"]["numbers"]
    wrong = [
        spoilt(state, schema=2),
        spoilt(state, status="done"),
        spoilt(state, extra=1),
        spoilt(state, outputs=...),
        spoilt(state, errors=[{"node": "a"}]),
        spoilt(state, nodes={"numbers": spoilt(node, status="done")}),
        spoilt(state, nodes={"numbers": spoilt(node, output=...)}),
        spoilt(state, nodes={"numbers": spoilt(node, more=1)}),
        spoilt(state, decisions={"review": {"input": 1}}),
    ]
    assert validator("state").is_valid(state)
    assert [number for number, item in enumerate(wrong) if validator("state").is_valid(item)] == []


def test_a_line_that_is_none_does_not_fit(folder: Path) -> None:
    lines = next((folder / ".flownb").glob("*/*/journal.jsonl")).read_bytes().splitlines()
    first = json.loads(lines[0])
    wrong = [
        spoilt(first, kind=...),
        spoilt(first, kind="run_begun"),
        spoilt(first, format=FORMAT + 1),
        spoilt(first, format=0),
        spoilt(first, at=...),
        spoilt(first, crc="1A2B3C4D"),
        spoilt(first, extra=1),
        {"kind": "run_finished", "at": first["at"], "status": "done"},
    ]
    assert validator("journal").is_valid(spoilt(first, crc=...))
    assert [number for number, item in enumerate(wrong) if validator("journal").is_valid(item)] == []


def test_a_decision_that_only_says_what_is_decided_fits() -> None:
    assert validator("decision").is_valid({"action": "approve"})
    assert not validator("decision").is_valid({"input": "approve"})
    assert not validator("decision").is_valid({"action": "approve", "who": "ana"})


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "flownb", "schema", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_command_prints_a_schema(name: str) -> None:
    done = command(name)
    assert (done.returncode, done.stderr, json.loads(done.stdout)) == (0, "", SCHEMAS[name]())


def test_the_command_lists_the_schemas() -> None:
    done = command()
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        [name, json.loads(schema_text(name))["$id"]] for name in NAMES
    ]
    assert command("states").returncode == 2
