from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from flownb.errors import FlowError
from flownb.model.kinds import BUILTIN_KINDS
from flownb.model.nodes import Leaf
from flownb.runtimes import registry
from flownb.runtimes.base import Scope
from flownb.runtimes.python import PythonRuntime
from flownb.runtimes.registry import RUNTIMES, load_registry
from tests.nodes import node_of, run_node, scope_of


class ShoutNode(Leaf):
    TITLE = "shout"
    ALIASES = ("yell",)
    volume: int = 1


class ShoutRuntime:
    async def run(self, node: Leaf, scope: Scope) -> object:
        assert isinstance(node, ShoutNode)
        return node.body.upper() + "!" * node.volume


class Shout:
    kind = ShoutNode
    runtime = ShoutRuntime


class TakesATakenName:
    class kind(Leaf):  # noqa: N801
        TITLE = "run"
        ALIASES = ("sh",)

    runtime = ShoutRuntime


class HasNoRuntime:
    kind = ShoutNode


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """Entry points, as if packages were installed that have them."""
    installed: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry for entry in installed if entry.group == group])
    return installed


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{value}", "flownb.runtimes")


@pytest.mark.parametrize("title", sorted(RUNTIMES))
def test_every_runtime_of_the_table_can_be_made(title: str) -> None:
    assert callable(load_registry().runtime(title).run)


def test_every_kind_but_the_engines_own_has_a_runtime() -> None:
    assert set(BUILTIN_KINDS) - set(RUNTIMES) == {"checkpoint", "flow"}


def test_a_runtime_is_made_once() -> None:
    loaded = load_registry()

    assert loaded.runtime("python") is loaded.runtime("python")


def test_an_unknown_title_is_an_error_that_lists_what_there_is() -> None:
    with pytest.raises(FlowError) as caught:
        load_registry().runtime("pyton")

    assert caught.value.message == "nothing runs nodes of type `pyton`"
    assert "python" in caught.value.hint


def test_a_plug_in_brings_its_kind_and_its_runtime(entries: list[EntryPoint], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    entries.append(entry("shout", "Shout"))

    loaded = load_registry()

    assert loaded.kinds["shout"] is ShoutNode
    assert loaded.kinds["python"] is BUILTIN_KINDS["python"]
    assert run_node(loaded.runtime("shout"), node_of(ShoutNode, "hey", volume=2), scope_of()) == "HEY!!"
    assert loaded.problems == ()


@pytest.mark.parametrize(
    "value, problem",
    [
        ("TakesATakenName", "the name `sh` is taken"),
        ("HasNoRuntime", "a plug-in has `kind`, a subclass of Leaf, and `runtime`, a class"),
        ("Nowhere", "has no attribute 'Nowhere'"),
    ],
)
def test_a_broken_plug_in_is_left_out_and_named(entries: list[EntryPoint], value: str, problem: str) -> None:
    entries.extend([entry("bad", value), entry("shout", "Shout")])

    loaded = load_registry()

    assert len(loaded.problems) == 1
    assert loaded.problems[0].startswith(f"the plug-in `bad` ({__name__}:{value}) is left out: ")
    assert problem in loaded.problems[0]
    assert set(loaded.kinds) == {*BUILTIN_KINDS, "shout"}


def test_two_plug_ins_with_one_name_leave_the_first(entries: list[EntryPoint]) -> None:
    entries.extend([entry("shout", "Shout"), entry("shout2", "Shout")])

    assert len(load_registry().problems) == 1


def test_using_puts_a_runtime_in_place_of_another() -> None:
    own = PythonRuntime()
    loaded = load_registry()

    assert loaded.using({"python": own}).runtime("python") is own
    assert loaded.runtime("python") is not own


def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {"far": registry.RuntimeEntry("no_such_package_at_all:Far", "far")}
    monkeypatch.setattr(registry, "RUNTIMES", table)

    with pytest.raises(FlowError) as caught:
        load_registry().runtime("far")

    assert caught.value.message == "`far` nodes need no_such_package_at_all, which is not installed"
    assert caught.value.hint == "pip install 'flownb[far]'"


def test_importing_the_registry_scans_nothing_and_loads_no_runtime() -> None:
    code = (
        "import importlib.metadata as m\n"
        "scan = m.entry_points\n"
        "def watched(**which):\n"
        "    if which.get('group') == 'flownb.runtimes': raise SystemExit('scanned')\n"
        "    return scan(**which)\n"  # pydantic has plug-ins of its own.
        "m.entry_points = watched\n"
        "import sys, flownb.runtimes.registry\n"
        "print([name for name in sys.modules if name.startswith('flownb.runtimes.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "['flownb.runtimes.resources', 'flownb.runtimes.base', 'flownb.runtimes.registry']"


def test_the_real_entry_points_can_be_read() -> None:
    assert list(importlib.metadata.entry_points(group=registry.GROUP)) == []
    assert load_registry().problems == ()
