"""Flask adapter. Only this package imports Flask, Werkzeug and functions-framework."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

import flask
from werkzeug.exceptions import HTTPException

from efss_transfer.config.settings import warn_about_server_threads
from efss_transfer.model.errors import ConfigurationError, InvalidJson
from efss_transfer.runtimes.flask.backpressure import DeliveryWatch
from efss_transfer.runtimes.flask.disconnect import interruption_check
from efss_transfer.service import application, http_messages
from efss_transfer.service.http_messages import Request, Response

_LONG_BODY_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 16
# The rest of an oversized body is read and discarded, because a client that is still sending when
# the connection closes never sees the response; up to a limit, because it may never end.
_MAX_DISCARDED_BYTES: Final = 64 << 20


class FlaskService(application.Service):
    """The service as an HTTP function."""

    def handle(self, request: flask.Request) -> flask.Response:
        """Answer a request. Never raises: every error becomes a problem document."""
        delivery = DeliveryWatch(request.environ)
        response = self.answer(
            Request(
                method=request.method,
                path=request.path,
                header=request.headers.get,
                content_type=request.mimetype,
                negotiate=partial(
                    http_messages.negotiate, request.headers.get("Accept", ""), streams=True
                ),
                read_body=partial(_read_body, request),
                remote=request.remote_addr,
                interrupted=interruption_check(request.environ),
            )
        )
        converted = _flask_response(response, delivery)
        converted.call_on_close(response.close)
        converted.call_on_close(delivery.end)
        return converted


def create_service() -> FlaskService:
    """The service that the environment configures; a configuration error exits the process."""
    try:
        service = FlaskService.from_environment()
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")
    warn_about_server_threads(service.settings, os.environ)
    return service


def _flask_response(response: Response, delivery: DeliveryWatch) -> flask.Response:
    body = response.body
    if not isinstance(body, bytes):
        return flask.Response(_paced(body, delivery), response.status, dict(response.headers))
    converted = flask.Response(body, response.status, dict(response.headers))
    if response.request_unread:
        # As a stream: otherwise functions-framework reads the rest of the request body into
        # memory, and that body may never end.
        converted.response = iter([body])
        converted.headers["Content-Length"] = str(len(body))
    elif len(body) > _LONG_BODY_BYTES:
        converted.response = delivery.chunks(body)
    return converted


def _paced(events: Iterator[bytes], delivery: DeliveryWatch) -> Iterator[bytes]:
    for event in events:
        delivery.wait_until_sent()
        yield event


def _read_body(request: flask.Request, max_bytes: int) -> bytes:
    try:
        body = b""
        while len(body) <= max_bytes and (chunk := request.stream.read(_CHUNK_BYTES)):
            body += chunk
        if len(body) > max_bytes:
            discarded = len(body)
            while discarded < _MAX_DISCARDED_BYTES and (chunk := request.stream.read(_CHUNK_BYTES)):
                discarded += len(chunk)
    except (HTTPException, OSError, ValueError):
        raise InvalidJson("The request body could not be read to its end.") from None
    except Exception as error:
        # gunicorn raises exceptions of its own for malformed chunks.
        if type(error).__module__.partition(".")[0] != "gunicorn":
            raise
        raise InvalidJson(
            "The request body is not encoded as its Transfer-Encoding header says."
        ) from None
    if len(body) > max_bytes:
        raise http_messages.body_too_large(max_bytes)
    if request.content_length is not None and len(body) < request.content_length:
        # A truncated body may happen to be valid JSON.
        raise InvalidJson("The request body is shorter than its Content-Length.")
    return body
