"""A real `flownb run` that is killed while a model answers: what was wrong before is known, and nothing done is asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flownb.store.journal import load_state
from flownb.store.paths import find_run
from tests.models import Reply, serving, text_in

pytestmark = [pytest.mark.crash, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
MODEL = "openai:gpt-4.1-mini"
TEXT = f"""# Asks

## Done

- model: {MODEL}

```prompt
First.
```

## Count

- model: {MODEL}
- output: int

```prompt
{{{{ done }}}} and count.
```
"""


def start(*arguments: str, cwd: Path, base: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "sk-none", "OPENAI_BASE_URL": base}
    return subprocess.Popen(
        [sys.executable, "-m", "flownb", *arguments], cwd=cwd, env=environment, stdin=subprocess.DEVNULL
    )


def test_a_run_killed_while_a_model_answers_goes_on_with_what_it_knew(tmp_path: Path) -> None:
    (tmp_path / "asks.flow.md").write_text(TEXT)

    def script(number: int, body: dict[str, Any]) -> Reply:
        text = text_in(body["messages"][-1]["content"])
        if text == "First.":
            return Reply("one")
        if "was refused" not in text:
            return Reply("many")
        return Reply("7", wait_s=60) if number == 2 else Reply("7")

    with serving(script=script) as server:
        base = f"{server.base}/v1"
        child = start("run", "asks.flow.md", "--run-id", "r1", cwd=tmp_path, base=base)
        assert server.waits_for(lambda: len(server.asked) == 3, 60)
        child.send_signal(signal.SIGKILL)
        child.wait()
        state = load_state(find_run(tmp_path / ".flownb", "r1"))
        assert state.nodes["count"].failed_attempts == 1
        assert state.usage[MODEL].requests == 2
        assert start("resume", "r1", cwd=tmp_path, base=base).wait() == 0
    state = load_state(find_run(tmp_path / ".flownb", "r1"))
    assert [node.output for node in state.nodes.values()] == ["one", 7]
    assert state.nodes["count"].attempts == 2
    assert state.usage[MODEL].requests == 3
    prompts = server.prompts()
    assert prompts[:2] == ["First.", "one and count."]
    assert prompts[2] == prompts[3]
    assert "Your last answer to this was refused: the answer is no JSON" in prompts[3]
    assert len(prompts) == 4
