from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable

import pytest

from flownb.model.record import Record


def test_fields_are_attributes_at_any_depth() -> None:
    record = Record({"a": {"b": [{"c": 1}]}})

    assert record.a.b[0].c == 1  # type: ignore[attr-defined]
    assert record["a"]["b"][0]["c"] == 1  # type: ignore[index]


def test_it_equals_the_dict_and_is_written_like_it() -> None:
    fields = {"a": {"b": [{"c": 1}]}}

    assert Record(fields) == fields
    assert json.loads(json.dumps(Record(fields))) == fields
    assert {**Record(fields)} == fields


def test_making_one_leaves_the_dict_alone() -> None:
    fields = {"a": {"b": 1}}
    record = Record(fields)
    record["a"]["b"] = 2  # type: ignore[index]

    assert fields == {"a": {"b": 1}}
    assert type(fields["a"]) is dict


def test_a_field_comes_before_a_method_of_its_name() -> None:
    record = Record({"items": [1], "keys": 2})

    assert getattr(record, "items") == [1]  # noqa: B009 mypy knows it as the method.
    assert dict(record) == {"items": [1], "keys": 2}
    assert Record(record) == record


def test_methods_work_where_no_field_has_their_name() -> None:
    record = Record({"a": 1})

    assert record.get("b", 2) == 2
    assert list(record.items()) == [("a", 1)]


def test_a_missing_field_names_the_nearest_one() -> None:
    with pytest.raises(AttributeError) as caught:
        _ = Record({"topic": 1}).topci

    assert str(caught.value) == "there is no `topci`; did you mean `topic`?"
    assert not hasattr(Record(), "_repr_html_")


def through_pickle(record: Record) -> Record:
    again: Record = pickle.loads(pickle.dumps(record))  # noqa: S301 Its own.
    return again


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, through_pickle])
def test_it_can_be_copied_and_pickled(again: Callable[[Record], Record]) -> None:
    record = Record({"items": {"a": 1}})

    copied = again(record)

    assert copied == record
    assert type(copied) is Record
    assert copied == {"items": {"a": 1}}
