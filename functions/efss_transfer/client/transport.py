"""HTTP between the client and a service, by the package `requests`.

Errors get messages of our own: those of `requests` quote URLs, and its exceptions hold the whole
request, passwords included.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import suppress
from operator import attrgetter
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from efss_transfer import __version__
from efss_transfer.backoff import retry_after_seconds
from efss_transfer.client import decoding
from efss_transfer.client.errors import (
    ClientError,
    ServiceUnreachable,
    UnexpectedAnswer,
    UntrustedService,
)
from efss_transfer.model.events import Event, Finished

_ACCEPT: Final = "application/x-ndjson, application/json;q=0.5, application/problem+json;q=0.5"
JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"
_LONGEST_LINE: Final = 64 << 20
_KEEPALIVE_SECONDS: Final = 60


class BearerAuth(AuthBase):
    """Sends a bearer token. As `auth`, because an entry in .netrc would replace a header."""

    def __init__(self, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("The token is empty or has characters that a header cannot carry.")
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = self._header
        return request


class _Adapter(HTTPAdapter):
    """Turns on TCP keep-alive.

    An answer may take minutes, and a NAT on the way forgets connections that carry nothing.
    """

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        options["socket_options"] = [
            *HTTPConnection.default_socket_options,
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ]
        if hasattr(socket, "TCP_KEEPIDLE"):
            options["socket_options"] += [
                (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS),
                (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS // 4),
            ]
        super().init_poolmanager(*arguments, **options)


def session() -> requests.Session:
    """Make a session with keep-alive."""
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter())
    return made


def checked(url: str) -> str:
    """Return the URL if it can be a service's. Raises ValueError otherwise."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("The service's URL must start with https:// or http:// and name a host.")
    if "@" in parts.netloc:
        raise ValueError("The service's URL must not contain a user or a password: use a token.")
    return url


def sent(
    session: requests.Session,
    url: str,
    body: bytes,
    auth: AuthBase | None,
    verify: bool | str | None,
    timeouts: tuple[float, float | None],
    accept: str = _ACCEPT,
) -> requests.Response:
    """POST a request, and return the response with only its headers read.

    `timeouts` are seconds to connect and to the answer; None waits without limit. Raises
    ClientError.
    """
    failed: ClientError
    try:
        return session.post(
            url,
            data=body,
            headers={
                "Content-Type": "application/json",
                "Accept": accept,
                "User-Agent": f"efss-transfer/{__version__}",
            },
            auth=auth,
            verify=verify,
            timeout=timeouts,
            stream=True,
            # Following a redirect would send passwords to any host that the answer names.
            allow_redirects=False,
        )
    except requests.RequestException as error:
        failed = _translated(error, urlsplit(url).netloc)
    # Raised here and not above: as its context it would carry the error with the request.
    raise failed


def events(response: requests.Response, silence: float) -> Generator[Event, None, None]:
    """Return the events of an answer. Raises ClientError at once for a refused request.

    `silence` is the number of seconds that may pass between two events.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code == 200 and kind == _NDJSON:
        _limit_silence(response, silence)
        return _streamed(response)
    try:
        return _decoded(response, kind, b"".join(_read(response)))
    finally:
        response.close()


def document(response: requests.Response) -> dict[str, Any]:
    """Return the document of an answer without a transfer, such as a plan. Raises ClientError."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        body = b"".join(_read(response))
    finally:
        response.close()
    if response.status_code == 200:
        return decoding.document(kind, body)
    for event in _decoded(response, kind, body):
        if isinstance(event, Finished):
            raise decoding.failure(event.result)
    raise UnexpectedAnswer("The service sent an empty answer.", status=response.status_code)


def _streamed(response: requests.Response) -> Generator[Event, None, None]:
    pending: list[bytes] = []
    size = 0
    for piece in _read(response):
        *lines, rest = piece.split(b"\n")
        for line in lines:
            event = decoding.event(b"".join((*pending, line)))
            pending, size = [], 0
            if event is not None:
                yield event
            if isinstance(event, Finished):
                return
        pending.append(rest)
        size += len(rest)
        if size > _LONGEST_LINE:
            raise UnexpectedAnswer("The service sent a line longer than 64 MiB.")
    raise _broken_off()


def _read(response: requests.Response) -> Iterator[bytes]:
    """Yield the body as it arrives. Raises ServiceUnreachable if it breaks off."""
    while True:
        try:
            # `iter_content` would wait for the end where a gateway has removed the chunking.
            piece = response.raw.read1(decode_content=True)
        except (HTTPError, OSError):
            piece = None
        if piece is None:
            raise _broken_off()
        if not piece:
            return
        yield piece


def _broken_off() -> ServiceUnreachable:
    return ServiceUnreachable(
        "The connection to the service broke, or it fell silent, before the result arrived. The "
        "copy was cancelled. Send the request again: files that arrived are skipped.",
        retryable=True,
    )


def _decoded(response: requests.Response, kind: str, body: bytes) -> Generator[Event, None, None]:
    status = response.status_code
    if 300 <= status < 400:
        to = urlsplit(response.headers.get("Location", ""))
        raise UnexpectedAnswer(
            f"The service answered with a redirect ({status}), which the client does not follow. "
            + (f"Use its URL on {to.scheme}://{to.hostname}." if to.hostname else "Use its URL."),
            status=status,
        )
    waits = retry_after_seconds(response.headers.get("Retry-After"))
    if status in (502, 503, 504) and kind != "application/problem+json":
        # Not from the service: it is gone, or took too long for the gateway.
        raise ServiceUnreachable(
            f"A gateway in front of the service answered with status {status}.",
            status=status,
            retryable=True,
            retry_after=waits,
        )
    # Decoded at once, so that an error is raised here.
    decoded = list(decoding.answer(status, kind, body, waits))
    return (event for event in decoded)


def _limit_silence(response: requests.Response, seconds: float) -> None:
    """Wait at most so long for each further event."""
    # `requests` has one timeout for the answer and for each read, and no public way to the
    # socket. Where this way is closed, the answer's timeout holds.
    with suppress(AttributeError):
        attrgetter("_fp.fp.raw._sock")(response.raw).settimeout(seconds)


def _translated(error: requests.RequestException, host: str) -> ClientError:
    """Translate an error of `requests`, whose own text may quote a URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return UntrustedService(
            f"The TLS certificate of {host} is not trusted. Set REQUESTS_CA_BUNDLE or `verify` to "
            "the CA bundle that signed it."
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ServiceUnreachable(
            "The proxy could not be reached or refused the connection. Check HTTPS_PROXY.",
            retryable=True,
        )
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return ServiceUnreachable(
            f"{host} does not answer. Check the service's URL, or retry later.", retryable=True
        )
    if isinstance(error, requests.exceptions.Timeout):
        return ServiceUnreachable(
            f"{host} accepted the request but did not answer in time.", retryable=True
        )
    if isinstance(error, requests.exceptions.ConnectionError):
        return ServiceUnreachable(
            f"{host} refused or closed the connection. Check that the service is running there.",
            retryable=True,
        )
    return UnexpectedAnswer(f"The request could not be sent to {host} ({type(error).__name__}).")
