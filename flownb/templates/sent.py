"""Values as they stand in a request that is sent: in its lines, and in the body of a form."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final
from urllib.parse import quote_plus

from flownb.errors import ExpressionError
from flownb.templates.filters import to_json, to_text

_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")
"""What ends a line, or no line of a request may hold (RFC 9110, 5.5)."""


def to_line(value: object) -> str:
    """Return a value as it stands in a line of a request: text that adds neither a line nor a header.

    Raises:
        ExpressionError: It holds a line break or another control character.
    """
    text = to_text(value)
    if _CONTROL.search(text):
        raise ExpressionError(
            "a value holds a line break or another control character, and would add a line or a header to the request",
            "encode it (`| urlencode`), take the character out (`| replace`), or put it into the body",
        )
    return text


def to_field(value: object) -> str:
    """Return a value as it stands in the body of a form (application/x-www-form-urlencoded); true, false and null as JSON has them.

    Raises:
        TypeError: It is a list or an object.
    """
    if isinstance(value, Mapping | list | tuple | AbstractSet | range):
        raise TypeError(
            f"a {type(value).__name__} is no single value of a form; let the body be `{{{{ … }}}}` alone, of an object"
        )
    is_word = value is None or isinstance(value, bool)
    return quote_plus(to_json(value) if is_word else to_text(value))
