"""Bodies in processes of their own: real ones, and really killed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

import psutil
import pytest

import flownb
from flownb.errors import NodeError
from flownb.executors.base import Executor
from flownb.executors.interrupt import ThreadInterrupt
from flownb.executors.local import MainExecutor
from flownb.executors.lookup import Executors
from flownb.executors.payload import ELSEWHERE, carry_out, open_outcome, pack_body
from flownb.executors.process import ProcessExecutor
from flownb.model.events import AttemptFailed, Event
from flownb.model.policy import ExecutorName
from flownb.model.record import Record
from flownb.runtimes.base import Printed
from flownb.runtimes.frames import person_frames, person_place
from flownb.runtimes.python import PythonBody
from tests.runs import line_of, process

T = TypeVar("T")
Play = Callable[[Callable[[ProcessExecutor], Coroutine[object, object, object]]], object]


def body(source: str, **values: object) -> PythonBody:
    """Return a body whose first line is line 10 of In[7]."""
    return PythonBody(source, "In[7]", 10, values)


def nobody(_: Printed) -> None:
    """Take what a body prints."""


def is_there(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], object]) -> None:
    while not condition():
        time.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 What is waited for is in another process.
        await asyncio.sleep(0.005)


@pytest.fixture
def executor() -> Iterator[ProcessExecutor]:
    made = ProcessExecutor()
    yield made
    made.close()


def go(executor: ProcessExecutor, source: str, **values: object) -> object:
    return asyncio.run(executor.run(body(source, **values), nobody))


async def ended(task: asyncio.Task[T]) -> bool:
    """Cancel a task and return whether it says so."""
    task.cancel()
    done = await asyncio.gather(task, return_exceptions=True)
    return isinstance(done[0], asyncio.CancelledError)


# Values.


def test_a_body_runs_in_another_process_and_its_value_comes_back(executor: ProcessExecutor) -> None:
    value = go(
        executor, "import os\n(os.getpid(), rows[0].name, f(2))", rows=[Record({"name": "a"})], f=lambda x: x + 40
    )
    assert isinstance(value, tuple)
    assert value[0] != os.getpid()
    assert value[1:] == ("a", 42)


def test_bodies_one_after_another_share_a_process_and_none_of_their_names(executor: ProcessExecutor) -> None:
    first = go(executor, "import os\nkept = 1\nos.getpid()")
    assert go(executor, "import os\n(os.getpid(), 'kept' in globals())") == (first, False)


def test_bodies_at_the_same_time_have_a_process_each(executor: ProcessExecutor, tmp_path: Path) -> None:
    meet = (
        "import os, pathlib, time\nhere = pathlib.Path(folder)\n(here / str(os.getpid())).touch()\n"
        "while len(list(here.iterdir())) < 3: time.sleep(0.005)\nos.getpid()"
    )

    async def scenario() -> list[object]:
        return await asyncio.gather(*(executor.run(body(meet, folder=str(tmp_path)), nobody) for _ in range(3)))

    assert len(set(asyncio.run(scenario()))) == 3


def test_a_class_typed_in_a_notebook_is_the_same_class_when_it_comes_back(executor: ProcessExecutor) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    exec("class Score:\n    def __init__(self, n): self.n = n", names)  # noqa: S102 As a notebook does.
    score = go(executor, "Score(7)", Score=names["Score"])
    assert type(score) is names["Score"]
    assert vars(score) == {"n": 7}


def test_values_larger_than_a_pipe_holds_go_there_and_back(executor: ProcessExecutor) -> None:
    assert go(executor, "data[::-1]", data=b"ab" * 2_000_000) == b"ba" * 2_000_000


def test_a_body_that_awaits_is_awaited_there(executor: ProcessExecutor) -> None:
    waiting = body("import asyncio, os\nawait asyncio.sleep(0)\n(os.getpid(), x)", x=5)
    value = asyncio.run(executor.run_async(waiting.begin, nobody))
    assert isinstance(value, tuple)
    assert value[0] != os.getpid()
    assert value[1] == 5


def test_names_that_a_body_does_not_read_stay_here(executor: ProcessExecutor) -> None:
    assert go(executor, "x", x=1, get_ipython=threading.Lock()) == 1


def test_names_read_in_functions_of_a_body_go_there(executor: ProcessExecutor) -> None:
    assert go(executor, "def f():\n    return (lambda: x)()\nf()", x=3) == 3


def test_a_body_may_use_multiprocessing(executor: ProcessExecutor) -> None:
    source = "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(1) as pool:\n    v = pool.map(abs, [-3])\nv"
    assert go(executor, source) == [3]


def test_a_process_whose_output_cannot_be_shown_gets_no_other_body(executor: ProcessExecutor) -> None:
    def show(_: Printed) -> None:
        raise BrokenPipeError("nobody looks")

    first = "print('a')\nimport time\ntime.sleep(0.2)\n'first'"
    with pytest.raises(BrokenPipeError):
        asyncio.run(executor.run(body(first), show))
    assert go(executor, "'second'") == "second"


def test_closing_waits_until_all_that_bodies_started_is_gone(executor: ProcessExecutor) -> None:
    source = (
        "import subprocess\n[subprocess.Popen(['sleep', '600'], start_new_session=new).pid for new in (True, False)]"
    )
    pids = go(executor, source)
    executor.close()
    assert isinstance(pids, list)
    assert [pid for pid in pids if is_there(pid)] == []


def test_an_executor_that_cannot_be_closed_does_not_keep_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    class Broken:
        def close(self) -> None:
            raise OSError("cannot close")

    closed = []
    executors = Executors(MainExecutor(lambda _: None, ThreadInterrupt()))
    executors[ExecutorName.MAIN] = cast("Executor", Broken())
    executors[ExecutorName.THREAD].close = lambda: closed.append(1)  # type: ignore[method-assign]  # To see it.
    executors.close()
    assert closed == [1]
    assert "OSError: cannot close" in capfd.readouterr().err


# What cannot be sent.


def test_what_cannot_be_sent_is_named_with_its_type_and_what_to_do(executor: ProcessExecutor) -> None:
    with sqlite3.connect(":memory:") as connection, pytest.raises(NodeError) as caught:
        go(executor, "(rows, db)", rows=[1], db={"main": [connection]})
    connection.close()
    assert caught.value.message == (
        "`db['main'][0]`, a `sqlite3.Connection`, cannot be sent to another process: "
        "TypeError: cannot pickle 'sqlite3.Connection' object"
    )
    assert "executor: thread" in caught.value.hint


@pytest.mark.parametrize(
    "source, what",
    [
        ("(n for n in range(3))", "the value, a `generator`,"),
        ("import threading\n{'a': 1, 'b': [threading.Lock()]}", "['b'][0] of the value, a `_thread.lock`,"),
    ],
)
def test_a_value_that_cannot_be_sent_back_is_named(executor: ProcessExecutor, source: str, what: str) -> None:
    with pytest.raises(NodeError) as caught:
        go(executor, source)
    assert caught.value.message.startswith(f"{what} cannot be sent back: TypeError: cannot pickle")
    assert caught.value.hint.endswith(ELSEWHERE)


def test_a_coroutine_that_nobody_awaited_is_told_as_such(executor: ProcessExecutor) -> None:
    with pytest.raises(NodeError, match="a coroutine that nobody awaited"):
        go(executor, "async def f(): pass\nf()")


def test_a_value_that_cannot_be_read_here_fails_its_node_only(executor: ProcessExecutor, tmp_path: Path) -> None:
    (tmp_path / "only_there.py").write_text("class Thing: pass\n")
    with pytest.raises(NodeError, match="the value that came back cannot be read: ModuleNotFoundError"):
        go(executor, f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport only_there\nonly_there.Thing()")
    assert go(executor, "1") == 1


# Errors.


def test_an_error_comes_back_with_its_type_and_the_lines_of_the_cell(executor: ProcessExecutor) -> None:
    source = "def f(row):\n    return row['b'] + 1\n\nprint(1)\nf({})"
    with pytest.raises(KeyError) as there:
        go(executor, source)
    with pytest.raises(KeyError) as here:
        body(source)()
    assert person_place(there.value) == "In[7]:11"
    assert person_frames(there.value) == person_frames(here.value)
    assert "    f({})\n" in person_frames(there.value)


def test_what_led_to_an_error_comes_back_too(executor: ProcessExecutor) -> None:
    source = (
        "try:\n    int('x')\nexcept ValueError as error:\n    part = error\n"
        "try:\n    try:\n        1 / 0\n    except ZeroDivisionError:\n        [][1]\nexcept IndexError as error:\n"
        "    raise ExceptionGroup('both', [part]) from error"
    )
    with pytest.raises(ExceptionGroup) as there:
        go(executor, source)
    with pytest.raises(ExceptionGroup) as here:
        body(source)()
    assert person_frames(there.value) == person_frames(here.value)
    assert person_frames(there.value).count("Traceback") == 4


def test_an_error_that_cannot_be_pickled_keeps_its_name_text_bases_and_status(executor: ProcessExecutor) -> None:
    source = (
        "class Refused(ConnectionError):\n    def __init__(self, host, port):\n        super().__init__(f'{host}:{port}')\n"
        "        self.status = 503\nraise Refused('localhost', 1)"
    )
    with pytest.raises(ConnectionError) as caught:
        go(executor, source)
    assert type(caught.value).__name__ == "Refused"
    assert str(caught.value) == "localhost:1"
    assert vars(caught.value)["status"] == 503
    assert person_place(caught.value) == "In[7]:14"


def test_exit_in_a_body_fails_its_node_and_ends_nothing(executor: ProcessExecutor) -> None:
    pid = go(executor, "import os\nos.getpid()")
    with pytest.raises(NodeError, match="the body raised SystemExit: 3"):
        go(executor, "raise SystemExit(3)")
    assert go(executor, "import os\nos.getpid()") == pid


def test_endless_recursion_comes_back_as_such(executor: ProcessExecutor) -> None:
    with pytest.raises(RecursionError) as caught:
        go(executor, "def f(): return f()\nf()")
    assert person_place(caught.value) == "In[7]:10"


def test_columns_of_lines_that_are_not_ascii_come_back(executor: ProcessExecutor) -> None:
    source = "x = 'größe' + [ 'ä',\n  1 ][1]"
    with pytest.raises(TypeError) as there:
        go(executor, source)
    with pytest.raises(TypeError) as here:
        body(source)()
    assert person_frames(there.value) == person_frames(here.value)


# What is printed.


def test_what_a_body_prints_comes_back_line_by_line_from_all_of_its_threads(executor: ProcessExecutor) -> None:
    seen: list[Printed] = []
    source = (
        "import sys, threading\nprint('a', 1)\nprint('b', file=sys.stderr)\n"
        "t = threading.Thread(target=print, args=('c',)); t.start(); t.join()\nsys.stdout.write('ä\\ud800')\nNone"
    )
    asyncio.run(executor.run(body(source), seen.append))
    assert [text.data for text in seen if text.mime == "stderr"] == ["b\n"]
    assert [text.data for text in seen if text.mime == "stdout"] == ["a 1\n", "c\n", "ä\ud800"]


def test_what_a_body_prints_is_seen_while_it_runs(executor: ProcessExecutor) -> None:
    seen: list[Printed] = []

    async def scenario() -> bool:
        source = "import time\nprint('.', end='', flush=True)\ntime.sleep(60)"
        task = asyncio.create_task(executor.run(body(source), seen.append))
        await until(lambda: seen)
        return await ended(task)

    assert asyncio.run(scenario())
    assert seen == [Printed("stdout", ".")]


# Stopping, dying and closing.


def test_cancelling_kills_the_body_and_what_it_started_and_nothing_else(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    seen: list[Printed] = []
    waits = "import pathlib, time\nwhile not pathlib.Path(path).exists(): time.sleep(0.005)\n'went on'"

    async def scenario() -> object:
        other = asyncio.create_task(executor.run(body(waits, path=str(tmp_path / "go")), nobody))
        source = (
            "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nprint(os.getpid(), child.pid, flush=True)\n"
            "while True:\n    try:\n        time.sleep(60)\n    except BaseException:\n        pass"
        )
        task = asyncio.create_task(executor.run(body(source), seen.append))
        await until(lambda: seen)
        pids = [int(pid) for pid in str(seen[0].data).split()]
        assert all(is_there(pid) for pid in pids)
        assert await ended(task)
        await until(lambda: not any(is_there(pid) for pid in pids))
        (tmp_path / "go").touch()
        return await other

    assert asyncio.run(scenario()) == "went on"
    assert go(executor, "2") == 2


def test_cancelling_a_body_that_awaits_kills_it(executor: ProcessExecutor) -> None:
    seen: list[Printed] = []

    async def scenario() -> bool:
        source = "import asyncio, os\nprint(os.getpid(), flush=True)\nawait asyncio.sleep(60)"
        task = asyncio.create_task(executor.run_async(body(source).begin, seen.append))
        await until(lambda: seen)
        stopped = await ended(task)
        await until(lambda: not is_there(int(str(seen[0].data))))
        return stopped

    assert asyncio.run(scenario())


def test_cancelling_before_the_process_is_there_leaves_none(executor: ProcessExecutor, tmp_path: Path) -> None:
    async def scenario() -> bool:
        task = asyncio.create_task(
            executor.run(body(f"open({str(tmp_path / 'ran')!r}, 'w')\nimport time; time.sleep(60)"), nobody)
        )
        await asyncio.sleep(0)
        return await ended(task)

    assert asyncio.run(scenario())
    assert go(executor, "1") == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "source, said",
    [
        ("import os\nos._exit(3)", "the process of the body died: it ended with exit code 3"),
        (
            "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
            "the process of the body died: it was killed by SIGKILL",
        ),
    ],
)
def test_a_process_that_dies_is_a_failure_of_its_body(executor: ProcessExecutor, source: str, said: str) -> None:
    with pytest.raises(NodeError) as caught:
        go(executor, source)
    assert caught.value.message == said
    assert "retry" in caught.value.hint
    assert go(executor, "1") == 1


def test_a_process_that_died_between_two_bodies_is_replaced(executor: ProcessExecutor) -> None:
    pid = go(executor, "import os\nos.getpid()")
    assert isinstance(pid, int)
    victim = psutil.Process(pid)
    victim.kill()
    victim.wait()
    assert go(executor, "1") == 1


def test_what_a_thread_of_an_earlier_body_prints_is_not_shown_as_the_next_ones(
    executor: ProcessExecutor, tmp_path: Path
) -> None:
    late = (
        "import pathlib, threading, time\ndef late():\n    while not pathlib.Path(path, 'go').exists(): time.sleep(0.005)\n"
        "    print('late')\n    pathlib.Path(path, 'said').touch()\nthreading.Thread(target=late).start()"
    )
    go(executor, late, path=str(tmp_path))
    (tmp_path / "go").touch()
    wait_for((tmp_path / "said").exists)
    seen: list[Printed] = []
    asyncio.run(executor.run(body("print('mine')"), seen.append))
    assert seen == [Printed("stdout", "mine\n")]


def test_closing_ends_all_processes(executor: ProcessExecutor) -> None:
    pid = go(executor, "import os\nos.getpid()")
    assert isinstance(pid, int)
    executor.close()
    executor.close()
    wait_for(lambda: not is_there(pid))
    assert go(executor, "import os\nos.getpid()") != pid


def test_closing_kills_bodies_that_still_run(executor: ProcessExecutor) -> None:
    seen: list[Printed] = []

    async def scenario() -> None:
        source = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
        task = asyncio.create_task(executor.run(body(source), seen.append))
        await until(lambda: seen)
        executor.close()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scenario())
    wait_for(lambda: not is_there(int(str(seen[0].data))))


def test_a_process_that_nobody_needs_ends() -> None:
    executor = ProcessExecutor(idle=0.01)
    pid = go(executor, "import os\nos.getpid()")
    assert isinstance(pid, int)
    wait_for(lambda: not is_there(pid))
    assert go(executor, "1") == 1
    executor.close()


def test_bodies_end_with_the_process_that_sent_them() -> None:
    code = (
        "import asyncio\nfrom flownb.executors.process import ProcessExecutor\nfrom flownb.runtimes.python import PythonBody\n"
        "body = PythonBody('import os, time\\nprint(os.getpid(), flush=True)\\ntime.sleep(60)')\n"
        "asyncio.run(ProcessExecutor().run(body, lambda text: print(text.data, end='', flush=True)))"
    )
    with process(code) as child:
        pid = int(line_of(child))
        assert is_there(pid)
        child.kill()
        child.wait()
        wait_for(lambda: not is_there(pid))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, executor: ProcessExecutor) -> None:
    monkeypatch.setitem(sys.modules, "loky", None)
    with pytest.raises(NodeError) as caught:
        go(executor, "1")
    assert caught.value.message == "`executor: process` needs loky, which is not installed"
    assert caught.value.hint == "pip install 'flownb[process]', or set `executor: thread`"


def test_nothing_of_the_extras_is_loaded_before_a_body_needs_it() -> None:
    code = "import sys, flownb.api; print([name for name in ('loky', 'cloudpickle', 'distributed') if name in sys.modules])"
    with process(code) as child:
        assert line_of(child) == "[]"


def test_a_body_as_bytes_gives_its_outcome_as_bytes() -> None:
    assert open_outcome(carry_out(pack_body(body("x + 1", x=1), is_async=False))) == 2


# As a person writes it.


@pytest.fixture
def run(state_dir: Path) -> Callable[..., flownb.Run]:
    """Run a document."""
    return partial(_run, state_dir)


def _run(state_dir: Path, text: str, listen: Callable[[Event], None] | None = None) -> flownb.Run:
    return flownb.run(flownb.parse(text), state_dir=state_dir, listen=listen)


FAN_OUT = """
## Squares
- foreach: range(6) | list
- concurrency: 3
- executor: process

```python
import os
print("item", item)
{"square": item * item, "pid": os.getpid()}
```

## Total

```python
sum(row["square"] for row in squares)
```
"""


def node(source: str, *properties: str, name: str = "A") -> str:
    listed = "".join(f"- {line}\n" for line in ("executor: process", *properties))
    return f"## {name}\n{listed}\n```python\n{source}\n```\n\n"


def test_a_foreach_in_processes_gives_its_values_in_order(run: Callable[..., flownb.Run]) -> None:
    made = run(FAN_OUT)
    assert made["total"] == 55
    rows = made["squares"]
    assert isinstance(rows, list)
    assert [row["square"] for row in rows] == [0, 1, 4, 9, 16, 25]
    pids = {row["pid"] for row in rows}
    assert os.getpid() not in pids
    assert len(pids) <= 3
    wait_for(lambda: not any(is_there(pid) for pid in pids))


def test_values_that_are_no_json_go_from_process_to_process_and_into_no_file(
    run: Callable[..., flownb.Run], state_dir: Path
) -> None:
    thing = "class Thing:\n    word = 'xyz'\nthing = Thing()\nthing.own = 'abc' * 3\nthing"
    made = run(node(thing) + node("(a.word + a.own).upper()[:2] + str(len(a.own))", name="B"))
    assert made["b"] == "XY9"
    assert [path for path in state_dir.rglob("*") if path.is_file()]
    assert not [path for path in state_dir.rglob("*") if path.is_file() and b"abcabcabc" in path.read_bytes()]


def noting_pid(path: Path) -> str:
    return (
        f"import os, pathlib, time\npath = pathlib.Path({str(path)!r})\n"
        "path.with_suffix('.new').write_text(str(os.getpid()))\npath.with_suffix('.new').rename(path)\n"
    )


def test_a_timeout_kills_the_process_and_fails_the_node(run: Callable[..., flownb.Run], tmp_path: Path) -> None:
    made = run(node(noting_pid(tmp_path / "pid") + "time.sleep(60)", "timeout: 3s"))
    failure = made.errors[0]
    assert (failure.type, failure.message) == ("NodeTimeoutError", "it took longer than 3 s and was stopped")
    assert not is_there(int((tmp_path / "pid").read_text()))


def test_a_process_that_died_is_tried_again_where_the_node_says_so(
    run: Callable[..., flownb.Run], tmp_path: Path
) -> None:
    events: list[Event] = []
    dies = f"import os, pathlib\np = pathlib.Path({str(tmp_path / 'died')!r})\nif not p.exists():\n    p.touch()\n    os._exit(9)\n'alive'"
    made = run(node(dies, "retry: {max: 2, base: 1ms}"), listen=events.append)
    assert made["a"] == "alive"
    failed = [event.failure for event in events if isinstance(event, AttemptFailed)]
    assert [failure.message for failure in failed] == ["the process of the body died: it ended with exit code 9"]


def test_a_process_that_dies_fails_its_node_and_lets_others_finish(run: Callable[..., flownb.Run]) -> None:
    made = run(
        node("import os\nos._exit(1)", "needs: []") + node("import time\ntime.sleep(0.5)\n7", "needs: []", name="B")
    )
    assert [failure.node for failure in made.errors] == ["a"]
    assert made["b"] == 7


def test_an_error_names_the_line_of_the_document(run: Callable[..., flownb.Run]) -> None:
    failure = run(node("x = 1\n\nraise LookupError('gone')")).errors[0]
    assert (failure.type, failure.message) == ("LookupError", "gone")
    assert failure.place.endswith(":7")
    assert "    raise LookupError('gone')\n" in failure.traceback
    assert "flownb" not in failure.traceback


def test_secrets_that_a_body_prints_are_hidden(
    run: Callable[..., flownb.Run], monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> None:
    monkeypatch.setenv("API_TOKEN", "s3cr3t-value")
    made = run("---\nsecrets: [API_TOKEN]\n---\n" + node("raise ValueError(secrets.API_TOKEN)"))
    assert made.errors[0].message == "•••"
    assert not [path for path in state_dir.rglob("*") if path.is_file() and b"s3cr3t-value" in path.read_bytes()]


def test_cancelling_a_run_kills_its_processes(run: Callable[..., flownb.Run], tmp_path: Path, state_dir: Path) -> None:
    workflow = flownb.parse(node(noting_pid(tmp_path / "pid") + "time.sleep(60)"))

    async def scenario() -> None:
        task = asyncio.create_task(flownb.run_async(workflow, state_dir=state_dir))
        await until((tmp_path / "pid").exists)
        assert await ended(task)

    asyncio.run(scenario())
    assert not is_there(int((tmp_path / "pid").read_text()))
    made = flownb.show("last", state_dir)
    assert (made.status, made.nodes["a"].status) == ("cancelled", "cancelled")
