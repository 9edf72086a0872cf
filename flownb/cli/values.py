"""`flownb show RUN --value NODE [--out FILE]`: one node's value, on standard output or in a file."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from flownb.errors import FlowInputError, NoSuchNodeError
from flownb.render.rows import rows_of
from flownb.runs.run import Run
from flownb.store.artifacts import ArtifactStore
from flownb.store.files import write_atomically
from flownb.store.naming import short_path
from flownb.terminal.output import print_result, say


def show_value(run: Run, key: str, out: Path | None) -> None:
    """Print a node's value, text as it is and data as JSON; of what is neither its first rows. Or write all of it to a file.

    Args:
        run: The run.
        key: The node's key.
        out: The file: `.json`, `.txt`, `.csv` for a table, or what the value is kept as, as `.parquet`; None: print it.

    Raises:
        FlowStateError: It has no value, or one that was not kept.
        FlowInputError: There is no such node, or its value cannot be written as that.
    """
    try:
        value = run[key]
    except NoSuchNodeError as error:
        raise FlowInputError(error.message, error.hint) from None
    if out is None:
        print_result(_text(value) or rows_of(value))
        return
    try:
        write_atomically(out, _content(run, key, value, out))
    except OSError as error:
        raise FlowInputError(f"cannot write {out}: {error.strerror}", "name a file in a folder that is there") from None
    say(f"wrote {short_path(out)}")


def _text(value: object) -> str:
    """Return text as it is and data as JSON; an empty text for what is neither."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return ""


def _content(run: Run, key: str, value: object, out: Path) -> bytes:
    kind, kept = out.suffix.lower(), _kept_as(run.nodes[key].output)
    if kind == ".parquet" and (write := getattr(value, "to_parquet", None) or getattr(value, "write_parquet", None)):
        file = BytesIO()  # As its library writes it: what is kept has names of its own for an index.
        write(file)
        return file.getvalue()
    if kept.endswith(kind or "."):
        return ArtifactStore(run.paths.artifacts, run.paths.disk).open(kept).read_bytes()
    if kind == ".csv" and (table := _csv(value)):
        return table.encode()
    if kind in (".json", ".txt") and (text := _text(value)):
        return f"{text}\n".encode() if kind == ".json" else text.encode("utf-8", "surrogatepass")
    ways = [
        *([Path(kept).suffix] if kept else []),
        *([".csv"] if _csv(value) else []),
        *([".json"] if _text(value) else []),
    ]
    raise FlowInputError(
        f"the value of `{key}`, a {type(value).__name__}, cannot be written as {out.name}",
        f"let the file's name end in {' or '.join(ways) or '.json, of a part that is data'}",
    )


def _kept_as(output: JsonValue) -> str:
    """Return the name of the file that a value is kept in; empty where it is in none, or in several."""
    match output:
        case {"$artifact": str(name)}:
            return name
        case _:
            return ""


def _csv(value: Any) -> str:  # Any: a table of pandas or polars
    if callable(write := getattr(value, "to_csv", None) or getattr(value, "write_csv", None)):
        return str(write())
    return ""
