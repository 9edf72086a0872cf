"""The body of a request: text, data, a form, parts, or a file that is read while it is sent."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import urlencode

import httpx2

from flownb.errors import NodeError
from flownb.runtimes.base import Scope
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.templates.expressions import Target, render_apart
from flownb.templates.filters import plain
from flownb.templates.request import BodyForm, RequestText, part_lines

_CHUNK: Final = 1 << 16
_OPTIONS: Final = re.compile(r"(?:;[ \t]*(?:type|filename)=[^;]*)+[ \t]*$")
_OPTION: Final = re.compile(r";[ \t]*(type|filename)=([^;]*)")
_FORM: Final = "application/x-www-form-urlencoded"


@dataclass(slots=True)
class Body:
    """What is sent behind the headers. It can be sent several times, until `close`."""

    data: bytes = b""
    """All of it, where `stream` is None."""
    type: str = ""
    """Its `Content-Type`; empty: what the text says."""
    stream: Stream | None = None
    """What reads it from files."""
    files: ExitStack = field(default_factory=ExitStack)
    """The open files."""

    def content(self) -> bytes | Stream | None:
        """Return what the client sends; None: nothing."""
        return self.stream or self.data or None

    def holds(self, scope: Scope) -> bool:
        """Return whether it holds something of a secret, or reads files, which nobody looked into."""
        return self.stream is not None or scope.redactor.holds(self.data)


class Stream(httpx2.AsyncByteStream):
    """Bytes that are read from files while they are sent, each stretch on a thread."""

    def __init__(self, source: httpx2.SyncByteStream, size: int) -> None:
        """Begin; nothing is read yet.

        Args:
            source: The bytes; it can be begun anew.
            size: How many they are.
        """
        self._source, self.size = source, size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield all bytes, from the start."""
        chunks = iter(self._source)
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            yield chunk


class _File(httpx2.SyncByteStream):
    """The bytes of an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            yield chunk


async def make_body(text: RequestText, scope: Scope) -> Body:
    """Return the body that a request's text comes to.

    Raises:
        ExpressionError: A template in it cannot be worked out.
        NodeError: With its values in it, it is no JSON, or a file cannot be read.
    """
    match text.form:
        case BodyForm.NONE:
            return Body()
        case BodyForm.JSON:
            return await _json(text, scope)
        case BodyForm.FORM:
            return Body(await _form(text, scope), _FORM)
        case BodyForm.MULTIPART:
            return await _parts(text, scope)
        case BodyForm.FILE:
            path = str(await render_apart(text.body.strip()[1:].strip(), scope.values))
            return await asyncio.to_thread(_file_body, path, scope)
        case BodyForm.TEXT:
            return _of_value(await render_apart(text.body.strip("\n"), scope.values))


async def _json(text: RequestText, scope: Scope) -> Body:
    made = str(await render_apart(text.body, scope.values, Target.JSON)).strip()
    try:
        load_json(made)
    except JsonTextError as error:
        raise NodeError(f"the request's body is no JSON: {scope.redactor.text(error.message)}") from None
    return Body(made.encode(), "application/json")


async def _form(text: RequestText, scope: Scope) -> bytes:
    source = text.body.strip("\n")
    if source.startswith("{{") and source.rstrip().endswith("}}"):
        value = await render_apart(source, scope.values)
        if isinstance(value, Mapping):
            pairs = {str(name): _field(item) for name, item in value.items() if item is not None}
            return urlencode(pairs, doseq=True).encode()
    made = str(await render_apart(source, scope.values, Target.FORM))
    lines = [line.strip().strip("&") for line in made.splitlines()]
    return "&".join(line.replace(" ", "+") for line in lines if line).encode()


def _field(value: object) -> str | list[str]:
    if isinstance(value, list | tuple):
        return [as_text(item) for item in value]
    return as_text(value)


def as_text(value: object) -> str:
    """Return one value of a query or a form as text: true, false, null, lists and objects as JSON has them."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=plain) if not isinstance(value, bytes) else value.decode()


def _of_value(value: object) -> Body:
    """Return the body of a lone value: bytes as they are, text as text, anything else as JSON."""
    if isinstance(value, bytes | bytearray):
        return Body(bytes(value), "application/octet-stream")
    if isinstance(value, str):
        return Body(value.encode(), "text/plain; charset=utf-8")
    try:
        return Body(json.dumps(value, ensure_ascii=False, allow_nan=False, default=plain).encode(), "application/json")
    except (TypeError, ValueError) as error:
        raise NodeError(
            f"the request's body is of type {type(value).__name__}, which cannot be sent: {error}",
            "make text, bytes or data of it in a node above",
        ) from None


async def _parts(text: RequestText, scope: Scope) -> Body:
    body = Body()
    try:
        parts = [await _part(line.strip(), scope, body) for line in part_lines(text.body)]
        made = httpx2.Request("POST", "http://localhost/", files=parts)
        body.type = made.headers["Content-Type"]
        if any(not isinstance(part[1], bytes) for _, part in parts):
            assert isinstance(made.stream, httpx2.SyncByteStream), "parts are read file by file"
            body.stream = Stream(made.stream, int(made.headers["Content-Length"]))
        else:
            body.data = made.read()
    except BaseException:
        body.files.close()
        raise
    return body


async def _part(line: str, scope: Scope, body: Body) -> tuple[str, tuple[str | None, bytes | BinaryIO, str | None]]:
    """Return one part: its name, and file name, content and type."""
    name, equals, rest = line.partition("=")
    if not equals:
        raise NodeError(
            "a part of the body has no `=`", "write `name=value` or `name=@path`, each in a line of its own"
        )
    found = _OPTIONS.search(rest)
    options: dict[str, str] = {}
    if found is not None:
        rest = rest[: found.start()]
        for word, source in _OPTION.findall(found[0]):
            options[word] = str(await render_apart(source.strip(), scope.values, Target.HTTP))
    name = str(await render_apart(name.strip(), scope.values, Target.HTTP))
    kind, label = options.get("type"), options.get("filename")
    if rest.startswith("@"):
        path = str(await render_apart(rest[1:].strip(), scope.values))
        file = await asyncio.to_thread(open_file, path, scope)
        body.files.callback(file.close)
        return name, (label or Path(path).name, file, kind)
    value = await render_apart(rest, scope.values)
    data = bytes(value) if isinstance(value, bytes | bytearray) else as_text(value).encode()
    return name, (label, data, kind)


def _file_body(path: str, scope: Scope) -> Body:
    file = open_file(path, scope)
    body = Body(type="application/octet-stream")
    body.files.callback(file.close)
    body.stream = Stream(_File(file), file.seek(0, 2))
    return body


def open_file(path: str, scope: Scope) -> BinaryIO:
    """Return an open file of the document's folder, or of one that `allow_paths` names. Blocks.

    Args:
        path: Relative to the document's folder.
        scope: What the node sees.

    Raises:
        NodeError: It is not there, or outside (symbolic links resolved).
    """
    shown = scope.redactor.text(path)
    try:
        found = (scope.folder / path).resolve(strict=True)
        roots = [scope.folder.resolve(), *((scope.folder / root).resolve() for root in scope.allowed)]
        if not any(found.is_relative_to(root) for root in roots):
            raise NodeError(
                f"the file {shown} is outside the document's folder",
                "move it there, or name its folder in the front matter: `allow_paths: […]`",
            )
        return found.open("rb")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise NodeError(
            f"the file {shown} cannot be read: {why}", "paths are relative to the document's folder"
        ) from None
