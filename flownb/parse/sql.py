"""What is to be known of an `sql` body before it runs: that it is one statement, and which nodes are its tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from flownb.model.nodes import Use
from flownb.parse.drafts import Draft
from flownb.parse.found import Found, problem
from flownb.templates.expressions import blanked, is_template, mixed_uses
from flownb.templates.sql.tables import table_names
from flownb.templates.sql.tokens import count_statements
from flownb.templates.sql.value import ROW
from flownb.text.codes import Code
from flownb.text.yaml import Value

_DATABASES_OWN: Final = ("duckdb_", "pg_", "sqlite_", "pragma_")
"""How the names of DuckDB's own tables begin."""


def sql_uses(draft: Draft, body: Value, uses: list[Use], ids: Collection[str]) -> Found[list[Use]]:
    """Return the names that a body reads, with those of its tables; report what is no statement.

    Args:
        draft: The node.
        body: Its body.
        uses: What its template reads.
        ids: The ids of all nodes.
    """
    text = body.data if isinstance(body.data, str) else ""
    plain = blanked(text, "?", tags=True)
    if plain is None:  # Its template cannot be read, which is reported.
        return uses
    yield from _one_statement(draft, body, text, plain)
    if "values" in draft.properties:
        uses = yield from _with_rows(draft, body, text, uses)
    if "connection" in draft.properties:
        return uses
    return [*uses, *_tables(body, plain, ids)]


def _one_statement(draft: Draft, body: Value, text: str, plain: str) -> Found[None]:
    count, second = count_statements(plain)
    if count == 0 and not is_template(text):
        what = f"node '{draft.id}' is of type sql, and its body is empty"
        yield problem(Code.MISSING_BODY, what, body.span, "write a statement, as `SELECT * FROM orders`")
    elif count > 1 and "{%" not in text:  # A tag may choose one of two.
        hint = "put each into a node of its own: a node is one transaction"
        yield problem(Code.SQL_STATEMENT, "a second statement begins here", body.place(*_place(plain, second)), hint)


def _with_rows(draft: Draft, body: Value, text: str, uses: list[Use]) -> Found[list[Use]]:
    """Return the uses without those of the rows; report what cannot be done with many."""
    span = draft.properties["values"].key_span
    if "connection" not in draft.properties:
        what = "'values' writes rows to a database, and this node has no 'connection'"
        yield problem(
            Code.MISSING_PROPERTY, what, span, "add `- connection: …`; to read the rows, name their node as a table"
        )
    if not any(use.name == ROW for use in uses):
        what = "'values' gives many rows, and the statement uses none of their columns"
        yield problem(Code.SQL_STATEMENT, what, body.span, f"write them as {{{{ {ROW}.column }}}}")
    for error in mixed_uses(text, ROW):
        yield problem(Code.SQL_STATEMENT, error.message, body.place(error.line, error.column, len(ROW)), error.hint)
    return [use for use in uses if use.name != ROW]


def _tables(body: Value, plain: str, ids: Collection[str]) -> Iterator[Use]:
    """Yield a use for each table that the statement names. DuckDB knows no capitals: nor is a node's name told by them."""
    folded: dict[str, str] = {}
    seen: set[str] = set()
    for table in table_names(plain):
        name = table.name
        if name not in ids:
            folded = folded or {known.casefold(): known for known in ids}
            name = folded.get(name.casefold(), name)
        if name not in seen and not (name.startswith(_DATABASES_OWN) and name not in ids):
            seen.add(name)
            yield Use(name=name, span=body.place(*_place(plain, table.start), table.length), is_table=True)


def _place(text: str, offset: int) -> tuple[int, int]:
    """Return line and column, counted from 1, of an offset."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
