"""What is on the disk before anything relies on it: each body looks at its own run's journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from flownb.model.decision import Request
from tests.runs import node
from tests.synced import holds, lines, run_watched

START = "from tests.synced import holds\n"
COMPLETED = '"kind":"node_completed"'
KINDS = "".join(
    f"## {name.upper()}\n\n```{kind}\n{body}\n```\n\n"
    for name, kind, body in [
        ("a", "expr", "1"),
        ("b", "expr", "a + 1"),
        ("c", "bash", "echo {{ b }}"),
        ("d", "python", "int(c) + 1"),
        ("e", "expr", "d + 1"),
    ]
)


def looks(name: str, *questions: tuple[str, str]) -> str:
    """Return a body that tells whether each of these events is on the disk."""
    asked = ", ".join(f"holds({name!r}, {kind!r}, {key!r})" for kind, key in questions)
    return f"{START}[{asked}]"


def test_a_body_starts_only_when_its_start_is_on_the_disk(tmp_path: Path) -> None:
    text = node("a", looks("starts", ("node_started", "a"), ("node_completed", "a")))
    text += node("b", looks("starts", ("node_started", "b")), "needs: []")
    made = run_watched(text, tmp_path, "starts")
    assert (made["a"], made["b"]) == ([True, False], [True])


def test_each_item_starts_only_when_its_start_is_on_the_disk(tmp_path: Path) -> None:
    body = f"{START}holds('items', 'node_started', f'a[{{index}}]')"
    made = run_watched(node("a", body, "foreach: range(20)", "concurrency: 4"), tmp_path, "items")
    assert made["a"] == [True] * 20


def test_each_further_attempt_starts_only_when_the_failure_before_it_is_on_the_disk(tmp_path: Path) -> None:
    body = (
        "from tests.synced import lines\n"
        "now = lines('again')\n"
        "begun = sum('node_started' in line for line in now)\n"
        "failed = sum('attempt_failed' in line for line in now)\n"
        "assert begun == 3, begun\n"
        "[begun, failed]"
    )
    made = run_watched(node("a", body, "retry: {max: 4, base: 1ms}"), tmp_path, "again")
    assert made["a"] == [3, 2], made.errors


@pytest.mark.parametrize("width", [1, 5], ids=["a chain", "beside others"])
def test_a_result_is_on_the_disk_before_what_reads_it_starts(tmp_path: Path, width: int) -> None:
    text = ""
    for lane in range(width):
        text += node(f"first{lane}", "1", "needs: []")
        reads = looks("results", ("node_completed", f"first{lane}"), ("node_started", f"second{lane}"))
        text += node(f"second{lane}", f"first{lane}\n{reads}")
    made = run_watched(text, tmp_path, "results")
    assert [made[f"second{lane}"] for lane in range(width)] == [[True, True]] * width


def test_a_result_is_on_the_disk_before_what_is_below_its_container_starts(tmp_path: Path) -> None:
    text = "## Each\n\n- foreach: [1, 2]\n\n" + node("i", "item", level=3)
    events = [("node_completed", key) for key in ("each[0]/i", "each[1]/i", "each[0]", "each[1]", "each")]
    made = run_watched(text + node("after", f"each\n{looks('box', *events)}"), tmp_path, "box")
    assert made["after"] == [True] * 5


def test_a_decision_is_on_the_disk_before_what_is_below_it_starts(tmp_path: Path) -> None:
    below = looks("ask", ("decided", "ask"), ("node_completed", "ask"))
    made = run_watched(node("ask", "Go?", runtime="checkpoint") + node("b", below, "needs: []"), tmp_path, "ask")
    assert made["b"] == [True, True]


def test_a_skip_is_on_the_disk_before_what_waits_for_it_starts(tmp_path: Path) -> None:
    text = node("a", "1", "when: false") + node("z", "1", "needs: []")
    made = run_watched(text + node("b", f"a, z\n{looks('skip', ('node_skipped', 'a'))}"), tmp_path, "skip")
    assert made["b"] == [True]


def test_a_result_is_on_the_disk_before_its_successor_starts_whatever_runs_it(tmp_path: Path) -> None:
    at_start: dict[str, list[str]] = {}

    def starting(node: str) -> None:
        at_start[node] = [
            line.partition('"key":"')[2].partition('"')[0] for line in lines("kinds") if COMPLETED in line
        ]

    made = run_watched(KINDS, tmp_path, "kinds", starting=starting)
    assert made.status == "completed", made.errors
    assert at_start == {"a": [], "b": ["a"], "c": ["a", "b"], "d": ["a", "b", "c"], "e": ["a", "b", "c", "d"]}


@pytest.mark.parametrize("kind", ["bash", "python"])
def test_what_acts_on_the_world_starts_only_when_its_start_is_on_the_disk(tmp_path: Path, kind: str) -> None:
    begun: dict[str, bool] = {}
    body = {"bash": "true", "python": "1"}[kind]
    text = node("a", "1") + node("b", body, "needs: a", runtime=kind)
    run_watched(text, tmp_path, "acts", starting=lambda key: begun.update({key: holds("acts", "node_started", key)}))
    assert begun["b"]


def test_a_question_is_on_the_disk_before_anyone_sees_it(tmp_path: Path) -> None:
    seen: list[bool] = []

    def look(request: Request) -> None:
        seen.append(holds("shown", "node_started", request.node) and asked("shown", request.node))

    text = node("ask", "Go?", "timeout: 1ms", "default: approve", runtime="checkpoint")
    made = run_watched(text, tmp_path, "shown", asking=look)
    assert (str(made.status), seen) == ("completed", [True])


def asked(name: str, key: str) -> bool:
    """Return whether a question is on the disk now."""
    return any('"kind":"asked"' in line and f'"key":"{key}"' in line for line in lines(name))
