"""After any edit a resume gives what a fresh run gives, and runs nothing again whose fingerprint is the same (format.md 4.6).

The bodies note that they ran, with the values that they saw: what is noted twice with the same text and the same values ran twice.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import flownb

KINDS = ("python", "expr", "foreach", "branch", "until", "while", "parallel", "group")


@dataclass(frozen=True)
class Node:
    """One node of a small document: what it makes out of the node that it reads."""

    name: str
    kind: str
    reads: str
    """The name of another node, or `inputs.n`."""
    step: int
    retry: int = 0
    comment: str = ""
    prose: str = ""


@dataclass(frozen=True)
class Case:
    """A document, an input, and what is noted where."""

    nodes: tuple[Node, ...]
    n: int = 1
    fails: str = ""
    """The node whose body fails."""

    def text(self, notes: Path) -> str:
        head = f"---\nname: edits\ninputs: {{n: int}}\noutputs: {{all: '[{', '.join(node.name for node in self.nodes)}]'}}\n---\n"
        return head + "".join(self._node(node, notes) for node in self.nodes)

    def _node(self, node: Node, notes: Path) -> str:
        start = f"## {node.name}\n\n{node.prose}\n\n"
        retry = f"- retry: {{max: {node.retry}, base: 1ms}}\n"
        values = {"python": node.reads, "foreach": "(index, item)", "until": f"(round, {node.reads})"}
        match node.kind:
            case "python":
                return start + retry + self._body(node, notes, node.name, node.reads)
            case "expr":
                return start + f"```expr\n[{node.reads} | string | length, {node.step}]\n```\n\n"
            case "foreach":
                items = f"[{node.reads} | string | length, {node.step}, 5]"
                return start + f"- foreach: {items}\n" + retry + self._body(node, notes, node.name, values["foreach"])
            case "until":
                return (
                    start + f"- until: round == {node.step % 3}\n" + self._body(node, notes, node.name, values["until"])
                )
            case "while":
                inner = self._inner(node, notes, "i", f"(round, previous, {node.reads})")
                return start + f"- while: round < {1 + node.step % 3}\n\n" + inner
            case "branch":
                one = self._inner(
                    node, notes, "a", node.reads, f"- when: ({node.reads} | string | length) % 2 == {node.step % 2}\n"
                )
                return start + "- type: branch\n\n" + one + self._inner(node, notes, "b", node.reads)
            case "parallel":
                inner = self._inner(node, notes, "a", node.reads) + self._inner(node, notes, "b", "inputs.n")
                return start + "- type: parallel\n\n" + inner
            case _:
                items = f"[{node.reads} | string | length, {node.step}]"
                inner = self._inner(node, notes, "a", "(index, item)") + self._inner(
                    node, notes, "b", f"(index, {node.name}_a)"
                )
                return start + f"- foreach: {items}\n\n" + inner

    def _inner(self, node: Node, notes: Path, suffix: str, reads: str, properties: str = "") -> str:
        name = f"{node.name}_{suffix}"
        return f"### {name}\n\n{properties}\n" + self._body(node, notes, name, reads)

    def _body(self, node: Node, notes: Path, name: str, reads: str) -> str:
        fail = "raise SystemError('as told')" if self.fails == name else "pass"
        note = f"with open({str(notes)!r}, 'a') as file: file.write({f'{name} {node.step} {node.kind} '!r} + repr({reads}) + chr(10))"
        comment = f"# {node.comment}\n" if node.comment else ""
        return f"```python\n{comment}{fail}\n{note}\n[len(str({reads})) % 3, {node.step}]\n```\n\n"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(2, 5))
    nodes: list[Node] = []
    for index in range(count):
        reads = draw(st.sampled_from(["inputs.n", *(node.name for node in nodes)]))
        nodes.append(Node(f"n{index}", draw(st.sampled_from(KINDS)), reads, draw(st.integers(0, 3))))
    return Case(tuple(nodes), draw(st.integers(1, 3)))


@st.composite
def edits(draw: st.DrawFn, case: Case) -> Case:
    index = draw(st.integers(0, len(case.nodes) - 1))
    node, kind = (
        case.nodes[index],
        draw(st.sampled_from(["step", "input", "prose", "retry", "comment", "add", "remove", "kind"])),
    )
    match kind:
        case "step":
            node = replace(node, step=node.step + draw(st.integers(1, 4)))
        case "prose":
            node = replace(node, prose="Some words about it.")
        case "retry":
            node = replace(node, retry=2)
        case "comment":
            node = replace(node, comment="why")
        case "kind":
            node = replace(node, kind=draw(st.sampled_from(KINDS)))
        case "input":
            return replace(case, n=case.n + draw(st.sampled_from([1, 9, 99])))
        case "add":
            return replace(
                case,
                nodes=(
                    *case.nodes[:index],
                    Node(f"more_{len(case.nodes)}", draw(st.sampled_from(KINDS)), "inputs.n", 1),
                    *case.nodes[index:],
                ),
            )
        case _:
            left = [other for other in case.nodes if other != node]
            kept = [replace(other, reads="inputs.n") if other.reads == node.name else other for other in left]
            return replace(case, nodes=tuple(kept)) if kept else case
    return replace(case, nodes=(*case.nodes[:index], node, *case.nodes[index + 1 :]))


def go(case: Case, folder: Path, state: str, **more: str | bool) -> tuple[flownb.Run, Counter[str]]:
    """Run a case, and return the run and what was noted."""
    notes = folder / "notes"
    notes.write_text("")
    workflow = flownb.parse(case.text(notes))
    run = flownb.run(workflow, {"n": case.n}, state_dir=folder / state, **more)  # type: ignore[arg-type] # one of the two
    return run, Counter(notes.read_text().splitlines())


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_resume_after_an_edit_gives_what_a_fresh_run_gives(data: st.DataObject) -> None:
    case = data.draw(cases())
    last = case.nodes[-1]
    broken = data.draw(st.sampled_from([*(node.name for node in case.nodes if node.kind == "python"), "end"]))
    case = replace(case, nodes=(*case.nodes, Node("end", "python", last.name, 0)), fails=broken)
    edited = replace(case, fails="")
    for _ in range(data.draw(st.integers(1, 2))):
        edited = data.draw(edits(edited))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, done = go(case, folder, "state")
        assert before.status == "failed"
        run, again = go(edited, folder, "state", run_id=before.id)
        fresh, wanted = go(edited, folder, "fresh")
        assert run.errors == fresh.errors == []
        assert run.outputs == fresh.outputs
        assert not again - wanted, "it runs what no run of this text runs"
        assert not (done & wanted) & again, "it ran again although nothing that it reads changed"


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_new_run_that_takes_over_gives_what_a_fresh_run_gives(data: st.DataObject) -> None:
    case = data.draw(cases())
    edited = data.draw(edits(data.draw(edits(case))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before, done = go(case, folder, "state")
        kept = before.paths.journal.read_bytes()
        run, again = go(edited, folder, "state", reuse=True)
        fresh, wanted = go(edited, folder, "fresh")
        assert (run.status, run.outputs) == ("completed", fresh.outputs)
        assert run.id != before.id
        assert before.paths.journal.read_bytes() == kept
        assert not again - wanted
        assert not (done & wanted) & again
