"""What the largest documents cost: no text takes long or much memory, whatever is in it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from flownb.parse.workflow import diagnose
from flownb.render.problems import render_problems
from flownb.text.codes import Code

TEXT = "\n\n```text\nx\n```\n"
SIZES = {
    "a heading with many spaces": lambda n: "# a" + " " * n + "b" + TEXT,
    "an id that is never closed": lambda n: "## a " + "{#" * (n // 2) + TEXT,
    "one long word": lambda n: "## A\n\n" + "a" * n + TEXT,
    "one long heading": lambda n: "## " + "a" * n + TEXT,
    "names on one line": lambda n: "## A\n\n```python\n[" + ", ".join(f"n_{i}" for i in range(n // 9)) + "]\n```\n",
    "names on a line each": lambda n: "## A\n\n```python\n" + "\n".join(f"nam{i}" for i in range(n // 9)) + "\n```\n",
    "nodes with properties": lambda n: "".join(
        f"## Node {i}\n\n- retry: {{max: 5, base: 1s}}\n- timeout: 5m\n- when: a{i} == 'x'\n\n```text\n{i}\n```\n\n"
        for i in range(n // 93)
    ),
    "quotes that begin and end": lambda n: "## A\n\n" + '> ***\n"\n' * min(n // 8, 700) + TEXT,
}  # fmt: skip
MEASURE = """
import resource, sys, time
from flownb.parse.workflow import diagnose
from flownb.render.problems import render_problems
text = sys.stdin.read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
render_problems(diagnose(text)[1], text)
seconds = time.process_time() - started
print(seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize("make", SIZES.values(), ids=SIZES.keys())
def test_a_large_document_takes_little_time_and_memory(make: Callable[[int], str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], input=make(800_000), capture_output=True, text=True, check=True
    )
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 8  # It takes less than 2 on a machine that is not busy.
    assert megabytes < 155  # Beside the 50 that Python and flownb take.


def test_problems_of_one_long_line_are_drawn_without_drawing_the_line() -> None:
    line = "[" + ", ".join(f"n_{number}" for number in range(20_000)) + "]"
    text = f"## A\n\n```python\n{line}\n```\n"
    problems = diagnose(text)[1]
    assert len(problems) == 1000
    started = time.process_time()
    drawn = render_problems(problems, text)
    assert time.process_time() - started < 1  # Looking at the whole line for each takes twenty.
    assert len(drawn) < 1000 * 600


def test_quotes_that_take_the_square_of_their_number_are_refused() -> None:
    problems = diagnose("## A\n\n" + '> ***\n"\n' * 5000 + TEXT)[1]
    assert [(problem.code, problem.span.line) for problem in problems] == [(Code.TOO_LARGE, 1416)]
    assert diagnose("## A\n\n" + "> a\n" * 19_000 + TEXT)[1] == []
    assert diagnose("## A\n\n" + '> ***\n"\n\n' * 5000 + TEXT)[1] == []
