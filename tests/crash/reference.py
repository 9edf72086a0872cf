"""A plain interpreter of generated documents, which knows no concurrency and no crash: one step after the other, as format.md says.

Where something fails that nothing catches, the engine may or may not have begun what does not depend on it: the interpreter then
goes on with that, so that it says what all of it would come to, and `is_loose` says that some of it need not have run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.crash.generated import Document, Step, every, visible_of

TRIES: Counter[str] = Counter()
"""Idempotency key → how often a body tried, in this process."""


LOOK: list[Callable[[str], None]] = []
"""Told of each idempotency key before its body does anything."""


def tried(key: str, fails: int) -> None:
    """Raise in the first attempts of a body."""
    for look in LOOK:
        look(key)
    TRIES[key] += 1
    if TRIES[key] <= fails:
        raise ConnectionError(f"try {TRIES[key]}")


class Failing(Exception):  # noqa: N818 it is no error of the interpreter
    """Something failed that nothing caught."""


@dataclass(slots=True)
class Place:
    """What names mean somewhere, and what keys begin with."""

    prefix: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    own: dict[str, Any] = field(default_factory=dict)
    """What one item or round has."""
    skipped: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    """Ids that have no value since something failed."""

    def inside(self, prefix: str, own: Mapping[str, Any]) -> Place:
        return Place(prefix, dict(self.values), dict(own), set(self.skipped), set(self.broken))


@dataclass(slots=True)
class Reference:
    """Interprets one document."""

    document: Document
    found: dict[str, tuple[str, Any]] = field(default_factory=dict)
    """Key → status and value."""
    attempts: dict[str, int] = field(default_factory=dict)
    """Key of a leaf → how often it is tried."""
    status: str = "completed"
    is_loose: bool = False
    is_rejected: bool = False

    def run(self) -> Reference:
        try:
            self._body(self.document.steps, Place())
        except Failing:
            self.status = "rejected" if self.is_rejected else "failed"
        return self

    def _set(self, step: Step, place: Place, status: str, value: Any = None) -> Any:
        self.found[place.prefix + step.id] = status, value
        place.values[step.id] = value
        if status == "skipped":
            place.skipped |= {step.id, *visible_of([step])}
            place.values |= dict.fromkeys(visible_of([step]))
        return value

    def _body(self, steps: Sequence[Step], place: Place, whens: Sequence[Step] = ()) -> Any:
        """Run some steps; return the last one's value."""
        value, is_failing = None, False
        for step in steps:
            try:
                inner = (*whens, step)
                value = (
                    self._body(step.children, place, inner) if step.kind == "group" else self._step(step, place, whens)
                )
            except Failing:
                is_failing = self.is_loose = True
                place.broken |= {step.id, *(each.id for each in every(step.children))}
                if step.kind == "checkpoint":
                    break  # Nothing below it starts.
        if is_failing:
            raise Failing
        return value

    def _step(self, step: Step, place: Place, whens: Sequence[Step] = (), *, is_chosen: bool = False) -> Any:
        around = [*whens, step]
        refers = {name for each in whens for name in _outside([each], deep=False)} | _outside([step])
        if refers & place.broken:
            raise Failing
        is_left = bool(refers) and refers <= place.skipped
        asked = [each.when for each in around if each.when and not (is_chosen and each is step)]
        if is_left or not all(_holds(when, place) for when in asked):
            return self._set(step, place, "skipped")
        if not step.repeat:
            return self._set(step, place, *self._once(step, place, place.prefix + step.id))
        return self._set(step, place, *self._repeated(step, place))

    def _repeated(self, step: Step, place: Place) -> tuple[str, Any]:
        key, is_failing = place.prefix + step.id, False
        values: list[Any] = []
        items = [0, place.values[step.over], 2][: step.count] if step.over else [0, 1, 2][: step.count]
        for number in range(step.count):
            item = items[number] if step.repeat == "foreach" else None
            previous = values[-1] if values else None
            own = (
                {"item": item, "index": number} if step.repeat == "foreach" else {"previous": previous, "round": number}
            )
            one = f"{key}[{number}]" if step.repeat == "foreach" else f"{key}{{{number}}}"
            try:
                status, value = self._once(step, place.inside(f"{one}/", own), one)
                self.found[one] = status, value
                values.append(number if step.collects and status == "completed" else value)
                if step.collects:
                    self.found[one] = status, values[-1]
            except Failing:
                is_failing = self.is_loose = True
                if step.loops:
                    break
        if is_failing:
            self.found[key] = "failed", None
            raise Failing
        return "completed", (values[-1] if values else None) if step.loops else values

    def _once(self, step: Step, place: Place, key: str) -> tuple[str, Any]:
        """Run a step, or one item or round of it; return its status and value."""
        try:
            return self._made(step, place, key)
        except Failing:
            self.found.setdefault(key, ("failed", None))
            raise

    def _made(self, step: Step, place: Place, key: str) -> tuple[str, Any]:
        match step.kind:
            case "block" | "group":  # A group so only in a `parallel` or `branch`.
                last = self._body(step.children, place)
                names = [child.id for child in _flat(step.children)]
                return "completed", {name: place.values[name] for name in names} if step.loops else last
            case "branch":
                return "completed", self._branch(step, place)
            case "parallel":
                return "completed", self._parallel(step, place, key)
            case "flow":
                return "completed", self._flow(step, place, key)
            case "checkpoint":
                return self._asked(step, key)
            case _:
                return self._leaf(step, place, key)

    def _branch(self, step: Step, place: Place) -> Any:
        ordered = sorted(step.children, key=lambda child: child.when is None)
        chosen = next((child for child in ordered if child.when is None or _holds(child.when, place)), None)
        for child in step.children:
            if child is not chosen:
                self._set(child, place, "skipped")
        return self._step(chosen, place, is_chosen=True) if chosen else None

    def _parallel(self, step: Step, place: Place, key: str) -> Any:
        inner = place.inside(place.prefix, place.own)
        won = 0
        for child in step.children:
            try:
                if step.wait and child.is_slow:
                    self._set(child, inner, "cancelled")
                    continue
                self._step(child, inner)
                won += self.found[inner.prefix + child.id][0] == "completed"
            except Failing:
                inner.values[child.id] = None
                if not step.wait:
                    self.is_loose = True
                    place.broken.add(step.id)
        if step.id in place.broken:
            raise Failing
        names = [child.id for child in step.children]
        place.values |= inner.values
        place.skipped |= inner.skipped
        return {name: inner.values[name] for name in names}

    def _flow(self, step: Step, place: Place, key: str) -> Any:
        own = Place(f"{key}/")
        self._body(step.children, own)
        given = place.values[step.refers[0]] if step.refers else None
        return {"given": given, "last": own.values[visible_of(step.children)[-1]]}

    def _asked(self, step: Step, key: str) -> tuple[str, Any]:
        if step.answer == "reject" and step.on_reject == "stop":
            self.found[key] = "completed", step.answer
            self.is_rejected = self.is_loose = True
            raise Failing
        return "completed", step.answer

    def _leaf(self, step: Step, place: Place, key: str) -> tuple[str, Any]:
        names = {"foreach": ["item", "index"], "until": ["previous", "round"], "while": ["previous", "round"]}
        values = [place.values[name] for name in step.refers] + [place.own[name] for name in names.get(step.repeat, [])]
        self.attempts[key] = min(step.fails, step.retry) + 1
        if step.is_saved or step.fails <= step.retry:
            text = " ".join(map(str, [step.number, *values]))
            return "completed", text if step.kind == "text" else [step.number, *values]
        if step.fallback:
            spare = next(spare for spare in self.document.spare if spare.id == step.fallback)
            self.found[place.prefix + spare.id] = "completed", [spare.number]
            return "completed", [spare.number]
        if step.continues:
            return "failed", None
        raise Failing


def _flat(steps: Sequence[Step]) -> list[Step]:
    """Return the nodes of a body, without the plain groups around them."""
    return [inner for step in steps for inner in (_flat(step.children) if step.kind == "group" else [step])]


def _outside(steps: Sequence[Step], *, deep: bool = True) -> set[str]:
    """Return the ids that some steps, and all in them, refer to or need outside themselves."""
    names: set[str] = set()
    for step in every(steps) if deep else steps:
        if deep and any(step in every(other.children) for other in every(steps) if other.kind == "flow"):
            continue  # Another document's.
        names |= {
            *step.refers,
            *(step.needs or []),
            *([step.when[0]] if step.when else []),
            *([step.over] if step.over else []),
        }
    return names - {step.id for step in every(steps)}


def _holds(when: tuple[str, int], place: Place) -> bool:
    return len(str(place.values[when[0]])) % 2 == when[1]
