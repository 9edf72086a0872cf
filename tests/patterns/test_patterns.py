"""The predecessor's published patterns in our format: values, order and side effects of each."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

import flownb
from flownb.model.decision import Request
from flownb.model.events import AttemptFailed, Event, NodeCompleted, NodeStarted
from tests.patterns.conftest import Site

Copy = Callable[[str], Path]
Complete = Callable[..., flownb.Run]


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_minimal_fetch(completed: Complete, site: Site) -> None:
    run = completed("minimal-fetch", base=site.base)
    assert run["article"] == {"id": 1, "title": "Article very very very 1"}
    assert run["title"] == "Article very very very 1"
    assert site.asked == ["/articles/1"]


def test_headers_and_auth(document: Copy, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_TOKEN", "open-sesame")
    path = document("headers-and-auth")
    run = flownb.run(path, {"base": site.base})
    assert run.outputs == {"name": "Ana (200)"}
    assert site.asked == ["/private/profile?fields=name&fields=mail&language=de"]
    headers = site.sent[0][2]
    assert (headers["accept"], headers["x-client"]) == ("application/json", "flownb headers-and-auth")
    assert not any(b"sesame" in file.read_bytes() for file in path.parent.rglob("*") if file.is_file())


def test_a_wrong_token_fails_without_showing_it(document: Copy, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SITE_TOKEN", "not-sesame")
    run = flownb.run(document("headers-and-auth"), {"base": site.base})
    assert run.status == "failed"
    said = run.errors[0].message
    assert said.startswith(f"401 Unauthorized from GET {site.base}/private/profile")
    assert said.endswith('{"error": "who are you?"}')
    assert "sesame" not in run.log


def test_post_and_put(completed: Complete, site: Site) -> None:
    title = 'He said "yes" & left\n'
    run = completed("post-and-put", base=site.base, title=title)
    assert run["draft"] == {"id": 7, "title": title, "tags": ["new", len(title)]}
    assert run["published"] == {"id": 7, "title": title, "state": "published"}
    assert [(method, path) for method, path, *_ in site.sent] == [("POST", "/notes"), ("PUT", "/notes/7")]
    assert ["idempotency-key" in headers for _, _, headers, _ in site.sent] == [True, False]


def test_pagination(completed: Complete, site: Site) -> None:
    run = completed("pagination", base=site.base)
    assert run["items"] == [0, 1, 2, 3]
    assert site.asked == ["/pages/0", "/pages/1", "/pages/2", "/pages/3"]


def test_multi_source_join(completed: Complete, site: Site) -> None:
    run = completed("multi-source-join", base=site.base)
    joined = run["joined"]
    assert isinstance(joined, list)
    assert [row["author"] for row in joined] == ["Ana", None, "Carl"]
    assert sorted(site.asked) == ["/authors", *["/flaky"] * 3]


def test_approval_before_a_post(document: Copy, site: Site) -> None:
    def decide(request: Request) -> flownb.Decision:
        assert [method for method, *_ in site.sent] == ["GET"]
        assert request.text == "Send “Article very very very 1” to the site?"
        return flownb.Decision(action="input", input="well done", by="ana")

    run = flownb.run(document("approval-before-post"), {"base": site.base}, decide=decide)
    assert run["send"] == {"id": 7, "title": "Article very very very 1", "note": "well done"}
    assert [method for method, *_ in site.sent] == ["GET", "POST"]


def test_nothing_is_posted_after_a_reject(document: Copy, site: Site) -> None:
    reject = flownb.Decision(action="reject", by="ana")
    run = flownb.run(document("approval-before-post"), {"base": site.base}, decide=lambda _: reject)
    assert run.status == "rejected"
    assert [method for method, *_ in site.sent] == ["GET"]


def test_error_handler_posts(document: Copy, site: Site) -> None:
    run = flownb.run(document("error-handler-posts"), {"base": site.base})
    assert run.status == "failed"
    assert [error.node for error in run.errors] == ["prices"]
    assert [(method, path) for method, path, *_ in site.sent] == [("GET", "/broken"), ("POST", "/notes")]
    said = f'500 Internal Server Error from GET {site.base}/broken: {{"error": "broken"}}'
    assert json.loads(site.sent[1][3]) == {"node": "prices", "type": "HttpStatusError", "said": said, "run": run.id}


def test_read_transform_write(completed: Complete, tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("name,age\n ana ,31\nbo,\nCARL,44\n")
    run = completed("read-transform-write")
    assert run["rows"] == [{"name": " ana ", "age": "31"}, {"name": "bo", "age": ""}, {"name": "CARL", "age": "44"}]
    text = (tmp_path / "out/people.json").read_text()
    assert json.loads(text) == [{"name": "Ana", "age": 31}, {"name": "Carl", "age": 44}]
    assert run.outputs == {"write": {"path": "out/people.json", "bytes": len(text)}}


def test_multi_step_pipeline(completed: Complete) -> None:
    run = completed("multi-step")
    assert run["in_order"] == [1, 2, 3]
    assert run["doubled"] == [2, 4, 6]
    assert [run[f"doubled[{index}]"] for index in range(3)] == [2, 4, 6]
    assert run.outputs == {"report": "3 numbers, doubled: 2, 4, 6; total 12"}


@pytest.mark.parametrize("who", ["Ana", "{{ 7 * 7 }}", "'; touch broken; echo '", '{"$type": "run"}'])
def test_templates_put_in_values_and_never_read_them_as_templates(
    completed: Complete, tmp_path: Path, who: str
) -> None:
    run = completed("templates", who=who)
    assert run["letter"] == f"Dear **{who.upper()}**,\n- a\n- b\n\n{who}"
    assert run["shell"] == who
    assert run["data"] == {"who": who, "count": 2}
    assert run["kept_type"] == ["a", "b"]
    assert not (tmp_path / "broken").exists()


@pytest.mark.parametrize(
    "score, verdict, trace, skipped", [(0.9, "publish", "good", "bad"), (0.1, "rework", "bad", "good")]
)
def test_if_else_runs_one_body_and_not_the_other(
    completed: Complete, tmp_path: Path, score: float, verdict: str, trace: str, skipped: str
) -> None:
    run = completed("if-else", score=score)
    assert run["after"] == f"verdict: {verdict}"
    assert lines_of(tmp_path / "trace.txt") == [trace]
    assert run.nodes[skipped].status == "skipped"


@pytest.mark.parametrize(
    "kind, routed, ran",
    [
        ("bug", "LABEL: BUG", "bug"),
        ("question", "label: question", "question"),
        ("idea", "label: none of idea", "other"),
    ],
)
def test_router_takes_the_first_that_fits_else_the_default(
    completed: Complete, kind: str, routed: str, ran: str
) -> None:
    run = completed("router", kind=kind)
    assert run["routed"] == routed
    assert [name for name in ("bug", "question", "other") if run.nodes[name].status == "completed"] == [ran]


def test_fixed_loop_runs_its_body_each_round(completed: Complete, tmp_path: Path) -> None:
    run = completed("fixed-loop")
    assert run["result"] == (0 + 1 + 2 + 3 + 4) * 10
    assert lines_of(tmp_path / "trace.txt") == ["0", "1", "2", "3", "4"]
    assert [run[f"subtotal{{{number}}}"] for number in range(5)] == [0, 1, 3, 6, 10]


def test_poll_asks_until_the_server_is_ready(completed: Complete, site: Site) -> None:
    run = completed("poll-until", base=site.base)
    assert run["result"] == 42
    assert site.asked == ["/jobs", *["/job"] * (site.polls_needed + 1)]
    assert {headers["x-job"] for _, path, headers, _ in site.sent if path == "/job"} == {"7"}
    assert run.nodes["job"].count == site.polls_needed + 1


def test_poll_that_is_never_ready_fails(document: Copy, site: Site) -> None:
    site.polls_needed = 99
    run = flownb.run(document("poll-until"), {"base": site.base})
    assert run.status == "failed"
    assert [error.node for error in run.errors] == ["job"]
    assert site.asked == ["/jobs", *["/job"] * 10]
    assert run.nodes["result"].status == "pending"


def test_loop_ends_where_its_body_says_so(completed: Complete, tmp_path: Path) -> None:
    run = completed("loop-with-break", stop_at=10)
    assert run["found"] == 16
    assert lines_of(tmp_path / "trace.txt") == ["0", "1", "4", "9", "16"]


def test_foreach_in_turn_keeps_the_order_and_runs_one_at_a_time(completed: Complete, site: Site) -> None:
    run = completed("foreach-in-turn", base=site.base)
    assert site.asked == [f"/articles/{number}" for number in range(1, 6)]
    assert site.most_at_once == 1
    fetched = run["fetched"]
    assert isinstance(fetched, list)
    assert [(item["index"], item["id"]) for item in fetched] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]
    assert run["titles"] == [item["title"] for item in fetched]


def test_foreach_with_a_limit_reaches_it_and_never_passes_it(completed: Complete, site: Site) -> None:
    run = completed("foreach-with-limit", base=site.base)
    assert site.most_at_once == 3
    assert sorted(site.asked) == sorted(f"/meet/3/{number}" for number in range(1, 10))
    titles = run["articles"]
    assert isinstance(titles, list)
    assert [title.rpartition(" ")[2] for title in titles] == [str(number) for number in range(1, 10)]
    assert run["count"] == 9


def test_parallel_branches_really_run_at_once(completed: Complete, site: Site) -> None:
    run = completed("parallel-branches", base=site.base)
    assert run["together"] == {"left": 1, "middle": 2, "right": 3}
    assert site.most_at_once == 3


def test_parallel_pipelines_are_merged(completed: Complete, site: Site) -> None:
    run = completed("parallel-pipelines", base=site.base)
    assert run["merged"] == {"orders": 10, "clients": 200}
    assert site.most_at_once == 2


def test_checkpoint_gates_what_takes_nothing_of_it(document: Copy, tmp_path: Path) -> None:
    asked: list[Request] = []

    def decide(request: Request) -> flownb.Decision:
        asked.append(request)
        assert not (tmp_path / "published.txt").exists()
        return flownb.Decision(action="input", input="go on", by="ana")

    run = flownb.run(document("checkpoint-approval"), decide=decide)
    assert run.status == "completed"
    assert [request.text for request in asked] == ["Publish *A draft*?"]
    assert asked[0].values == {"draft | length": 7}
    assert run["note"] == "go on"
    assert run.decisions["review"].by == "ana"
    assert (tmp_path / "published.txt").read_text() == "published\n"


def test_a_reject_stops_all_that_is_below(document: Copy, tmp_path: Path) -> None:
    run = flownb.run(document("checkpoint-approval"), decide=lambda _: flownb.Decision(action="reject", by="ana"))
    assert run.status == "rejected"
    assert run.nodes["publish"].status == "pending"
    assert not (tmp_path / "published.txt").exists()


def test_checkpoint_left_open_waits_and_goes_on_in_a_resume(document: Copy, tmp_path: Path) -> None:
    run = flownb.run(document("checkpoint-approval"), decide=lambda _: None)
    assert run.status == "waiting"
    assert not (tmp_path / "published.txt").exists()
    state = tmp_path / ".flownb"
    again = flownb.resume(run.id, state_dir=state, decide=lambda _: flownb.Decision(action="approve", by="bo"))
    assert again.status == "completed"
    assert again["note"] is None
    assert (tmp_path / "published.txt").exists()


def test_checkpoint_with_timeout_takes_its_default(document: Copy) -> None:
    run = flownb.run(document("checkpoint-timeout"), decide=_only_looks)
    assert run.status == "completed"
    assert run["escalate"] == "nobody answered: reject by default"
    assert run.decisions["ask"].timed_out
    assert run.nodes["thank"].status == "skipped"


def _only_looks(request: Request) -> None:
    """Wait, as a person at a prompt does, until the time is over."""
    while not request.is_settled():
        time.sleep(0.005)


def test_checkpoint_with_timeout_answered_in_time(document: Copy) -> None:
    run = flownb.run(document("checkpoint-timeout"), decide=lambda _: flownb.Decision(action="approve"))
    assert run["thank"] == "thank you"
    assert run.nodes["escalate"].status == "skipped"


def test_fallback_to_a_cache_after_all_attempts(document: Copy, site: Site, tmp_path: Path) -> None:
    (tmp_path / "prices.json").write_text('{"tea": 2, "rice": 3}')
    events: list[Event] = []
    run = flownb.run(document("fallback-to-cache"), {"base": site.base}, listen=events.append)
    assert run.status == "completed"
    assert site.asked == ["/prices"] * 3
    assert run["prices"] == {"tea": 2, "rice": 3}
    assert run.nodes["prices"].attempts == 3
    assert run["total"] == 5
    assert run.nodes["prices"].fallback == "cached_prices"
    assert [event.wait_s for event in events if isinstance(event, AttemptFailed)] == [0.005, 0.005]


def test_error_handler_runs_once_and_nothing_after_the_failure(document: Copy, tmp_path: Path) -> None:
    run = flownb.run(document("error-handler"))
    assert run.status == "failed"
    assert [error.node for error in run.errors] == ["broken"]
    assert (tmp_path / "failure.txt").read_text() == "broken: exit code 3: no such record\n"
    assert not (tmp_path / "trace.txt").exists()
    assert run["before"] == "fine"


def test_error_handler_does_not_run_when_nothing_fails(document: Copy, tmp_path: Path) -> None:
    path = document("error-handler")
    path.write_text(path.read_text().replace("exit 3", "echo ok"))
    run = flownb.run(path)
    assert run.status == "completed"
    assert not (tmp_path / "failure.txt").exists()


def test_resume_repeats_only_what_was_not_done(document: Copy, tmp_path: Path) -> None:
    run = flownb.run(document("resume"))
    assert run.status == "failed"
    assert lines_of(tmp_path / "trace.txt") == ["load", "check"]
    (tmp_path / "ready").touch()
    again = flownb.resume(run.id, state_dir=tmp_path / ".flownb")
    assert again.status == "completed"
    assert again.id == run.id
    assert again["items"] == [number * number for number in range(21)]
    assert lines_of(tmp_path / "trace.txt") == ["load", "check", "check", *(f"item {number}" for number in range(21))]


def test_dashboard_is_made_although_a_source_is_down(completed: Complete, site: Site) -> None:
    run = completed("dashboard", base=site.base)
    assert run.outputs == {
        "page": "# Dashboard\n\n- Article very very very 1\n- not available\n- Article " + "very " * 9 + "3",
        "down": 1,
    }
    assert sorted(site.asked) == ["/articles/1", "/articles/3", "/broken"]
    assert run.nodes["sources[1]"].status == "failed"


def test_etl(completed: Complete, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text("name,amount\ntea,2.5\nrice,n/a\ntea,3.5\nsalt,0.5\n")
    run = completed("etl", minimum=1)
    assert run.outputs == {"loaded": 1, "refused": 1}
    assert (tmp_path / "refused.csv").read_text() == "name,amount\nrice,\n"
    with sqlite3.connect(tmp_path / "orders.db") as database:
        assert database.execute("select * from orders").fetchall() == [("tea", 3.5)]
    database.close()


def shop(path: Path, script: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)


def test_database_to_report(completed: Complete, tmp_path: Path) -> None:
    shop(
        tmp_path / "shop.db",
        """
        CREATE TABLE orders (customer TEXT, product TEXT, amount REAL, year INTEGER);
        INSERT INTO orders VALUES ('ana', 'tea', 2.5, 2026), ('bo', 'salt', 9, 2026), ('ana', 'tea', 8, 2026), ('bo', 'tea', 99, 2025);
        """,
    )
    run = completed("database-to-report", year=2026)
    assert run.outputs["report"] == (
        "# 2026\n\n| Product | Orders | Total |\n|---|---|---|\n| tea | 2 | 10.50 |\n| salt | 1 | 9.00 |\n\nBest customer: **ana**"
    )
    assert completed("database-to-report", year=1999).nodes["report"].status == "skipped"


def test_report_to_database_all_or_nothing(document: Copy, tmp_path: Path) -> None:
    path = document("report-to-database")
    failed = flownb.run(path, {"report": "- ana: 3\n- bo: -1"})
    assert failed.status == "failed"
    assert "CHECK constraint failed" in failed.errors[0].message
    with closing(sqlite3.connect(tmp_path / "reports.db")) as database:
        assert database.execute("SELECT * FROM scores").fetchall() == []
    made = flownb.run(path, {"report": "# Scores\n- ana: 3\n- bo'; DROP TABLE scores; --: 5\n"})
    assert made.outputs["kept"] == [{"name": "bo'; DROP TABLE scores; --", "score": 5}, {"name": "ana", "score": 3}]


def test_tables_joined(completed: Complete, tmp_path: Path) -> None:
    shop(
        tmp_path / "crm.db",
        "CREATE TABLE customers (id INTEGER, name TEXT); INSERT INTO customers VALUES (1, 'ana'), (2, 'bo'), (3, 'cy');",
    )
    lines = [{"customer": 2, "amount": 10, "currency": "USD"}, {"customer": 1, "amount": 5, "currency": "EUR"}]
    (tmp_path / "payments.jsonl").write_text("".join(json.dumps(line) + "\n" for line in [*lines, lines[1]]))
    run = completed("tables-joined")
    assert run.outputs["joined"] == [
        {"name": "ana", "total": 10.0},
        {"name": "bo", "total": 9.0},
        {"name": "cy", "total": 0.0},
    ]


def test_refinement_ends_when_it_is_good_enough(completed: Complete, tmp_path: Path) -> None:
    run = completed("refinement")
    assert run["root"] == 1.414214
    assert lines_of(tmp_path / "trace.txt") == ["1.5000", "1.4167", "1.4142", "1.4142"]
    assert run.nodes["refine"].count == 4


def test_full_content_pipeline(document: Copy, site: Site, tmp_path: Path) -> None:
    order: list[tuple[str, str]] = []
    asked: list[Request] = []

    def listen(event: Event) -> None:
        if isinstance(event, NodeStarted | NodeCompleted) and event.key in {"articles", "score", "review", "publish"}:
            order.append(("start" if isinstance(event, NodeStarted) else "end", event.key))

    def decide(request: Request) -> flownb.Decision:
        asked.append(request)
        return flownb.Decision(action="input", input="well done", by="ana")

    run = flownb.run(document("content-pipeline"), {"base": site.base}, decide=decide, listen=listen)
    assert run.status == "completed", run.errors
    assert site.asked == ["/flaky"] * 3
    assert run.nodes["articles"].attempts == 3
    best = run["best"]
    assert isinstance(best, list)
    assert [article["id"] for article in best] == [3, 2, 1]
    assert run["write"] == [f"{article['title'].upper()}: read on" for article in best]
    polished = run["polish"]
    assert isinstance(polished, str)
    assert polished == " / ".join(f"{article['title'].upper()}: read on" for article in best)[:60]
    assert lines_of(tmp_path / "site.txt") == [polished]
    assert asked[0].text == f"Publish 3 articles as “{polished}”?"
    assert run.outputs == {
        "published": {"path": "site.txt", "bytes": (tmp_path / "site.txt").stat().st_size},
        "note": "well done",
    }
    assert order.index(("end", "review")) < order.index(("start", "publish"))
    assert order[-1] == ("end", "publish")
    assert not (tmp_path / "failures.log").exists()
