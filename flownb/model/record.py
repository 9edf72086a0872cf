"""Data whose fields can also be read as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches


class Record(dict[str, object]):
    """A dict whose keys are attributes too: `inputs.topic` and `inputs["topic"]`, at any depth.

    It equals the dict that it was made from and is written as JSON like it. A key comes before a method of the same name:
    with an input `items`, `inputs.items` is that input (and `dict.items(inputs)` still gives the pairs).
    """

    def __init__(self, fields: Mapping[str, object] = {}) -> None:
        """Copy the fields; dicts in them, also those in lists, become records.

        Args:
            fields: Field → value.
        """
        super().__init__({key: _record(value) for key, value in dict.items(dict(fields))})

    def __getattribute__(self, name: str) -> object:
        if dict.__contains__(self, name):
            return dict.__getitem__(self, name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):  # Tools that probe objects ask for many of these.
            raise AttributeError(name, name=name, obj=self)
        near = get_close_matches(name, [str(key) for key in dict.keys(self)], 1)
        suggestion = f"; did you mean `{near[0]}`?" if near else ""
        raise AttributeError(f"there is no `{name}`{suggestion}", name=name, obj=self)

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Record:
        """Return a record of these very values: what is in them stays what it is."""
        record = cls()
        dict.update(record, fields)
        return record

    def __reduce__(self) -> tuple[type[Record], tuple[dict[str, object]]]:
        return (Record, (dict(self),))


def plain(record: Record) -> dict[str, object]:
    """Return a record as a dict, with dicts in place of all records in it."""
    return {key: _plain(value) for key, value in dict.items(record)}


def _plain(value: object) -> object:
    if isinstance(value, Record):
        return plain(value)
    return [_plain(item) for item in value] if type(value) is list else value


def _record(value: object) -> object:
    if isinstance(value, Record):
        return value
    if isinstance(value, dict):
        return Record(value)
    if type(value) is list:
        return [_record(item) for item in value]
    return value
