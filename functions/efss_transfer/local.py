"""The service in this process: no server, and the same rules, events and results."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import Any

from efss_transfer import decoding
from efss_transfer.client_errors import ClientError
from efss_transfer.errors import BodyTooLarge, ConfigurationError
from efss_transfer.events import Event
from efss_transfer.result import State
from efss_transfer.service import JSON, NDJSON, Answer, Call, Service


class NotConfigured(ClientError):
    """A setting of this process's, or its site file, cannot be used."""

    code = "not_configured"


class Local:
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
            self._service = Service.configured(log=False)
        except ConfigurationError as error:
            raise NotConfigured(str(error)) from None
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._interrupted = interrupted

    def stream(self, request: Mapping[str, Any]) -> LocalStream:
        """As a Client's: one invocation. Raises ClientError for what is refused."""
        body = json.dumps(request).encode()

        def sent(most: int) -> bytes:
            if len(body) > most:
                raise BodyTooLarge(f"A request may have {most} bytes here.")
            return body

        answer = self._service.answer(
            Call(
                method="POST",
                path="/",
                header=lambda name: self._headers.get(name.lower()),
                kind=JSON,
                representation=lambda: NDJSON,
                body=sent,
                interrupted=self._interrupted,
                # Whoever has started this process may do what it may do.
                vouched=True,
            )
        )
        if not isinstance(answer.body, bytes):
            return LocalStream(_events(answer.body), answer)
        kind = answer.headers["Content-Type"]
        waits = answer.headers.get("Retry-After")
        told = list(
            decoding.answer(
                answer.status, kind, answer.body, None if waits is None else float(waits)
            )
        )
        return LocalStream((event for event in told), answer)


class LocalStream:
    """The events of one invocation; closing it early cancels the transfer."""

    def __init__(self, events: Generator[Event, None, None], answer: Answer) -> None:
        self._events = events
        self._answer = answer

    def __iter__(self) -> Iterator[Event]:
        return self._events

    def close(self) -> None:
        """Cancel the transfer if it has not ended, and return when it is cleaned up."""
        self._events.close()
        self._answer.close()


def _events(lines: Iterator[bytes]) -> Generator[Event, None, None]:
    for line in lines:
        event = decoding.event(line)
        if event is not None:
            yield event
