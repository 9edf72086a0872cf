"""Works out an expression by walking its tree: what is used once or twice is not worth compiling."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from jinja2 import nodes
from jinja2.runtime import Undefined
from jinja2.utils import missing

from flownb.templates.sandbox import NO_ELSE, SandboxContext, present

Value = Any
"""Any: an expression works with whatever values it is given."""

_SIGNS: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Pow: "**",
    nodes.Mod: "%",
}
_UNARY: Final[Mapping[type[nodes.Node], Callable[[Value], Value]]] = {
    nodes.Not: operator.not_,
    nodes.Neg: operator.neg,
    nodes.Pos: operator.pos,
}


_COMPARISONS: Final[Mapping[str, Callable[[Value, Value], Value]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gteq": operator.ge,
    "lt": operator.lt,
    "lteq": operator.le,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,  # codespell:ignore notin
}


def chunks_of(pieces: Sequence[nodes.Expr], context: SandboxContext) -> Iterator[Value]:
    """Yield what pieces of a template come to, one by one: what Jinja's compiled code would (a test compares them).

    Args:
        pieces: Text and expressions, as Jinja's parser read them; walking changes none.
        context: The names of this evaluation.
    """
    walker = _Walker(context)
    for piece in pieces:
        yield walker.value(piece)


class _Walker:
    """One evaluation."""

    __slots__ = ("context", "environment")

    def __init__(self, context: SandboxContext) -> None:
        self.environment: Any = context.environment  # Any: our Sandbox, which the context does not know.
        self.context = context

    def value(self, node: nodes.Node) -> Value:
        """Return a node's value."""
        return _VALUES[type(node)](self, node)

    def name(self, node: nodes.Name) -> Value:
        found = self.context.resolve_or_missing(node.name)
        return self.environment.undefined(name=node.name) if found is missing else found

    def constant(self, node: nodes.Const | nodes.TemplateData) -> Value:
        return node.value if isinstance(node, nodes.Const) else node.data

    def attribute(self, node: nodes.Getattr) -> Value:
        return self.environment.getattr(self.value(node.node), node.attr)

    def item(self, node: nodes.Getitem) -> Value:
        owner = self.value(node.node)
        if isinstance(node.arg, nodes.Slice):
            return owner[self.cut(node.arg)]
        return self.environment.getitem(owner, self.value(node.arg))

    def cut(self, node: nodes.Slice) -> slice:
        start, stop, step = (None if part is None else self.value(part) for part in (node.start, node.stop, node.step))
        return slice(start, stop, step)

    def binary(self, node: nodes.BinExpr) -> Value:
        sign = _SIGNS[type(node)]
        return self.environment.call_binop(self.context, sign, self.value(node.left), self.value(node.right))

    def both(self, node: nodes.And) -> Value:
        return self.value(node.left) and self.value(node.right)

    def either(self, node: nodes.Or) -> Value:
        return self.value(node.left) or self.value(node.right)

    def unary(self, node: nodes.UnaryExpr) -> Value:
        return _UNARY[type(node)](self.value(node.node))

    def choice(self, node: nodes.CondExpr) -> Value:
        if self.value(node.test):
            return self.value(node.expr1)
        if node.expr2 is None:
            return Undefined(NO_ELSE)
        return self.value(node.expr2)

    def comparison(self, node: nodes.Compare) -> Value:
        left, answer = self.value(node.expr), True
        for operand in node.ops:
            right = self.value(operand.expr)
            answer = _COMPARISONS[operand.op](left, right)
            if not answer:
                break
            left = right
        return answer

    def together(self, node: nodes.Concat) -> Value:
        return self.environment.join_parts([self.value(part) for part in node.nodes])

    def made_list(self, node: nodes.List) -> Value:
        return [present(self.value(item)) for item in node.items]

    def made_tuple(self, node: nodes.Tuple) -> Value:
        return tuple(present(self.value(item)) for item in node.items)

    def made_dict(self, node: nodes.Dict) -> Value:
        return {self.value(pair.key): present(self.value(pair.value)) for pair in node.items}

    def filter(self, node: nodes.Filter) -> Value:
        assert node.node is not None, "only a block of `{% filter %}` has none"
        arguments, named = self.arguments(node)
        return self.environment.call_filter(node.name, self.value(node.node), arguments, named, self.context)

    def test(self, node: nodes.Test) -> Value:
        arguments, named = self.arguments(node)
        return self.environment.call_test(node.name, self.value(node.node), arguments, named, self.context)

    def call(self, node: nodes.Call) -> Value:
        function = self.value(node.node)
        arguments, named = self.arguments(node)
        return self.environment.call(self.context, function, *arguments, **named)

    def arguments(self, node: nodes.Call | nodes.Filter | nodes.Test) -> tuple[list[Value], dict[str, Value]]:
        """Return the arguments of a call by position and by name."""
        by_place = [self.value(argument) for argument in node.args]
        if node.dyn_args is not None:
            by_place += self.value(node.dyn_args)
        by_name = {str(pair.key): self.value(pair.value) for pair in node.kwargs}
        if node.dyn_kwargs is not None:
            by_name |= self.value(node.dyn_kwargs)
        return by_place, by_name


_VALUES: Final[Mapping[type[nodes.Node], Callable[[_Walker, Any], Value]]] = {  # Any: each takes its own kind of node.
    nodes.Name: _Walker.name,
    nodes.Const: _Walker.constant,
    nodes.TemplateData: _Walker.constant,
    nodes.Getattr: _Walker.attribute,
    nodes.Getitem: _Walker.item,
    nodes.And: _Walker.both,
    nodes.Or: _Walker.either,
    nodes.CondExpr: _Walker.choice,
    nodes.Compare: _Walker.comparison,
    nodes.Concat: _Walker.together,
    nodes.List: _Walker.made_list,
    nodes.Tuple: _Walker.made_tuple,
    nodes.Dict: _Walker.made_dict,
    nodes.Filter: _Walker.filter,
    nodes.Test: _Walker.test,
    nodes.Call: _Walker.call,
    **dict.fromkeys(_SIGNS, _Walker.binary),
    **dict.fromkeys(_UNARY, _Walker.unary),
}
