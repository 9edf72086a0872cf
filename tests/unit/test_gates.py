"""What a person decides holds wherever the checkpoint stands, and is asked for whenever it is needed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import flownb
from flownb.model.decision import Decision, Request

Go = Callable[..., flownb.Run]


def saying(action: str) -> Callable[[Request], Decision]:
    return lambda _request: Decision(action=action, by="ana")


@pytest.fixture
def go(tmp_path: Path) -> Go:
    def run(text: str, decide: Callable[[Request], Decision | None]) -> flownb.Run:
        path = tmp_path / "main.flow.md"
        path.write_text(
            text.replace("EFFECT", f"with open({str(tmp_path / 'effects')!r}, 'a') as file: file.write('x')"),
            encoding="utf-8",
        )
        return flownb.run(path, decide=decide)

    return run


def effects(tmp_path: Path) -> int:
    path = tmp_path / "effects"
    return len(path.read_text()) if path.exists() else 0


FALLBACK = """
## Work

- fallback: rescue

```python
1 / 0
```

## Rescue

- foreach: [1, 2]
- concurrency: 1

### Review

- default: approve

```checkpoint
Go?
```

### Publish

```python
EFFECT
```
"""
HANDLER = "---\non_error: rescue\n---\n" + FALLBACK.replace("- fallback: rescue\n\n", "")
NESTED = FALLBACK.replace(
    "### Review\n\n- default: approve\n\n```checkpoint\nGo?\n```",
    "### Attempt\n\n- fallback: review\n\n```python\n1 / 0\n```\n\n### Review\n\n```checkpoint\nGo?\n```",
)


@pytest.mark.parametrize(
    "text, status",
    [(FALLBACK, "rejected"), (HANDLER, "failed"), (NESTED, "rejected")],
    ids=["fallback", "on_error", "fallback in a fallback"],
)
def test_a_rejection_in_what_answers_a_failure_lets_nothing_more_start(
    go: Go, tmp_path: Path, text: str, status: str
) -> None:
    asked: list[str] = []

    def decide(request: Request) -> Decision:
        asked.append(request.node)
        return Decision(action="reject")

    assert go(text, decide).status == status
    assert (len(asked), effects(tmp_path)) == (1, 0)


def test_an_approval_in_a_fallback_goes_on(go: Go, tmp_path: Path) -> None:
    assert go(FALLBACK, saying("approve")).status == "completed"
    assert effects(tmp_path) == 2


ONCE = """
## Group

- foreach: [1]
- retry: {max: 3, base: 1ms}

### Mail

- once: true

```python
EFFECT
1 / 0
```
"""


def test_each_time_that_a_node_with_once_would_run_again_it_is_asked(go: Go, tmp_path: Path) -> None:
    asked: list[str] = []

    def decide(request: Request) -> Decision:
        asked.append(request.text)
        return Decision(action="again")

    assert go(ONCE, decide).status == "failed"
    assert (len(asked), effects(tmp_path)) == (3, 4)
    assert set(asked) == {"`group[0]/mail` failed, and says `once: true`. Did it happen?"}


@pytest.mark.parametrize("edited", [True, False], ids=["edited above", "from above"])
def test_what_was_said_about_a_node_with_once_holds_only_for_what_it_was_then(
    go: Go,
    tmp_path: Path,
    edited: bool,  # noqa: FBT001 a parameter of the test
) -> None:
    text = "## Src\n\n```expr\nNUMBER\n```\n\n## Mail\n\n- once: true\n\n```python\nEFFECT\nassert src > 9\n```\n"
    failing = text.replace("NUMBER", "1") + "\n## End\n\n```expr\nmail / 0\n```\n"
    made = go(failing, saying("happened"))
    document, state = tmp_path / "main.flow.md", tmp_path / ".flownb"
    happened = Decision(action="happened", input=7, by="ana")
    assert flownb.resume(made.id, state_dir=state, decide=lambda _: happened)["mail"] == 7
    if edited:
        document.write_text(document.read_text().replace("```expr\n1\n", "```expr\n2\n"))
    asked: list[str] = []

    def decide(request: Request) -> None:
        asked.append(request.node)

    waiting = flownb.resume(made.id, state_dir=state, from_node=None if edited else "src", decide=decide)
    assert (waiting.status, asked, effects(tmp_path)) == ("waiting", ["mail"], 1)


def test_what_was_not_kept_of_a_node_that_happened_is_null_and_no_preview(tmp_path: Path, go: Go) -> None:
    text = "## Mail\n\n- once: true\n\n```python\nobject()\n```\n\n## Use\n\n```expr\nmail is none\n```\n"
    made = go(text, saying("happened"))
    again = flownb.resume(made.id, state_dir=tmp_path / ".flownb", from_node="mail", decide=saying("happened"))
    assert (made["use"], again["use"]) == (False, True)


def test_a_cached_value_is_the_node_s_own_and_not_its_fallback_s(tmp_path: Path, go: Go) -> None:
    up = tmp_path / "up"
    text = f"""
## Work

- cache: true
- fallback: spare

```python
import pathlib
assert pathlib.Path({str(up)!r}).exists()
"own"
```

## Spare

```text
spare
```
"""
    assert go(text, saying("approve"))["work"] == "spare"
    up.touch()
    assert go(text, saying("approve"))["work"] == "own"
    up.unlink()
    assert go(text, saying("approve"))["work"] == "own"


def test_cache_takes_over_nothing_that_holds_a_checkpoint(tmp_path: Path, go: Go) -> None:
    text = """
## Group

- foreach: [1]
- cache: true

### Review

```checkpoint
Go?
```

### Publish

```python
EFFECT
```
"""
    assert go(text, saying("approve")).status == "completed"
    assert go(text, saying("reject")).status == "rejected"
    assert effects(tmp_path) == 1
