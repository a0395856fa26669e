"""The Python client.

    from efss_transfer.client import Client, ClientError, Incomplete

    with Client("https://transfer.example.org", token=token) as client:
        result = client.complete(request)

It needs the package `requests`, and nothing of the server's.

The client asks for a stream even where only the result is wanted: the service sends something
twice a second, so that no gateway takes a long copy for a dead connection, and a service that has
died is noticed within a minute. A platform without streams (AWS Lambda) answers in one piece,
which works as well.
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
"""A transfer request that fits the schema `request`, as `json.load` returns it."""


@dataclass(frozen=True)
class Timeouts:
    """Timeouts in seconds: to connect, to the start of the answer, and between two events.

    A stream starts within half a minute. Without streams the answer comes when the transfer has
    ended, which on AWS Lambda may take 15 minutes.
    """

    connect: float = 10
    answer: float = 960
    silence: float = 60


class Stream(Iterator[Event]):
    """The events of one invocation as they happen. The last one, `Finished`, has the result.

    Closing the stream early cancels the transfer: use it in a `with` statement.
    """

    def __init__(self, events: Generator[Event, None, None], close: Callable[[], None]) -> None:
        self._events = events
        self._close = close

    def __next__(self) -> Event:
        """Return the next event. Raises ServiceUnreachable if the stream breaks off."""
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
    """A connection to one service. Like a session of `requests`, it belongs to one thread.

    `token` is a bearer token; it is sent to the service and shown nowhere. Proxies and CA bundles
    are read from the environment, as `requests` does. `session` is your own `requests.Session`,
    with its adapters and certificates. `verify` is as in `requests`: the path of a CA bundle, or
    False. `retries` is the maximum number of retries of failures that can pass; 0 is none.
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
        """Connect to nothing yet. Raises ValueError for a URL or a token that cannot be used."""
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
        """Copy within the time of one invocation, and return the result of a success.

        `files` of the result are those that `options.report` asks for. Raises a ClientError for
        anything else: a TransferFailed has the result. Retryable failures have been retried by
        then; a transfer that ran out of time has not been resumed (see `complete`). Sending the
        request again is always safe.
        """
        return self._run(request, RetryPolicy(self._retries, carry_on=False), lambda _: None)

    def complete(
        self,
        request: Request,
        *,
        invocations: int | None = None,
        on_resume: Callable[[Resumed], None] = lambda _: None,
    ) -> Result:
        """Copy, however long it takes: like `transfer`, but resume when the time runs out.

        `invocations` is the maximum number of invocations, the first included; None continues
        while files keep arriving. `on_resume` is called before each further one. Raises
        Incomplete if the invocations were not enough, and with `overwrite: always`, which would
        copy everything again in each.
        """
        carry_on = resume.skips_existing_files(_option(request, "overwrite", ""))
        return self._run(request, RetryPolicy(self._retries, invocations, carry_on), on_resume)

    def stream(self, request: Request) -> Stream:
        """Send the request once and stream its events, without any retry.

        The last event has the result, success or not. Raises ClientError for a request that was
        refused before a transfer started.
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
        """Return the plan of a transfer, as the schema `plan` describes it. Nothing is copied.

        `request` may have `plan`, the parameters of the estimate. The service lists both sides,
        however long that takes. Raises ClientError for a transfer that cannot work, or a side
        that cannot be listed.
        """
        return self._document("plan", request, None)

    def list(
        self, endpoint: Mapping[str, Any], *, limit: int | None = None, engine: str | None = None
    ) -> dict[str, Any]:
        """Return what is in an endpoint's folder, as the schema `listing` describes it.

        At most `limit` entries are returned, by that engine; None is the service's default. Raises
        ClientError if the folder cannot be listed.
        """
        request = look_request(endpoint, limit=limit, engine=engine)
        return self._document("list", request, self._timeouts.answer)

    def check(
        self, endpoint: Mapping[str, Any], *, write: bool = False, engine: str | None = None
    ) -> dict[str, Any]:
        """Return what may be done with a storage, as the schema `check` describes it.

        With `write` something is made in the endpoint's path and removed. A step that failed is
        in the answer: see its `passed`. Raises ClientError if the check could not run.
        """
        request = look_request(endpoint, write=write, engine=engine)
        return self._document("check", request, self._timeouts.answer)

    def _document(self, path: str, request: Request, seconds: float | None) -> dict[str, Any]:
        response = transport.sent(
            self._session,
            f"{self._url.rstrip('/')}/{path}",
            json.dumps(request).encode(),
            self._auth,
            self._verify,
            (self._timeouts.connect, seconds),
            transport.JSON,
        )
        return transport.document(response)

    def _run(
        self, request: Request, policy: RetryPolicy, on_resume: Callable[[Resumed], None]
    ) -> Result:
        files = ReportedFiles(_option(request, "report", "errors"))
        for event in resume.events(partial(self.stream, request), policy, on_resume=on_resume):
            if isinstance(event, FileDone):
                files.add(event.outcome)
            elif isinstance(event, Finished):
                ended = files.added_to(event.result)
        if ended.state is not State.SUCCEEDED:
            raise decoding.failure(ended)
        return ended


def look_request(endpoint: Mapping[str, Any], **members: Any) -> dict[str, Any]:
    """Return a request for a look at an endpoint, with the members that are not None."""
    return {"endpoint": endpoint} | {k: it for k, it in members.items() if it is not None}


def _option(request: Request, name: str, default: str) -> str:
    # The service reports what is wrong with a request.
    options = request.get("options")
    return str(options.get(name, default)) if isinstance(options, Mapping) else default
