"""What goes wrong with a language model, in flownb's own errors: with provider, model and what to do, and no key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx2
from anthropic import AnthropicError
from openai import OpenAIError
from pydantic_ai import exceptions as ai

from flownb.errors import ModelConnectionError, ModelError, ModelTimeoutError
from flownb.runtimes.prompt.place import Place
from flownb.text.lines import shortened

ERRORS: Final = (
    *(ai.AgentRunError, ai.UserError, OpenAIError, AnthropicError),
    *(httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL),
)
"""What asking a model raises where something goes wrong on the way."""
_SAID: Final = 200
_AGAIN: Final = "`retry: 3` tries it again"
_REFUSED: Final = frozenset({401, 403})
_HINTS: Final = {
    400: "the model does not take this message or one of its settings",
    404: "look at the model's name, and at `base_url`",
    413: "the message is too long: send less of it",
    429: f"too much was asked in a short time: {_AGAIN}, `rate: 10/1m` on a `foreach` asks less often",
}


@dataclass(frozen=True, slots=True)
class Failing:
    """Says what went wrong with one message to one model."""

    place: Place
    """Where it was asked."""
    prompt: str
    """The message, which no error shows whole."""
    hide: Callable[[str], str]
    """Takes secrets, and the key, out of a text."""

    def of(self, error: Exception) -> ModelError:
        """Return flownb's own error for one of `ERRORS`."""
        label = self.place.label
        match error:
            case ai.ModelHTTPError():
                return self._refused(error)
            case ai.ModelTimeoutError() | ai.ModelRequestTimeout() | httpx2.TimeoutException():
                return ModelTimeoutError(
                    f"{label} did not answer in time", f"{_AGAIN}; a smaller prompt is answered sooner"
                )
            case ai.ModelConnectionError() | httpx2.TransportError():
                what = f"{label} cannot be asked at {self.place.host}: {self._said(_root(error))}"
                return ModelConnectionError(what, f"look at the network and at `base_url`; {_AGAIN}")
            case ai.ModelAPIError():
                return ModelConnectionError(f"{label} sent what is no answer: {self._said(error)}", _AGAIN)
            case _:
                return ModelError(f"{label} cannot be asked: {self._said(error)}")

    def broken_off(self) -> ModelError:
        """Return the error for an answer that ended before it was whole."""
        return ModelConnectionError(f"the answer of {self.place.label} broke off", _AGAIN)

    def ended(self, reason: str) -> ModelError:
        """Return the error for an answer that is whole, but was ended for a reason of its own.

        Args:
            reason: `length` or `content_filter`, or what else the library knows.
        """
        label = self.place.label
        if reason == "length":
            return ModelError(
                f"the answer of {label} was cut at the most tokens that it may have", "raise `max_tokens`"
            )
        if reason == "content_filter":
            return ModelError(f"{label} refused to answer: its provider's filter stopped it", "change the prompt")
        return ModelError(f"{label} ended its answer with {reason!r}")

    def _refused(self, error: ai.ModelHTTPError) -> ModelError:
        """Return the error for an HTTP status; what a provider says of a key is not shown: it may show part of it."""
        status, place = error.status_code, self.place
        if status in _REFUSED:
            what = f"{place.label} refused the key in {place.variable} ({status})"
            if not place.key:
                what = f"{place.label} wants a key ({status}), and {place.variable} is not set"
            return ModelError(what, f"set {place.variable} to a key that may use this model", status)
        hint = _HINTS.get(status, _AGAIN if status >= 500 else "")  # noqa: PLR2004 the server's own errors
        what = f"{place.label} answered {status}: {self._body(error.body)}".removesuffix(": ")
        return ModelError(what, hint, status, error.retry_after)

    def _body(self, body: object) -> str:
        """Return what a provider says in the body of an error."""
        inner = body.get("error", body) if isinstance(body, dict) else body
        said = inner.get("message", "") if isinstance(inner, dict) else inner
        return self._said(said) if isinstance(said, str) else ""

    def _said(self, said: object) -> str:
        text = str(said) or type(said).__name__
        return shortened(self.hide(text.replace(self.prompt, "…") if self.prompt else text), _SAID)


def _root(error: BaseException) -> BaseException:
    """Return what an error came from, as a refused connection."""
    while (cause := error.__cause__) is not None:
        error = cause
    return error
