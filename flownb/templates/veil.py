"""Templates shown without what they read of secrets: `•••` for each value put in that depends on them."""

from __future__ import annotations

from jinja2 import nodes

from flownb.templates.syntax import key_of, targets_of
from flownb.templates.terms import REDACTED, Key


def veil(tree: nodes.Template, hidden: frozenset[Key]) -> None:
    """Put `•••` in the place of each value that a template puts in and works out from what is hidden.

    What it chooses and repeats by that (`if`, `for`) stays: the text there is the document's own.

    Args:
        tree: The tree of the template; it is changed.
        hidden: Name and attribute, as the template reads them, of what is not to be seen.
    """
    own: set[str] = set()
    while (more := _set_from(tree, hidden, own)) > own:
        own = more
    for block in tree.find_all(nodes.FilterBlock):
        if _reads(block.filter, hidden, own):
            block.body = [nodes.Output([nodes.TemplateData(REDACTED)])]
            block.filter = nodes.Filter(None, "string", [], [], None, None, lineno=block.lineno)
    for output in tree.find_all(nodes.Output):
        output.nodes = [
            nodes.Const(REDACTED, lineno=child.lineno) if _reads(child, hidden, own) else child
            for child in output.nodes
        ]


def _set_from(tree: nodes.Template, hidden: frozenset[Key], own: set[str]) -> set[str]:
    """Return the names of the template's own that hold something of what is hidden, one step further."""
    more = set(own)
    pairs: list[tuple[nodes.Node, nodes.Node]]
    for node in tree.find_all(nodes.Stmt):
        match node:
            case nodes.Assign():
                pairs = [(node.target, node.node)]
            case nodes.For():
                pairs = [(node.target, node.iter), (nodes.Name("loop", "store"), node.iter)]
            case nodes.With():
                pairs = list(zip(node.targets, node.values, strict=True))
            case nodes.AssignBlock() if node.filter is not None:
                pairs = [(node.target, node.filter)]
            case nodes.Macro():
                pairs = [(argument, value) for argument in node.args for value in node.defaults]
            case nodes.CallBlock():  # Whatever macro it calls has names for what it is given.
                pairs = [(argument, node.call) for macro in tree.find_all(nodes.Macro) for argument in macro.args]
            case _:
                pairs = []
        more = more.union(*(_names_of(target) for target, value in pairs if _reads(value, hidden, own)))
    return more


def _names_of(target: nodes.Node) -> set[str]:
    return {target.name} if isinstance(target, nodes.NSRef) else targets_of(target)


def _reads(node: nodes.Node, hidden: frozenset[Key], own: set[str]) -> bool:
    """Return whether an expression reads what is hidden, itself or by a name that was set from it."""
    if key_of(node) in hidden or (isinstance(node, nodes.Name | nodes.NSRef) and node.name in own):
        return True
    return any(_reads(child, hidden, own) for child in node.iter_child_nodes())
