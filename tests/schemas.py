"""Checks files of runs against the JSON Schemas in the package."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache
from pathlib import Path

from jsonschema import Draft202012Validator

from flownb.care.schema_text import schema_text


@cache
def validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads(schema_text(name)))


def check_files(root: Path) -> Counter[str]:
    """Check every state file, journal line and decision in a state folder; return how many of each kind there are."""
    counts: Counter[str] = Counter()
    for path in sorted(root.glob("*/*.json")):
        validator("state").validate(json.loads(path.read_bytes()))
        counts["state"] += 1
    for path in sorted(root.glob("*/*/journal.jsonl")):
        for line in path.read_bytes().rstrip(b"\0").splitlines():
            event = json.loads(line)
            validator("journal").validate(event)
            counts[event["kind"]] += 1
    for path in sorted(root.glob("*/*/decisions/*.json")):
        validator("decision").validate(json.loads(path.read_bytes()))
        counts["decision"] += 1
    return counts
