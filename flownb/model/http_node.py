"""A request to a server, and what becomes of its answer."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from flownb.model.frozen import Frozen
from flownb.model.nodes import Leaf


class HttpOutput(StrEnum):
    """What becomes of an answer's body."""

    AUTO = "auto"
    """What its `Content-Type` says: JSON as data, text as text, anything else as bytes; null where it is empty."""
    JSON = "json"
    """The data that it stands for."""
    TEXT = "text"
    """Text."""
    BYTES = "bytes"
    """Bytes."""
    RESPONSE = "response"
    """`status`, `headers` (names in small letters), `url`, `links` (relation → URL) and `body`, decoded as with `auto`."""


class BearerAuth(Frozen):
    """A token that is there."""

    type: Literal["bearer"]
    """`bearer`."""
    token: str
    """The token."""


class BasicAuth(Frozen):
    """A name and a password."""

    type: Literal["basic"]
    """`basic`."""
    username: str
    """The name."""
    password: str = ""
    """The password."""


class OAuth2Auth(Frozen):
    """A token that is fetched with client credentials (RFC 6749, section 4.4), once in a run, and anew after a 401."""

    type: Literal["oauth2"]
    """`oauth2`."""
    token_url: str
    """Where tokens are fetched."""
    client_id: str
    """The client's name there."""
    client_secret: str
    """Its password."""
    scope: str | None = None
    """What is asked for; None: what the server gives."""


HttpAuth = Annotated[BearerAuth | BasicAuth | OAuth2Auth, Field(discriminator="type")]
"""How a request shows who sends it."""
Scalar = str | bool | int | float
"""What stands for one value of a query."""


def _check_extract(source: str) -> str:
    from flownb.templates.search import check_search  # noqa: PLC0415 30 ms that few documents need

    check_search(source)
    return source


class HttpNode(Leaf):
    """A request; its value is the answer's body."""

    TITLE: ClassVar[str] = "http"
    EXPRESSIONS: ClassVar[frozenset[str]] = frozenset({"next"})
    LITERALS: ClassVar[frozenset[str]] = frozenset({"extract", "output", "follow"})
    OWN_NAMES: ClassVar[Mapping[str, frozenset[str]]] = {"next": frozenset({"response"})}
    KNOWN_KEYS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "auth": tuple(dict.fromkeys(key for kind in (BearerAuth, BasicAuth, OAuth2Auth) for key in kind.model_fields))
    }
    DEFAULT_RETRY_ON: ClassVar[tuple[str, ...]] = ("429", "5xx", "ConnectionError", "timeout")

    params: dict[str, Scalar | list[Scalar] | None] = {}
    """Name → value of the query, besides what the URL has; a list is one `name=value` each, null is left out."""
    auth: HttpAuth | None = None
    """`{type: bearer, token}`, `{type: basic, username, password}` or `{type: oauth2, token_url, client_id, client_secret, scope}`."""
    extract: Annotated[str, AfterValidator(_check_extract)] | None = None
    """What of the decoded body is the value, as JMESPath; None: all of it."""
    output: HttpOutput = HttpOutput.AUTO
    """What the value is."""
    verify: bool | str = True
    """Whether the server's certificate is checked; a text: the path of the certificates to check it with."""
    follow: bool = True
    """Whether redirects are followed."""
    next: str | None = None
    """An expression on `response` that gives the next page's URL, or null; with it the value is the list of pages."""

    @property
    def uses_saved(self) -> bool:
        """Whether its runtime keeps what it has while it runs: the pages."""
        return self.next is not None
