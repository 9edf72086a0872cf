"""Every way in which flownb, its filters and bash may write a text, also two of them one upon the other."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shlex
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, quote_plus

_SHORTEST_CORE: Final = 6
"""Fewer characters of base64 stand for anything."""
_LONGEST: Final = 4096
"""A longer text, as a bundle of certificates, is looked for in one way upon another no more."""
_HASHES: Final = tuple(sorted(name for name in hashlib.algorithms_guaranteed if not name.startswith("shake")))
_NAMED: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t", "\r": "\\r", "\a": "\\a", "\b": "\\b"}
"""How bash writes characters between `$'` and `'`."""


def disguises(text: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return every way in which a text may be written, itself too.

    Args:
        text: A secret, or a line of one.

    Returns:
        Those that stand by themselves, and stretches of base64 that what stands before and behind has its part in.
    """
    plain, cores = set(_ways(text)), set(_cores(text))
    if len(text) <= _LONGEST:
        for way in [*plain]:
            plain.update(_ways(way))
            cores.update(_cores(way))
        for core in [*cores]:
            cores.update(_cores(core))
            plain.update((quote(core, safe=""), core.encode().hex(), core.encode().hex().upper()))
    plain.update((text.upper(), text.lower(), text.title(), text.capitalize(), text.strip()[::-1]))
    plain.update(_hashes(text))
    return frozenset(plain - cores - {""}), frozenset(cores)


def _ways(text: str) -> Iterator[str]:
    """Give what can be read back: escapes, quotes, base64, hexadecimal."""
    raw = text.encode("utf-8", "surrogatepass")
    yield text
    yield from (quote(raw), quote(raw, safe=""), quote_plus(raw))
    for encoded in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        yield from (encoded, encoded.rstrip("="))
    yield from (raw.hex(), raw.hex().upper())
    yield from _escapes(text)


def _escapes(text: str) -> Iterator[str]:
    for escaped in (json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]):
        yield escaped
        # As Jinja's `tojson` writes it into HTML.
        yield escaped.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026").replace("'", "\\u0027")
    yield shlex.quote(text).removeprefix("'").removesuffix("'")
    yield text.replace("'", "''")  # YAML and SQL between single quotes
    yield repr(text)[1:-1]
    yield repr(text.encode("utf-8", "surrogatepass"))[2:-1]
    yield html.escape(text, quote=False)
    yield html.escape(text)
    yield html.escape(text).replace("&quot;", "&#34;").replace("&#x27;", "&#39;")  # as markupsafe does
    yield text.replace("'", "'\\''")  # bash, by `set -x` and `${x@Q}`
    yield "".join(_NAMED.get(letter, letter) for letter in text)  # the same, where a line break is in it
    yield re.sub(r"([\s'\"\\|&;()<>!{}*\[\]?^$`,]|^[~#])", r"\\\1", text)  # bash, by `printf %q`
    yield re.sub(r'(["$`\\])', r"\\\1", text)  # bash, by `declare -p`


def _cores(text: str) -> Iterator[str]:
    """Give what base64 makes of a text inside a longer one: of its first and last bytes only what they alone decide."""
    raw = text.encode("utf-8", "surrogatepass")
    for before in range(3):
        first = -(-before * 8 // 6)
        last = (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            core = encode(bytes(before) + raw).decode()[first:last]
            if len(core) >= _SHORTEST_CORE:
                yield core


def _hashes(text: str) -> Iterator[str]:
    """Give what stands for a text that can be guessed."""
    raw = text.encode("utf-8", "surrogatepass")
    for name in _HASHES:
        yield hashlib.new(name, raw, usedforsecurity=False).hexdigest()
