"""Bodies' output is taken, and nobody else's."""

# ruff: noqa: T201 Printing is what is tested.
from __future__ import annotations

import contextlib
import io
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from flownb.executors.capture import capture_into, capturing, current_printed
from flownb.runtimes.base import Printed


@contextlib.contextmanager
def own_streams() -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """Give the process streams that a test can read, and see that they are its streams again at the end."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        yield out, err
        assert sys.stdout is out
        assert sys.stderr is err


def test_what_a_body_prints_is_taken_and_the_rest_is_not() -> None:
    with own_streams() as streams:
        shown: list[Printed] = []
        with capturing():
            print("before")
            with capture_into(shown.append):
                print("inside")
                print("bad", file=sys.stderr, end="")
                sys.stdout.writelines(["a", "b"])
            print("after")

        assert streams[0].getvalue() == "before\nafter\n"
        assert streams[1].getvalue() == ""
        assert "".join(str(p.data) for p in shown if p.mime == "stdout") == "inside\nab"
        assert Printed("stderr", "bad") in shown


def test_without_capturing_nothing_is_taken() -> None:
    with own_streams() as streams:
        shown: list[Printed] = []
        with capture_into(shown.append):
            print("x")

        assert shown == []
        assert streams[0].getvalue() == "x\n"


def test_it_nests_and_the_streams_come_back_with_the_last() -> None:
    with own_streams() as streams:
        with capturing():
            stand_in = sys.stdout
            with capturing():
                assert sys.stdout is stand_in
            assert sys.stdout is stand_in
        assert sys.stdout is streams[0]


def test_bodies_nest_and_the_inner_one_takes_its_own() -> None:
    outer: list[Printed] = []
    inner: list[Printed] = []
    with capturing(), capture_into(outer.append):
        with capture_into(inner.append):
            print("in", end="")
        print("out", end="")

    assert (outer, inner) == ([Printed("stdout", "out")], [Printed("stdout", "in")])


def test_threads_at_the_same_time_keep_theirs_apart() -> None:
    shown: dict[int, list[str]] = {n: [] for n in range(8)}
    barrier = threading.Barrier(8)

    def body(n: int) -> None:
        with capture_into(lambda printed: shown[n].append(str(printed.data))):
            for _ in range(100):
                barrier.wait()
                sys.stdout.write(str(n))

    with capturing():
        threads = [threading.Thread(target=body, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert {n: "".join(texts) for n, texts in shown.items()} == {n: str(n) * 100 for n in range(8)}


def test_everything_else_is_the_original_streams(capfd: pytest.CaptureFixture[str]) -> None:
    original = sys.__stdout__
    assert original is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", original)
        with capturing(), capture_into(lambda _: None):
            assert sys.stdout is not original
            assert sys.stdout.fileno() == original.fileno()
            assert sys.stdout.encoding == original.encoding
            assert sys.stdout.isatty() == original.isatty()
            sys.stdout.flush()


def test_a_redirect_inside_a_body_works_and_is_undone() -> None:
    shown: list[Printed] = []
    own = io.StringIO()
    with capturing(), capture_into(shown.append):
        with contextlib.redirect_stdout(own):
            print("mine", end="")
        print("yours", end="")

    assert own.getvalue() == "mine"
    assert shown == [Printed("stdout", "yours")]


def test_a_stream_that_someone_put_there_meanwhile_is_left() -> None:
    with own_streams() as streams:
        other = io.StringIO()
        with capturing():
            sys.stdout = other
        assert sys.stdout is other
        sys.stdout = streams[0]


def test_a_log_handler_made_in_a_body_goes_on_working() -> None:
    with own_streams() as streams:
        shown: list[Printed] = []
        with capturing(), capture_into(shown.append):
            handler = logging.StreamHandler()
            handler.emit(logging.makeLogRecord({"msg": "inside"}))
        handler.emit(logging.makeLogRecord({"msg": "after"}))

        assert "".join(str(printed.data) for printed in shown) == "inside\n"
        assert streams[1].getvalue() == "after\n"


def test_bytes_are_refused_as_any_text_stream_does() -> None:
    with capturing(), capture_into(lambda _: None), pytest.raises(TypeError):
        sys.stdout.write(b"x")  # type: ignore[arg-type]


def test_a_process_without_streams_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with capturing():
        assert sys.stdout is None


def test_current_printed_is_the_bodys() -> None:
    def show(_: Printed) -> None:
        """Take it."""

    assert current_printed() is None
    with capture_into(show):
        assert current_printed() is show
    assert current_printed() is None
