"""The cells of a text table as the types that `dtypes` names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Final

from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean

_WORDS: Final = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class CellError(ValueError):
    """A cell, or a column, is not what `dtypes` says; its text says how."""


def _int(text: str) -> int:
    if "_" in text:  # Python's own notation, and nobody's data.
        raise ValueError(text)
    return int(text)


def _float(text: str) -> float:
    if "_" in text:
        raise ValueError(text)
    return float(text)


def _bool(text: str) -> bool:
    try:
        return _WORDS[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _date(text: str) -> date:
    return date.fromisoformat(text.strip())


def _datetime(text: str) -> datetime:
    return datetime.fromisoformat(text.strip())


CELL_TYPES: Final[Mapping[str, Callable[[str], object]]] = {
    "str": str,
    "int": _int,
    "float": _float,
    "bool": _bool,
    "date": _date,
    "datetime": _datetime,
}
"""Type → what reads a cell of it. An empty cell is None, but for `str`."""


def check_columns(dtypes: Mapping[str, str], columns: list[str]) -> None:
    """Refuse types of columns that a table does not have.

    Raises:
        CellError: There is no such column.
    """
    for name in dtypes:
        if name not in columns:
            known = f"it has {', '.join(shortened(column, 30) for column in columns[:20])}"
            raise CellError(f"there is no column {name!r} for `dtypes`", did_you_mean(name, columns, known))


def converters(dtypes: Mapping[str, str]) -> list[tuple[str, str, Callable[[str], object]]]:
    """Return column, type and what reads its cells, for all that are not text anyway.

    Raises:
        CellError: A type is not among those of CELL_TYPES.
    """
    for kind in dtypes.values():
        if kind not in CELL_TYPES:
            known = f"known are {', '.join(CELL_TYPES)}; with `output: dataframe` also what pandas calls a type"
            raise CellError(f"`dtypes` has the unknown type {kind!r}", known)
    return [(name, kind, CELL_TYPES[kind]) for name, kind in dtypes.items() if kind != "str"]


def convert_cells(row: dict[str, object], known: list[tuple[str, str, Callable[[str], object]]]) -> None:
    """Put values in the place of a row's texts.

    Raises:
        CellError: A cell is not of its type.
    """
    for name, kind, read in known:
        text = row[name]
        try:
            row[name] = read(text) if text else None  # type: ignore[arg-type] # every cell was text
        except ValueError:
            what = f"{name!r} is {shortened(str(text), 40)!r}, which is no {kind}"
            raise CellError(what, f"put it right, or take {name!r} out of `dtypes`") from None
