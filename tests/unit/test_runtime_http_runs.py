"""Requests in runs: retries, pages that are kept, large bodies that go to the store, secrets."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

import flownb
from flownb.model.events import AttemptFailed, Event
from flownb.runtimes.http.failing import seconds_in
from flownb.store.journal import read_journal
from tests.web import Asked, Reply, Web, serving


@pytest.fixture
def web() -> Iterator[Web]:
    with serving() as server:
        yield server


def run(text: str, folder: Path, **more: object) -> flownb.Run:
    return flownb.run(flownb.parse(text), state_dir=folder / ".flownb", run_id="r1", **more)  # type: ignore[arg-type]


def written(folder: Path) -> bytes:
    """Return all that stands in any file of the state."""
    return b"\0".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# Retries.


@pytest.mark.parametrize("status, attempts", [(429, 3), (503, 3), (500, 3), (404, 1), (400, 1)])
def test_what_is_tried_again_by_default(web: Web, tmp_path: Path, status: int, attempts: int) -> None:
    web.answer = lambda _: Reply(status)
    made = run(f"## A\n\n- retry: {{max: 2, base: 1ms}}\n\n```http\nGET {web.url}/\n```", tmp_path)
    assert made.status == "failed"
    assert made.errors[0].type == "HttpStatusError"
    assert len(web.asked) == attempts


def test_a_connection_that_breaks_off_is_tried_again(web: Web, tmp_path: Path) -> None:
    web.answer = lambda _: Reply(body=b"x" * 99, cut=9) if len(web.asked) < 2 else Reply(body=[1])
    made = run(f"## A\n\n- retry: {{max: 1, base: 1ms}}\n\n```http\nGET {web.url}/\n```", tmp_path)
    assert made["a"] == [1]
    assert made.nodes["a"].attempts == 2


def test_all_attempts_of_a_post_have_one_idempotency_key(web: Web, tmp_path: Path) -> None:
    web.answer = lambda _: Reply(503) if len(web.asked) < 3 else Reply()
    text = f"## A\n\n- retry: {{max: 2, base: 1ms}}\n\n```http\nPOST {web.url}/\n\n{{{{ idempotency_key }}}}\n```"
    run(text, tmp_path)
    keys = [asked.header("Idempotency-Key") for asked in web.asked]
    assert len(keys) == 3
    assert set(keys) == {web.asked[0].body.decode()}


@pytest.mark.parametrize(
    "said, wait", [("0.2", None), ("7", 7.0), ("3600", 0.05), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)]
)
def test_retry_after_is_obeyed_up_to_the_cap(web: Web, tmp_path: Path, said: str, wait: float | None) -> None:
    web.answer = lambda _: Reply(429, headers={"Retry-After": said}) if len(web.asked) < 2 else Reply()
    events: list[Event] = []
    cap = "50ms" if wait == 0.05 else "10ms"
    text = f"## A\n\n- retry: {{max: 1, base: 5ms, jitter: none, cap: {cap}}}\n\n```http\nGET {web.url}/\n```"
    run(text, tmp_path, listen=events.append)
    waited = [event.wait_s for event in events if isinstance(event, AttemptFailed)]
    assert waited == [0.005 if wait is None else min(wait, 0.05 if wait == 0.05 else 0.01)]


def test_retry_after_as_a_count_or_a_date() -> None:
    now = datetime(2026, 11, 25, 10, tzinfo=UTC)
    assert seconds_in("120", now) == 120
    assert seconds_in(format_datetime(now + timedelta(seconds=90), usegmt=True), now) == 90
    assert seconds_in(format_datetime(now - timedelta(seconds=90), usegmt=True), now) == 0
    assert [seconds_in(text, now) for text in (None, "", "-5", "1.5", "٣", "tomorrow")] == [None] * 6


# Pages.

PAGES = """## Pages

- next: response.body.next
- extract: items
- retry: {{max: 5, base: 1ms}}

```http
GET {url}/pages/0?size=2
Authorization: Bearer abcdef
```
"""


SECRET = """---
secrets: [KEY]
---
## A

- next: response.body.next
- extract: path
- retry: {{max: 5, base: 1ms}}

```http
GET {url}/0?key={{{{ secrets.KEY | urlencode }}}}
```
"""


def paging(count: int, fails_at: int = -1) -> object:
    """Answer pages, each with the relative URL of the next one; one fails the first time."""
    failed: list[str] = []

    def answer(asked: Asked) -> Reply:
        number = int(asked.path.partition("?")[0].rpartition("/")[2])
        if number == fails_at and not failed:
            failed.append(asked.path)
            return Reply(503)
        following = f"/pages/{number + 1}" if number + 1 < count else None
        return Reply(body={"items": [number * 2, number * 2 + 1], "next": following})

    return answer


def test_pages_are_fetched_until_there_is_no_next_one(web: Web, tmp_path: Path) -> None:
    web.answer = paging(4)  # type: ignore[assignment]
    made = run(PAGES.format(url=web.url), tmp_path)
    assert made["pages"] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert web.paths == ["/pages/0?size=2", "/pages/1", "/pages/2", "/pages/3"]
    assert {asked.header("Authorization") for asked in web.asked} == {"Bearer abcdef"}
    assert web.connections == 1
    assert made.state.saved == {}


def test_an_attempt_goes_on_at_the_page_that_failed(web: Web, tmp_path: Path) -> None:
    web.answer = paging(5, fails_at=3)  # type: ignore[assignment]
    made = run(PAGES.format(url=web.url), tmp_path)
    assert made["pages"] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert [path.rpartition("/")[2] for path in web.paths] == ["0?size=2", "1", "2", "3", "3", "4"]
    assert made.nodes["pages"].attempts == 2


def test_every_page_is_on_the_disk_before_the_next_is_asked_for(web: Web, tmp_path: Path) -> None:
    kept: list[int] = []
    pages = paging(4)

    def answer(asked: Asked) -> Reply:
        journal = tmp_path / ".flownb/flow/r1/journal.jsonl"
        kept.append(sum(event.kind == "saved" for event in read_journal(journal)))
        return pages(asked)  # type: ignore[operator, no-any-return]

    web.answer = answer
    run(PAGES.format(url=web.url), tmp_path)
    assert kept == [0, 1, 2, 3]


def test_pages_by_link_header_with_the_whole_response(web: Web, tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(body=asked.path, headers={"Link": '</2>; rel="next"'} if asked.path == "/1" else {})

    web.answer = answer
    text = f"## A\n\n- next: response.links.next | default(none)\n- output: response\n\n```http\nGET {web.url}/1\n```\n\n## B\n\n```expr\na | map(attribute='body') | list\n```"
    assert run(text, tmp_path)["b"] == ["/1", "/2"]


def test_a_page_of_another_host_gets_no_credentials(web: Web, tmp_path: Path) -> None:
    with serving() as other:
        web.answer = lambda _: Reply(body={"next": f"{other.url}/2"})
        other.answer = lambda _: Reply(body={"next": None})
        text = f"## A\n\n- next: response.body.next\n- auth: {{type: bearer, token: abcdef}}\n\n```http\nGET {web.url}/1\nX-Key: abcdef\n```"
        assert run(text, tmp_path).status == "completed"
    assert web.asked[0].header("Authorization") == "Bearer abcdef"
    assert "abcdef" not in str(other.asked[0].headers)


@pytest.mark.parametrize("following, wrong", [("/1", "was there already"), (7, "is no URL"), ("mailto:a", "is no URL")])
def test_a_next_that_leads_nowhere_fails(web: Web, tmp_path: Path, following: object, wrong: str) -> None:
    web.answer = lambda _: Reply(body={"next": following})
    made = run(f"## A\n\n- next: response.body.next\n\n```http\nGET {web.url}/1\n```", tmp_path)
    assert wrong in made.errors[0].message


def test_pages_that_hold_a_secret_are_not_kept_and_the_crawl_goes_on(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sesame-open")

    web.answer = lambda asked: Reply(body={"path": asked.path, "next": None if asked.path == "/1" else "/1"})
    text = SECRET.format(url=web.url)
    made = run(text, tmp_path)
    assert made["a"] == ["/0?key=sesame-open", "/1"]
    assert b"sesame" not in written(tmp_path)
    assert "page 0 is not kept" in made.log


def test_a_next_url_with_a_secret_is_kept_without_it(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sesame+open")
    kept: list[bytes] = []

    def answer(asked: Asked) -> Reply:
        number = int(asked.path[1])
        kept.append(written(tmp_path))
        if number == 2 and len(web.asked) == 3:
            return Reply(503)
        following = f"/{number + 1}?key=sesame%2Bopen" if number < 3 else None
        return Reply(body={"path": asked.path[:2], "next": following})

    web.answer = answer
    made = run(SECRET.format(url=web.url), tmp_path)
    assert made["a"] == ["/0", "/1", "/2", "/3"]
    assert [path[:2] for path in web.paths] == ["/0", "/1", "/2", "/2", "/3"]
    assert web.paths[1:] == [f"/{number}?key=sesame%2Bopen" for number in (1, 2, 2, 3)]
    assert not any(b"sesame" in files for files in kept)


KILLED = """
import os, sys, flownb
text, folder = sys.argv[1], sys.argv[2]
run = flownb.resume("r1", state_dir=folder) if os.path.exists(folder) else flownb.run(flownb.parse(text), state_dir=folder, run_id="r1")
print(run.status)
"""


@pytest.mark.crash
@pytest.mark.timeout(120)
def test_a_crawl_of_200_pages_that_is_killed_goes_on_where_it_stopped(web: Web, tmp_path: Path) -> None:
    pages = paging(200)
    children: list[subprocess.Popen[str]] = []
    out = ""

    def answer(asked: Asked) -> Reply:
        number = int(asked.path.partition("?")[0].rpartition("/")[2])
        if (number, len(children)) in {(70, 1), (150, 2)}:
            children[-1].kill()
            children[-1].wait()
        return pages(asked)  # type: ignore[operator, no-any-return]

    web.answer = answer
    text, folder = PAGES.format(url=web.url), tmp_path / ".flownb"
    while not children or children[-1].returncode == -9:
        assert len(children) < 4
        children.append(
            subprocess.Popen([sys.executable, "-c", KILLED, text, str(folder)], stdout=subprocess.PIPE, text=True)
        )
        out, _ = children[-1].communicate(timeout=60)
    assert (out.strip(), len(children)) == ("completed", 3)
    numbers = [int(path.partition("?")[0].rpartition("/")[2]) for path in web.paths]
    assert numbers == [*range(71), *range(70, 151), *range(150, 200)]
    state = json.loads((folder / "flow/r1.json").read_text())
    assert state["nodes"]["pages"]["output"] == [[2 * number, 2 * number + 1] for number in range(200)]


# Large bodies.


def test_a_large_body_goes_to_the_store_and_comes_back_the_same(web: Web, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    web.answer = lambda _: Reply(body=content)
    text = f"## A\n\n```http\nGET {web.url}/\n```\n\n## B\n\n```python\nlen(a), a[:4]\n```"
    made = run(text, tmp_path)
    assert made["a"] == content
    assert made["b"] == (len(content), b"\x00\x01\x02\x03")
    assert made.nodes["a"].output["size"] == f"{len(content)} bytes"  # type: ignore[index, call-overload]
    again = run("## A\n\n```python\nbytes(range(256)) * 40_000\n```", tmp_path / "other")
    assert again.nodes["a"].output == made.nodes["a"].output, "equal values are stored as equal"


MEASURED = """
import resource, sys, flownb
run = flownb.run(flownb.parse(sys.argv[1]), state_dir=sys.argv[2], run_id="r1")
print(run.status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_large_body_is_not_held_in_memory(web: Web, tmp_path: Path) -> None:
    content = b"x" * (300 << 20)
    web.answer = lambda _: Reply(body=content)
    peaks: list[int] = []
    for text in (f"## A\n\n```http\nGET {web.url}/\n```", "## A\n\n```expr\n1\n```"):
        folder = tmp_path / str(len(peaks))
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, text, str(folder)], capture_output=True, text=True, check=True
        )
        status, peak = done.stdout.split()
        assert status == "completed"
        peaks.append(int(peak))
    assert peaks[0] - peaks[1] < 100


def test_a_large_body_that_is_cut_leaves_no_file(web: Web, tmp_path: Path) -> None:
    web.answer = lambda _: Reply(body=b"x" * 5_000_000, cut=4_000_000)
    made = run(f"## A\n\n```http\nGET {web.url}/\n```", tmp_path)
    assert made.errors[0].type == "NodeConnectionError"
    assert list((tmp_path / ".flownb/flow/r1/artifacts").glob("**/*")) == []


def test_a_large_body_with_a_secret_is_not_put(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sesame-open")
    for before in (65_530, 100_000, 131_066):
        content = b"x" * before + b"sesame-open" + b"y" * 200_000
        web.answer = lambda _, content=content: Reply(body=content)  # type: ignore[misc]
        text = f"---\nsecrets: [KEY]\n---\n## A\n\n```http\nGET {web.url}/{{{{ secrets.KEY | length }}}}\n```"
        folder = tmp_path / str(before)
        made = run(text, folder)
        assert "holds a secret and is too large" in made.errors[0].message
        assert b"sesame" not in written(folder)


def test_items_that_are_collected_need_their_body(web: Web, tmp_path: Path) -> None:
    web.answer = lambda _: Reply(body=b"x" * 100_000)
    text = f'## A\n\n- foreach: "[1, 2]"\n- collect: a | length\n\n```http\nGET {web.url}/{{{{ item }}}}\n```'
    assert run(text, tmp_path)["a"] == [100_000, 100_000]


# Secrets.


def test_nothing_of_a_request_shows_a_secret(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "sesame-open")
    web.answer = lambda asked: Reply(
        500 if asked.path.startswith("/bad") else 200, {"said": asked.path, "h": str(asked.headers)}
    )
    text = f"""---
secrets: [KEY]
---
## Good

- auth: {{type: basic, username: me, password: "{{{{ secrets.KEY }}}}"}}
- params: {{key: "{{{{ secrets.KEY }}}}"}}
- output: response

```http
GET {web.url}/good
X-Key: {{{{ secrets.KEY }}}}
```

## Bad

- params: {{sum: "{{{{ secrets.KEY | hash('sha256') }}}}"}}

```http
GET {web.url}/bad/{{{{ secrets.KEY }}}}
X-Key: {{{{ secrets.KEY }}}}
```
"""
    made = run(text, tmp_path)
    assert made.status == "failed"
    assert "sesame" in web.asked[0].path
    everything = written(tmp_path) + made.log.encode() + str(made.errors).encode()
    for form in (b"sesame", b"c2VzYW1l", b"bWU6c2VzYW1l"):
        assert form not in everything
    assert "?sum=" not in made.errors[0].message.partition(": ")[0]


def test_after_the_run_all_connections_are_closed(web: Web, tmp_path: Path) -> None:
    run(f"## A\n\n- foreach: range(4) | list\n- concurrency: 4\n\n```http\nGET {web.url}/{{{{ item }}}}\n```", tmp_path)
    assert web.connections > 0
    deadline = time.monotonic() + 5
    while web.open_connections and time.monotonic() < deadline:
        time.sleep(0.01)
    assert web.open_connections == 0
