"""Bodies on a real Dask cluster: values, errors, timeouts and cancelling come back as they do from here."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from distributed import Client, Event, LocalCluster

import flownb
from flownb.errors import NodeError
from flownb.executors import dask
from flownb.executors.dask import ADDRESS, DaskExecutor
from flownb.executors.payload import pack_body
from flownb.model import events as e
from flownb.runtimes.base import Printed
from flownb.runtimes.frames import person_frames, person_place
from flownb.runtimes.python import PythonBody

T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, silence_logs=logging.CRITICAL
    ) as made:
        yield made


@pytest.fixture
def client(cluster: LocalCluster) -> Iterator[Client]:
    """Return a Client as a notebook has one: nothing is told of it."""
    with Client(cluster) as made:
        made.wait_for_workers(2, timeout=60)
        yield made


@pytest.fixture
def executor(client: Client) -> Iterator[DaskExecutor]:
    made = DaskExecutor()
    yield made
    made.close()


def body(source: str, **values: object) -> PythonBody:
    """Return a body whose first line is line 10 of In[7]."""
    return PythonBody(source, "In[7]", 10, values)


def nobody(_: Printed) -> None:
    """Take what a body prints."""


def go(executor: DaskExecutor, source: str, **values: object) -> object:
    return asyncio.run(executor.run(body(source, **values), nobody))


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 What is waited for is in another process.
        await asyncio.sleep(0.005)


async def ended(task: asyncio.Task[T]) -> bool:
    """Cancel a task and return whether it says so."""
    task.cancel()
    done = await asyncio.gather(task, return_exceptions=True)
    return isinstance(done[0], asyncio.CancelledError)


def noting(path: Path, source: str) -> str:
    """Return a body that adds a line to a file, and then does something."""
    return f"import os, time\nwith open({str(path)!r}, 'a') as file:\n    print(os.getpid(), file=file)\n{source}"


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


# Values, output and errors.


def test_a_body_runs_on_a_worker_and_its_value_comes_back(executor: DaskExecutor) -> None:
    value = go(executor, "import os\n(os.getpid(), f(x))", x=2, f=lambda x: x + 40)
    assert isinstance(value, tuple)
    assert value[0] != os.getpid()
    assert value[1] == 42


def test_a_body_that_awaits_is_awaited_there(executor: DaskExecutor) -> None:
    assert asyncio.run(executor.run_async(body("import asyncio\nawait asyncio.sleep(0)\nx", x=5).begin, nobody)) == 5


def test_large_values_go_there_and_back_without_a_warning(executor: DaskExecutor) -> None:
    assert go(executor, "data[::-1]", data=b"ab" * 6_000_000) == b"ba" * 6_000_000


def test_what_a_body_prints_comes_back_in_order_and_only_its_own(executor: DaskExecutor) -> None:
    async def printed_by(n: int) -> list[Printed]:
        seen: list[Printed] = []
        source = "import sys, time\nprint('a', n)\ntime.sleep(0.05)\nprint('b', n)\nprint('c', file=sys.stderr)"
        await executor.run(body(source, n=n), seen.append)
        return seen

    async def scenario() -> list[list[Printed]]:
        return await asyncio.gather(*(printed_by(n) for n in range(4)))

    seen = asyncio.run(scenario())
    assert seen == [[Printed("stdout", f"a {n}\nb {n}\n"), Printed("stderr", "c\n")] for n in range(4)]


def test_an_error_comes_back_with_its_type_and_the_lines_of_the_cell(executor: DaskExecutor) -> None:
    source = "def f(row):\n    return row['b'] + 1\n\nf({})"
    with pytest.raises(KeyError) as there:
        go(executor, source)
    with pytest.raises(KeyError) as here:
        body(source)()
    assert person_place(there.value) == "In[7]:11"
    assert person_frames(there.value) == person_frames(here.value)


def test_exit_in_a_body_fails_its_node_and_ends_no_worker(executor: DaskExecutor, client: Client) -> None:
    before = set(client.scheduler_info()["workers"])
    with pytest.raises(NodeError, match="the body raised SystemExit: 3"):
        go(executor, "raise SystemExit(3)")
    assert set(client.scheduler_info()["workers"]) == before


def test_what_cannot_be_sent_is_named(executor: DaskExecutor) -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(NodeError, match=r"^`db`, a `sqlite3\.Connection`, cannot be sent to another process"):
        go(executor, "db", db=connection)
    connection.close()


# Stopping.


def until_stopped(folder: Path, source: str) -> PythonBody:
    """Return a body that says that it began, and that it was stopped."""
    lines = (
        "import asyncio, time\ntry:",
        f"    open({str(folder / 'began')!r}, 'w').close()",
        f"    {source}",
        f"finally:\n    open({str(folder / 'stopped')!r}, 'w').close()",
    )
    return body("\n".join(lines))


@pytest.mark.parametrize("source", ["while True: pass", "while True: time.sleep(0.01)", "await asyncio.sleep(60)"])
def test_cancelling_stops_a_body_on_its_worker(executor: DaskExecutor, tmp_path: Path, source: str) -> None:
    stops = until_stopped(tmp_path, source)

    async def scenario() -> bool:
        running = executor.run_async(stops.begin, nobody) if stops.is_async else executor.run(stops, nobody)
        task = asyncio.create_task(running)
        await until((tmp_path / "began").exists)
        return await ended(task)

    assert asyncio.run(scenario())
    assert (tmp_path / "stopped").exists()
    assert go(executor, "1") == 1


def test_a_body_that_had_to_wait_for_a_worker_never_begins_when_it_was_cancelled(
    executor: DaskExecutor, tmp_path: Path
) -> None:
    seen: list[Printed] = []

    async def scenario() -> None:
        long = "while not os.path.exists(go): time.sleep(0.005)"
        busy = [
            asyncio.create_task(executor.run(body(noting(tmp_path / "busy", long), go=str(tmp_path / "go")), nobody))
            for _ in range(4)
        ]
        await until(lambda: len(lines_of(tmp_path / "busy")) == 4)
        waiting = asyncio.create_task(executor.run(body(noting(tmp_path / "began", "1")), seen.append))
        await asyncio.sleep(0.2)
        assert await ended(waiting)
        (tmp_path / "go").touch()
        await asyncio.gather(*busy)

    asyncio.run(scenario())
    go(executor, "1")
    assert lines_of(tmp_path / "began") == []
    assert seen == []  # Nothing of a body that could not be stopped.


def test_a_body_that_a_worker_takes_after_it_was_stopped_does_not_begin(client: Client, tmp_path: Path) -> None:
    task = dask._Task()
    task._client, task._future = client, client.submit(int, pure=False)
    task._stop_there()
    payload = pack_body(body(noting(tmp_path / "began", "1")), is_async=False)
    client.submit(dask.perform, payload, task.key, pure=False).result()
    Event(task.key, client=client).clear()
    assert lines_of(tmp_path / "began") == []


def test_a_body_whose_worker_dies_has_failed_and_is_not_moved_to_another(
    executor: DaskExecutor, tmp_path: Path
) -> None:
    with pytest.raises(NodeError) as caught:
        go(executor, noting(tmp_path / "began", "os._exit(3)"))
    assert caught.value.message == "the Dask worker that ran the body died"
    assert len(lines_of(tmp_path / "began")) == 1


# Which cluster.


def test_an_asynchronous_client_serves_as_long_as_its_loop_does(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> object:
        async with Client(cluster.scheduler_address, asynchronous=True):
            value = await DaskExecutor().run(body("1"), nobody)
            monkeypatch.setattr(dask, "_ANSWERS_S", 0.05)
            with (
                ThreadPoolExecutor() as pool,
                pytest.raises(NodeError, match=r"event loop did not answer within 0\.05 s"),
            ):
                pool.submit(go, DaskExecutor(), "1").result()  # This loop waits, as a notebook's does.
            return value

    assert asyncio.run(scenario()) == 1


def test_without_a_cluster_it_says_how_to_start_one() -> None:
    with pytest.raises(NodeError) as caught:
        go(DaskExecutor(), "1")
    assert caught.value.message == "`executor: dask` finds no Dask cluster"
    assert "client = Client()" in caught.value.hint
    assert ADDRESS in caught.value.hint


def test_the_address_in_the_environment_is_used_and_let_go_of(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS, cluster.scheduler_address)
    executor = DaskExecutor()
    assert go(executor, "import os\nos.getpid()") != os.getpid()
    assert executor._own is not None
    name = executor._own.id
    assert name in cluster.scheduler.clients
    executor.close()
    executor.close()
    wait_for(lambda: name not in cluster.scheduler.clients)


def test_nothing_of_a_body_stays_on_the_scheduler(executor: DaskExecutor, cluster: LocalCluster) -> None:
    go(executor, "1")
    assert not cluster.scheduler.extensions["events"]._events
    wait_for(lambda: not [key for key in cluster.scheduler.tasks if str(key).startswith("flownb-")])


def test_an_address_where_nobody_answers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ADDRESS, "nowhere://x")
    with pytest.raises(NodeError, match="no Dask scheduler answers at 'nowhere://x'") as caught:
        go(DaskExecutor(), "1")
    assert ADDRESS in caught.value.hint


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(NodeError) as caught:
        go(DaskExecutor(), "1")
    assert caught.value.message == "`executor: dask` needs distributed, which is not installed"
    assert caught.value.hint == "pip install 'flownb[dask]', or set `executor: thread`"


# As a person writes it.


@pytest.fixture
def run(client: Client, state_dir: Path) -> Callable[..., flownb.Run]:
    """Run a document."""
    return partial(_run, state_dir)


def _run(state_dir: Path, text: str, listen: Callable[[e.Event], None] | None = None) -> flownb.Run:
    return flownb.run(flownb.parse(text), state_dir=state_dir, listen=listen)


def node(source: str, *properties: str, name: str = "A") -> str:
    listed = "".join(f"- {line}\n" for line in ("executor: dask", *properties))
    return f"## {name}\n{listed}\n```python\n{source}\n```\n\n"


def test_a_foreach_on_the_cluster_gives_its_values_in_order(run: Callable[..., flownb.Run]) -> None:
    squares = node("import os\nprint('item', item)\n(item * item, os.getpid())", "foreach: range(8)", "concurrency: 4")
    made = run(squares + "## Total\n\n```python\nsum(n for n, pid in a)\n```\n")
    assert made["total"] == 140
    rows = made["a"]
    assert isinstance(rows, list)
    assert [n for n, pid in rows] == [n * n for n in range(8)]
    assert os.getpid() not in {pid for n, pid in rows}


def test_a_timeout_stops_the_body_and_fails_the_node(run: Callable[..., flownb.Run], tmp_path: Path) -> None:
    source = f"import time\ntry:\n    while True: time.sleep(0.01)\nfinally:\n    open({str(tmp_path / 'stopped')!r}, 'w').close()"
    failure = run(node(source, "timeout: 1s")).errors[0]
    assert (failure.type, failure.message) == ("NodeTimeoutError", "it took longer than 1 s and was stopped")
    assert (tmp_path / "stopped").exists()


def test_an_error_names_the_line_of_the_document_and_is_retried(run: Callable[..., flownb.Run], tmp_path: Path) -> None:
    events: list[e.Event] = []
    source = noting(tmp_path / "began", "raise ConnectionResetError('gone')")
    failure = run(node(source, "retry: {max: 1, base: 1ms, on: ConnectionError}"), listen=events.append).errors[0]
    assert (failure.type, failure.message, failure.attempts) == ("ConnectionResetError", "gone", 2)
    assert failure.place.endswith(":9")
    assert "    raise ConnectionResetError('gone')\n" in failure.traceback
    assert sum(isinstance(event, e.AttemptFailed) for event in events) == 1
    assert len(lines_of(tmp_path / "began")) == 2


def test_cancelling_a_run_stops_its_bodies(run: Callable[..., flownb.Run], tmp_path: Path, state_dir: Path) -> None:
    workflow = flownb.parse(node(noting(tmp_path / "began", "while True: time.sleep(0.01)")))

    async def scenario() -> None:
        task = asyncio.create_task(flownb.run_async(workflow, state_dir=state_dir))
        await until(lambda: lines_of(tmp_path / "began"))
        assert await ended(task)

    asyncio.run(scenario())
    made = flownb.show("last", state_dir)
    assert (made.status, made.nodes["a"].status) == ("cancelled", "cancelled")
    assert psutil.pid_exists(int(lines_of(tmp_path / "began")[0]))
    assert run(node("7")).outputs == {"a": 7}


@pytest.mark.usefixtures("client")
def test_what_a_body_saves_there_is_kept_here(tmp_path: Path) -> None:
    text = """# Doc

## Train

- executor: dask
- retry: {max: 2, base: 1ms}

```python
started = saved.get("epoch", -1) + 1
for epoch in range(started, 6):
    saved["epoch"] = epoch
    if epoch == 3 and "failed" not in saved:
        saved["failed"] = True
        raise ValueError("once")
try:
    saved["f"] = open
    refused = ""
except Exception as error:
    refused = str(error).split(":")[0]
[started, refused]
```
"""
    made = flownb.run(flownb.parse(text), state_dir=tmp_path)

    assert made["train"] == [4, "saved['f'] cannot be stored"]
