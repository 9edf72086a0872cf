"""Values of earlier runs, for nodes that say `cache`."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json

from flownb.store.paths import RunPaths, list_runs

_MOMENT: TypeAdapter[datetime] = TypeAdapter(datetime)


def find_cached(paths: RunPaths, node: str, definition: str, age_s: float | None, now: datetime) -> JsonValue:
    """Return the value that a node had in the newest earlier run of its workflow with the same definition and inputs.

    Args:
        paths: The run that asks; it does not answer itself.
        node: The node's key.
        definition: Its fingerprint.
        age_s: How many seconds ago it may have ended; None: any number.
        now: The time, in UTC.

    Raises:
        LookupError: There is no such value.
    """
    for other in list_runs(paths.root, paths.workflow):
        if other.run_id == paths.run_id:
            continue
        try:
            found = from_json(other.snapshot.read_bytes())["nodes"][node]
            if found["definition_sha256"] != definition or found["status"] != "completed":
                continue
            ended = _MOMENT.validate_python(found["finished_at"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError):
            continue
        if found.get("reusable", True) and (age_s is None or now - ended <= timedelta(seconds=age_s)):
            output: JsonValue = found["output"]
            return output
    raise LookupError(node)
