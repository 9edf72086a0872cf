"""The text of a request: what stands above its body, and what kind of body it has. By the document's own text alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from flownb.templates.terms import ExpressionSyntaxError, Target

_CODE: Final = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
_FIRST: Final = re.compile(r"(?P<method>[A-Z]+)[ \t]+(?P<url>\S.*)")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:")
_TYPE: Final = re.compile(r"^content-type:[ \t]*([^\s;]+)", re.IGNORECASE | re.MULTILINE)
_FILE: Final = re.compile(r"<[ \t]+\S.*")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
_VALUE: Final = "\0"
"""Stands for a value where the own text is looked at."""


class BodyForm(StrEnum):
    """What a request's body is."""

    NONE = "none"
    """There is none."""
    JSON = "json"
    """JSON: values become JSON."""
    FORM = "form"
    """`name=value`, joined by `&` or line breaks: values are encoded."""
    MULTIPART = "multipart"
    """A part a line: `name=value` or `name=@path`, with `;type=…` and `;filename=…` behind it."""
    FILE = "file"
    """`< path`: the file's content."""
    TEXT = "text"
    """Anything else; one that is a lone `{{ … }}` may be data or bytes."""


@dataclass(frozen=True, slots=True)
class RequestText:
    """A request's text in two templates. What stands before each in the whole text is line breaks, so that places hold."""

    head: str
    """The first line and the headers."""
    body: str
    """The body; empty where there is none."""
    form: BodyForm
    """What the body is."""

    def templates(self) -> Iterator[tuple[str, Target]]:
        """Yield each template with where its values go; of a body in parts each part."""
        yield self.head, Target.HTTP
        match self.form:
            case BodyForm.MULTIPART:
                yield from ((line, Target.TEXT) for line in part_lines(self.body))
            case BodyForm.JSON:
                yield self.body, Target.JSON
            case BodyForm.FORM:
                yield self.body, Target.FORM
            case _:
                yield self.body, Target.TEXT


def split_request(source: str) -> RequestText:
    """Return a request's text in its two templates: the body begins behind the first blank line.

    Args:
        source: The whole text.
    """
    lines = source.split("\n")
    blank = next((number for number, line in enumerate(lines) if not line.strip()), len(lines))
    head, body = "\n".join(lines[:blank]), "\n".join(lines[blank + 1 :])
    form = _form(head, body)
    return RequestText(head, "\n" * (blank + 1) + body if form is not BodyForm.NONE else "", form)


def part_lines(body: str) -> Iterator[str]:
    """Yield the lines of a body in parts that are not blank, each behind as many line breaks as stand before it.

    A line break inside `{{ … }}` ends no line.
    """
    start, before = 0, 0
    for end in [*_line_ends(body), len(body)]:
        line = body[start:end]
        if line.strip():
            yield "\n" * before + line
        before += line.count("\n") + 1
        start = end + 1


def own_text(source: str) -> str:
    """Return a template's own text: a NUL character for each value, nothing for tags."""
    return _CODE.sub(lambda code: _VALUE if code[0].startswith("{{") else "", source)


def check_request(source: str) -> list[ExpressionSyntaxError]:
    """Return what is wrong with a request's own text above its body.

    Args:
        source: The whole text.
    """
    lines = split_request(source).head.split("\n")
    found = _first_problem(lines[0])
    problems = [ExpressionSyntaxError(found[0], 1, 1, found[1])] if found else []
    for number, line in enumerate(_own_lines(lines), 1):
        own = line.strip()
        if number == 1 or not own:
            continue
        if not _NAME.match(own):
            shown = own.replace(_VALUE, "{{ … }}")[:40]
            what = f"'{shown}' is no header: its name and a colon stand in the text itself"
            hint = "write `Name: value`; the body begins behind a blank line"
            problems.append(ExpressionSyntaxError(what, number, 1, hint))
    return problems


def _own_lines(lines: list[str]) -> list[str]:
    """Return the own text of some lines, of which a template may take several."""
    whole = _CODE.sub(
        lambda code: (_VALUE if code[0].startswith("{{") else "") + "\n" * code[0].count("\n"), "\n".join(lines)
    )
    return whole.split("\n")


def _first_problem(line: str) -> tuple[str, str] | None:
    """Return what is wrong with the line of the method, and what to write."""
    match = _FIRST.fullmatch(line.strip())
    shown = own_text(line.strip()).replace(_VALUE, "{{ … }}")[:40]
    if match is None:
        first = line.split(" ", 1)[0]
        if first.upper() in _METHODS and first != first.upper():
            return f"'{first}' is no method", f"write it in capitals: `{first.upper()} …`"
        return f"'{shown}' is no request", "the first line is `METHOD url`, as `GET https://example.com/articles`"
    url = own_text(match["url"])
    if re.search(r"[ \t]HTTP/[\d.]+$", url):
        return "the protocol's version stands behind the URL", "take it away: the line is `METHOD url`"
    if not url.startswith((_VALUE, "http://", "https://")):
        return f"'{url.replace(_VALUE, '{{ … }}')[:40]}' is no URL", "it begins with `https://` or `http://`"
    return None


def _form(head: str, body: str) -> BodyForm:
    own = body.strip()
    if not own:
        return BodyForm.NONE
    if _FILE.fullmatch(own):
        return BodyForm.FILE
    said = _TYPE.search(head)
    kind = said[1].lower() if said else ""
    if kind == "multipart/form-data":
        return BodyForm.MULTIPART
    if kind == "application/x-www-form-urlencoded":
        return BodyForm.FORM
    looks_so = not kind and own[0] in "[{" and not own.startswith(("{{", "{%", "{#"))
    return BodyForm.JSON if looks_so or kind.endswith(("/json", "+json")) else BodyForm.TEXT


def _line_ends(body: str) -> Iterator[int]:
    """Yield where line breaks stand that are no part of a template's code."""
    taken = [code.span() for code in _CODE.finditer(body)]
    for found in re.finditer("\n", body):
        if not any(start <= found.start() < end for start, end in taken):
            yield found.start()
