"""The service in this process: the same rules, events and results, without a server."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from efss_transfer.client import decoding
from efss_transfer.client.client import look_request
from efss_transfer.client.errors import ClientError
from efss_transfer.model.errors import ConfigurationError
from efss_transfer.model.events import Event, Finished
from efss_transfer.model.result import State
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import JSON, NDJSON, Request, Response, body_reader
from efss_transfer.site.site_file import Site


class NotConfigured(ClientError):
    """An EFSS_TRANSFER_ variable or the site file is invalid."""

    code = "not_configured"


class InProcessService:
    """The service, configured by this process's environment and its site file.

    `interrupted` is polled several times a second: it returns the state in which a transfer must
    end early, or None. `site` takes the place of the site file. Raises NotConfigured.
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        interrupted: Callable[[], State | None] = lambda: None,
        site: Site | None = None,
    ) -> None:
        # The service's log is for operators; here its events show the progress.
        logging.getLogger("efss_transfer").addHandler(logging.NullHandler())
        try:
            self._service = Service.from_environment(log=False, site=site)
        except ConfigurationError as error:
            raise NotConfigured(str(error)) from None
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._interrupted = interrupted

    def stream(self, request: Mapping[str, Any]) -> LocalStream:
        """Run one invocation, as Client.stream does. Raises ClientError if it is refused."""
        answer = self._answer("/", request, NDJSON)
        if not isinstance(answer.body, bytes):
            return LocalStream(_events(answer.body), answer)
        events = _buffered_events(answer, answer.body)
        return LocalStream((event for event in events), answer)

    def plan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Estimate a transfer, as Client.plan does. Raises ClientError."""
        return self._document("/plan", request)

    def list(
        self, endpoint: Mapping[str, Any], *, limit: int | None = None, engine: str | None = None
    ) -> dict[str, Any]:
        """List a folder, as Client.list does. Raises ClientError."""
        return self._document("/list", look_request(endpoint, limit=limit, engine=engine))

    def check(
        self, endpoint: Mapping[str, Any], *, write: bool = False, engine: str | None = None
    ) -> dict[str, Any]:
        """Check a storage, as Client.check does. Raises ClientError."""
        return self._document("/check", look_request(endpoint, write=write, engine=engine))

    def _document(self, path: str, request: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._answer(path, request, JSON)
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        if answer.status == 200:
            return decoding.document(answer.headers["Content-Type"], body)
        for event in _buffered_events(answer, body):
            if isinstance(event, Finished):
                raise decoding.failure(event.result)
        raise AssertionError("the service gave neither a document nor an error")

    def _answer(self, path: str, request: Mapping[str, Any], kind: str) -> Response:
        return self._service.answer(
            Request(
                method="POST",
                path=path,
                header=lambda name: self._headers.get(name.lower()),
                content_type=JSON,
                negotiate=lambda: kind,
                read_body=body_reader(json.dumps(request).encode()),
                interrupted=self._interrupted,
                # The caller has this process's own rights.
                vouched=True,
            )
        )


class LocalStream:
    """The events of one invocation; closing it early cancels the transfer."""

    def __init__(self, events: Generator[Event, None, None], answer: Response) -> None:
        self._events = events
        self._answer = answer

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def close(self) -> None:
        """Cancel the transfer if it has not ended, and wait for its clean-up."""
        self._events.close()
        self._answer.close()


def _buffered_events(answer: Response, body: bytes) -> list[Event]:
    """Return the events of a buffered answer. Raises ClientError if it is a problem."""
    retry_after = answer.headers.get("Retry-After")
    kind = answer.headers["Content-Type"]
    seconds = None if retry_after is None else float(retry_after)
    return list(decoding.answer(answer.status, kind, body, seconds))


def _events(lines: Iterator[bytes]) -> Generator[Event, None, None]:
    for line in lines:
        event = decoding.event(line)
        if event is not None:
            yield event
