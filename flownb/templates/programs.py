"""Templates made ready to run: every value put in through the filter of its target, loops watched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, TypeVar

from jinja2 import nodes
from jinja2.environment import Template

from flownb.templates.limits import BUDGET
from flownb.templates.sandbox import SandboxContext, sandbox
from flownb.templates.terms import Target
from flownb.templates.tree import chunks_of

_N = TypeVar("_N", bound=nodes.Node)
_PUT: Final = {target: f"flownb {target}" for target in Target}
"""Target → the filter through which a value is put in; no template can write a name with a space."""
_OWN: Final = {("tojson", "flownb json"), ("urlencode", "flownb form")}
"""Filters that quote for a target already."""
_ABSENT: Final = {"flownb json": "null", "flownb sql": None}
"""What stands for an `if` without `else` whose condition is false."""
_WITH_SLOTS: Final = frozenset({_PUT[Target.SHELL], _PUT[Target.SQL]})
"""The filters of targets in which a value is never a part of the text; they are told where it stands."""


class Compiled:
    """A template made ready to run. Thread-safe.

    What only puts values in is worked out by walking its tree: compiling it takes longer than running it ten times.
    """

    __slots__ = ("_root", "lone")

    def __init__(self, tree: nodes.Template, target: Target, *, lone: bool) -> None:
        """Make a template ready.

        Args:
            tree: The tree, as it was read; it is not changed.
            target: Where the values go.
            lone: Whether it is one expression whose value keeps its type.
        """
        put = None if lone else _PUT[target]
        self.lone = lone
        self._root: Callable[[SandboxContext], Iterator[Any]]  # Any: what a lone expression comes to.
        if all(isinstance(node, nodes.Output) for node in tree.body):
            self._root = partial(chunks_of, [piece for output in tree.body for piece in _pieces(output, put)])
        else:
            self._root = code_of(tree, target, lone=lone)

    def run(self, values: Mapping[str, object]) -> object:
        """Return the expression's value, or the template's text; anything that goes wrong is raised as it is.

        Args:
            values: Name → value, looked up one by one.
        """
        if self.lone:
            return next(self._chunks(values))
        text = "".join(self.parts(values))  # Only bash and sql bodies have slots.
        if not text.isascii():
            BUDGET.get().spend(len(text.encode("utf-8", "surrogatepass")))
        return text

    def parts(self, values: Mapping[str, object]) -> list[Any]:  # Any: text, and the slots of its target.
        """Return the stretches of the template's text, and of a bash or sql body the slots between them.

        Args:
            values: Name → value, looked up one by one.
        """
        budget, made, size = BUDGET.get(), [], 0
        for chunk in self._chunks(values):
            made.append(chunk)
            size += len(chunk) if isinstance(chunk, str) else chunk.size
            if size > budget.limits.size:
                budget.spend(size)
        return made

    def _chunks(self, values: Mapping[str, object]) -> Iterator[Any]:  # Any: what a lone expression comes to.
        context = SandboxContext(sandbox(), values, None, {})  # type: ignore[arg-type]  # Jinja only reads it as a mapping.
        return self._root(context)


def code_of(
    tree: nodes.Template, target: Target, *, lone: bool
) -> Callable[[SandboxContext], Iterator[Any]]:  # Any: as `Compiled._chunks`.
    """Return the code that Jinja compiles for a template, every value put in through its target's filter.

    Args:
        tree: The tree, as it was read; it is not changed.
        target: Where the values go; inside macros and `{% set %}` blocks they stay plain text, quoted when that is put in.
        lone: Whether it is one expression whose value keeps its type.
    """
    environment, own = sandbox(), copied(tree)
    _rewrite(own, None if lone else _PUT[target])
    return Template.from_code(environment, environment.compile(own), {}).root_render_func


def copied(node: _N) -> _N:
    """Return a tree of its own, which may be changed; much quicker than `deepcopy`."""
    made = object.__new__(type(node))
    for name, value in vars(node).items():
        if isinstance(value, nodes.Node):
            value = copied(value)  # noqa: PLW2901 the copy takes its place
        elif isinstance(value, list):
            value = [copied(item) if isinstance(item, nodes.Node) else item for item in value]  # noqa: PLW2901
        setattr(made, name, value)
    return made


def _through(name: str, node: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


def insertions(node: nodes.Expr) -> Iterator[tuple[nodes.Expr, bool]]:
    """Yield what an insertion may put in, as its branches, and whether `| raw` stands last in each."""
    if isinstance(node, nodes.CondExpr):
        yield from insertions(node.expr1)
        if node.expr2 is not None:
            yield from insertions(node.expr2)
    else:
        yield node, isinstance(node, nodes.Filter) and node.name == "raw"


def _slot(node: nodes.Expr, filter_name: str, offset: int, *more: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, filter_name, [nodes.Const(offset), *more], [], None, None, lineno=node.lineno)


def _put(node: nodes.Expr, filter_name: str, offset: int) -> nodes.Expr:
    is_shell, has_slots = filter_name == _PUT[Target.SHELL], filter_name in _WITH_SLOTS
    if isinstance(node, nodes.CondExpr):
        absent = _ABSENT.get(filter_name, "")
        expr2 = nodes.Const(absent, lineno=node.lineno) if node.expr2 is None else node.expr2
        if node.expr2 is not None or has_slots:
            expr2 = _put(expr2, filter_name, offset)
        return nodes.CondExpr(node.test, _put(node.expr1, filter_name, offset), expr2, lineno=node.lineno)
    if isinstance(node, nodes.Filter):
        if node.name == "raw" or (node.name, filter_name) in _OWN:
            return _through("flownb raw", node)
        if is_shell and node.name == "quote" and node.node is not None:
            return _slot(node.node, filter_name, offset, nodes.Const(True))
    return _slot(node, filter_name, offset) if has_slots else _through(filter_name, node)


def _pieces(output: nodes.Node, put: str | None) -> list[nodes.Expr]:
    """Return what an output puts out, each value through a filter; None: a lone expression."""
    assert isinstance(output, nodes.Output)
    return [
        child if put is None or isinstance(child, nodes.TemplateData) else _put(child, put, child.lineno)
        for child in output.nodes
    ]


def _rewrite(node: nodes.Node, put: str | None) -> None:
    """Rewrite the tree below a node in place.

    Args:
        node: Where to begin.
        put: The filter for what is put in; None: a lone expression.
    """
    inner = (
        _PUT[Target.TEXT]
        if isinstance(node, nodes.Macro | nodes.CallBlock | nodes.AssignBlock | nodes.FilterBlock)
        else put
    )
    for child in node.iter_child_nodes():
        _rewrite(child, inner)
    match node:
        case nodes.Output() if put is not None:
            node.nodes = _pieces(node, put)
        case nodes.For(iter=nodes.Expr() as items):
            node.iter = _through("flownb each", items)
        case nodes.List() | nodes.Tuple() if getattr(node, "ctx", "load") == "load":
            node.items = [
                item if isinstance(item, nodes.Const | nodes.Slice) else _through("flownb there", item)
                for item in node.items
            ]
        case nodes.Pair():
            node.value = _through("flownb there", node.value)
        case _:
            pass
