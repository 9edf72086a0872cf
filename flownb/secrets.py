"""Where secret values come from, and the redactor that every writer goes through."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

from pydantic import JsonValue, SecretStr

from flownb.disguises import disguises
from flownb.errors import FlowInputError
from flownb.templates.terms import REDACTED

SHORTEST: Final = 4
"""Characters of the shortest secret that is hidden also inside words, and in other encodings."""
_LETTER: Final = re.compile(r"\w")
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


def without_values(text: str, secrets: Mapping[str, str]) -> str:
    """Return a document's text with `•••NAME•••` for the value of each secret that was written into it.

    In another encoding, the number of that stands behind the name: `with_values` puts back what stood there.

    Args:
        text: The document.
        secrets: Secret → value.
    """
    for name, value in sorted(secrets.items(), key=lambda secret: -len(secret[1])):
        redactor = Redactor([value])
        if redactor.holds(text):
            for number, form in enumerate(_written(value)):
                text = text.replace(form, _mark(name, number))
            text = redactor.text(text)
    return text


def with_values(text: str, names: Iterable[str], environment: Mapping[str, str]) -> str:
    """Return a document's text as it was before `without_values`.

    Args:
        text: What that gave.
        names: The names of the secrets.
        environment: Variable → value.

    Raises:
        FlowInputError: A value is not at hand.
    """
    for name in names:
        forms = _written(environment.get(name, ""))
        marks = {int(number or 0) for number in re.findall(_mark(re.escape(name), r"(\d*)"), text)}
        for number in marks:
            if number >= len(forms):
                raise FlowInputError(
                    f"the document was not kept whole: the value of the secret {name} was written in it",
                    f"set it before: `export {name}=…`; better take it out of the text, and write {{{{ secrets.{name} }}}}",
                )
            text = text.replace(_mark(name, number), forms[number])
    return text


def _mark(name: str, number: int | str) -> str:
    return f"{REDACTED}{name}{number or ''}{REDACTED}"


def _written(value: str) -> list[str]:
    """Return how a value may stand in a document, itself first; of a short one nothing, as it may stand in any word."""
    if len(value.strip()) < SHORTEST:
        return []
    ways, cores = disguises(value)
    return [value, *sorted((ways | cores) - {value}, key=lambda form: (-len(form), form))]


class Redactor:
    """Puts `•••` where a secret stands, in any encoding that flownb writes. Thread-safe; costs nothing without secrets.

    A secret of one to three characters, which may stand in any word, is hidden only where it is a word of its own.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        """Learn what to hide.

        Args:
            values: The secrets' values; blank ones are no secrets.
        """
        parts = {part for value in values if value.strip() for part in _parts(value)}
        self._numbers = frozenset(parts)
        short = sorted((part for part in parts if len(part) < SHORTEST), key=len, reverse=True)
        self._words = re.compile("|".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in short)) if short else None
        plain: set[str] = set()
        cores: set[str] = set()
        for part in parts.difference(short):
            ways, inner = disguises(part)
            plain, cores = plain | {way for way in ways if len(way) >= SHORTEST}, cores | inner
        self._cores = frozenset(cores - plain)
        self._forms = tuple(sorted(plain | cores, key=lambda form: (-len(form), form)))
        needles: list[str] = []
        for form in reversed(self._forms):  # Where a long one stands, what is in it stands too.
            if not any(needle in form for needle in needles):
                needles.append(form)
        self._needles = tuple(needles)
        self._json_needles = tuple(json.dumps(needle, ensure_ascii=False)[1:-1] for needle in needles)
        self.longest = max(map(len, (*self._forms, *short)), default=0)
        """Characters of the longest text that it hides."""
        self.starts = Starts(self._forms, tuple(short))
        """Knows how a secret begins, for what comes in pieces."""

    def __bool__(self) -> bool:
        """Return whether there is anything to hide."""
        return bool(self._forms) or self._words is not None

    def text(self, text: str) -> str:
        """Return a text without the secrets in it.

        Args:
            text: Any text.
        """
        # Looking for each by itself is much faster than one pattern, and most texts hold none.
        if any(needle in text for needle in self._needles):
            for form in self._forms:
                if form in text:
                    text = _around(form).sub(REDACTED, text) if form in self._cores else text.replace(form, REDACTED)
        return self._words.sub(REDACTED, text) if self._words is not None else text

    def find(self, text: str) -> int:
        """Return where in a text the first secret of four characters or more stands, in any encoding; -1: there is none.

        Args:
            text: Any text, as a whole file or a part of one that shares `longest` characters with the next.
        """
        return min((at for needle in self._needles if (at := text.find(needle)) >= 0), default=-1)

    def json(self, value: JsonValue) -> JsonValue:
        """Return a value of the same shape without the secrets in it; the same object where it holds none.

        Keys count too; those that become equal are numbered. A number that is a secret becomes a text.

        Args:
            value: Any JSON value; it is not changed.
        """
        return self._without(value) if self.holds(value) else value

    def holds(self, value: object) -> bool:
        """Return whether a secret stands anywhere in a value.

        Args:
            value: Any JSON value, or bytes, as UTF-8; what is neither holds nothing.
        """
        if not self:
            return False
        if self._words is None and isinstance(value, list | dict):
            try:
                dumped = json.dumps(value, ensure_ascii=False)
            except (TypeError, ValueError, RecursionError):
                return self._holds(value)
            if not any(needle in dumped for needle in self._json_needles):
                return False
        return self._holds(value)

    def _holds(self, value: object) -> bool:
        match value:
            case str():
                is_found = any(needle in value for needle in self._needles)
                return is_found or (self._words is not None and self._words.search(value) is not None)
            case bytes():
                return self._holds(value.decode("utf-8", "replace"))
            case list():
                return any(self._holds(item) for item in value)
            case dict():
                return any(self._holds(key) or self._holds(item) for key, item in value.items())
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
                return REDACTED if self._holds(value) else value


class Starts:
    """Knows where a text may begin a secret whose rest is still to come."""

    def __init__(self, forms: tuple[str, ...], words: tuple[str, ...]) -> None:
        """Learn how secrets are written.

        Args:
            forms: Hidden wherever they stand; each has at least four characters.
            words: Hidden where they are words of their own; shorter ones.
        """
        self._words, self._longest = words, max(map(len, forms), default=0)
        self._forms, self._letters = forms, frozenset("".join(forms))
        self._first = {form[:size] for form in forms for size in range(1, SHORTEST)}
        self._heads: dict[str, list[str]] = {}
        for form in forms:
            self._heads.setdefault(form[:SHORTEST], []).append(form)

    def split(self, text: str) -> int:
        """Return how much of a text can be redacted and shown: what comes next cannot make more of it a secret.

        Args:
            text: What has come and was not shown yet.
        """
        end = self._begun(text, 0)
        while (beyond := self._crossed(text, end)) > end:
            end = self._begun(text, beyond)
        return min(end, self._word(text))

    def _begun(self, text: str, start: int) -> int:
        """Return where, from a place on, what stands at the end is the beginning of a form."""
        if text[-1:] not in self._letters:
            return len(text)
        for at in range(max(start, len(text) - self._longest + 1), len(text)):
            rest = text[at:]
            if len(rest) < SHORTEST:
                if rest in self._first:
                    return at
            elif any(form.startswith(rest) and form != rest for form in self._heads.get(rest[:SHORTEST], ())):
                return at
        return len(text)

    def _crossed(self, text: str, end: int) -> int:
        """Return the end of the form that stands across a place; the place itself where none does."""
        if end < len(text):
            for form in self._forms:
                at = text.find(form, max(0, end - len(form) + 1), end + len(form) - 1)
                if at >= 0:
                    return at + len(form)
        return end

    def _word(self, text: str) -> int:
        """Return where the last word begins, if it is a short secret or the beginning of one."""
        for size in range(min(SHORTEST - 1, len(text)), 0, -1):
            rest, before = text[-size:], text[-size - 1 : -size]
            if not _LETTER.fullmatch(before) and any(word.startswith(rest) for word in self._words):
                return len(text) - size
        return len(text)


class Stream:
    """Takes the secrets out of a text that comes in pieces, also one that is cut in two. Not thread-safe."""

    def __init__(self, redactor: Redactor) -> None:
        """Begin with nothing.

        Args:
            redactor: Knows the secrets.
        """
        self._redactor, self._held = redactor, ""

    def take(self, text: str) -> str:
        """Return what can be shown by now; what may be the beginning of a secret is held back.

        Args:
            text: The next piece.
        """
        text = self._held + text
        end = self._redactor.starts.split(text)
        self._held = text[end:]
        return self._redactor.text(text[:end])

    def end(self) -> str:
        """Return what was held back: nothing more will come."""
        held, self._held = self._held, ""
        return self._redactor.text(held)


@lru_cache(maxsize=1024)
def _around(core: str) -> re.Pattern[str]:
    """Return what finds a stretch of base64 with the characters beside it that it has a part in."""
    return re.compile(rf"[A-Za-z0-9+/_-]{{0,4}}{re.escape(core)}[A-Za-z0-9+/_-]{{0,4}}=*")


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
