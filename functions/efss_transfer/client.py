"""The Python client.

    from efss_transfer.client import Client
    from efss_transfer.client_errors import ClientError, Incomplete

    with Client("https://transfer.example.org", token=token) as client:
        result = client.complete(request)

It needs `requests` and `tenacity`, and nothing of the server's.

Answers are asked for as a stream even where only the result is wanted: something is sent
twice a second, so that no gateway takes a long copy for a dead connection, and a service that
has died is missed within a minute. A platform without streams (AWS Lambda) answers in one
piece, and that is understood as well.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from operator import attrgetter
from typing import Any, Final, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from efss_transfer import __version__, completion, decoding, merging
from efss_transfer.client_errors import (
    ClientError,
    ServiceUnreachable,
    UnexpectedAnswer,
    UntrustedService,
)
from efss_transfer.completion import Again, Bounds
from efss_transfer.events import Event, FileDone, Finished
from efss_transfer.result import Result, State

Request = Mapping[str, Any]
"""A transfer request as the schema `request` describes it, as Python's json makes it."""

_ACCEPT: Final = "application/x-ndjson, application/json;q=0.5, application/problem+json;q=0.5"
_NDJSON: Final = "application/x-ndjson"
_LONGEST_LINE: Final = 64 << 20
_KEEPALIVE_SECONDS: Final = 60


@dataclass(frozen=True)
class Timeouts:
    """In seconds: to connect, to the beginning of the answer, and between two events.

    The answer begins within half a minute where there are streams. Where there are none it
    comes when the transfer has ended: AWS Lambda may take 15 minutes.
    """

    connect: float = 10
    answer: float = 960
    silence: float = 60


class Stream(Iterator[Event]):
    """The events of one invocation as they happen; `Finished`, with the result, is the last.

    Closing it early cancels the transfer: use it in a `with` statement.
    """

    def __init__(self, events: Generator[Event, None, None], close: Callable[[], None]) -> None:
        self._events = events
        self._close = close

    def __next__(self) -> Event:
        """The next event. Raises ServiceUnreachable if the stream breaks off: a retry is safe."""
        return next(self._events)

    def close(self) -> None:
        """Cancel the transfer if it has not ended."""
        try:
            self._events.close()
        finally:
            self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Client:
    """A service, as a client sees it. It may be used from many threads at once.

    `token` is a bearer token, which is sent to the service and shown nowhere. Proxies, CA
    bundles and what else the environment says hold as they do for `requests`. `session` is
    your own `requests.Session` to be used, with its adapters and certificates, and `verify` is
    what `requests` takes: a CA bundle's path, or False. `retries` is how often a request is sent
    again at most for what can pass by itself; 0 switches that off.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        session: requests.Session | None = None,
        verify: bool | str | None = None,
        timeouts: Timeouts | None = None,
        retries: int = 3,
    ) -> None:
        """Makes no connection. Raises ValueError for a URL or a token that cannot be used."""
        self._url = _checked(url)
        self._auth = None if token is None else _Bearer(token)
        self._own = session is None
        self._session = _session() if session is None else session
        self._verify = verify
        self._timeouts = timeouts or Timeouts()
        self._retries = retries

    def __repr__(self) -> str:
        return f"Client({self._url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections, unless the session is your own."""
        if self._own:
            self._session.close()

    def transfer(self, request: Request) -> Result:
        """Copy, within one invocation's time, and wait for the result of a success.

        `files` of the result are those that `options.report` asks for. Raises a ClientError for
        all that is no success: a TransferFailed has the result. What is `retryable` was tried
        again before, `incomplete` was not: see `complete`. A retry is always safe.
        """
        return self._done(request, Bounds(self._retries, carry_on=False), lambda _: None)

    def complete(
        self,
        request: Request,
        *,
        invocations: int | None = None,
        told: Callable[[Again], None] = lambda _: None,
    ) -> Result:
        """Copy, however long it takes: as `transfer`, but what is `incomplete` is gone on with.

        There are at most so many `invocations`; None for as many as it takes, as long as files
        arrive. `told` is told of each before it begins. Raises Incomplete if that was not
        enough, or with `overwrite: always`, with which each invocation would begin anew.
        """
        carry_on = completion.may_be_carried_on(request.get("options", {}).get("overwrite", ""))
        return self._done(request, Bounds(self._retries, invocations, carry_on), told)

    def stream(self, request: Request) -> Stream:
        """Send the request once, and tell the events as they happen; nothing is tried again.

        The last event has the result, whether it is a success or not. Raises ClientError for
        what was refused before a transfer began.
        """
        response = self._sent(json.dumps(request).encode())
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if response.status_code == 200 and kind == _NDJSON:
            _bear_silence(response, self._timeouts.silence)
            return Stream(_events(response), response.close)
        try:
            body = b"".join(_read(response))
            return Stream(_told(response, kind, body), response.close)
        finally:
            response.close()

    def _done(self, request: Request, bounds: Bounds, told: Callable[[Again], None]) -> Result:
        files = merging.Outcomes(request.get("options", {}).get("report", "errors"))
        run = completion.events(partial(self.stream, request), bounds, told=told)
        for event in run:
            if isinstance(event, FileDone):
                files.take(event.outcome)
            elif isinstance(event, Finished):
                ended = files.of(event.result)
        if ended.state is not State.SUCCEEDED:
            raise decoding.failure(ended)
        return ended

    def _sent(self, body: bytes) -> requests.Response:
        failed: ClientError
        try:
            return self._session.post(
                self._url,
                data=body,
                headers={
                    "Content-Type": "application/json",
                    "Accept": _ACCEPT,
                    "User-Agent": f"efss-transfer/{__version__}",
                },
                auth=self._auth,
                verify=self._verify,
                timeout=(self._timeouts.connect, self._timeouts.answer),
                stream=True,
                # To follow would hand passwords to whomever the answer names.
                allow_redirects=False,
            )
        except requests.RequestException as error:
            failed = _translated(error, urlsplit(self._url).netloc)
        # Here and not above, so that it does not carry an error with it that has the request.
        raise failed


class _Bearer(AuthBase):
    """Sends a token. Given as `auth`, so that an entry in .netrc does not take its place."""

    def __init__(self, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise ValueError("The token is empty, or has signs that no header can carry.")
        self._header = f"Bearer {token}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
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


def _session() -> requests.Session:
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter())
    return session


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("The service's URL must begin with https:// or http://, and a host.")
    if "@" in parts.netloc:
        raise ValueError("The service's URL must hold no user and no password: give a token.")
    return url


def _events(response: requests.Response) -> Generator[Event, None, None]:
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
