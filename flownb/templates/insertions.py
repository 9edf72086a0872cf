"""Where a template puts values in: what its own text there would do to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from jinja2 import nodes

from flownb.templates.programs import insertions
from flownb.templates.quotes import JsonScanner
from flownb.templates.shell.script import Misplaced, check_script
from flownb.templates.shell.value import Slot
from flownb.templates.sql.statement import Misplaced as MisplacedInSql
from flownb.templates.sql.statement import check_statement
from flownb.templates.syntax import fault
from flownb.templates.terms import ExpressionSyntaxError, Target

_MOST_WAYS: Final = 8
"""The most ways through the statements of a bash body that are looked at before it runs; each run looks at its own."""
_WORDS: Final = {
    Target.SHELL: "a bash script",
    Target.JSON: "JSON or YAML",
    Target.HTTP: "a request",
    Target.FORM: "a form",
    Target.SQL: "an SQL statement",
}
_REFUSED: Final = ((nodes.CallBlock, "{% call %}"), (nodes.FilterBlock, "{% filter %}"))


def problems(tree: nodes.Template, source: str, target: Target) -> Iterator[ExpressionSyntaxError]:
    """Yield what is wrong with the places where a template puts values in.

    Args:
        tree: The tree of the text.
        source: The text, normalized.
        target: Where the values go.
    """
    if target is Target.TEXT:
        return
    words = _WORDS[target]
    refused = list(_refused(tree, source, words))
    yield from refused
    if target is Target.JSON:
        walker = _JsonPlaces(source)
        walker.walk(tree.body)
        yield from walker.errors
    elif target in (Target.SHELL, Target.SQL) and not refused:
        yield from (_shell_problems if target is Target.SHELL else _sql_problems)(tree, source)


def _refused(tree: nodes.Template, source: str, words: str) -> Iterator[ExpressionSyntaxError]:
    """Yield the statements that make text of values before it is seen where they go."""
    hint = "make the text with {% set %}…{% endset %} and put that in"
    for node in _statements(tree.body):
        what = next((what for kind, what in _REFUSED if isinstance(node, kind)), "")
        if isinstance(node, nodes.For) and node.recursive:
            what = "a recursive {% for %}"
        if what:
            yield fault(source, node.lineno, f"{what} cannot be quoted for {words}", hint)


def _statements(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """Yield the statements that put text where they stand; macros and `{% set %}` make values."""
    for node in body:
        yield node
        if isinstance(node, nodes.If | nodes.For | nodes.With):
            for inner in _bodies(node):
                yield from _statements(inner)


def _bodies(node: nodes.If | nodes.For | nodes.With) -> list[list[nodes.Node]]:
    """Return what may stand in a statement's place."""
    match node:
        case nodes.If():
            return [node.body, *(branch.body for branch in node.elif_), node.else_]
        case nodes.For():
            return [node.body, node.else_]
        case _:
            return [node.body]


def place_problem(misplaced: Misplaced, source: str) -> ExpressionSyntaxError:
    """Return the error about a value that cannot stand where it does.

    Args:
        misplaced: The value and its place.
        source: The template, normalized.
    """
    offset, text = insertion_at(source, misplaced.offset)
    hint = misplaced.refusal.hint.replace("{}", text)
    return fault(source, offset, f"a value stands {misplaced.refusal.where}", hint)


def insertion_at(source: str, offset: int) -> tuple[int, str]:
    """Return where a `{{ … }}` begins, and its text in one line.

    Args:
        source: The template, normalized.
        offset: A place inside it.
    """
    opening = source.rfind("{{", 0, offset + 1)
    opening = opening if opening >= 0 else offset
    end = source.find("}}", opening)
    return opening, " ".join(source[opening : end + 2].split()) if end >= 0 else "{{ … }}"


def _shell_problems(tree: nodes.Template, source: str) -> Iterator[ExpressionSyntaxError]:
    """Yield what is wrong in a bash body, on ways through it that go at least once into the first branches of each statement."""
    found: dict[int, Misplaced] = {}
    for parts in _ways(tree):
        for misplaced in check_script(parts):
            found.setdefault(misplaced.offset, misplaced)
    for offset in sorted(found):
        yield place_problem(found[offset], source)


def _sql_problems(tree: nodes.Template, source: str) -> Iterator[ExpressionSyntaxError]:
    """Yield what is wrong in an sql body, on the same ways."""
    found: dict[int, MisplacedInSql] = {}
    for parts in _ways(tree):
        for misplaced in check_statement([" " if part is _ANY else part for part in parts]):
            found.setdefault(misplaced.offset, misplaced)
    for offset in sorted(found):
        yield sql_problem(found[offset], source)


def sql_problem(misplaced: MisplacedInSql, source: str) -> ExpressionSyntaxError:
    """Return the error about a value that cannot stand where it does in a statement.

    Args:
        misplaced: The value and its place.
        source: The template, normalized.
    """
    offset, text = insertion_at(source, misplaced.offset)
    return fault(source, offset, f"a value stands {misplaced.where}", misplaced.hint.replace("{}", text))


def _ways(tree: nodes.Template) -> Iterator[list[str | Slot]]:
    """Yield the text with its slots, on one way through the template's statements after the other."""
    ways = max(
        (len(_bodies(node)) for node in _statements(tree.body) if isinstance(node, nodes.If | nodes.For)), default=1
    )
    for way in range(min(ways, _MOST_WAYS)):
        yield list(_parts(tree.body, way, times=2))


def mixed_uses(tree: nodes.Template, source: str, name: str) -> Iterator[ExpressionSyntaxError]:
    """Yield where something else is done with a name than putting in what it has under a word: `{{ name.word }}`.

    Args:
        tree: The tree of the text.
        source: The text, normalized.
        name: The name.
    """
    alone = set()
    for output in tree.find_all(nodes.Output):
        for child in output.nodes:
            if _is_part_of(child, name):
                alone.add(id(child.node))  # type: ignore[attr-defined]  # It was looked at just now.
    for found in tree.find_all(nodes.Name):
        if found.name == name and id(found) not in alone:
            hint = f"write {{{{ {name}.column }}}}, and work on the rows before: in a node of their own, or in `values`"
            yield fault(
                source, found.lineno, f"'{name}' stands for every row in turn, and only its columns can be put in", hint
            )


def _is_part_of(node: nodes.Expr, name: str) -> bool:
    if isinstance(node, nodes.Getitem) and not (isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str)):
        return False
    owner = node.node if isinstance(node, nodes.Getattr | nodes.Getitem) else None
    return isinstance(owner, nodes.Name) and owner.name == name


def _parts(body: Iterable[nodes.Node], way: int, times: int) -> Iterator[str | Slot]:
    """Yield a script's text with slots for its values, as it is on one way through the template's statements.

    Args:
        body: The statements.
        way: Which branch is taken, or the last where there are not so many; of a loop 0 is its body.
        times: How often a loop's body stands there; one inside another stands once.
    """
    for node in body:
        match node:
            case nodes.Output():
                for child in node.nodes:
                    yield _part(child)
            case nodes.If() | nodes.With():
                bodies = _bodies(node)
                yield from _parts(bodies[min(way, len(bodies) - 1)], way, times)
            case nodes.For():
                inner = node.else_ if way == 1 else node.body
                for _ in range(1 if way == 1 else times):
                    yield from _parts(inner, way, 1)
            case _:
                pass


def _part(node: nodes.Expr) -> str | Slot:
    if isinstance(node, nodes.TemplateData):
        return node.data
    is_raw = all(is_raw for _, is_raw in insertions(node))
    return _ANY if is_raw else Slot(node.lineno)


_ANY: Final = "x"
"""Stands for a value with `| raw`, which may be anything: what it makes of the text is seen when it runs."""


class _JsonPlaces:
    """Walks the outputs of a JSON or YAML template in order, with a scanner of the text between them."""

    def __init__(self, source: str) -> None:
        self.source, self.scanner = source, JsonScanner()
        self.errors: list[ExpressionSyntaxError] = []

    def walk(self, body: Iterable[nodes.Node]) -> None:
        """Visit the statements of a template or of a block."""
        for node in body:
            match node:
                case nodes.Output():
                    for child in node.nodes:
                        self._output(child)
                case nodes.If() | nodes.For():
                    self._branches(node, [*_bodies(node), *([[]] if isinstance(node, nodes.For) else [])])
                case nodes.With():
                    self.walk(node.body)
                case _:
                    pass

    def _branches(self, node: nodes.Node, bodies: Iterable[list[nodes.Node]]) -> None:
        """Visit ways that the text may take: all must come out of the quotes that they go into."""
        before = self.scanner
        ends = []
        for body in bodies:
            self.scanner = before.copied()
            self.walk(body)
            ends.append(self.scanner)
        self.scanner = ends[0].met(ends[1:])
        if len({end.place() for end in ends}) > 1:
            hint = "open and close quotes in the same branch"
            self.errors.append(
                fault(self.source, node.lineno, "quotes that are opened or closed in only one branch", hint)
            )

    def _output(self, node: nodes.Expr) -> None:
        if isinstance(node, nodes.TemplateData):
            self.scanner.feed(node.data)
            return
        problem = self.scanner.insert(raw=all(is_raw for _, is_raw in insertions(node)))
        if problem:
            offset, text = insertion_at(self.source, node.lineno)
            hint = f"write {text} without quotes: it becomes JSON, with its own; join texts as {{{{ 'a ' ~ b }}}}"
            self.errors.append(fault(self.source, offset, f"a value stands {problem}", hint))
