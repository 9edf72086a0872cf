"""The kind of node that asks a language model."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Final

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo

from flownb.model.nodes import Expressions, Leaf
from flownb.model.policy import Retry

PROVIDERS: Final = ("openai", "anthropic", "openrouter", "ollama")
"""The providers whose address is known."""
_MODEL: Final = re.compile(r"([a-z][a-z0-9_-]*):(\S.*)")


def split_model(text: str) -> tuple[str, str]:
    """Return the provider and the name of a model, as `openai:gpt-5-mini` gives them.

    Raises:
        ValueError: It is not written so.
    """
    found = _MODEL.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} names no provider and model")
    return found[1], found[2]


def _model(text: str, info: ValidationInfo) -> str:
    if "{{" in text or "{%" in text:
        return text  # What it comes to is known when it runs.
    provider, _ = split_model(text)
    if provider not in PROVIDERS and info.data.get("base_url", "wrong, which is reported there") is None:
        raise ValueError(f"the address of {provider!r} is not known")
    return text


def _address(text: str | None) -> str | None:
    if text is not None and "{{" not in text and not re.match(r"https?://[^/\s]", text):
        raise ValueError(f"{text!r} is no URL")
    return text


class PromptNode(Leaf):
    """A message to a language model; its value is what that answers."""

    TITLE: ClassVar[str] = "prompt"
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"images"})
    LITERALS: ClassVar[frozenset[str]] = frozenset({"output"})
    DEFAULT_RETRY_ON: ClassVar[tuple[str, ...]] = ("429", "5xx", "ConnectionError", "timeout", "AnswerError")
    DEFAULT_RETRY: ClassVar[Retry | None] = Retry(max=2, on=("AnswerError",))

    base_url: Annotated[str | None, AfterValidator(_address)] = None
    """Where the model is served; None: at its provider."""
    model: Annotated[str, AfterValidator(_model)]
    """Which model answers, as `provider:name`."""
    system: str | None = None
    """What the model is told before the message."""
    output: JsonValue = None
    """The type of the answer: a text as `list[str]`, or name → type; None and `text`: the text as it is."""
    temperature: float | None = Field(default=None, ge=0, le=2, strict=True)
    """How much is left to chance, from 0 to 2; None: as the provider has it."""
    max_tokens: int | None = Field(default=None, ge=1, strict=True)
    """The most tokens of an answer; None: as the provider has it."""
    images: Expressions = ()
    """Expressions for figures, pictures and files that go with the message."""
