"""Patterns that work with files: what each must give."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import flownb

Copy = Callable[[str], Path]
Complete = Callable[..., flownb.Run]

RSS = """<?xml version="1.0"?>
<rss version="2.0"><channel><title>News</title>
<item><title>Old</title><link>https://a.example/old</link><pubDate>Mon, 02 Nov 2026 10:00:00 GMT</pubDate></item>
<item><title>New &amp; good</title><link>https://a.example/new</link><pubDate>Fri, 20 Nov 2026 10:00:00 +0100</pubDate></item>
</channel></rss>
"""
ATOM = """<feed xmlns="http://www.w3.org/2005/Atom"><title>Blog</title>
<entry><title>Middle</title><link href="https://b.example/middle"/><updated>2026-11-10T08:00:00Z</updated></entry>
</feed>
"""
BOMB = (
    """<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;">]><rss><item><title>&lol2;</title></item></rss>"""
)


def test_file_to_file(completed: Complete, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("three little words\n")
    run = completed("file-to-file")
    assert (tmp_path / "site/page.md").read_text() == "# Notes\n\nthree little words\n\n3 words\n"
    assert gzip.decompress((tmp_path / "copies/notes.md.gz").read_bytes()) == b"three little words\n"
    assert run["page"] == {"path": "site/page.md", "bytes": 37}


def test_csv_to_json(completed: Complete, tmp_path: Path) -> None:
    (tmp_path / "sales").mkdir()
    (tmp_path / "sales/b.csv").write_text("day;pieces;price\n2026-11-02;1;2.5\n")
    (tmp_path / "sales/a.csv").write_bytes("\ufeffday,pieces,price\r\n2026-11-01,3,0.5\r\n2026-11-03,,\r\n".encode())
    completed("csv-to-json")
    rows = [
        {"table": "sales/a.csv", "day": "2026-11-01", "pieces": 3, "price": 0.5},
        {"table": "sales/a.csv", "day": "2026-11-03", "pieces": None, "price": None},
        {"table": "sales/b.csv", "day": "2026-11-02", "pieces": 1, "price": 2.5},
    ]
    assert json.loads((tmp_path / "sales.json").read_text()) == rows
    lines = gzip.decompress((tmp_path / "sales.jsonl.gz").read_bytes()).decode().splitlines()
    assert [json.loads(line) for line in lines] == rows


def test_csv_to_json_names_the_line_that_is_wrong(document: Copy, tmp_path: Path) -> None:
    (tmp_path / "sales").mkdir()
    (tmp_path / "sales/a.csv").write_text("day,pieces,price\n2026-11-01,many,0.5\n")
    run = flownb.run(document("csv-to-json"))
    assert run.errors[0].message == "sales/a.csv:2: 'pieces' is 'many', which is no int"
    assert not (tmp_path / "sales.json").exists()
    (tmp_path / "sales/a.csv").write_text("day,pieces,price\n2026-11-01,7,0.5\n")
    again = flownb.resume(run.id, tmp_path / ".flownb")
    assert again.status == "completed"
    assert json.loads((tmp_path / "sales.json").read_text())[0]["pieces"] == 7


def test_table_to_parquet(completed: Complete, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("customer,day,amount\nana,2026-11-01,1.5\nbo,2026-11-02,2\nana,2026-11-03,1\n")
    run = completed("table-to-parquet")
    frame = pd.read_parquet(tmp_path / "totals.parquet")
    assert frame.to_dict("records") == [{"customer": "ana", "amount": 2.5}, {"customer": "bo", "amount": 2.0}]
    orders = run["orders"]
    assert isinstance(orders, pd.DataFrame)
    assert str(orders["day"].dtype).startswith("datetime64")


def test_feed_to_digest_tells_each_entry_once_and_refuses_a_bomb(completed: Complete, tmp_path: Path) -> None:
    (tmp_path / "feeds").mkdir()
    (tmp_path / "feeds/a.xml").write_text(RSS)
    (tmp_path / "feeds/b.xml").write_text(ATOM)
    (tmp_path / "feeds/c.xml").write_text(BOMB)
    run = completed("feed-to-digest", most=2)
    assert (tmp_path / "digest.md").read_text() == (
        "# Digest\n\n- [New & good](https://a.example/new)\n- [Middle](https://b.example/middle)\n"
    )
    assert (tmp_path / "told.txt").read_text() == "https://a.example/new\nhttps://b.example/middle\n"
    assert run.nodes["entries[2]"].error is not None
    assert run.nodes["entries[2]"].error.message == "feeds/c.xml declares a document type, which no feed needs"

    completed("feed-to-digest", most=2)
    assert (tmp_path / "digest.md").read_text() == "# Digest\n\n- [Old](https://a.example/old)\n"
    completed("feed-to-digest", most=2)
    assert (tmp_path / "digest.md").read_text() == "# Digest\n\nNothing new.\n"
