"""No node starts before what it refers to, needs or is gated by; and nodes that may overlap do (format.md, section 4)."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import flownb
from flownb.model import events as e
from flownb.model.events import Event
from tests import meeting

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass
class Step:
    """A generated node: what it refers to, and what it holds."""

    id: str
    kind: str
    refers: list[str] = field(default_factory=list)
    needs: list[str] | None = None
    children: list[Step] = field(default_factory=list)


@st.composite
def steps(draw: st.DrawFn, numbers: count[int], seen: list[str], depth: int = 0) -> list[Step]:
    """Return the nodes of one body; `seen` are the ids that can be referred to from here."""
    made: list[Step] = []
    visible = list(seen)
    for _ in range(draw(st.integers(1, 5 if depth == 0 else 3))):
        kinds = ["python", "expr", "text", "checkpoint", "item"]
        kind = draw(st.sampled_from([*kinds, "group", "foreach", "parallel", "until"] if depth < 2 else kinds))
        step = Step(f"n{next(numbers)}", kind)
        if kind in ("group", "foreach", "parallel", "until"):
            step.children = draw(steps(numbers, visible, depth + 1))
            if kind == "group":
                visible += ids_of(step.children, into=("group",))
        elif visible:
            step.refers = draw(st.lists(st.sampled_from(visible), max_size=2, unique=True))
        if visible and kind != "group":
            step.needs = draw(st.none() | st.lists(st.sampled_from(visible), max_size=2, unique=True))
        if kind != "group":
            visible.append(step.id)
        made.append(step)
    return made


def ids_of(steps: list[Step], into: tuple[str, ...]) -> list[str]:
    """Return the ids that can be seen of some nodes, going into some kinds of container."""
    found = []
    for step in steps:
        if step.kind != "group":
            found.append(step.id)
        if step.kind in into:
            found += ids_of(step.children, into)
    return found


def written(steps: list[Step], level: int = 2) -> str:
    """Return the document that these nodes make."""
    return "".join(_section(step, level) for step in steps)


def _section(step: Step, level: int) -> str:
    lines = [f"{'#' * level} {step.id}", ""]
    if step.needs is not None:
        lines.append(f"- needs: [{', '.join(step.needs)}]")
    match step.kind:
        case "foreach" | "item":
            lines.append("- foreach: [1, 2]")
        case "parallel":
            lines.append("- type: parallel")
        case "until":
            lines.append("- until: round >= 1")
        case "checkpoint":
            lines.append("- default: approve")
        case _:
            pass
    lines.append("")
    if step.kind == "group" and step.needs is None:
        lines.pop()
    match step.kind:
        case "python" | "item":
            lines += ["```python", f"[{', '.join(step.refers)}]", "```"]
        case "expr":
            lines += ["```expr", f"[{', '.join(step.refers)}]", "```"]
        case "text" | "checkpoint":
            lines += [f"```{step.kind}", "Text " + " ".join(f"{{{{ {name} }}}}" for name in step.refers), "```"]
        case _:
            pass
    return "\n".join(lines) + "\n\n" + written(step.children, level + 1)


class Watcher:
    """Looks, at every start of a node, whether all that must come before is over."""

    def __init__(self, steps: list[Step]) -> None:
        self.wrong: list[str] = []
        self.over: set[str] = set()
        self._before: dict[str, list[tuple[str, str]]] = {}
        """Id → what must be over, as (the container whose prefix it shares, id)."""
        self._scope: dict[str, str] = {}
        self._learn(steps, "", [], [])

    def _learn(
        self, steps: list[Step], scope: str, gates: list[str], around: list[str], *, apart: bool = False
    ) -> None:
        """Learn what a list of nodes waits for; with `apart` they do not gate each other, as in a `parallel`."""
        gates = list(gates)
        for step in steps:
            self._scope[step.id] = scope
            before = [*step.refers, *(step.needs or []), *gates, *around]
            self._before[step.id] = [(self._scope[name], name) for name in before if name in self._scope]
            inner = step.id if step.kind in ("foreach", "until") else scope
            passed = [*around, *(step.needs or [])] if step.kind == "group" else []
            self._learn(step.children, inner, gates if inner == scope else [], passed, apart=step.kind == "parallel")
            if not apart and any(child.kind == "checkpoint" for child in _all([step])):
                if step.kind == "group":
                    gates += [
                        c.id for c in _all(step.children) if c.kind == "checkpoint" and self._scope[c.id] == scope
                    ]
                    gates += [
                        c.id
                        for c in _all(step.children)
                        if c.children
                        and self._scope[c.id] == scope
                        and c.kind != "group"
                        and any(x.kind == "checkpoint" for x in _all([c]))
                    ]
                else:
                    gates.append(step.id)

    def __call__(self, event: Event) -> None:
        match event:
            case e.NodeStarted(key=key):
                self._look(key)
            case e.NodeCompleted(key=key) | e.NodeSkipped(key=key):
                self.over.add(key)
            case _:
                pass

    def _look(self, key: str) -> None:
        prefix, _, last = key.rpartition("/")
        name = last.partition("[")[0].partition("{")[0]
        for scope, other in self._before[name]:
            where = prefix
            while where and where.rpartition("/")[2].partition("[")[0].partition("{")[0] != scope:
                where = where.rpartition("/")[0]
            wanted = f"{where}/{other}" if where else other
            if wanted not in self.over:
                self.wrong.append(f"{key} began before {wanted} was over")


def _all(steps: list[Step]) -> list[Step]:
    return [inner for step in steps for inner in (step, *_all(step.children))]


@QUICK
@given(st.data())
def test_nothing_starts_before_what_it_waits_for(data: st.DataObject) -> None:
    made = data.draw(steps(count(), []))
    watcher = Watcher(made)
    with tempfile.TemporaryDirectory() as folder:
        run = flownb.run(flownb.parse(written(made)), state_dir=folder, listen=watcher)
    assert run.errors == []
    assert run.status == "completed"
    assert watcher.wrong == []
    assert {step.id for step in made if step.kind != "group"} <= watcher.over


@QUICK
@given(st.data())
def test_nodes_that_may_overlap_do(data: st.DataObject) -> None:
    number = data.draw(st.integers(2, 9))
    refers = [data.draw(st.lists(st.integers(0, i - 1), max_size=2, unique=True)) if i else [] for i in range(number)]
    below: list[set[int]] = []
    for before in refers:
        below.append(set(before).union(*(below[other] for other in before)))
    together: list[int] = []
    for index in data.draw(st.permutations(range(number))):
        if all(index not in below[other] and other not in below[index] for other in together):
            together.append(index)
    meeting.expect("here", len(together))
    text = "---\nconcurrency: 10\n---\n"
    for index, before in enumerate(refers):
        names = ", ".join(f"n{other}" for other in before)
        call = "\nfrom tests.meeting import meet\nmeet('here')" if index in together else ""
        text += f"## n{index}\n\n- needs: []\n- executor: thread\n\n```python\n[{names}]{call}\n```\n\n"
    with tempfile.TemporaryDirectory() as folder:
        run = flownb.run(flownb.parse(text), state_dir=folder)
    assert run.errors == []
    assert run.status == "completed"
