"""The tables that an SQL statement names, told from its text alone: no database is asked, and none need be installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from flownb.templates.sql.tokens import Token, TokenKind, tokens_of

_QUERIES: Final = frozenset(
    {"SELECT", "WITH", "FROM", "VALUES", "TABLE", "DESCRIBE", "SUMMARIZE", "PIVOT", "UNPIVOT", "SHOW", "EXPLAIN"}
)
"""What a query begins with."""
_NAMES_FIRST: Final = frozenset({"TABLE", "DESCRIBE", "SUMMARIZE", "PIVOT", "UNPIVOT"})
"""What names a table where it begins a query (DuckDB)."""
_ENDS: Final = frozenset(
    {"SELECT", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "FETCH", "UNION", "EXCEPT", "INTERSECT"}
    | {"WINDOW", "QUALIFY", "RETURNING", "SET", "VALUES"}
)
"""What ends a list of tables."""
_BEFORE_TABLE: Final = frozenset({"LATERAL", "ONLY"})
"""Words that may stand between FROM and a table."""


@dataclass(frozen=True, slots=True)
class TableName:
    """One place where a statement names a table."""

    name: str
    """The table's name, without quotes."""
    start: int
    """Where it stands in the text, counted from 0."""
    length: int
    """How long it is there, with quotes."""


@dataclass(frozen=True, slots=True)
class _Cte:
    """A name that a WITH gives, and from where to where in the tokens it means that."""

    name: str
    first: int
    last: int


@dataclass(slots=True)
class _Level:
    """One pair of parentheses, or the statement as a whole."""

    is_query: bool
    """Whether FROM names tables here: in `extract(year FROM day)` it does not."""
    expects: bool = False
    """Whether a table comes next."""
    lists: bool = False
    """Whether a comma is followed by a table."""


def table_names(text: str) -> list[TableName]:
    """Return the tables that a statement names, in order; names that a WITH gives, functions and `schema.table` are none.

    Args:
        text: The statement.
    """
    tokens = [token for token in tokens_of(text) if token.kind is not TokenKind.COMMENT]
    ctes: dict[str, list[_Cte]] = {}
    for cte in _ctes(tokens):
        ctes.setdefault(cte.name.casefold(), []).append(cte)
    return [
        TableName(tokens[place].name, tokens[place].start, len(tokens[place].text))
        for place in _places(tokens)
        if not any(cte.first <= place <= cte.last for cte in ctes.get(tokens[place].name.casefold(), ()))
    ]


def _places(tokens: Sequence[Token]) -> Iterator[int]:
    """Yield the places of tokens that stand where a table does."""
    levels = [_Level(is_query=True)]
    for place, token in enumerate(tokens):
        level = levels[-1]
        match token.text:
            case "(":
                is_query = _word(tokens, place + 1) in _QUERIES
                expects = level.expects and not is_query
                levels.append(_Level(is_query or expects, expects, expects))
                level.expects = False
            case ")":
                if len(levels) > 1:
                    levels.pop()
            case ",":
                level.expects = level.lists
            case ";":
                levels = [_Level(is_query=True)]
            case _:
                if _is_table(tokens, place, level):
                    yield place


def _is_table(tokens: Sequence[Token], place: int, level: _Level) -> bool:
    """Return whether a token is a table's name; note what follows from it."""
    token = tokens[place]
    word = token.word
    if word == "FROM" and level.is_query and not _is_distinct_from(tokens, place):
        level.expects = level.lists = True
    elif (word == "JOIN" and level.is_query) or _names_first(tokens, place):
        level.expects = True
    elif word in _ENDS:
        level.expects = level.lists = False
    elif level.expects and word not in _BEFORE_TABLE:
        level.expects = False
        return bool(token.name) and _text(tokens, place + 1) not in {".", "("}
    return False


def _ctes(tokens: Sequence[Token]) -> list[_Cte]:
    closing = _closing(tokens)
    found: list[_Cte] = []
    for place, token in enumerate(tokens):
        if token.word == "WITH" and _begins(tokens, place):
            is_recursive = _word(tokens, place + 1) == "RECURSIVE"
            end = closing.get(place - 1, len(tokens))
            found += _listed(tokens, place + 1 + is_recursive, end, closing, is_recursive=is_recursive)
    return found


def _listed(
    tokens: Sequence[Token], place: int, end: int, closing: dict[int, int], *, is_recursive: bool
) -> Iterator[_Cte]:
    """Yield the names of one WITH: without RECURSIVE a name means itself only behind its own query."""
    while place < end and tokens[place].name:
        name, start = tokens[place].name, place
        while place < end and tokens[place].word != "AS":
            place = closing.get(place, place) + 1
        while place < end and tokens[place].text != "(":
            place += 1
        close = closing.get(place, end)
        yield _Cte(name, start if is_recursive else close, end)
        place = close + 1
        if _text(tokens, place) != ",":
            return
        place += 1


def _closing(tokens: Sequence[Token]) -> dict[int, int]:
    """Return place of each `(` → place of its `)`."""
    opened: list[int] = []
    found: dict[int, int] = {}
    for place, token in enumerate(tokens):
        if token.text == "(":
            opened.append(place)
        elif token.text == ")" and opened:
            found[opened.pop()] = place
    return found


def _begins(tokens: Sequence[Token], place: int) -> bool:
    """Return whether a query begins here."""
    return place == 0 or tokens[place - 1].text in {"(", ";"} or tokens[place - 1].word in {"AS", "EXPLAIN", "ANALYZE"}


def _names_first(tokens: Sequence[Token], place: int) -> bool:
    """Return whether a word begins a query and is followed by a table."""
    return tokens[place].word in _NAMES_FIRST and _begins(tokens, place) and _text(tokens, place + 1) != "("


def _is_distinct_from(tokens: Sequence[Token], place: int) -> bool:
    return _word(tokens, place - 1) == "DISTINCT" and _word(tokens, place - 2) in {"IS", "NOT"}


def _text(tokens: Sequence[Token], place: int) -> str:
    return tokens[place].text if 0 <= place < len(tokens) else ""


def _word(tokens: Sequence[Token], place: int) -> str:
    return tokens[place].word if 0 <= place < len(tokens) else ""
