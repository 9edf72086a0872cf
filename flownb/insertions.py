"""Where a template puts values in: what the quotes of its own text there would do to their quoting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jinja2 import nodes

from flownb.programs import insertions
from flownb.quotes import JsonScanner, Scanner, ShellScanner, Target
from flownb.syntax import ExpressionSyntaxError, fault


def problems(tree: nodes.Template, source: str, target: Target) -> Iterator[ExpressionSyntaxError]:
    """Yield what is wrong with the places where a template puts values in.

    Args:
        tree: The tree of the text.
        source: The text, normalized.
        target: Where the values go.
    """
    if target is not Target.TEXT:
        scanner: Scanner = ShellScanner() if target is Target.SHELL else JsonScanner()
        walker = _Places(source, target, scanner)
        walker.walk(tree.body)
        yield from walker.errors


class _Places:
    """Walks a template's outputs in order, with a scanner of the text between them."""

    def __init__(self, source: str, target: Target, scanner: Scanner) -> None:
        self.source, self.target, self.scanner = source, target, scanner
        self.errors: list[ExpressionSyntaxError] = []
        self._last: nodes.Node | None = None

    def walk(self, body: Iterable[nodes.Node]) -> None:
        """Visit the statements of a template or of a block."""
        for node in body:
            match node:
                case nodes.Output():
                    for child in node.nodes:
                        self._output(child)
                case nodes.If():
                    self._branches(node, [node.body, *(branch.body for branch in node.elif_), node.else_])
                case nodes.For():
                    if node.recursive:
                        self._refuse(node, "a recursive {% for %}")
                    self._branches(node, [node.body, [], node.else_])
                case nodes.With():
                    self.walk(node.body)
                case nodes.CallBlock():
                    self._refuse(node, "{% call %}")
                case nodes.FilterBlock():
                    self._refuse(node, "{% filter %}")
                case _:
                    pass  # Macros and `{% set %}` make values; they put nothing into the text here.

    def _refuse(self, node: nodes.Node, what: str) -> None:
        words = "a bash script" if self.target is Target.SHELL else "JSON or YAML"
        hint = "make the text with {% set %}…{% endset %} and put that in"
        self.errors.append(fault(self.source, node.lineno, f"{what} cannot be quoted for {words}", hint))

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
            if self.scanner.late and self._last is not None:
                self._misplaced(self._last, self.scanner.late)
                self.scanner.late = ""
            return
        raw = all(is_raw for _, is_raw in insertions(node))
        problem = self.scanner.insert(raw=raw)
        if problem:
            self._misplaced(node, problem)
        self._last = node

    def _misplaced(self, node: nodes.Node, where: str) -> None:
        opening = self.source.rfind("{{", 0, node.lineno + 1)
        offset = opening if opening >= 0 else node.lineno
        end = self.source.find("}}", offset)
        text = " ".join(self.source[offset : end + 2].split()) if end >= 0 else "{{ … }}"
        if self.target is Target.JSON:
            hint = f"write {text} without quotes: it becomes JSON, with its own; join texts as {{{{ 'a ' ~ b }}}}"
        elif where == "in a comment":
            hint = "comment it out with {# … #}"
        elif "arithmetic" in where or "index" in where:
            hint = "work it out in the expression, as {{ n + 1 }}, or put it into a variable before"
        elif "here-document" in where:
            hint = f"put it into a variable before, as value={text}, or print it with printf '%s\\n' {text}"
        elif "quotes" in where:
            hint = f'write {text} without quotes, as "…"{text}"…": flownb quotes it'
        else:
            hint = f"put it into a variable before, as value={text}"
        self.errors.append(fault(self.source, offset, f"a value stands {where}", hint))
