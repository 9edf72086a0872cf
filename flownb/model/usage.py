"""What language models were asked, counted: requests and tokens, by model."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from flownb.model.frozen import Frozen


class Usage(Frozen):
    """What was asked of one model."""

    requests: int = Field(default=0, ge=0)
    """How many requests it answered, also wrongly."""
    input_tokens: int = Field(default=0, ge=0)
    """Tokens that it read, as its provider counts them."""
    output_tokens: int = Field(default=0, ge=0)
    """Tokens that it wrote, as its provider counts them."""

    @property
    def tokens(self) -> int:
        """Tokens that it read and wrote."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            requests=self.requests + other.requests,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


def added(usage: Mapping[str, Usage], model: str, more: Usage) -> dict[str, Usage]:
    """Return model → usage with some more of one model's."""
    return {**usage, model: usage.get(model, Usage()) + more}


def tokens_of(usage: Mapping[str, Usage]) -> int:
    """Return the tokens of all models together."""
    return sum(each.tokens for each in usage.values())
