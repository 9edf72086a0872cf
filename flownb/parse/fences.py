"""What each fence of a section is for: a body, a property, an example or prose."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Final

from flownb.parse.found import Found, problem, warning
from flownb.parse.keys import Kinds
from flownb.parse.properties import canonical
from flownb.parse.sections import Fence, Section
from flownb.parse.source import Source
from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.nearest import did_you_mean, distance

EXAMPLE: Final = "example"
"""The second word of a fence that is only shown."""
_DECORATION: Final = re.compile(r"^[{.]+|[}:,;.].*$")
_MEANT: Final = {
    "console": "bash",
    "shell-session": "bash",
    "zsh": "bash",
    "terminal": "bash",
    "ipython": "python",
    "pycon": "python",
}
"""Words that are no runtimes, but are written where one is meant."""
_LANGUAGES: Final = frozenset(
    {"tex", "test", "next", "jsonc", "json5", "jsonl", "psql", "mysql", "plsql", "https", "sass", "rest", "mdx"}
)
"""Words close to a runtime's that mean something else."""


@dataclass(slots=True)
class Fences:
    """The fences of one section by what they are for."""

    body: Fence | None = None
    """The runtime fence."""
    properties: list[Fence] = field(default_factory=list)
    """Fences whose second word names a property."""
    look_alikes: list[tuple[Fence, str]] = field(default_factory=list)
    """Fences that are shown only, though they look as if they should run, with the runtime that may be meant."""


def sort_fences(section: Section, kinds: Kinds, source: Source) -> Found[Fences]:
    """Return what a section's fences are for; report a second body, an unknown second word and fences left open."""
    found = Fences()
    for fence in section.fences:
        words = fence.words
        if not fence.is_closed:
            yield from _report_open(fence, words, source)
        if not words or (len(words) > 1 and words[1] == EXAMPLE):
            continue
        if words[0] not in kinds.words:
            meant = _meant(words[0], kinds.words)
            if meant:
                found.look_alikes.append((fence, meant))
        elif len(words) > 1:
            yield from _add_property(found, fence, kinds, source)
        elif found.body is None:
            found.body = fence
        else:
            yield problem(
                Code.SECOND_FENCE,
                f"a second fence that would run: the first of this section is in line {source.span(found.body.line).line}",
                source.span(fence.line, fence.info_column, len(fence.info)),
                f"give it a heading of its own, or write `{words[0]} {EXAMPLE}` if it is only to be shown",
            )
    return found


def report_look_alikes(fences: Iterable[tuple[Fence, str]], source: Source, *, is_missed: bool) -> Found[None]:
    """Report fences that look as if they should run.

    Args:
        fences: The fences with what may be meant.
        source: The document.
        is_missed: Whether the section lacks a body, so that this is the mistake that keeps the document from running.
    """
    told = problem if is_missed else warning
    for fence, meant in fences:
        word = fence.words[0]
        yield told(
            Code.LOOKS_LIKE_RUNTIME,
            f"'{shortened(word, 30)}' is no runtime, so this fence is shown and not run",
            source.span(fence.line, fence.info_column, len(word)),
            f"write `{meant}` to run it, or `{word} {EXAMPLE}` to show it without this message",
        )


def _report_open(fence: Fence, words: list[str], source: Source) -> Found[None]:
    what = f"the {words[0]} fence" if words else "the fence"
    line = source.lines[fence.line]
    marks = re.match(r"[ \t]*(`+|~+)", line)
    shown = marks[1] if marks else "```"
    yield problem(
        Code.UNCLOSED_FENCE,
        f"{what} is never closed, so all below it belongs to it",
        source.span(fence.line, line.find(shown), len(line.strip())),
        f"put a line with {shown} below its last line",
    )


def _add_property(found: Fences, fence: Fence, kinds: Kinds, source: Source) -> Found[None]:
    first, second = fence.words[:2]
    if canonical(second) in kinds.all_keys:
        found.properties.append(fence)
        return
    yield problem(
        Code.FENCE_WORD,
        f"'{shortened(second, 30)}' is no property that a fence could set",
        source.span(fence.line, source.lines[fence.line].find(second, fence.info_column + len(first)), len(second)),
        did_you_mean(
            canonical(second),
            kinds.all_keys | {EXAMPLE},
            f"write `{first}` alone to run it, or `{first} {EXAMPLE}` to show it",
        ),
    )


def _meant(word: str, runtimes: Collection[str]) -> str | None:
    """Return the runtime that a fence's first word looks like; None where it does not."""
    plain = _DECORATION.sub("", _DECORATION.sub("", word, count=1)).lower()
    if plain in runtimes:
        return plain
    if plain in _MEANT:
        return _MEANT[plain]
    if len(plain) < 4 or len(plain) > 20 or plain in _LANGUAGES:  # noqa: PLR2004 `sh` is close to too much
        return None
    close = (name for name in runtimes if len(name) >= 4 and distance(plain, name, 2) <= (1 if len(name) < 6 else 2))  # noqa: PLR2004
    return min(close, key=lambda name: distance(plain, name, 2), default=None)
