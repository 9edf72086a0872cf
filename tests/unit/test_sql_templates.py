"""SQL text: which tables it names, what is bound in it, and where nothing can be."""

from __future__ import annotations

import duckdb
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from flownb.errors import ExpressionError
from flownb.parse.workflow import parse_workflow
from flownb.templates.expressions import Target, check_quotes, render_statement
from flownb.templates.sql.tables import table_names
from flownb.templates.sql.tokens import count_statements, tokens_of
from flownb.templates.sql.value import NoItems, Parameter

NAMES = ("orders", "day", "total", "item")


def named(sql: str) -> list[str]:
    return [table.name for table in table_names(sql)]


@pytest.mark.parametrize(
    "sql, names",
    [
        ("SELECT * FROM a", ["a"]),
        ('select * from "a b", `c` JOIN d USING (x)', ["a b", "c", "d"]),
        ("FROM a SELECT x", ["a"]),
        ("FROM a", ["a"]),
        ("SELECT a, b, (SELECT max(x) FROM c) FROM d WHERE e IN (SELECT f FROM g) ORDER BY h, i", ["c", "d", "g"]),
        ("SELECT extract(year FROM day), trim(both FROM x) FROM a", ["a"]),
        ("SELECT * FROM a WHERE x IS NOT DISTINCT FROM y AND z IS DISTINCT FROM w", ["a"]),
        ("SELECT * FROM main.a, b.c.d, e", ["e"]),
        ("SELECT * FROM range(3), unnest(x), a", ["a"]),
        ("SELECT * FROM (a JOIN b ON a.x = b.x), LATERAL (SELECT * FROM c) t(x, y), d", ["a", "b", "c", "d"]),
        ("WITH a AS (SELECT * FROM b) SELECT * FROM a, c", ["b", "c"]),
        ("WITH a AS (SELECT * FROM a), B(x, y) AS MATERIALIZED (FROM a) SELECT * FROM A, b", ["a"]),
        ("WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t, s) FROM t", ["s"]),
        ("WITH RECURSIVE t AS (FROM s), s AS (SELECT 1) FROM t, s", ["s"]),
        ("SELECT * FROM (WITH a AS (SELECT 1) FROM a) x, a", ["a"]),
        ("SELECT 'FROM a' AS \"FROM b\" -- FROM c\n /* FROM d /* FROM e */ FROM f */ FROM g", ["g"]),
        ("SELECT $$ FROM a $$, $x$ FROM b $$ $x$, E'\\' FROM c' FROM d", ["d"]),
        ("DESCRIBE a", ["a"]),
        ("SUMMARIZE a", ["a"]),
        ("PIVOT a ON day USING sum(total)", ["a"]),
        ("EXPLAIN SELECT * FROM a", ["a"]),
        ("SELECT * FROM 'file.csv', \"b\"", ["b"]),
        ("SELECT a FROM b GROUP BY a, c HAVING d UNION SELECT e, f FROM g LIMIT 1", ["b", "g"]),
        ("FROM a ASOF JOIN b ON a.x >= b.x SEMI JOIN c USING (y)", ["a", "b", "c"]),
        ("SELECT [x FOR x IN y] FROM a ) FROM b", ["a", "b"]),
        ("", []),
    ],
)
def test_tables_are_what_stands_behind_from_and_join(sql: str, names: list[str]) -> None:
    assert named(sql) == names


def test_a_table_has_its_place() -> None:
    (table,) = table_names('SELECT 1\nFROM "a b"')
    assert (table.start, table.length) == (14, 5)


def queries(depth: int = 2) -> st.SearchStrategy[str]:
    """Return queries as DuckDB reads them, with the same few names for tables, columns, aliases and WITH."""
    name = st.sampled_from(NAMES)
    if depth:
        inner = queries(depth - 1)
        table = st.one_of(name, st.builds("({}) AS {}".format, inner, name), st.builds("{} AS {}".format, name, name))
        value = st.one_of(
            name, st.builds("(SELECT max({}) FROM {})".format, name, name), st.builds("extract(year FROM {})".format, name),
            st.just("'it''s FROM a'"), st.just("$$ FROM a $$"), st.builds("({} IS DISTINCT FROM {})".format, name, name),
        )  # fmt: skip
        ctes = st.lists(st.tuples(name, inner), max_size=2, unique_by=lambda cte: cte[0])
    else:
        table, value, ctes = name, name, st.just([])
    signs = st.sampled_from([", ", " CROSS JOIN ", " NATURAL JOIN ", " -- FROM b\n JOIN /* FROM c */ "])
    tables = st.builds(
        lambda first, sign, second: f"{first}{sign}{second}{' ON true' if '/*' in sign else ''}", table, signs, table
    )
    body = st.builds(
        lambda values, tables, rest: " ".join(["SELECT", ", ".join(values), "FROM", tables, rest]),
        st.lists(value, min_size=1, max_size=2),
        st.one_of(table, tables),
        st.sampled_from(["", "WHERE true ORDER BY 1", "GROUP BY ALL", "LIMIT 1"]),
    )
    return st.builds(_with, ctes, body)


def _with(ctes: list[tuple[str, str]], body: str) -> str:
    """Return a query with names for others, each of which it uses: DuckDB finds no tables in those that are not used."""
    if not ctes:
        return body
    given_names = ", ".join(f"{name} AS ({query})" for name, query in ctes)
    used = "".join(f", {name} AS used_{place}" for place, (name, _) in enumerate(ctes))
    return f"WITH {given_names} SELECT * FROM ({body}) AS own{used}"  # noqa: S608 no database is asked


@pytest.mark.property
@given(sql=queries())
def test_tables_are_those_that_duckdb_finds(sql: str) -> None:
    try:
        wanted = duckdb.connect().get_table_names(sql)
    except duckdb.Error:
        reject()  # Two aliases that are the same, say.
    assert set(named(sql)) == wanted


@given(st.text(alphabet="ab '\"`$-/*\n();,FROMWITHAS", max_size=60))
def test_any_text_is_read_to_its_end(text: str) -> None:
    table_names(text)
    count_statements(text)
    assert "".join(token.text for token in tokens_of(text)).split() == "".join(text).split() or any(
        character.isspace() for character in text
    )


@pytest.mark.parametrize(
    "text, count",
    [
        ("", 0),
        (" -- x\n", 0),
        ("SELECT 1", 1),
        ("SELECT 1;", 1),
        (" ; SELECT ';' ; -- ;\n /* ; */ ;", 1),
        ("SELECT 1; SELECT 2; SELECT 3", 2),
        ("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END;", 1),
        ("CREATE TABLE function (a int); DROP TABLE a", 2),
        ("DO $$ BEGIN a; b; END $$", 1),
    ],
)
def test_statements_are_counted(text: str, count: int) -> None:
    assert count_statements(text)[0] == count


def bound(source: str, **values: object) -> tuple[str, list[object]]:
    """Return a statement's text with `?` for its values, and these; `IN` and an empty list is told."""
    statement = render_statement(source, values)
    text = "".join(
        piece if isinstance(piece, str) else "<NOT IN ()>" if piece == NoItems(is_not=True) else "<IN ()>" if isinstance(piece, NoItems) else "?"
        for piece in statement.pieces
    )  # fmt: skip
    return text, [piece.value for piece in statement.pieces if isinstance(piece, Parameter)]


@pytest.mark.parametrize(
    "source, text, values",
    [
        ("a = {{ x }}", "a = ?", [5]),
        ("{{ x }}{% if x > 3 %} AND {{ 'y' }}{% endif %}", "? AND ?", [5, "y"]),
        ("{{ 1 if x else 2 }} {{ 3 if not x }}", "? ?", [1, None]),
        ("a IN {{ ids }}", "a IN (?, ?)", [1, 2]),
        ("a IN ({{ ids }})", "a IN (?, ?)", [1, 2]),
        ("a IN (0, {{ ids }}, {{ x }})", "a IN (0, ?, ?, ?)", [1, 2, 5]),
        ("ARRAY[{{ ids }}]", "ARRAY[?, ?]", [1, 2]),
        ("VALUES {{ ids }}", "VALUES (?, ?)", [1, 2]),
        ("a IN {{ [ids, ids] }}", "a IN ((?, ?), (?, ?))", [1, 2, 1, 2]),
        ("a IN {{ none_of }} OR b", "a <IN ()> OR b", []),
        ("a not  in ( {{ none_of }} ) OR b", "a <NOT IN ()> OR b", []),
        ("a IN {{ {'k': 1}.values() }}", "a IN (?)", [1]),
        ("a = {{ {'k': 1} }}", "a = ?", [{"k": 1}]),
        ("a -- {{ x }} ' \n = {{ x }} /* {{ x }} /* {{ x }} */ */", "a --  ' \n = ? /*  /*  */ */", [5]),
        ("{{ 'a' | raw }} = {{ x }}", "a = ?", [5]),
        ("{% for id in ids %}{{ id }}{{ ',' | raw if not loop.last else '' | raw }}{% endfor %}", "?,?", [1, 2]),
    ],
)
def test_values_are_bound(source: str, text: str, values: list[object]) -> None:
    assert bound(source, x=5, ids=[1, 2], none_of=[]) == (text, values)


@pytest.mark.parametrize(
    "source, message",
    [
        ("'{{ x }}'", "a value stands inside quotes"),
        ("'it''s {{ x }}'", "a value stands inside quotes"),
        ("E'\\' {{ x }}'", "a value stands inside quotes"),
        ("$a$ $$ {{ x }} $a$", "a value stands inside quotes"),
        ('"{{ x }}"', "a value stands inside a quoted name"),
        ("`{{ x }}`", "a value stands inside a quoted name"),
        ("t_{{ x }}", "a value stands in the middle of a word"),
        ("{{ x }}t", "a value stands in the middle of a word"),
        ("{% if x %}'{% endif %}{{ x }}{% if x %}'{% endif %}", "a value stands inside quotes"),
    ],
)
def test_where_nothing_can_be_bound_is_an_error_before_and_when_it_runs(source: str, message: str) -> None:
    assert message in [str(error) for error in check_quotes(source, Target.SQL)]
    with pytest.raises(ExpressionError, match=message):
        render_statement(source, {"x": 1})


def test_raw_that_opens_quotes_is_seen_when_it_runs() -> None:
    assert check_quotes("{{ q | raw }} {{ x }} '", Target.SQL) == []
    with pytest.raises(ExpressionError, match="inside quotes"):
        render_statement("{{ q | raw }} {{ x }} '", {"q": "'", "x": 1})


@pytest.mark.parametrize("source", ["a = {{ none_of }}", "IN (1, {{ none_of }})", "VALUES {{ none_of }}"])
def test_an_empty_list_stands_behind_in_only(source: str) -> None:
    with pytest.raises(ExpressionError, match="empty list") as caught:
        render_statement(source, {"none_of": []})
    assert "`IN {{ none_of }}`" in str(caught.value)


def test_arrays_and_columns_of_tables_are_lists() -> None:
    np, pd, pl = pytest.importorskip("numpy"), pytest.importorskip("pandas"), pytest.importorskip("polars")
    for ids in (np.array([1, 2]), pd.Series([1, 2]), pl.Series([1, 2])):
        assert bound("a IN {{ ids }}", ids=ids) == ("a IN (?, ?)", [1, 2])
    assert bound("a = {{ one }}", one=np.int64(3)) == ("a = ?", [3])


@given(st.text(), st.text(max_size=5))
def test_no_value_is_ever_a_part_of_the_text(value: str, other: str) -> None:
    text, values = bound("a = {{ x }} AND b IN {{ [x, y] }}", x=value, y=other)
    assert (text, values) == ("a = ? AND b IN (?, ?)", [value, value, other])


def uses_of(text: str, node: str) -> set[str]:
    workflow = parse_workflow(text)
    return {use.name for found in workflow.nodes if found.id == node for use in found.uses}


def test_a_table_is_a_reference_whatever_its_capitals() -> None:
    text = (
        "## Orders\n```expr\n1\n```\n## Total\n```expr\n1\n```\n## A\n```sql\nSELECT sum(x) AS total FROM ORDERS\n```\n"
    )
    assert uses_of(text, "a") == {"orders"}


def test_with_a_connection_tables_are_the_databases_own() -> None:
    text = "## Orders\n```expr\n1\n```\n## A\n- connection: sqlite://\n```sql\nSELECT * FROM orders\n```\n"
    assert uses_of(text, "a") == set()


def test_items_are_tables_and_duckdbs_own_are_no_nodes() -> None:
    text = "## Many\n```expr\n[1]\n```\n## A\n- foreach: many\n- as: part\n```sql\nSELECT * FROM part, duckdb_tables\n```\n"
    assert uses_of(text, "a") == {"many", "part"}
