"""JSON as text: read strictly, with a line for what is wrong."""

from __future__ import annotations

import json
import math

from pydantic import JsonValue


class JsonTextError(ValueError):
    """The text is no JSON."""

    def __init__(self, message: str, line: int = 0) -> None:
        """Say what is wrong.

        Args:
            message: What is wrong, in one line.
            line: Where, counted from 1 in the text; 0: unknown.
        """
        super().__init__(message, line)
        self.message = message
        self.line = line

    def __str__(self) -> str:
        return self.message


def load_json(text: str) -> JsonValue:
    """Return the data that a JSON text stands for (RFC 8259; a key given twice, NaN and Infinity are refused).

    Raises:
        JsonTextError: It is no JSON.
    """
    try:
        value: JsonValue = json.loads(text, object_pairs_hook=_object, parse_constant=_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        message = f"{error.msg} at column {error.colno}"
        raise JsonTextError(message[0].lower() + message[1:], error.lineno) from None
    except RecursionError:
        raise JsonTextError("it is nested too deeply") from None
    except ValueError as error:
        raise error if isinstance(error, JsonTextError) else JsonTextError(str(error)) from None
    return value


def _object(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise JsonTextError(f"the key {twice!r} stands twice in one object")
    return made


def _constant(name: str) -> JsonValue:
    raise JsonTextError(f"{name} is no JSON")


def _float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JsonTextError(f"{digits} is too large a number")
    return number
