"""Which runtime carries out which kind of node: flownb's own, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Final, Protocol, cast

from flownb.errors import FlowError
from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.nodes import Leaf
from flownb.runtimes.base import Runtime

GROUP: Final = "flownb.runtimes"
"""The entry-point group in which other packages name their runtimes."""


class Plugin(Protocol):
    """What an entry point of the group `flownb.runtimes` gives: any object with these two attributes.

    A package brings a kind of node and what runs it; a module or a class with both will do:

        class Shout:
            kind = ShoutNode        # a subclass of flownb.model.nodes.Leaf with TITLE, ALIASES, BODY and fields of its own
            runtime = ShoutRuntime  # called without arguments; what it returns has `async run(node, scope)`

    docs/writing-a-runtime.md shows a whole one. And in its pyproject.toml

        [project.entry-points."flownb.runtimes"]
        shout = "my_package:Shout"
    """

    @property
    def kind(self) -> type[Leaf]:
        """The kind's model; its fields are the properties that the node has besides every node's."""
        ...

    @property
    def runtime(self) -> Callable[[], Runtime]:
        """What makes the runtime; called once, when the first node of the kind is run."""
        ...


@dataclass(frozen=True, slots=True)
class RuntimeEntry:
    """Where one of flownb's own runtimes is found."""

    target: str
    """`module:Class`, imported on first use."""
    extra: str = ""
    """The pip extra that brings what it needs; empty: it needs nothing more."""
    optional: str = ""
    """The pip extra that some of its properties need."""


RUNTIMES: Final[Mapping[str, RuntimeEntry]] = MappingProxyType(
    {
        "python": RuntimeEntry("flownb.runtimes.python:PythonRuntime"),
        "bash": RuntimeEntry("flownb.runtimes.shell:ShellRuntime"),
        "http": RuntimeEntry("flownb.runtimes.http.runtime:HttpRuntime", "http"),
        "text": RuntimeEntry("flownb.runtimes.data:TextRuntime"),
        "markdown": RuntimeEntry("flownb.runtimes.data:MarkdownRuntime"),
        "json": RuntimeEntry("flownb.runtimes.data:JsonRuntime"),
        "yaml": RuntimeEntry("flownb.runtimes.data:YamlRuntime"),
        "expr": RuntimeEntry("flownb.runtimes.data:ExpressionRuntime"),
        "read": RuntimeEntry("flownb.runtimes.files.read:ReadRuntime", optional="data"),
        "write": RuntimeEntry("flownb.runtimes.files.write:WriteRuntime", optional="data"),
        "prompt": RuntimeEntry("flownb.runtimes.prompt.runtime:PromptRuntime", "llm"),
        "sql": RuntimeEntry("flownb.runtimes.sql.runtime:SqlRuntime", "sql"),
    }
)
"""Kind → its runtime. `checkpoint` and `flow` have none: the engine itself carries them out."""


@dataclass(frozen=True)
class Registry:
    """The kinds of node that can be parsed, and the runtimes that carry them out."""

    kinds: Mapping[str, type[Leaf]] = field(default_factory=lambda: BUILTIN_KINDS)
    """Title → kind, for the parser: flownb's own and the plug-ins'."""
    problems: tuple[str, ...] = ()
    """What is wrong with plug-ins that were left out, one line each, to be shown."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Title → the package that brings it, with its version, for those that are not flownb's own."""
    _makers: Mapping[str, Callable[[], Runtime]] = field(default_factory=dict, repr=False)
    _made: dict[str, Runtime] = field(default_factory=dict, repr=False)

    def runtime(self, title: str) -> Runtime:
        """Return what carries out the kind with this title; made on first use.

        Raises:
            FlowError: No such kind, or what it needs is not installed.
        """
        made = self._made.get(title)
        if made is None:
            maker = self._makers.get(title) or _builtin(title)
            made = self._made.setdefault(title, maker())
        return made

    def using(self, runtimes: Mapping[str, Runtime]) -> Registry:
        """Return a registry that has these runtimes (title → runtime) in place of its own.

        The notebook puts its PythonRuntime here, with its transform for `!` and `%`.
        """
        return replace(self, _made={**self._made, **runtimes})


def needs_extra(title: str) -> bool:
    """Return whether a kind of flownb's own needs an optional library."""
    entry = RUNTIMES.get(title)
    return entry is not None and bool(entry.extra)


def load_registry() -> Registry:
    """Read the entry points and return all kinds and runtimes there are.

    A plug-in that cannot be loaded, or takes a name that is taken, is left out and named in `problems`.
    """
    kinds = dict(BUILTIN_KINDS)
    makers: dict[str, Callable[[], Runtime]] = {}
    sources: dict[str, str] = {}
    problems: list[str] = []
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        try:
            plugin = _load(entry, kinds)
        except Exception as error:  # noqa: BLE001 A stranger's module may raise anything.
            problems.append(f"the plug-in `{entry.name}` ({entry.value}) is left out: {type(error).__name__}: {error}")
        else:
            kinds[plugin.kind.TITLE] = plugin.kind
            makers[plugin.kind.TITLE] = plugin.runtime
            sources[plugin.kind.TITLE] = f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value
    return Registry(MappingProxyType(kinds), tuple(problems), sources, makers)


def _load(entry: EntryPoint, kinds: Mapping[str, type[Leaf]]) -> Plugin:
    plugin = entry.load()
    kind, runtime = getattr(plugin, "kind", None), getattr(plugin, "runtime", None)
    if not (isinstance(kind, type) and issubclass(kind, Leaf) and callable(runtime)):
        raise FlowError("a plug-in has `kind`, a subclass of Leaf, and `runtime`, a class")
    taken = {word for other in kinds.values() for word in (other.TITLE, *other.ALIASES)}
    for word in (kind.TITLE, *kind.ALIASES):
        if word in taken:
            raise FlowError(f"the name `{word}` is taken")
    return cast("Plugin", plugin)  # Looked at just above; a Protocol with properties cannot be asked with isinstance.


def _builtin(title: str) -> Callable[[], Runtime]:
    entry = RUNTIMES.get(title)
    if entry is None:
        raise FlowError(f"nothing runs nodes of type `{title}`", f"there are {', '.join(sorted(RUNTIMES))}")
    module, _, name = entry.target.partition(":")
    try:
        return cast("Callable[[], Runtime]", getattr(import_module(module), name))  # The literal table above names it.
    except ImportError as error:
        raise missing_extra(title, error) from error


def missing_extra(title: str, error: ImportError) -> FlowError:
    """Return the error for a kind of node whose library is not installed.

    Args:
        title: The kind's name.
        error: What importing it raised.
    """
    extra = RUNTIMES[title].extra
    hint = f"pip install 'flownb[{extra}]'" if extra else ""
    return FlowError(f"`{title}` nodes need {error.name}, which is not installed", hint)
