"""Whatever a document makes of a secret: it stands in no file, not on the screen and not in the log."""

from __future__ import annotations

import base64
import html
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest import mock
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

import flownb
from flownb.cli.commands import run_command

pytestmark = [pytest.mark.property, pytest.mark.timeout(300)]

SECRETS = st.sampled_from(["hunter2hunter", "Gé'heim \"9/+<&", "ghp_Abc123Def456Ghi", "line one\nand line two\n"])
FILTERS = st.sampled_from(
    [
        "upper", "lower", "title", "reverse", "b64encode", "tojson", "urlencode", "e", "quote", "string", "trim",
        "hash('md5')", "length", "list | join('-')", "list | first", "replace('e', '3')", "pprint", "wordwrap(5)", "center(40)",
        "truncate(9, true)", "slug", "fromjson", "b64decode", "regex('[a-z]+')", "batch(3) | list", "int", "default('x')",
    ]
)  # fmt: skip
ENCODE = ["b64encode", "tojson", "urlencode", "upper"]
SOURCES = ["secrets.T", "('user:' ~ secrets.T)", "{'a': secrets.T}", "[secrets.T, 1]", "inputs.token", "env.T"]
KINDS = st.sampled_from(["expr", "text", "markdown", "json", "yaml", "foreach", "checkpoint", "bash", "python", "when"])


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Draw a workflow in which every node reads a secret, or a node above it, through some filters."""
    parts = ["---\nname: doc\nsecrets: [T]\ninputs: {token: str}\n---\n# Doc\n\n"]
    made = list(SOURCES)
    for number in range(draw(st.integers(2, 6))):
        kind = draw(KINDS)
        if kind == "bash":  # What it prints is looked at: two encodings deep, and no further.
            value = draw(st.sampled_from(SOURCES)) + f" | {draw(st.sampled_from(ENCODE))}"
        else:
            value = draw(st.sampled_from(made)) + "".join(f" | {name}" for name in draw(st.lists(FILTERS, max_size=3)))
        parts.append(f"## N{number}\n\n" + section(kind, value))
        if kind not in ("when", "checkpoint"):  # Whether something ran, who answered and when, is no secret.
            made.append(f"n{number}")
    return "".join(parts)


def section(kind: str, value: str) -> str:
    """Return a node's properties and fence; each goes on when it fails."""
    lines = "- continue_on_error: true\n"
    match kind:
        case "expr":
            body = value
        case "json" | "yaml":
            body = f'{{"a": {{{{ {value} }}}}}}'
        case "foreach":
            kind, lines, body = "expr", lines + f"- foreach: {json.dumps(f'({value}) | list')}\n", "item"
        case "when":
            kind, lines, body = "expr", lines + f"- when: {json.dumps(value)}\n", "1"
        case "checkpoint":
            lines, body = lines + f"- default: approve\n- show: {json.dumps([value])}\n", f"Use {{{{ {value} }}}}?"
        case "bash":
            body = f"echo {{{{ {value} }}}}; echo {{{{ {value} }}}} >&2"
        case "python":
            body = "print(secrets.T, end='')\n[secrets.T]"
        case _:
            body = f"Say {{{{ {value} }}}}"
    return f"{lines}\n```{kind}\n{body}\n```\n\n"


def encodings(secret: str) -> Iterator[str]:
    """Give stretches of a secret in raw, base64, hexadecimal, URL, JSON and HTML form; of base64 what is sure to be there."""
    for text in {secret, secret.strip(), *(line for line in secret.splitlines() if len(line) > 6)}:
        raw = text.encode()
        yield from (text, raw.hex(), quote(text, safe=""), html.escape(text), text.upper(), text.lower(), text[::-1])
        yield from (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1])
        for before in ("", "x", "xx"):
            yield base64.b64encode((before + text).encode()).decode()[4:-4]
        yield base64.b64encode(base64.b64encode(raw)).decode()[:-4]
        yield quote(json.dumps(text))[3:-3]


@contextmanager
def place(secret: str) -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, {"T": secret}):
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)


def ran(document: str, secret: str) -> tuple[flownb.Run, dict[str, str]]:
    """Run a document with a secret; return the run, and all that there is to read afterwards."""
    with place(secret) as folder, redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        (folder / "doc.flow.md").write_text(document)
        run = flownb.run("doc.flow.md", {"token": secret})
        run_command(["show", "last", "--json"])
        texts = {path.suffix: path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert {".json", ".jsonl", ".md"} <= texts.keys()
    return run, texts | {"out": out.getvalue(), "err": err.getvalue(), "log": run.log}


def without_time(output: JsonValue) -> JsonValue:
    return output | {"at": None} if isinstance(output, dict) and "at" in output else output


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents(), SECRETS)
def test_no_secret_is_left_anywhere_in_any_encoding(document: str, secret: str) -> None:
    run, texts = ran(document, secret)
    assert run.status == "completed", run.errors
    found = [(name, form) for name, text in texts.items() for form in encodings(secret) if form in text]
    assert found == [], document


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(documents())
def test_what_is_kept_of_two_runs_does_not_tell_their_secrets_apart(document: str) -> None:
    """Whatever was made of it and however deep: where something of a secret were kept, the two would differ."""
    one, other = (ran(document, secret)[0] for secret in ("hunter2hunter", "bunker7bunker"))
    for key in one.nodes.keys() & other.nodes.keys():
        first, second = one.nodes[key], other.nodes[key]
        if first.status == second.status:
            assert first.definition == second.definition
            assert first.error == second.error, (key, document)
            assert without_time(first.output) == without_time(second.output), (key, document)
    asked = [(question.key, question.text) for run in (one, other) for question in run.state.questions.values()]
    assert len(set(asked)) * 2 >= len(asked)
    assert sorted(asked[: len(asked) // 2]) == sorted(asked[len(asked) // 2 :]), document
