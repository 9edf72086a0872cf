"""Documents of any number of nodes that do nothing."""

from __future__ import annotations


def chain(count: int, kind: str, name: str = "n") -> str:
    """Return a document in which each node adds 1 to the one above it.

    Args:
        count: How many nodes.
        kind: `python` or `expr`.
        name: What ids begin with: bodies that were compiled before under other names do not help.
    """
    nodes = [_node(f"{name}0", kind, "0")]
    nodes += [_node(f"{name}{number}", kind, f"{name}{number - 1} + 1") for number in range(1, count)]
    return "# Chain\n\n" + "\n".join(nodes)


def fan_out(count: int, kind: str, name: str = "n", concurrency: int | None = None) -> str:
    """Return a document of one node and others that wait for it only, and may all run at once.

    Args:
        count: How many nodes.
        kind: `python` or `expr`.
        name: What ids begin with.
        concurrency: Most at once; None: all.
    """
    head = f"---\nconcurrency: {concurrency or count}\n---\n# Fan\n\n"
    nodes = [_node(f"{name}0", kind, "0")]
    nodes += [_node(f"{name}{number}", kind, f"{name}0 + {number}") for number in range(1, count)]
    return head + "\n".join(nodes)


def items(count: int) -> str:
    """Return a document with one `foreach` over so many numbers."""
    return f"# Items\n\n## Numbers\n\n```python\nlist(range({count}))\n```\n\n## Each\n\n- foreach: numbers\n\n```python\nitem + 1\n```\n"


def _node(heading: str, kind: str, body: str) -> str:
    return f"## {heading}\n\n```{kind}\n{body}\n```\n"
