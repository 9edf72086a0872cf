"""Values of earlier runs, for nodes that say `cache`."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import AwareDatetime, ConfigDict, JsonValue, TypeAdapter
from pydantic_core import from_json

from flownb.errors import FlowStateError
from flownb.store.files import read_file
from flownb.store.paths import RunPaths, check_folders, list_runs

_MOMENT: TypeAdapter[datetime] = TypeAdapter(AwareDatetime, config=ConfigDict(defer_build=True))


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
    for other in list_runs(paths.root, paths.workflow, paths.disk):
        if other.run_id == paths.run_id:
            continue
        try:
            check_folders(other)
            found = from_json(read_file(other.snapshot, other.disk))["nodes"][node]
            if found["definition_sha256"] != definition or found["status"] != "completed" or found.get("fallback"):
                continue
            ended = _MOMENT.validate_python(found["finished_at"])
        except (OSError, ValueError, KeyError, TypeError, FlowStateError):
            continue
        if found.get("reusable", True) and (age_s is None or now - ended <= timedelta(seconds=age_s)):
            output: JsonValue = found["output"]
            return output
    raise LookupError(node)
