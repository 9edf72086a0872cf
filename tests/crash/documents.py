"""The documents that the fault tests run: a new one is one entry in `CASES`.

What is to be done once marks its own key (`tests.crash.effects`); what has no effect of its own marks nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from flownb.model.events import RunStatus


@dataclass(frozen=True, slots=True)
class Case:
    """One document, and how it is run."""

    text: str
    files: Mapping[str, str] = field(default_factory=dict)
    """Name → text of what lies beside it."""
    status: RunStatus = RunStatus.COMPLETED
    """How an undisturbed run ends."""
    earlier: bool = False
    """Whether a run `r0` was there before, from which this one takes over (`--reuse`)."""
    waits: bool = False
    """Whether the run was left at its question before: the faults meet the resume."""
    again: str = ""
    """The node from which on the run, which had ended, is run again (`--from`): the faults meet that."""


def body(key: str, value: str, *properties: str, more: str = "") -> str:
    """Return a python body that marks a key (an f-string's text) and has a value."""
    lines = "".join(f"- {line}\n" for line in properties)
    return f'{lines}\n```python\nfrom tests.crash.effects import mark\nmark(f"{key}")\n{more}{value}\n```\n\n'


def node(name: str, value: str, *properties: str, key: str = "", more: str = "", level: int = 2) -> str:
    """Return a python node that marks its key: its name, where no other is given."""
    return f"{'#' * level} {name}\n\n" + body(key or name, value, *properties, more=more)


FAN: Final = (
    node("load", "2")
    + "".join(node(f"n{number}", f"load + {number}", "executor: thread") for number in range(4))
    + "## total\n\n```expr\n[n0, n1, n2, n3]\n```\n"
)
FOREACH: Final = (
    node("each", "item * 2", "foreach: range(4)", "concurrency: 2", key="each[{index}]")
    + "## several\n\n- foreach: each[:2]\n- collect: twice + 1\n\n"
    + node("half", "item / 2", key="several[{index}]/half", level=3)
    + node("twice", "half * 4", key="several[{index}]/twice", level=3)
    + "## total\n\n```expr\n[each, several]\n```\n"
)
LOOP: Final = (
    node("poll", "round + 1", "until: poll >= 3", key="poll{{{round}}}")
    + "## climb\n\n- while: round < 2\n\n"
    + node("step", "(previous.step if previous else 0) + 10", key="climb{{{round}}}/step", level=3)
    + "## end\n\n```expr\n[poll, climb.step]\n```\n"
)
ASKS: Final = (
    node("before", "1")
    + "## ask\n\n- input: text\n\n```checkpoint\nGo on?\n```\n\n"
    + node("after", "[before, ask.input]")
    + "## sure\n\n- on_reject: continue\n\n```checkpoint\nReject?\n```\n\n"
    + node("end", "[after, sure.action]")
)
ONCE: Final = (
    "## ask\n\n- input: text\n\n```checkpoint\nGo on?\n```\n\n"
    + node("submit", "7", "once: true")
    + node("end", "[submit, ask.input]")
)
CALM: Final = (
    node("shaky", "1 / 0", "retry: {max: 1, base: 1ms}", "fallback: calm")
    + node("calm", "'calm after ' + error.type")
    + node("passed", "1 / 0", "continue_on_error: true")
    + node("end", "[shaky, passed]")
)
BOTH: Final = (
    "## all\n\n- type: parallel\n\n### left\n\n"
    + node("one", "1", level=4)
    + node("two", "one + 1", level=4)
    + node("right", "3", "executor: thread", level=3)
    + "## choice\n\n- type: branch\n\n"
    + node("much", "'much'", "when: all.right > 5", level=3)
    + node("little", "'little'", level=3)
    + node("never", "1", "when: all.right > 5")
    + "## end\n\n```text\n{{ all.right }} {{ choice }} {{ never }}\n```\n"
)
SUB: Final = (
    "---\ninputs: {n: int}\n---\n"
    + node("first", "inputs.n + 1", key="sub/first")
    + "## really\n\n```checkpoint\nReally {{ first }}?\n```\n\n"
    + node("second", "first * 2", key="sub/second")
)
ARTIFACTS: Final = (
    node("data", "{'rows': ['long'] * 20_000, 'pair': (1, {2, 3})}")
    + node("each", "('item', index)", "foreach: range(2)", key="each[{index}]")
    + node("end", "(data['pair'], len(data['rows']), [part[1] for part in each])")
)
SAVED: Final = (
    "## train\n\n- retry: {max: 1, base: 1ms}\n\n```python\nfrom tests.crash.effects import mark\n"
    "for epoch in range(saved.get('epoch', -1) + 1, 4):\n"
    "    saved['weights'] = str(epoch) * 70_000\n"
    "    saved['epoch'] = epoch\n"
    "    if epoch == 2 and 'failed' not in saved:\n"
    "        saved['failed'] = True\n"
    "        raise ValueError\n"
    "mark('train')\n"
    "[saved['epoch'], saved['weights'][:3]]\n```\n\n" + node("end", "train")
)
CASES: Final[Mapping[str, Case]] = {
    "chain": Case(node("a", "1") + node("b", "a + 1") + "## c\n\n```expr\nb * 2\n```\n\n" + node("d", "[a, b, c]")),
    "fan-out": Case(FAN),
    "foreach": Case(FOREACH),
    "loop": Case(LOOP),
    "checkpoint": Case(ASKS),
    "sub-flow": Case(
        node("start", "4")
        + "## sub\n\n- type: flow\n- path: sub.flow.md\n- inputs: {n: '{{ start }}'}\n\n"
        + node("end", "sub"),
        {"sub.flow.md": SUB},
    ),
    "fallback": Case(CALM),
    "parallel": Case(BOTH),
    "on_error": Case(
        "---\non_error: tell\n---\n" + node("good", "1") + node("bad", "good / 0") + node("tell", "error.node"),
        status=RunStatus.FAILED,
    ),
    "artifacts": Case(ARTIFACTS),
    "artifacts reused": Case(ARTIFACTS + node("late", "end[0]"), earlier=True),
    "saved": Case(SAVED),
    "reuse": Case(FAN + node("late", "total[0]"), earlier=True),
    "resume": Case(ASKS, waits=True),
    "once": Case(ONCE, waits=True),
    "from": Case(ASKS, again="ask"),
}
"""Name → document."""
