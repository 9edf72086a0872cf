"""Where secret values come from, and the redactor that every writer goes through."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

from pydantic import JsonValue, SecretStr

from flownb.errors import FlowInputError

REDACTED: Final = "•••"
"""What stands where a secret was."""

_SHORTEST_LINE: Final = 6
"""A shorter line of a secret with several is no secret by itself."""


def find_secrets(
    names: Iterable[str], environment: Mapping[str, str], ask: Callable[[str], str] | None = None
) -> dict[str, SecretStr]:
    """Return the values of secrets: from the environment, else asked for, each once.

    Args:
        names: The names that the workflow lists.
        environment: Variable → value; one that is set but empty counts as missing.
        ask: Returns what a person types for a name, without showing it; empty: they have none. None: nobody can answer.

    Raises:
        FlowInputError: Some are missing; it names all of them.
    """
    found = {name: environment.get(name, "") for name in names}
    if ask is not None:
        found |= {name: ask(name) for name, value in found.items() if not value}
    missing = [name for name, value in found.items() if not value]
    if missing:
        listed = ", ".join(missing)
        raise FlowInputError(
            f"{'secret' if len(missing) == 1 else 'secrets'} without a value: {listed}",
            f"set {'it' if len(missing) == 1 else 'them'} before: `export {missing[0]}=…` in the shell, or in a "
            f'notebook `import os, getpass; os.environ["{missing[0]}"] = getpass.getpass()`',
        )
    return {name: SecretStr(value) for name, value in found.items()}


class Redactor:
    """Puts `•••` where a secret stands, in any encoding that flownb writes. Thread-safe; costs nothing without secrets."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Learn what to hide.

        Args:
            values: The secrets' values; blank ones are no secrets.
        """
        whole = [value for value in values if value.strip()]
        forms = {form for value in whole for part in _parts(value) for form in _forms(part)}
        self._forms = tuple(sorted(forms, key=lambda form: (-len(form), form)))
        self._numbers = frozenset(part for value in whole for part in _parts(value))
        self._pattern = re.compile("|".join(re.escape(form) for form in self._forms)) if forms else None

    def __bool__(self) -> bool:
        """Return whether there is anything to hide."""
        return self._pattern is not None

    def text(self, text: str) -> str:
        """Return a text without the secrets in it.

        Args:
            text: Any text.
        """
        # Looking for each by itself is much faster than the pattern, and most texts hold none.
        if self._pattern is None or not any(form in text for form in self._forms):
            return text
        return self._pattern.sub(REDACTED, text)

    def json(self, value: JsonValue) -> JsonValue:
        """Return a value of the same shape without the secrets in it; the same object where it holds none.

        Keys count too; those that become equal are numbered. A number that is a secret becomes a text.

        Args:
            value: Any JSON value; it is not changed.
        """
        return self._without(value) if self._pattern is not None and self.holds(value) else value

    def holds(self, value: JsonValue) -> bool:
        """Return whether a secret stands anywhere in a value.

        Args:
            value: Any JSON value.
        """
        if self._pattern is None:
            return False
        match value:
            case str():
                return any(form in value for form in self._forms)
            case list():
                return any(self.holds(item) for item in value)
            case dict():
                return any(self.holds(key) or self.holds(item) for key, item in value.items())
            case int() | float() if not isinstance(value, bool):
                return _number(value) in self._numbers
            case _:
                return False

    def _without(self, value: JsonValue) -> JsonValue:
        match value:
            case str():
                return self.text(value)
            case list():
                return [self._without(item) for item in value]
            case dict():
                clean: dict[str, JsonValue] = {}
                for key, item in value.items():
                    clean[_free(self.text(key), clean)] = self._without(item)
                return clean
            case _:
                return REDACTED if self.holds(value) else value


def _number(value: float) -> str:
    """Return a number's digits; of one with more digits than Python writes, nothing."""
    try:
        return repr(value)
    except ValueError:
        return ""


def _free(key: str, taken: Mapping[str, JsonValue]) -> str:
    """Return a key that is not taken yet."""
    free, number = key, 2
    while free in taken:
        free, number = f"{key} ({number})", number + 1
    return free


def _parts(secret: str) -> Iterator[str]:
    """Give what of a secret is secret by itself: all of it, and its longer lines, as commands print them."""
    yield secret
    yield secret.strip()
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= _SHORTEST_LINE)


def _forms(text: str) -> Iterator[str]:
    """Give every way in which flownb itself may write a text."""
    yield text
    raw = text.encode("utf-8", "surrogatepass")
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw))
    for encoded in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        yield from (encoded, encoded.rstrip("="))
    for escaped in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield escaped
        # As Jinja's `tojson` writes it into HTML.
        yield escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("'", "\\u0027")
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "''")  # YAML and SQL between single quotes
    yield repr(text)[1:-1]
    yield repr(raw)[2:-1]
    yield html.escape(text, quote=False)
    yield html.escape(text)
    yield html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")  # as markupsafe does
