"""What CONTRIBUTING.md says of the code is so."""

from __future__ import annotations

import re
from pathlib import Path
from pkgutil import resolve_name

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
WALKS = TEXT.partition("## Four walks")[2].partition("\n## ")[0]
ROOMS = TEXT.partition("| Room, from the top |")[2].partition("\n\n")[0]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z]+\.[a-z_]+(?:\.\w+)*)`", WALKS))))
def test_what_a_walk_names_is_there(name: str) -> None:
    assert resolve_name(f"flownb.{name}") is not None


def test_a_walk_has_at_most_eight_steps() -> None:
    walks = re.split(r"\n\*\*", WALKS)[1:]
    assert len(walks) == 4
    assert all(1 <= len(re.findall(r"(?m)^\d\. ", walk)) <= 8 for walk in walks)


def test_every_room_stands_in_the_table() -> None:
    rooms = {path.stem for path in (ROOT / "flownb").iterdir() if list(path.glob("*.py")) or path.suffix == ".py"}
    told = set(
        re.findall(r"`([a-z]+)`", "".join(row.split("|")[1] for row in ROOMS.splitlines() if row.startswith("| ")))
    )
    assert told == {room for room in rooms if not room.startswith("_")}


def test_every_folder_of_tests_stands_in_the_table() -> None:
    folders = {
        path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith(("_", "."))
    }
    assert set(re.findall(r"\| `tests/([a-z]+)` ", TEXT)) == folders
