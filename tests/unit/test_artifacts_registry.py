"""The kinds: each is found, written down, and other packages can bring more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from flownb.artifacts import registry
from flownb.artifacts.decode import Refused
from flownb.artifacts.encode import Unkept
from flownb.artifacts.kind import Fields, Keeper, Restorer
from flownb.artifacts.registry import KINDS, kind_for, tag_for
from flownb.errors import FlowError
from tests.kept import Shelf

PAGE = Path(__file__).parents[2] / "docs" / "what-survives.md"
ROWS = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def test_the_page_lists_every_kind_and_no_other() -> None:
    assert list(ROWS) == list(KINDS)


@pytest.mark.parametrize("tag", KINDS)
def test_the_page_names_the_file_that_a_kind_writes(tag: str) -> None:
    endings = set(re.findall(r"`\.(\w+)`", ROWS[tag])) - {"svg", "json"}
    assert endings == ({KINDS[tag].extension} - {""})


@pytest.mark.parametrize("tag", [tag for tag in KINDS if not tag.startswith("torch.")])
def test_every_kind_can_be_imported(tag: str) -> None:
    kind = kind_for(tag)
    assert callable(getattr(kind, "keep", None))
    assert callable(getattr(kind, "restore", None))


def test_what_is_not_installed_is_said_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FlowError, match=r"(?s)nowhere is needed for this value.*pip install 'flownb\[data\]'"):
        registry._imported("nowhere:KIND", "data")


class Ledger:
    def __init__(self, rows: list[str]) -> None:
        self.rows = rows


class LedgerKind:
    def keep(self, value: Ledger, keeper: Keeper) -> dict[str, JsonValue]:
        keeper.ask(value.rows)
        text = "\n".join(value.rows).encode()

        def write(file: Any) -> None:
            file.write(text)

        return {"$artifact": keeper.file("csv", write), "size": f"{len(value.rows)} rows", "preview": value.rows[0]}

    def restore(self, data: Fields, restorer: Restorer) -> Ledger:
        return Ledger(restorer.open(data, "csv").read_text().split("\n"))


KIND = LedgerKind()
NAME = f"{Ledger.__module__}.{Ledger.__qualname__}"


@pytest.fixture
def _plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    found = [
        EntryPoint(NAME, f"{__name__}:KIND", registry.GROUP),
        EntryPoint("pandas.DataFrame", f"{__name__}:KIND", registry.GROUP),
        EntryPoint(f"{__name__}.Broken", "nowhere:KIND", registry.GROUP),
        EntryPoint(f"{__name__}.NoKind", f"{__name__}:NAME", registry.GROUP),
    ]
    monkeypatch.setattr(registry, "entry_points", lambda group: found if group == registry.GROUP else [])
    registry.plugins.cache_clear()
    yield
    registry.plugins.cache_clear()


@pytest.mark.usefixtures("_plugin")
def test_a_package_brings_a_kind(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    made = shelf.keep([Ledger(["a", "b"])])
    assert isinstance(made.output, list)
    assert isinstance(made.output[0], dict)
    assert (made.output[0]["type"], made.output[0]["size"]) == (NAME, "2 rows")
    back: Any = shelf.back(made)
    assert (type(back[0]), back[0].rows) == (Ledger, ["a", "b"])


@pytest.mark.usefixtures("_plugin")
def test_a_package_does_not_take_the_place_of_a_kind_of_flownb() -> None:
    assert set(registry.plugins()) == {NAME, f"{__name__}.Broken", f"{__name__}.NoKind"}


@pytest.mark.usefixtures("_plugin")
@pytest.mark.parametrize("name, said", [("Broken", "cannot be loaded"), ("NoKind", "no `keep` and `restore`")])
def test_a_package_that_is_wrong_is_named(tmp_path: Path, name: str, said: str) -> None:
    value = type(name, (), {"__module__": __name__})()
    with pytest.raises(Unkept, match=said):
        Shelf(tmp_path).keep(value)


def test_without_the_package_its_values_are_refused(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    with pytest.raises(Refused, match="no such kind"):
        shelf.back(type(shelf.keep((1,)))({"$artifact": "0" * 64 + ".csv", "type": NAME}, is_tagged=True))


def test_a_class_of_no_kind_has_no_tag() -> None:
    assert tag_for(Ledger) is None
