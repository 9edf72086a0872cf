"""What people see of a stored value, without reading its files."""

from __future__ import annotations

from pydantic import JsonValue


def shown(output: JsonValue) -> JsonValue:
    """Return tagged JSON as one reads it: what its tags hold, and of a file its type, its size and how it begins.

    Args:
        output: What `encode` returned as tagged.
    """
    match output:
        case dict() if isinstance(output.get("$artifact"), str):
            return about(output)
        case {"$type": "dict", "value": list(pairs)}:
            return {_name(pair[0]): shown(pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) == 2}  # noqa: PLR2004 key and value
        case {"$type": str(), "value": value}:
            return shown(value)
        case {"$type": str(), "fields": list(pairs)}:
            return {_name(pair[0]): shown(pair[1]) for pair in pairs if isinstance(pair, list) and len(pair) == 2}  # noqa: PLR2004 the same
        case list():
            return [shown(item) for item in output]
        case dict():
            return {name: shown(item) for name, item in output.items()}
        case _:
            return output


def about(artifact: dict[str, JsonValue]) -> str:
    """Return what is known of a value in a file, as `pandas.DataFrame: 3 rows …`."""
    said = [part for part in (artifact.get("size"), artifact.get("preview")) if isinstance(part, str) and part]
    return f"{artifact.get('type', 'a value')}: {' '.join(said)}"


def _name(key: JsonValue) -> str:
    text = shown(key)
    return text if isinstance(text, str) else str(text)
