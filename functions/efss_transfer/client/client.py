"""The Python client.

    from efss_transfer.client import Client, ClientError, Incomplete

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
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import requests

from efss_transfer.client import decoding, resume, transport
from efss_transfer.client.outcomes import ReportedFiles
from efss_transfer.client.resume import Resumed, RetryPolicy
from efss_transfer.model.events import Event, FileDone, Finished
from efss_transfer.model.result import Result, State

Request = Mapping[str, Any]
"""A transfer request as the schema `request` describes it, as Python's json makes it."""


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
    """A service, as a client sees it. Like a session of `requests`, it is one thread's.

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
        self._url = transport.checked(url)
        self._auth = None if token is None else transport.BearerAuth(token)
        self._own = session is None
        self._session = transport.session() if session is None else session
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
        return self._done(request, RetryPolicy(self._retries, carry_on=False), lambda _: None)

    def complete(
        self,
        request: Request,
        *,
        invocations: int | None = None,
        told: Callable[[Resumed], None] = lambda _: None,
    ) -> Result:
        """Copy, however long it takes: as `transfer`, but what is `incomplete` is gone on with.

        There are at most so many `invocations`; None for as many as it takes, as long as files
        arrive. `told` is told of each before it begins. Raises Incomplete if that was not
        enough, or with `overwrite: always`, with which each invocation would begin anew.
        """
        carry_on = resume.may_be_carried_on(_option(request, "overwrite", ""))
        return self._done(request, RetryPolicy(self._retries, invocations, carry_on), told)

    def stream(self, request: Request) -> Stream:
        """Send the request once, and tell the events as they happen; nothing is tried again.

        The last event has the result, whether it is a success or not. Raises ClientError for
        what was refused before a transfer began.
        """
        response = transport.sent(
            self._session,
            self._url,
            json.dumps(request).encode(),
            self._auth,
            self._verify,
            (self._timeouts.connect, self._timeouts.answer),
        )
        return Stream(transport.events(response, self._timeouts.silence), response.close)

    def plan(self, request: Request) -> dict[str, Any]:
        """What a transfer would take, as the schema `plan` describes it; nothing is copied.

        `request` may say in `plan` what to reckon with. Both sides are listed, however long
        that takes. Raises ClientError for what cannot work, or could not be seen.
        """
        response = transport.sent(
            self._session,
            f"{self._url.rstrip('/')}/plan",
            json.dumps(request).encode(),
            self._auth,
            self._verify,
            (self._timeouts.connect, None),
            transport.JSON,
        )
        return transport.document(response)

    def _done(
        self, request: Request, bounds: RetryPolicy, told: Callable[[Resumed], None]
    ) -> Result:
        files = ReportedFiles(_option(request, "report", "errors"))
        run = resume.events(partial(self.stream, request), bounds, told=told)
        for event in run:
            if isinstance(event, FileDone):
                files.take(event.outcome)
            elif isinstance(event, Finished):
                ended = files.of(event.result)
        if ended.state is not State.SUCCEEDED:
            raise decoding.failure(ended)
        return ended


def _option(request: Request, name: str, default: str) -> str:
    # What is wrong with a request, the service says.
    options = request.get("options")
    return str(options.get(name, default)) if isinstance(options, Mapping) else default
