from __future__ import annotations

from collections.abc import Callable

import pytest

from flownb.model.key import (
    Part,
    holder_of,
    id_of,
    ids_of,
    is_below,
    is_item,
    is_part,
    is_whole,
    item_key,
    last_part_of,
    name_of,
    part_of,
    prefix_in,
    round_key,
    whole_of,
)

DEEP = "research[3]/sub/poll{12}/summary"


def test_keys_are_written_as_they_are_read() -> None:
    assert prefix_in(item_key("research", 3)) + "sub/" + prefix_in(round_key("poll", 12)) + "summary" == DEEP
    assert part_of(item_key("a/b", 10)) == Part("a/b", 10, is_item=True)
    assert part_of(round_key("a[1]/b", 0)) == Part("a[1]/b", 0, is_item=False)


@pytest.mark.parametrize(
    "key, expected",
    [("a", "a"), ("a[3]", "a"), ("a{2}", "a"), ("research[3]/summary", "summary"), ("a[1]/b{2}", "b")],
)
def test_a_key_holds_its_node_s_id(key: str, expected: str) -> None:
    assert id_of(key) == expected
    assert ids_of(key)[-1] == expected


def test_the_way_to_a_node_is_read_from_the_outside_in() -> None:
    assert ids_of(DEEP) == ["research", "sub", "poll", "summary"]
    assert name_of(DEEP) == "research/sub/poll/summary"
    holders = [DEEP]
    while holders[-1]:
        holders.append(holder_of(holders[-1]))
    assert holders[1:] == [
        "research[3]/sub/poll{12}",
        "research[3]/sub/poll",
        "research[3]/sub",
        "research[3]",
        "research",
        "",
    ]


@pytest.mark.parametrize(
    "key, holding, top",
    [
        ("a", [is_whole], "a"),
        ("flow/a", [is_whole], "flow/a"),
        ("flow/a[1]", [is_part, is_item], "flow/a"),
        ("a{1}", [is_part], "a"),
        ("a[1]/b", [], "a"),
        ("a{1}/b[2]", [is_part, is_item], "a"),
    ],
)
def test_items_rounds_and_what_is_in_them_are_told_apart(
    key: str, holding: list[Callable[[str], bool]], top: str
) -> None:
    assert [says for says in (is_whole, is_part, is_item) if says(key)] == holding
    assert (part_of(key) is not None) == (is_part in holding)
    assert whole_of(key) == top


def test_the_innermost_item_or_round_on_the_way_is_found() -> None:
    assert last_part_of(DEEP) == Part("research[3]/sub/poll", 12, is_item=False)
    assert last_part_of("a[1]") == Part("a", 1, is_item=True)
    assert last_part_of(prefix_in("a[1]/b")) == Part("a", 1, is_item=True)
    assert last_part_of("flow/") is last_part_of("") is None


def test_what_begins_with_the_same_letters_is_not_below() -> None:
    assert [key for key in ("a", "ab", "a[1]", "a{1}", "a/b", "a[1]/b", "b/a") if is_below(key, "a")] == [
        "a[1]",
        "a{1}",
        "a/b",
        "a[1]/b",
    ]
