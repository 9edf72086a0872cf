"""What goes wrong with a request, in words that show no secret."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpx2

from flownb.errors import HttpStatusError, NodeConnectionError, NodeError, NodeTimeoutError
from flownb.secrets import Redactor

SHOWN: Final = 500
"""The most characters that are shown of a body."""
_LONGEST: Final = 300
_WORDS: Final[Mapping[type[Exception], str]] = {
    httpx2.DecodingError: "the answer cannot be unpacked: {}",
    httpx2.TooManyRedirects: "it redirects more often than 20 times",
}
_HINTS: Final = {
    400: "look at the body and the query: the server says what it does not take",
    401: "the server does not know who asks: look at `auth`",
    403: "the server knows who asks, and refuses: look at what the token may do",
    404: "look at the URL",
    405: "look at the method",
    407: "the proxy wants a name and a password: `HTTPS_PROXY=http://name:password@host:port`",
    413: "send less at once",
    415: "say what the body is: `Content-Type: application/json`",
    429: "ask less often: `retry`, `rate` of a `foreach`, `every` of a loop",
}


def url_shown(url: httpx2.URL, redactor: Redactor, *, with_query: bool = True) -> str:
    """Return a URL as it may be shown: without name and password, and without secrets.

    Args:
        url: The URL.
        redactor: Knows the secrets.
        with_query: Whether its query may be shown.
    """
    bare = url.copy_with(userinfo=b"", fragment=None) if url.userinfo or url.fragment else url
    text = str(bare if with_query or not bare.query else bare.copy_with(query=None))
    shown = redactor.text(text)
    return shown if len(shown) <= _LONGEST else shown[: _LONGEST - 1] + "…"


def status_error(status: int, method: str, url: str, body: str, retry_after: str | None) -> HttpStatusError:
    """Return the error of an answer with a status of 400 or more.

    Args:
        status: The status.
        method: The request's method.
        url: The request's URL, as it may be shown.
        body: The beginning of the answer's body, without secrets.
        retry_after: Its `Retry-After`; None: there is none.
    """
    text = " ".join(body.split())
    said = f": {text[:SHOWN]}{'…' if len(text) > SHOWN else ''}" if text else ""
    message = f"{status}{_phrase(status)} from {method} {url}{said}"
    hint = _HINTS.get(status, "")
    if not hint and status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        hint = "the fault is the server's; `retry: 3` tries again"
    return HttpStatusError(message, hint, status, seconds_in(retry_after, datetime.now(UTC)))


def _phrase(status: int) -> str:
    try:
        return f" {HTTPStatus(status).phrase}"
    except ValueError:
        return ""


def seconds_in(retry_after: str | None, now: datetime) -> float | None:
    """Return the seconds that a `Retry-After` asks to wait (RFC 9110, 10.2.3): a count or a date; None: it says nothing usable.

    Args:
        retry_after: The header's value; None: there is none.
        now: The time.
    """
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    aware = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def as_node_error(error: Exception, method: str, url: str) -> NodeError:
    """Return the node's error for one of the library's.

    Args:
        error: What the library raised.
        method: The request's method.
        url: The request's URL, as it may be shown.
    """
    said = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
    kind, words, hint = _meaning(error)
    return kind(f"{method} {url}: {words.format(said) if '{}' in words else words}", hint)


def _meaning(error: Exception) -> tuple[type[NodeError], str, str]:
    """Return the class of the error that a person sees, its words, and what to do."""
    look = "look at the host and the port"
    match error:
        case httpx2.ConnectTimeout():
            return NodeTimeoutError, "there was no connection in time", look
        case httpx2.TimeoutException():
            return NodeTimeoutError, "the server was silent for too long", "give it longer: `timeout: 5m`"
        case httpx2.ConnectError() if _is_untrusted(error):
            hint = "name the file of the certificates to trust: `verify: ca.pem`, or `SSL_CERT_FILE` in the environment"
            return NodeError, "the server's certificate is not trusted: {}", hint
        case httpx2.ConnectError():
            return NodeConnectionError, "no connection: {}", look
        case httpx2.ProxyError():
            return NodeConnectionError, "the proxy refused: {}", "look at HTTP_PROXY and HTTPS_PROXY"
        case httpx2.NetworkError() | httpx2.RemoteProtocolError():
            return NodeConnectionError, "the connection broke off: {}", ""
        case _:
            return NodeError, _WORDS.get(type(error), "{}"), "look at the URL and the headers"


def _is_untrusted(error: BaseException) -> bool:
    """Return whether a certificate that was not trusted is behind an error."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return True
        seen = seen.__cause__ or seen.__context__
    return "CERTIFICATE_VERIFY_FAILED" in str(error)
