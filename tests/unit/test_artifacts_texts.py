"""Lists of many texts, as lines of a large file are, are stored piece by piece."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

import flownb
from flownb.artifacts import encode as encoding
from flownb.artifacts.encode import HoldsSecret, encode
from flownb.engine.values import own_copy

TEXTS = [f'{number} "ä$ref" \u2028 \\ \n' for number in range(70_000)]


class Store:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pieces = 0

    def put(self, extension: str, writer: Callable[[BinaryIO], None]) -> str:
        with (self.folder / "put").open("wb") as file:
            writer(file)
        return f"{'0' * 64}.{extension}"

    @property
    def content(self) -> bytes:
        return (self.folder / "put").read_bytes()


def test_they_are_stored_as_any_list_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    piecewise, content = encode(TEXTS, store.put, None), store.content
    monkeypatch.setattr(encoding, "_are_many_texts", lambda _: False)

    assert encode(TEXTS, store.put, None) == piecewise
    assert store.content == content
    assert json.loads(content) == TEXTS


def test_a_secret_in_one_is_found_before_anything_is_put(tmp_path: Path) -> None:
    with pytest.raises(HoldsSecret):
        encode(TEXTS, Store(tmp_path).put, lambda text: "69999" in str(text))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_unicode_or_no_plain_text_goes_the_usual_way(tmp_path: Path) -> None:
    class Text(str):
        __slots__ = ()

    assert not encoding._are_many_texts([*TEXTS, 1])
    assert not encoding._are_many_texts([*TEXTS, Text("x")])
    assert encoding._texts_file([*TEXTS, "\ud800"], Store(tmp_path).put, None) is None


def test_a_body_that_changes_its_lines_changes_nobody_elses(state_dir: Path) -> None:
    assert own_copy(TEXTS) == TEXTS
    assert own_copy(TEXTS) is not TEXTS
    text = (
        "## Lines\n\n```python\n[str(number) for number in range(70_000)]\n```\n\n"
        "## Less\n\n```python\nlines.clear()\n0\n```\n\n## Count\n\n- needs: less\n\n```expr\nlines | length\n```\n"
    )
    run = flownb.run(flownb.parse(text), state_dir=state_dir)
    assert run["count"] == 70_000
