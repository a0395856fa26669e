"""The service in this process: no server, and the same rules, events and results."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from efss_transfer.client import decoding
from efss_transfer.client.errors import ClientError
from efss_transfer.model.errors import ConfigurationError
from efss_transfer.model.events import Event, Finished
from efss_transfer.model.result import State
from efss_transfer.service.application import Service
from efss_transfer.service.http_messages import JSON, NDJSON, Request, Response, body_reader


class NotConfigured(ClientError):
    """A setting of this process's, or its site file, cannot be used."""

    code = "not_configured"


class InProcessService:
    """The service as this process's environment sets it, site file included.

    `interrupted` is asked several times a second whether a transfer must end early, and as
    what. Raises NotConfigured.
    """

    def __init__(
        self, *, token: str | None = None, interrupted: Callable[[], State | None] = lambda: None
    ) -> None:
        # What the service logs is for whoever runs one; here its events tell how it goes.
        logging.getLogger("efss_transfer").addHandler(logging.NullHandler())
        try:
            self._service = Service.from_environment(log=False)
        except ConfigurationError as error:
            raise NotConfigured(str(error)) from None
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._interrupted = interrupted

    def stream(self, request: Mapping[str, Any]) -> LocalStream:
        """As a Client's: one invocation. Raises ClientError for what is refused."""
        answer = self._answer("/", request, NDJSON)
        if not isinstance(answer.body, bytes):
            return LocalStream(_events(answer.body), answer)
        told = _told(answer, answer.body)
        return LocalStream((event for event in told), answer)

    def plan(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """As a Client's: what a transfer would take. Raises ClientError."""
        answer = self._answer("/plan", request, JSON)
        body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
        if answer.status == 200:
            return decoding.document(answer.headers["Content-Type"], body)
        for event in _told(answer, body):
            if isinstance(event, Finished):
                raise decoding.failure(event.result)
        raise AssertionError("a plan that is none has an error")

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
                # Whoever has started this process may do what it may do.
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
        """Cancel the transfer if it has not ended, and return when it is cleaned up."""
        self._events.close()
        self._answer.close()


def _told(answer: Response, body: bytes) -> list[Event]:
    """The events of an answer in one piece. Raises ClientError for what was refused."""
    waits = answer.headers.get("Retry-After")
    kind = answer.headers["Content-Type"]
    seconds = None if waits is None else float(waits)
    return list(decoding.answer(answer.status, kind, body, seconds))


def _events(lines: Iterator[bytes]) -> Generator[Event, None, None]:
    for line in lines:
        event = decoding.event(line)
        if event is not None:
            yield event
