"""The names that people may rely on: a change here is a change for them."""

from __future__ import annotations

import importlib
import subprocess
import sys

PUBLIC = {
    "Decision",
    "FlowError",
    "FlowInputError",
    "FlowRunError",
    "FlowStateError",
    "FlowSyntaxError",
    "Problem",
    "Run",
    "parse",
    "resume",
    "run",
    "run_async",
    "runs",
    "show",
    "validate",
}


def test_the_public_names_are_those_written_here() -> None:
    assert set(importlib.import_module("flownb").__all__) == PUBLIC


def test_there_are_at_most_fifteen_of_them() -> None:
    assert len(PUBLIC) <= 15


def test_each_exists_and_says_what_it_is() -> None:
    flownb = importlib.import_module("flownb")
    assert [name for name in sorted(PUBLIC) if not getattr(flownb, name).__doc__] == []


def test_parse_stays_the_function_when_something_else_was_used_first() -> None:
    code = "import flownb, flownb.parse.workflow; flownb.run; print(flownb.parse('## A\\n\\n```expr\\n1\\n```').name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("flow\n", "")
