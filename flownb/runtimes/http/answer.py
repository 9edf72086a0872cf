"""What a server answered: its body read, decoded, and what of it is the value."""

from __future__ import annotations

import asyncio
import codecs
import json
from dataclasses import dataclass
from functools import partial
from typing import Final

import httpx2

from flownb.artifacts.kind import Put
from flownb.errors import NodeError
from flownb.model.http_node import HttpNode, HttpOutput
from flownb.runtimes.base import PutValue
from flownb.runtimes.http.large import Spill
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.secrets import Redactor
from flownb.templates.expressions import evaluate

_LARGE: Final = 1 << 16
"""Bytes that are held in memory in any case."""
_QUICK: Final = 1 << 17
"""Bytes of JSON or text that are read without a thread."""
_MOST: Final = 1 << 30
"""Bytes that are held in memory at most."""
_SHOWN: Final = 1 << 14
"""Bytes of an error's body that are read."""
_TEXTS: Final = (
    "xml",
    "javascript",
    "ecmascript",
    "x-www-form-urlencoded",
    "yaml",
    "x-yaml",
    "toml",
    "x-ndjson",
    "sql",
    "graphql",
)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, whose body was read."""

    response: httpx2.Response
    """What came."""
    body: object
    """The decoded body."""

    def as_data(self, url: str, body: object) -> dict[str, object]:
        """Return it as `output: response` gives it, and as `next` sees it.

        Args:
            url: Its URL, as it may be shown.
            body: What stands for its body.
        """
        return {
            "status": self.response.status_code,
            "headers": {name.lower(): value for name, value in self.response.headers.items()},
            "url": url,
            "links": _links(self.response),
            "body": body,
        }


async def read_answer(
    response: httpx2.Response, output: HttpOutput, redactor: Redactor, put: Put | None
) -> Answer | PutValue:
    """Return an answer with its body; one of bytes that is large goes to the store.

    Args:
        response: What came; its body is still to be read.
        output: What becomes of the body.
        redactor: Knows the secrets.
        put: Puts a file into the run's store; None: the body is needed in memory.

    Raises:
        NodeError: The body is not what `output` says, or too large.
        OSError: It cannot be written.
    """
    wanted = _wanted(response, output)
    spills = put if wanted is HttpOutput.BYTES and output is not HttpOutput.RESPONSE else None
    data = await _read(response, spills, redactor)
    if isinstance(data, PutValue):
        return data
    if wanted is HttpOutput.BYTES or len(data) <= _QUICK:
        return Answer(response, _decoded(data, response, wanted, output))
    return Answer(response, await asyncio.to_thread(_decoded, data, response, wanted, output))


async def extracted(body: object, node: HttpNode) -> object:
    """Return what `extract` finds in a decoded body; the body where the node has none.

    Raises:
        NodeError: The body is no data.
        ExpressionError: The expression does not fit it.
    """
    if node.extract is None:
        return body
    if isinstance(body, str | bytes):
        raise NodeError(
            f"`extract`: the answer is {'text' if isinstance(body, str) else 'bytes'}, and no JSON",
            "write `output: json` where the server does not say that it is JSON",
        )
    find = partial(evaluate, "body | jmespath(extract)", {"body": body, "extract": node.extract})
    return await asyncio.to_thread(find)


async def beginning(response: httpx2.Response) -> str:
    """Return the beginning of a body as text, as far as it can be read."""
    data = b""
    try:
        async for chunk in response.aiter_bytes():
            data += chunk
            if len(data) >= _SHOWN:
                break
    except httpx2.HTTPError:
        pass  # What came by then is shown.
    return data.decode(_charset(response), "replace")


async def dropped(response: httpx2.Response) -> None:
    """Let go of an answer whose body nobody wants; where that is short, the connection stays open for the next request."""
    await beginning(response)
    await response.aclose()


async def _read(response: httpx2.Response, put: Put | None, redactor: Redactor) -> bytes | PutValue:
    """Return a body's bytes, or what stands for them where they are many and can be put."""
    held = bytearray()
    spill: Spill | None = None
    try:
        async for chunk in response.aiter_bytes(_LARGE if put else None):
            if spill is not None:
                await spill.take(chunk)
                continue
            held += chunk
            if put is not None and len(held) > _LARGE:
                spill = Spill(put, redactor)
                await spill.take(bytes(held))
                held.clear()
            _check_size(len(held))
        return bytes(held) if spill is None else await spill.end()
    except BaseException:
        if spill is not None:
            await spill.drop()
        raise


def _check_size(size_bytes: int) -> None:
    if size_bytes > _MOST:
        raise NodeError(f"the answer is larger than {_MOST:,} bytes", "take it as it comes: `output: bytes`")


def _wanted(response: httpx2.Response, output: HttpOutput) -> HttpOutput:
    """Return what the body is decoded to: json, text or bytes."""
    if output not in (HttpOutput.AUTO, HttpOutput.RESPONSE):
        return output
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.endswith(("/json", "+json")):
        return HttpOutput.JSON
    if kind.startswith("text/") or kind.endswith("+xml") or kind.partition("/")[2] in _TEXTS:
        return HttpOutput.TEXT
    return HttpOutput.BYTES


def _decoded(data: bytes, response: httpx2.Response, wanted: HttpOutput, output: HttpOutput) -> object:
    is_free = output in (HttpOutput.AUTO, HttpOutput.RESPONSE)
    if is_free and not data:
        return None
    if wanted is HttpOutput.BYTES:
        return data
    if wanted is HttpOutput.TEXT:
        return data.decode(_charset(response), "replace")
    try:
        return load_json(data.decode(json.detect_encoding(data)))
    except (JsonTextError, UnicodeDecodeError) as error:
        said = str(error) if isinstance(error, JsonTextError) else "it is no Unicode text"
        kind = response.headers.get("content-type", "nothing")
        raise NodeError(
            f"the answer is no JSON: {said} (its type is {kind})", "take it as it is: `output: text`"
        ) from None


def _charset(response: httpx2.Response) -> str:
    """Return the encoding that an answer names, where Python knows it; else UTF-8."""
    named = response.charset_encoding or "utf-8"
    try:
        return codecs.lookup(named).name
    except LookupError:
        return "utf-8"


def _links(response: httpx2.Response) -> dict[str, str]:
    links = {name: str(link.get("url", "")) for name, link in response.links.items() if name}
    return {name: str(response.url.join(url)) for name, url in links.items() if url}
