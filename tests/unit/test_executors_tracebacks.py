"""Errors as data: what is kept of them where the other process differs from this one."""

from __future__ import annotations

from traceback import extract_tb

import pytest

from flownb.executors import tracebacks
from flownb.executors.tracebacks import receive_error, send_error
from flownb.runtimes.frames import person_frames
from flownb.runtimes.python import PythonBody


def error_of(source: str) -> BaseException:
    """Return what a body raises."""
    with pytest.raises(BaseException) as caught:
        PythonBody(source, "In[7]", 10)()
    return caught.value


def test_flownbs_own_frames_are_those_of_the_flownb_that_receives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = send_error(error_of("1 / 0"))
    monkeypatch.setattr(tracebacks, "_PACKAGE", "/elsewhere/flownb/")
    files = [frame.filename for frame in extract_tb(receive_error(sent).__traceback__)]
    assert "/elsewhere/flownb/runtimes/python.py" in files
    assert files[-1] == "In[7]"


def test_the_frames_of_an_endless_recursion_are_cut_in_the_middle() -> None:
    error = error_of("def f(): return f()\nf()")
    received = receive_error(send_error(error))
    sent_frames, frames = extract_tb(error.__traceback__), extract_tb(received.__traceback__)
    assert len(frames) == 200 < len(sent_frames)
    assert [frame.name for frame in frames[:5]] == [frame.name for frame in sent_frames[:5]]


def test_an_error_whose_own_text_fails_still_has_its_name() -> None:
    source = "class Odd(OSError):\n    def __init__(self, a, b): pass\n    def __str__(self): raise KeyError\nraise Odd(1, 2)"
    received = receive_error(send_error(error_of(source)))
    assert type(received).__name__ == "Odd"
    assert isinstance(received, OSError)
    assert str(received) == "(no text: KeyError)"


def test_errors_that_led_to_each_other_in_a_circle_are_sent_once() -> None:
    first, second = ValueError("first"), TypeError("second")
    first.__context__, second.__context__ = second, first
    received = receive_error(send_error(first))
    assert str(received.__context__) == "second"
    assert received.__context__ is not None
    assert received.__context__.__context__ is None


def test_a_group_with_a_part_that_cannot_be_pickled_stays_a_group() -> None:
    source = (
        "import threading\nparts = []\nfor value in (threading.Lock(), 1):\n    try:\n        raise ValueError(value)\n"
        "    except ValueError as error:\n        parts.append(error)\nraise ExceptionGroup('both', parts)"
    )
    received = receive_error(send_error(error_of(source)))
    assert isinstance(received, ExceptionGroup)
    assert str(received) == "both (2 sub-exceptions)"
    assert [type(part).__name__ for part in received.exceptions] == ["ValueError", "ValueError"]
    assert person_frames(received).count('File "In[7]", line 14') == 2
