"""The inputs that a command line gives: `-i NAME=VALUE` and files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import JsonValue

from flownb.errors import FlowError, FlowInputError
from flownb.runs.prepare import read_text
from flownb.terminal.prompt import read_yaml


def read_given(given: Sequence[str]) -> dict[str, JsonValue]:
    """Return input → value for `NAME=VALUE` texts; values are YAML."""
    inputs: dict[str, JsonValue] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"-i {text}: write -i NAME=VALUE")
        if name in inputs:
            raise click.UsageError(f"-i {name} is given twice: give it once")
        inputs[name] = read_yaml_value(value, f"-i {name}")
    return inputs


def read_yaml_value(text: str, source: str) -> JsonValue:
    """Return what a YAML text holds; one that is none is bad usage, `source` names it."""
    try:
        return read_yaml(text, source)
    except FlowError as error:
        raise FlowInputError(error.message, error.hint) from error


def read_inputs(path: Path) -> dict[str, JsonValue]:
    """Return input → value of a YAML or JSON file."""
    text = read_text(path, "give the path of a YAML or JSON file: input → value")
    try:
        values: JsonValue = json.loads(text) if path.suffix == ".json" else read_yaml_value(text, str(path))
    except ValueError as error:
        raise FlowInputError(f"{path} is no JSON: {error}", "put it right, or write YAML to a .yaml file") from error
    if not isinstance(values, dict):
        raise FlowInputError(f"{path} holds no inputs", "write a mapping: input → value")
    return values
