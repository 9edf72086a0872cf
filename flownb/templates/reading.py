"""A text as Jinja's parser read it, once, and all that follows from its tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from types import BuiltinMethodType
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from jinja2 import TemplateError, TemplateSyntaxError, nodes
from jinja2.runtime import Undefined

from flownb.errors import ExpressionError, FlowError
from flownb.templates.explaining import in_words, missing_in, shortly, unreadable
from flownb.templates.filters import to_text
from flownb.templates.insertions import insertion_at, mixed_uses, place_problem, problems, sql_problem
from flownb.templates.limits import BUDGET, Budget
from flownb.templates.programs import Compiled, copied, insertions
from flownb.templates.sandbox import present, sandbox
from flownb.templates.shell.script import Misplaced, make_script
from flownb.templates.shell.variables import Script
from flownb.templates.sql.statement import Misplaced as MisplacedInSql
from flownb.templates.sql.statement import make_statement
from flownb.templates.sql.value import Statement
from flownb.templates.syntax import check, names, normalized, parse, shallow
from flownb.templates.terms import ExpressionSyntaxError, Key, Limits, MissingError, Name, Target
from flownb.templates.veil import veil

T = TypeVar("T")
_RECENT: Final = 1024
"""How many readings are kept that nobody holds."""


class Reading:
    """A text that was read. Thread-safe; its tree never changes."""

    __slots__ = ("__weakref__", "_error", "_lone", "_names", "_programs", "_source", "_text", "_tree", "is_bare")

    def __init__(self, text: str, *, bare: bool, comments: bool) -> None:
        """Read a text; where it cannot be read, that is said when something is asked of it.

        Args:
            text: An expression or a template.
            bare: Whether it is a bare expression.
            comments: Whether `{#` begins a comment.
        """
        self.is_bare = bare
        self._text, self._source = text, normalized(text)
        self._names: tuple[Name, ...] = ()
        self._programs: dict[tuple[Target, frozenset[Key]], Compiled] = {}
        self._tree = nodes.Template([])
        self._error: ExpressionSyntaxError | None = None
        try:
            with shallow():
                self._tree = parse(self._source, bare=bare, comments=comments)
                check(self._tree, self._source)
                self._names = names(self._tree, self._source)
        except ExpressionSyntaxError as error:
            self._error = error
        self._lone = bare or _is_lone(self._tree, self._source)

    def names(self) -> tuple[Name, ...]:
        """Return the names that it reads and does not set itself, in the order of the text.

        Raises:
            ExpressionSyntaxError: It cannot be read.
        """
        if self._error is not None:
            raise ExpressionSyntaxError(*self._error.args)
        return self._names

    def puts_raw(self) -> bool:
        """Return whether it puts a value in with `| raw` last."""
        try:
            with shallow():
                outputs = (child for output in self._tree.find_all(nodes.Output) for child in output.nodes)
                return any(raw for child in outputs for _, raw in insertions(child))
        except ExpressionSyntaxError:
            return False

    def problems(self, target: Target) -> list[ExpressionSyntaxError]:
        """Return what is wrong with the places where it puts values in; nothing where it cannot be read.

        Args:
            target: Where its values go.
        """
        try:
            with shallow():
                return [] if self._error else list(problems(self._tree, self._source, target))
        except ExpressionSyntaxError:
            return []

    def mixed_uses(self, name: str) -> list[ExpressionSyntaxError]:
        """Return where something else is done with a name than putting in what it has under a word."""
        with shallow():
            return [] if self._error else list(mixed_uses(self._tree, self._source, name))

    def insertion(self, offset: int) -> str:
        """Return the `{{ … }}` at an offset, in one line."""
        return insertion_at(self._source, offset)[1]

    def without_values(self, stand_in: str, *, tags: bool = False) -> str | None:
        """Return it with a text in the place of each value, lines and columns kept; None where tags decide what is in it.

        Args:
            stand_in: What stands for a value; at most as long as `{{`.
            tags: Whether tags are but left out, so that all that they choose from stands there.
        """
        parts: list[str] = []
        inside = False
        try:
            for _, token, value in sandbox().lexer.tokeniter(self._text, None):
                if token in {"block_begin", "raw_begin"} and not tags:
                    return None
                inside = inside or token == "block_begin"  # noqa: S105 a token of Jinja's
                if token == "variable_begin":  # noqa: S105 a token of Jinja's
                    inside = True
                    parts.append(stand_in.ljust(len(value)))
                elif token == "data" and not inside:  # noqa: S105 a token of Jinja's
                    parts.append(value)
                else:
                    parts.append("".join(letter if letter == "\n" else " " for letter in value))
                    inside = inside and token not in {"variable_end", "block_end"}
        except TemplateSyntaxError:
            return None
        return "".join(parts)

    def value(
        self, values: Mapping[str, object], target: Target, limits: Limits, hidden: frozenset[Key] = frozenset()
    ) -> object:
        """Return what it comes to; arguments as for `expressions.render`.

        Raises:
            ExpressionError: It cannot be read or worked out, or a value stands where it cannot be quoted.
        """
        compiled = self._program(target, hidden)

        def run() -> object:
            value = compiled.run(values)
            return _settled(BUDGET.get(), value) if compiled.lone else value

        return self._within(limits, values, run)

    def script(self, values: Mapping[str, object], limits: Limits) -> Script:
        """Return the bash script that it comes to.

        Raises:
            ExpressionError: It cannot be read or worked out, or a value stands where it cannot mean itself.
        """
        compiled = self._program(Target.SHELL, frozenset())

        def refuse(misplaced: Misplaced) -> ExpressionError:
            return unreadable(self._text, place_problem(misplaced, self._source))

        return make_script(self._within(limits, values, partial(compiled.parts, values)), refuse)

    def statement(self, values: Mapping[str, object], limits: Limits) -> Statement:
        """Return the SQL statement that it comes to.

        Raises:
            ExpressionError: It cannot be read or worked out, or a value stands where it cannot be bound.
        """
        compiled = self._program(Target.SQL, frozenset())

        def refuse(misplaced: MisplacedInSql) -> ExpressionError:
            return unreadable(self._text, sql_problem(misplaced, self._source))

        return self._within(limits, values, lambda: make_statement(compiled.parts(values), refuse))

    def _program(self, target: Target, hidden: frozenset[Key]) -> Compiled:
        try:
            return self._programs.get((target, hidden)) or self._compiled(target, hidden)
        except ExpressionSyntaxError as error:
            raise unreadable(self._text, error) from error

    def _compiled(self, target: Target, hidden: frozenset[Key]) -> Compiled:
        """Return it made ready to run.

        Raises:
            ExpressionSyntaxError: It cannot be read, or puts a value where quotes would undo its quoting.
        """
        self.names()
        try:
            with shallow():
                for problem in problems(self._tree, self._source, target):
                    raise problem
                tree = self._tree
                if hidden:
                    tree = copied(tree)
                    veil(tree, hidden)
                lone = self._lone and target is Target.TEXT
                made = self._programs[target, hidden] = Compiled(tree, target, lone=lone)
        except ExpressionSyntaxError:
            raise
        except AssertionError:  # Jinja's own, as of `{% set a | replace(b, c) %}`: a block's filter knows no names.
            raise ExpressionSyntaxError("the filter of a block cannot read names") from None
        except (TemplateError, SyntaxError, ValueError, OverflowError, MemoryError) as error:
            raise ExpressionSyntaxError(" ".join(str(error).split()) or type(error).__name__) from None
        return made

    def _within(self, limits: Limits, values: Mapping[str, object], work: Callable[[], T]) -> T:
        """Return what some work comes to within the limits; what goes wrong in it is told in plain words."""
        token = BUDGET.set(Budget(limits))
        try:
            return work()
        except FlowError:
            raise
        except MissingError as error:
            raise missing_in(self._text, self._tree, values, error) from error
        except RecursionError as error:
            raise ExpressionError(f"it calls itself too often, in {shortly(self._text)}") from error
        except Exception as error:  # The values' own methods run here, and they may raise anything.
            raise ExpressionError(f"{in_words(error)}, in {shortly(self._text)}") from error
        finally:
            BUDGET.reset(token)


_HELD: Final[WeakValueDictionary[tuple[str, bool, bool], Reading]] = WeakValueDictionary()
"""Every reading that somebody holds: a workflow, or those read lately."""


@lru_cache(maxsize=_RECENT)
def read(text: str, *, bare: bool, comments: bool = True) -> Reading:
    """Return the one reading of a text; as long as somebody holds it, the text is not read anew.

    Args:
        text: An expression or a template.
        bare: Whether it is a bare expression.
        comments: Whether `{#` begins a comment.
    """
    found = _HELD.get((text, bare, comments))
    if found is None:
        found = _HELD[text, bare, comments] = Reading(text, bare=bare, comments=comments)
    return found


def _is_lone(tree: nodes.Template, source: str) -> bool:
    """Return whether a template is exactly one `{{ … }}`, line breaks behind it aside."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return False
    first, *others = tree.body[0].nodes
    rest = source.rstrip("\n")
    if isinstance(first, nodes.TemplateData) or not (rest.startswith("{{") and rest.endswith("}}")):
        return False
    return all(isinstance(node, nodes.TemplateData) and not node.data.strip("\n") for node in others)


def _settled(budget: Budget, value: object) -> object:
    """Return a value as plain data: nothing missing, nothing that yields its items only once."""
    if value is None or type(value) in {str, int, float, bool}:
        return value
    if isinstance(value, Undefined):
        return present(value)
    if isinstance(value, BuiltinMethodType):
        to_text(value)
    if isinstance(value, range | type({}.keys()) | type({}.values()) | type({}.items())):
        return list(value)
    if not isinstance(value, list | tuple | dict | str):
        value = budget.settle(value)
    if isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Undefined):
                present(item)
    return value
