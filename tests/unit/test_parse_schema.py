"""What documents may hold fits its schema, and the table of codes in the docs is what the code says; `pytest --regen` writes it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from flownb.parse.schema import front_matter_schema, properties_schema
from flownb.text import codes
from flownb.text.codes import Code
from flownb.text.spans import Span
from flownb.text.yaml import load_yaml

ROOT = Path(__file__).parents[2]


def data_of(text: str) -> object:
    return load_yaml(text, lambda line, column, length: Span("x", line + 1, column + 1)).data


def compare(path: Path, wanted: str, *, regen: bool) -> None:
    if regen:
        path.write_text(wanted, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == wanted, f"{path.name} is old: run pytest --regen"


@pytest.mark.parametrize(
    "text",
    [
        "name: a\ninputs: {topic: {type: str, default: x}, n: int}\ntimeout: 1h30m\norder: document\nversion: 1.1",
        "secrets: [A]\noutputs: {x: a + 1}\ndefaults: {retry: {max: 3, base: 1s, on: [429, 5xx]}, executor: thread}",
        "defaults: {retry: 3}\nallow_paths: [../a]\nconcurrency: 3\non_error: a",
    ],
)
def test_front_matter_that_is_right_fits_its_schema(text: str) -> None:
    Draft202012Validator(front_matter_schema()).validate(data_of(text))


@pytest.mark.parametrize("text", ["nmae: a", "timeout: 5", "order: up", "defaults: {retry: {maxx: 3}}", "name: A b"])
def test_front_matter_that_is_wrong_does_not_fit_its_schema(text: str) -> None:
    assert not Draft202012Validator(front_matter_schema()).is_valid(data_of(text))


@pytest.mark.parametrize(
    "text,fits",
    [
        ("retry: {max: 5, base: 1s}\nneeds: [a, b]\nwhen: a.ok", True),
        ("foreach: articles\nas: x\nconcurrency: 4\nrate: 10/1m", True),
        ("cwd: x\nenv: {PORT: 80}\noutput: json", True),
        ("input: {ok: bool}\nshow: [a]\ndefault: approve\ncache: true\nwait: 2", True),
        ("retyr: 3", False),
        ("timeout: 5", False),
        ("max: 0", False),
        ("executor: threads", False),
        ("wait: most", False),
    ],
)
def test_property_lists_fit_their_schema_where_they_are_right(text: str, fits: bool) -> None:  # noqa: FBT001
    assert Draft202012Validator(properties_schema()).is_valid(data_of(text)) is fits


def meanings() -> Mapping[str, str]:
    """Return name of a code → the line below it."""
    body = next(item for item in ast.parse(inspect.getsource(codes)).body if isinstance(item, ast.ClassDef)).body
    return {
        member.targets[0].id: str(text.value.value)
        for member, text in pairwise(body)
        if isinstance(member, ast.Assign) and isinstance(member.targets[0], ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }


def test_every_code_has_a_documented_line_and_the_table_shows_it(request: pytest.FixtureRequest) -> None:
    told = meanings()
    assert set(told) == {code.name for code in Code}
    rows = [f"| `{code}` | {told[code.name]} |" for code in Code]
    head = "# Diagnostics\n\nWhat `flownb validate` says, by the code in its brackets. Made from `flownb/text/codes.py` by `pytest --regen`; each has an\nexample in `tests/golden/diagnostics.md`.\n\n| code | meaning |\n|---|---|\n"
    compare(
        ROOT / "docs/diagnostics.md", head + "\n".join(rows) + "\n", regen=bool(request.config.getoption("--regen"))
    )
