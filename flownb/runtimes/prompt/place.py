"""Where a language model is asked: provider, name, address and key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from flownb.errors import ModelError, NodeError
from flownb.model.prompt_node import PROVIDERS, split_model
from flownb.text.nearest import did_you_mean


@dataclass(frozen=True, slots=True)
class Provider:
    """What is known of a provider."""

    url: str
    """Where its models are asked."""
    needs_key: bool = True
    """Whether it answers nobody without a key."""


KNOWN: Final[Mapping[str, Provider]] = MappingProxyType(
    {
        "openai": Provider("https://api.openai.com/v1"),
        "anthropic": Provider("https://api.anthropic.com"),
        "openrouter": Provider("https://openrouter.ai/api/v1"),
        "ollama": Provider("http://localhost:11434/v1", needs_key=False),
    }
)
"""Provider → what is known of it; all but `anthropic` speak as OpenAI does, and so does one that is not here."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one model is asked."""

    provider: str
    """Its provider, as `openai`."""
    name: str
    """What the provider calls it, as `gpt-5-mini`."""
    url: str
    """The address."""
    variable: str
    """The secret or environment variable that holds the key, as `OPENAI_API_KEY`."""
    key: str = field(default="", repr=False)
    """The key; empty: there is none, and none is needed."""

    @property
    def label(self) -> str:
        """What messages, log and state call the model: `openai:gpt-5-mini`."""
        return f"{self.provider}:{self.name}"

    @property
    def host(self) -> str:
        """The address as messages show it: without a path, a name and a password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def place_of(model: str, base_url: str | None, secrets: Mapping[str, str], environment: Mapping[str, str]) -> Place:
    """Return where a model is asked.

    The key is the secret of that name, else the environment's variable; so is the address, where the node gives none
    (`OPENAI_BASE_URL`).

    Args:
        model: `provider:name`.
        base_url: The node's own address; None: it says none.
        secrets: Secret → value.
        environment: Variable → value.

    Raises:
        NodeError: It is no model, or its provider is not known.
        ModelError: The key is missing, or is none.
    """
    try:
        provider, name = split_model(model)
    except ValueError as error:
        raise NodeError(f"`model`: {error}", "write `provider:name`, as `openai:gpt-5-mini`") from None
    known, word = KNOWN.get(provider), provider.upper().replace("-", "_")
    given = base_url or secrets.get(f"{word}_BASE_URL") or environment.get(f"{word}_BASE_URL")
    url = (given or (known.url if known else "")).strip()
    if not url:
        hint = did_you_mean(provider, PROVIDERS, "say where it is served: `base_url: http://localhost:8000/v1`")
        raise NodeError(f"`model`: the address of the provider {provider!r} is not known", hint)
    if not _is_address(url):
        raise NodeError("`base_url` is no URL", "write it as `http://localhost:11434/v1`")
    variable = f"{word}_API_KEY"
    key = (secrets.get(variable) or environment.get(variable) or "").strip()
    place = Place(provider, name, url, variable, key)
    if not key and known and known.needs_key and not given:
        raise ModelError(
            f"{place.label} needs a key, and {variable} is not set",
            f"name it in the front matter, `secrets: [{variable}]`, and set it before: `export {variable}=…`",
        )
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"{variable} holds characters that no key has", "set it again, to the key alone")
    return place


def _is_address(url: str) -> bool:
    """Return whether a request can be sent to an address."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # A port that is none.
        return False
