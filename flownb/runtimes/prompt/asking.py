"""One request to a language model, by pydantic-ai; it tries nothing again by itself."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

import httpx2
from openai import AsyncOpenAI
from pydantic import JsonValue
from pydantic_ai import messages as m
from pydantic_ai.direct import model_request_stream
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.providers.openrouter import OpenRouterProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from flownb.model.usage import Usage
from flownb.runtimes.prompt.answer import NAME, told
from flownb.runtimes.prompt.images import Image
from flownb.runtimes.prompt.place import Place

_SILENT_S: Final = 600.0
"""Seconds in which a model that thinks may say nothing; the node's `timeout` bounds the whole."""
_CONNECT_S: Final = 10.0
_WHOLE: Final = OpenAIModelProfile(openai_chat_streaming_requires_finish_reason=True)
"""An answer that does not say that it ended has broken off, also where the connection was closed in good order."""
_NO_KEY: Final = "none"
"""What is sent in a key's place to a server that wants none: the clients insist on one."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked."""

    parts: tuple[str, ...]
    """The message, and behind it why its last answer was refused."""
    images: tuple[Image, ...] = ()
    """What goes with it."""
    system: str = ""
    """What it is told before; empty: nothing."""
    schema: dict[str, JsonValue] | None = None
    """The JSON Schema of the answer; None: any text."""
    temperature: float | None = None
    """How much is left to chance; None: as the provider has it."""
    max_tokens: int | None = None
    """The most tokens of the answer; None: as the provider has it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered."""

    text: str
    """Its text; of an answer by a schema the JSON."""
    ended: str | None
    """Why it ended: `stop`, `length`, `content_filter`, `tool_call`; None: it broke off."""


Connect = Callable[[Place, httpx2.AsyncClient], Model]
"""Makes what speaks to the model of a place, through a client."""


def connected(place: Place, client: httpx2.AsyncClient) -> Model:
    """Return what speaks to the model of a place."""
    key = place.key or _NO_KEY
    if place.provider == "anthropic":
        anthropic = AnthropicProvider(api_key=key, base_url=place.url, http_client=client)
        return AnthropicModel(place.name, provider=anthropic)
    provider: Provider[AsyncOpenAI]
    match place.provider:
        case "openai":
            provider = OpenAIProvider(place.url, key, http_client=client)
        case "ollama":
            provider = OllamaProvider(place.url, key, http_client=client)
        case name:
            # The profile of models there, with an address that may be another.
            profile = OpenRouterProvider.model_profile if name == "openrouter" else None
            provider = OpenAICompatibleProvider(
                name, base_url=place.url, api_key=key, http_client=client, profile=profile
            )
    return OpenAIChatModel(place.name, provider=provider, profile=_WHOLE)


async def ask(
    place: Place,
    request: Request,
    show: Callable[[str], None],
    used: Callable[[Usage], None],
    connect: Connect = connected,
) -> Answer:
    """Return what a model answers. Cancelling closes the request.

    Args:
        place: Where it is asked.
        request: What it is asked.
        show: Takes the text as it comes.
        used: Takes what was asked of it, as far as that is known when it ends, also where it fails.
        connect: Makes what speaks to it.

    Raises:
        Exception: One of `failing.ERRORS`.
    """
    async with _client() as client:
        model = connect(place, client)
        system, parameters = _shape(model, request)
        before = [m.SystemPromptPart(system)] if system else []
        files = [m.BinaryContent(data, media_type=kind) for data, kind in request.images]
        message = m.ModelRequest(parts=[*before, m.UserPromptPart([*request.parts, *files])])
        stream = model_request_stream(
            model, [message], model_settings=_settings(model, request), model_request_parameters=parameters
        )
        async with stream as events:
            return await _read(events, show, used)


async def _read(events: StreamedResponse, show: Callable[[str], None], used: Callable[[Usage], None]) -> Answer:
    """Return the answer that a stream brings."""
    try:
        async for event in events:
            show(_text_in(event))
    finally:
        usage, response = events.usage, events.get()
        if usage.has_values() or response.parts:
            used(Usage(requests=1, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens))
    return Answer("".join(_text_of(part) for part in response.parts), response.finish_reason)


def _shape(model: Model, request: Request) -> tuple[str, ModelRequestParameters]:
    """Return what the model is told before, and how it is to answer: by a schema, by a tool's arguments, or as it likes."""
    schema = request.schema
    if schema is None:
        return request.system, ModelRequestParameters()
    if isinstance(model, AnthropicModel):  # Its schemas know no `dict[str, X]`, its tools do.
        tool = ToolDefinition(name=NAME, parameters_json_schema=schema, description="Gives the answer.", kind="output")
        return request.system, ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)
    system = "\n\n".join(part for part in (request.system, told(schema)) if part)
    if not model.profile.get("supports_json_schema_output"):
        return system, ModelRequestParameters()
    wanted = OutputObjectDefinition(json_schema=schema, name=NAME)
    return system, ModelRequestParameters(output_mode="native", output_object=wanted)


def _settings(model: Model, request: Request) -> ModelSettings:
    """Return the settings of a request, as the document has them."""
    settings = ModelSettings(max_retries=0)
    if request.temperature is not None and isinstance(model, OpenAIChatModel):
        # pydantic-ai would leave it out for models that it takes not to know it; here the server has the last word.
        settings["extra_body"] = {"temperature": request.temperature}
    elif request.temperature is not None:
        settings["temperature"] = request.temperature
    if request.max_tokens is not None:
        settings["max_tokens"] = request.max_tokens
    return settings


def _text_in(event: m.ModelResponseStreamEvent) -> str:
    """Return the text that an event adds to the answer."""
    match event:
        case m.PartStartEvent(part=part):
            return _text_of(part)
        case m.PartDeltaEvent(delta=m.TextPartDelta(content_delta=text)):
            return text
        case m.PartDeltaEvent(delta=m.ToolCallPartDelta(args_delta=str(text))):
            return text
        case _:
            return ""


def _text_of(part: m.ModelResponsePart) -> str:
    match part:
        case m.TextPart(content=text):
            return text
        case m.ToolCallPart(args=str(text)):
            return text
        case m.ToolCallPart(args=dict(data)) if data:
            return json.dumps(data)
        case _:
            return ""


@cache
def _tls() -> ssl.SSLContext:
    """Return the certificates that are trusted: reading them takes longer than all else of a request."""
    return httpx2.create_ssl_context()


@asynccontextmanager
async def _client() -> AsyncIterator[httpx2.AsyncClient]:
    """Give a client for one request. It follows no redirect: a key would follow, too."""
    limits = httpx2.Timeout(_SILENT_S, connect=_CONNECT_S)
    async with httpx2.AsyncClient(verify=_tls(), timeout=limits, follow_redirects=False) as client:
        yield client


def prepare() -> None:
    """Do what takes time once. Blocks."""
    _tls()
