"""Documents made by chance, as a tree that both `written` and the reference interpreter (`tests.crash.reference`) read."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

ALWAYS: Final = 99
"""How many attempts of a node fail that always does."""
LEAVES: Final = ("expr", "text", "json", "python", "python")
CONTAINERS: Final = ("group", "branch", "parallel", "parallel", "block", "block", "flow")


@dataclass(slots=True)
class Step:
    """One node, or a plain group."""

    id: str
    kind: str
    """A leaf's fence, `checkpoint`, or one of `CONTAINERS`; a `block` is a group that repeats."""
    number: int
    refers: list[str] = field(default_factory=list)
    needs: list[str] | None = None
    when: tuple[str, int] | None = None
    """What its condition reads, and the parity of its length for which it is true."""
    repeat: str = ""
    """`foreach`, `until` or `while`."""
    count: int = 0
    """How many items or rounds there are."""
    over: str = ""
    """What the second item of a `foreach` is."""
    collects: bool = False
    at_once: int = 0
    pause: bool = False
    fails: int = 0
    """How many of its first attempts fail; of each item and round."""
    pause_s: int = 0
    """How long its body takes."""
    is_slow: bool = False
    """Whether it takes longer than anybody waits: then failing is running out of time."""
    retry: int = 0
    is_saved: bool = False
    """Whether it succeeds when what holds it is tried again."""
    fallback: str = ""
    continues: bool = False
    wait: int = 0
    """How many children of a `parallel` must succeed; 0: all."""
    answer: str = ""
    """What the person says."""
    on_reject: str = "stop"
    children: list[Step] = field(default_factory=list)

    @property
    def loops(self) -> bool:
        return self.repeat in ("until", "while")


@dataclass(slots=True)
class Document:
    """What is run."""

    steps: list[Step]
    spare: list[Step]
    """What is named as a fallback, at the end."""
    concurrency: int = 10
    in_order: bool = False


class Maker:
    """Makes the document of a seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 chance, no secret
        self.made = 0
        self.spare: list[Step] = []
        self.fatal = self.dice.random() < 0.25
        """Whether one node may end the run."""

    def document(self) -> Document:
        steps = self.steps([], 0, self.dice.randint(2, 6))
        concurrency = self.dice.choice([1, 2, 3, 10])
        if any(step.wait for step in every(steps)):
            concurrency = 50  # What is slow is not to keep what is quick from its turn.
        named = {step.fallback for step in every(steps)}
        spare = [step for step in self.spare if step.id in named]
        return Document(steps, spare, concurrency, self.dice.random() < 0.15)

    def steps(self, seen: Sequence[str], depth: int, count: int, *, is_sub: bool = False) -> list[Step]:
        """Make the nodes of one body; `seen` are the ids that can be referred to from here."""
        visible, made = list(seen), []
        for _ in range(count):
            step = self.step(visible, depth, is_sub=is_sub)
            made.append(step)
            visible += visible_of([step])
        return made

    def step(self, seen: Sequence[str], depth: int, *, is_sub: bool) -> Step:
        kind = self.dice.choice(CONTAINERS if depth < 2 and self.dice.random() < 0.35 else LEAVES)
        kind = "python" if kind == "flow" and is_sub else kind
        if kind in LEAVES and depth == 0 and not is_sub and self.dice.random() < 0.12:
            kind = "checkpoint"
        step = Step(f"n{self.made}", kind, self.made)
        self.made += 1
        if seen and kind not in ("group", "block", "parallel", "branch"):
            step.refers = self.dice.sample(seen, self.dice.randint(0, min(2, len(seen))))
        if seen and self.dice.random() < 0.2:
            step.needs = self.dice.sample(seen, self.dice.randint(0, 1))
        if seen and kind != "checkpoint" and self.dice.random() < 0.25:
            step.when = self.dice.choice(seen), self.dice.randint(0, 1)
        match kind:
            case "checkpoint":
                step.answer = self.dice.choice(["approve", "input", "reject"])
                step.on_reject = "stop" if self.fatal and step.answer == "reject" else "continue"
                self.fatal = self.fatal and step.on_reject == "continue"
            case "group":
                step.children = self.steps(seen, depth + 1, self.dice.randint(1, 3), is_sub=is_sub)
            case "branch" | "parallel" | "block" | "flow":
                self.fill(step, seen, depth, is_sub=is_sub)
            case _:
                self.bend(step, seen)
        return step

    def fill(self, step: Step, seen: Sequence[str], depth: int, *, is_sub: bool) -> None:
        count = self.dice.randint(1, 3)
        match step.kind:
            case "flow":
                step.children = self.steps([], 1, count, is_sub=True)
            case "block":
                step.repeat, step.count = self.dice.choice(["foreach", "until", "while"]), self.dice.randint(1, 3)
                step.collects = step.repeat == "foreach" and self.dice.random() < 0.3
                step.over = self.dice.choice(seen) if seen and step.repeat == "foreach" else ""
                step.at_once = self.dice.choice([0, 1, 2])
                step.children = self.steps(seen, depth + 1, count, is_sub=is_sub)
            case "parallel" if self.dice.random() < 0.4:  # A race that can end in one way only.
                step.wait = self.dice.randint(1, 2)
                ends = [0] * step.wait + self.dice.choices([1, 2, 3], k=self.dice.randint(0, 2))
                self.dice.shuffle(ends)
                step.children = [Step(f"n{self.made + i}", "python", self.made + i) for i in range(len(ends))]
                for child, end in zip(step.children, ends, strict=True):
                    child.is_slow, child.fails, child.continues = end == 1, ALWAYS if end > 1 else 0, end == 3
                    child.pause_s = 10 if end == 0 else 0  # What fails has failed by then.
                self.made += len(ends)
            case "parallel":
                step.children = [self.step(seen, depth + 1, is_sub=is_sub) for _ in range(count)]
                if self.dice.random() < 0.4:  # Tried again as a whole, which saves this one.
                    step.retry = 1
                    step.children.append(Step(f"n{self.made}", "python", self.made, fails=1, is_saved=True))
                    self.made += 1
                    self.dice.shuffle(step.children)
            case _:
                step.children = [self.step(seen, 9, is_sub=is_sub) for _ in range(count)]
                for child in step.children[:-1]:
                    child.when = child.when or ((seen[-1], self.dice.randint(0, 1)) if seen else None)
                step.children = [child for child in step.children[:-1] if child.when] + step.children[-1:]

    def bend(self, step: Step, seen: Sequence[str]) -> None:
        """Let a leaf repeat, fail, be tried again and be stood in for."""
        if self.dice.random() < 0.2:
            step.repeat, step.count = self.dice.choice(["foreach", "until", "while"]), self.dice.randint(0, 3)
            step.count = max(step.count, step.repeat == "until")
            step.over = self.dice.choice(seen) if seen and step.repeat == "foreach" and step.count > 1 else ""
            step.at_once = self.dice.choice([0, 1, 2])
            step.pause = step.repeat == "until" and self.dice.random() < 0.5
        step.pause_s = self.dice.randint(0, 2)
        if step.kind != "python" or self.dice.random() < 0.5:
            return
        step.fails, step.retry = self.dice.choice([1, 2, ALWAYS]), self.dice.choice([0, 1, 2])
        step.is_slow = step.fails == ALWAYS and self.dice.random() < 0.3
        if step.fails <= step.retry:
            return
        if self.dice.random() < 0.5:
            step.continues = True
        elif self.fatal:
            self.fatal = False
        else:
            spare = Step(f"spare{self.made}", self.dice.choice(["expr", "python"]), self.made)
            step.fallback = spare.id
            self.made += 1
            self.spare.append(spare)


def every(steps: Sequence[Step]) -> list[Step]:
    """Return some steps and all in them."""
    return [inner for step in steps for inner in (step, *every(step.children))]


def visible_of(steps: Sequence[Step]) -> list[str]:
    """Return the ids that can be referred to from behind some steps."""
    found: list[str] = []
    for step in steps:
        if step.kind == "group":
            found += visible_of(step.children)
        else:
            found.append(step.id)
            found += visible_of(step.children) if step.kind == "parallel" else []
    return found


def written(document: Document) -> tuple[str, dict[str, str]]:
    """Return a document's text, and name → text of the other files that it needs."""
    asks = {step.id for step in every(document.steps) if step.kind == "checkpoint"}
    order = "document" if document.in_order else "graph"
    head = f"---\nname: made\nconcurrency: {document.concurrency}\norder: {order}\n---\n"
    body = "".join(_section(step, 2, asks) for step in [*document.steps, *document.spare])
    files = {f"{step.id}.flow.md": _sub(step) for step in every(document.steps) if step.kind == "flow"}
    spares = {spare.id: spare for spare in document.spare}
    for step in every(document.steps):
        if step.kind == "flow":
            own = [spares[inner.fallback] for inner in every(step.children) if inner.fallback]
            files[f"{step.id}.flow.md"] += "".join(_section(spare, 2, set()) for spare in own)
            for spare in own:
                body = body.replace(_section(spare, 2, asks), "")
    return head + body, files


def _sub(step: Step) -> str:
    last = visible_of(step.children)[-1]
    head = f"---\nname: sub\ninputs: {{given: any}}\noutputs: {{given: inputs.given, last: {last}}}\n---\n"
    return head + "".join(_section(child, 2, set()) for child in step.children)


def _section(step: Step, level: int, asks: set[str]) -> str:
    lines = [f"{'#' * level} {step.id}", "", *(f"- {line}" for line in _properties(step, asks)), ""]
    names = [f"{name}.action" if name in asks else name for name in step.refers]
    own = {"foreach": ["item", "index"], "until": ["previous", "round"], "while": ["previous", "round"]}
    names += own.get(step.repeat, []) if step.kind in LEAVES else []
    values = ", ".join([str(step.number), *names])
    match step.kind:
        case "expr":
            lines += ["```expr", f"[{values}]", "```"]
        case "text":
            lines += ["```text", " ".join([str(step.number), *(f"{{{{ {name} }}}}" for name in names)]), "```"]
        case "json":
            lines += ["```json", f"[{', '.join([str(step.number), *(f'{{{{ {name} }}}}' for name in names)])}]", "```"]
        case "python":
            lines += ["```python", "import asyncio", "from tests.crash.reference import tried"]
            lines += ["await asyncio.sleep(1000)"] if step.is_slow else [f"await asyncio.sleep({step.pause_s})"]
            lines += [f"tried(idempotency_key, {step.fails})", f"[{values}]", "```"]
        case "checkpoint":
            lines += [
                "```checkpoint",
                f"Question {step.number}? " + " ".join(f"{{{{ {name} }}}}" for name in names),
                "```",
            ]
        case _:
            pass
    inner = "" if step.kind == "flow" else "".join(_section(child, level + 1, asks) for child in step.children)
    return "\n".join(lines) + "\n\n" + inner


def _properties(step: Step, asks: set[str]) -> list[str]:
    found = {"branch": ["type: branch"], "parallel": ["type: parallel"], "flow": ["type: flow"]}.get(step.kind, [])
    if step.kind == "flow":
        given = f"{step.refers[0]}{'.action' * (step.refers[0] in asks)}" if step.refers else "none"
        found += [f"path: {step.id}.flow.md", f"inputs: {{given: '{{{{ {given} }}}}'}}"]
        found += [f"needs: [{', '.join(step.refers[1:])}]"] if step.refers[1:] and step.needs is None else []
    if step.needs is not None:
        found.append(f"needs: [{', '.join([*step.needs, *(step.refers[1:] if step.kind == 'flow' else [])])}]")
    if step.when is not None:
        name = f"{step.when[0]}{'.action' * (step.when[0] in asks)}"
        found.append(f'when: "({name} | string | length) % 2 == {step.when[1]}"')
    match step.repeat:
        case "foreach":
            over = f"{step.over}{'.action' * (step.over in asks)}"
            found.append(
                f"foreach: [{', '.join(['0', over, '2'][: step.count] if step.over else '012'[: step.count])}]"
            )
        case "until":
            found.append(f"until: round >= {step.count - 1}")
        case "while":
            found.append(f"while: round < {step.count}")
        case _:
            pass
    found += [f"concurrency: {step.at_once}"] if step.at_once and step.repeat == "foreach" else []
    found += ["collect: 'index'"] if step.collects else []
    found += ["every: 1s"] if step.pause else []
    found += [f"retry: {{max: {step.retry}, jitter: none}}"] if step.retry else []
    found += ["timeout: 100s"] if step.is_slow and step.fails else []
    found += [f"fallback: {step.fallback}"] if step.fallback else []
    found += ["continue_on_error: true"] if step.continues else []
    found += [f"wait: {step.wait}"] if step.wait else []
    found += [f"on_reject: {step.on_reject}"] if step.kind == "checkpoint" else []
    found += ["input: text"] if step.kind == "checkpoint" else []
    return found
