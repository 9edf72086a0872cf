"""The values of a run that are no line of its journal: where they are put, and how they come back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from types import ModuleType

from flownb.artifacts.decode import artifact_names, decode
from flownb.model.node_state import StoredValue
from flownb.model.nodes import BodyKind, Leaf, walk
from flownb.model.state import RunState
from flownb.model.workflow import Workflow
from flownb.plan.imports import imported
from flownb.store.artifacts import ArtifactStore
from flownb.store.paths import RunPaths

FindClass = Callable[[str], type | None]
"""`module.Class` → that class; None where the document's own code does not give it."""


class KeptValues:
    """What a run keeps beside its journal. Thread-safe; all of it blocks."""

    def __init__(self, paths: RunPaths, find_class: FindClass, tell: Callable[[str, str], None]) -> None:
        """Begin; nothing is made before something is kept.

        Args:
            paths: The run.
            find_class: Gives classes back that values are of.
            tell: Told, with a node's key, what of its value did not come back as it was.
        """
        self._paths, self._find_class, self._tell = paths, find_class, tell
        self._store = ArtifactStore(paths.artifacts, paths.disk)
        self.put, self.put_passing = self._store.put, self._store.put_passing
        self.path = self._store.open

    def load(self, key: str, value: StoredValue) -> object:
        """Return the value of a node's key.

        Raises:
            Refused: It is damaged, missing or hostile.
        """
        if not value.tagged:
            return value.output
        return decode(value.output, self._store.open, self._find_class, lambda note: self._tell(key, note))

    def adopt(self, run_id: str, value: StoredValue) -> None:
        """Take over the files of a value of an earlier run of the same workflow.

        Raises:
            OSError: It has them no more, or they cannot be kept.
        """
        other = ArtifactStore(RunPaths(self._paths.root, self._paths.workflow, run_id).artifacts, self._paths.disk)
        for name in artifact_names(value.output):
            self._store.adopt(other, name)

    def drop(self, value: StoredValue) -> None:
        """Let go of the files of a value that were put to pass; those that another value put too stay."""
        for name in _names([value]):
            self._store.drop(name)

    def begin(self, state: RunState) -> None:
        """Learn which files of an earlier process only `saved` names, so that they go as those of this one do."""
        passing = [name for values in state.saved.values() for value in values.values() for name in _names([value])]
        if passing:
            nodes = [*state.nodes.values(), *(former.node for former in state.former.values())]
            pinned = _names(node.value for node in nodes)
            self._store.expect(name for name in passing if name not in pinned)

    def close(self, still: Iterable[StoredValue]) -> None:
        """Let go of all files that this process put to pass and that none of some values names."""
        for name in self._store.passing - _names(still):
            self._store.drop(name, for_good=True)


def _names(values: Iterable[StoredValue]) -> set[str]:
    return {name for value in values if value.tagged for name in artifact_names(value.output)}


def class_finder(workflow: Workflow, variables: Mapping[str, object]) -> FindClass:
    """Return what gives the classes that a document's own code imports, or that its notebook defines.

    It imports what the document imports, whose code is trusted, and nothing else: a class is looked for among the modules that are
    there then.

    Args:
        workflow: The document.
        variables: The notebook's variables.
    """

    def find(name: str) -> type | None:
        imports = _imports(workflow)
        for module in imports.intersection((name.partition(".")[0],)):
            with suppress(Exception):  # The document's own code: where it cannot be imported, the class is not there.
                import_module(module)
        return find_loaded(name, imports, variables)

    return find


def find_loaded(name: str, imports: Collection[str], variables: Mapping[str, object] | None = None) -> type | None:
    """Return a class that is there already; imports nothing.

    Args:
        name: `module.Class`.
        imports: The outermost modules that may give it.
        variables: Those of the notebook, which give what is of `__main__`; None: what stands in that.
    """
    outermost, *inner = name.split(".")
    found: object = None
    if outermost == "__main__":
        found = (vars(sys.modules["__main__"]) if variables is None else variables).get(inner.pop(0)) if inner else None
    elif outermost in imports:
        found = sys.modules.get(outermost)
        while inner and (below := sys.modules.get(f"{getattr(found, '__name__', '')}.{inner[0]}")) is not None:
            found = below
            inner.pop(0)
    for part in inner:
        found = vars(found).get(part) if isinstance(found, type | ModuleType) else None
    return found if isinstance(found, type) else None


def _imports(workflow: Workflow) -> set[str]:
    return set(_imported(workflow))


def _imported(workflow: Workflow) -> Iterator[str]:
    for node in walk(workflow.nodes):
        if isinstance(node, Leaf) and node.BODY is BodyKind.PYTHON:
            yield from imported(node.body)
    for inner in workflow.subflows.values():
        yield from _imported(inner)
