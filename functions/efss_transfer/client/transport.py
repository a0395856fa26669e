"""How a request reaches a service, and the answer comes back: HTTP by requests.

What goes wrong is told in words of our own: those of requests quote URLs, and its errors hold
the request, with all that it has.
"""

from __future__ import annotations

import socket
from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from operator import attrgetter
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from efss_transfer import __version__
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
    """Sends a token. Given as `auth`, so that an entry in .netrc does not take its place."""

    def __init__(self, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("The token is empty, or has signs that no header can carry.")
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Send it."""
        request.headers["Authorization"] = self._header
        return request


class _Adapter(HTTPAdapter):
    """Has the kernel ask whether the other side still lives: an answer may take a while, and
    what translates addresses on the way forgets connections on which nothing is sent.
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
    """A session of our own."""
    made = requests.Session()
    for scheme in ("http://", "https://"):
        made.mount(scheme, _Adapter())
    return made


def checked(url: str) -> str:
    """The service's URL. Raises ValueError for one that cannot be used."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("The service's URL must begin with https:// or http://, and a host.")
    if "@" in parts.netloc:
        raise ValueError("The service's URL must hold no user and no password: give a token.")
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
    """POST a request; the answer, of which nothing but the headers was read.

    `timeouts` are seconds, to connect and to the answer, None for as long as it takes. Raises
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
            # To follow would hand passwords to whomever the answer names.
            allow_redirects=False,
        )
    except requests.RequestException as error:
        failed = _translated(error, urlsplit(url).netloc)
    # Here and not above, so that it does not carry an error with it that has the request.
    raise failed


def events(response: requests.Response, silence: float) -> Generator[Event, None, None]:
    """The events of an answer. Raises ClientError, here, for what was refused.

    `silence` is how many seconds may pass between two.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if response.status_code == 200 and kind == _NDJSON:
        _bear_silence(response, silence)
        return _streamed(response)
    try:
        return _told(response, kind, b"".join(_read(response)))
    finally:
        response.close()


def document(response: requests.Response) -> dict[str, Any]:
    """An answer that is no transfer's, such as a plan. Raises ClientError."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        body = b"".join(_read(response))
    finally:
        response.close()
    if response.status_code == 200:
        return decoding.document(kind, body)
    for event in _told(response, kind, body):
        if isinstance(event, Finished):
            raise decoding.failure(event.result)
    raise UnexpectedAnswer("The service has answered with nothing.", status=response.status_code)


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
            raise UnexpectedAnswer("The service sends a line without an end.")
    raise _broken_off()


def _read(response: requests.Response) -> Iterator[bytes]:
    """What is sent, as it arrives. Raises ServiceUnreachable if it breaks off."""
    while True:
        try:
            # Not `iter_content`: it waits for the end where a gateway has undone the chunks.
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
        "The service broke off, or fell silent, before the result was there; the copy was "
        "cancelled. Send it again: what arrived is skipped.",
        retryable=True,
    )


def _told(response: requests.Response, kind: str, body: bytes) -> Generator[Event, None, None]:
    status = response.status_code
    if 300 <= status < 400:
        to = urlsplit(response.headers.get("Location", ""))
        raise UnexpectedAnswer(
            f"The service redirects ({status}), which is not followed: use its own URL"
            + (f", on {to.scheme}://{to.hostname}." if to.hostname else "."),
            status=status,
        )
    waits = _seconds(response.headers.get("Retry-After"))
    if status in (502, 503, 504) and kind != "application/problem+json":
        # A gateway's own words: the service behind it is gone, or took too long for it.
        raise ServiceUnreachable(
            f"A gateway answers {status} in place of the service.",
            status=status,
            retryable=True,
            retry_after=waits,
        )
    # All at once, so that what is wrong with it is raised here.
    told = list(decoding.answer(status, kind, body, waits))
    return (event for event in told)


def _seconds(retry_after: str | None) -> float | None:
    """What a Retry-After header says (RFC 9110, 10.2.3): seconds, or a date."""
    if retry_after is None:
        return None
    if retry_after.isascii() and retry_after.isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _bear_silence(response: requests.Response, seconds: float) -> None:
    """From now on wait that long for the next event, and not as long as for an answer."""
    # `requests` has one timeout for both, and no door to the socket. Where this one is
    # shut, the timeout of an answer holds.
    with suppress(AttributeError):
        attrgetter("_fp.fp.raw._sock")(response.raw).settimeout(seconds)


def _translated(error: requests.RequestException, host: str) -> ClientError:
    """What an error of requests' means, in our own words: its own may quote a URL."""
    if isinstance(error, requests.exceptions.SSLError):
        return UntrustedService(
            f"The certificate of {host} is not to be trusted: give the CA bundle that vouches "
            "for it, as REQUESTS_CA_BUNDLE or `verify`."
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ServiceUnreachable("The proxy could not be used.", retryable=True)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return ServiceUnreachable(f"{host} does not answer.", retryable=True)
    if isinstance(error, requests.exceptions.Timeout):
        return ServiceUnreachable(
            f"{host} took the request and did not answer in time.", retryable=True
        )
    if isinstance(error, requests.exceptions.ConnectionError):
        return ServiceUnreachable(
            f"{host} could not be reached, or hung up: is the service running there?",
            retryable=True,
        )
    return UnexpectedAnswer(f"The request could not be sent to {host} ({type(error).__name__}).")
