"""HTTP by Flask: a request in, an answer out. Nothing else knows Flask or functions-framework."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

import flask
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException

from efss_transfer.config.settings import warn_of_starved_server
from efss_transfer.model.errors import BodyTooLarge, ConfigurationError, InvalidJson, NotAcceptable
from efss_transfer.runtimes.flask.backpressure import DeliveryWatch
from efss_transfer.runtimes.flask.disconnect import watch
from efss_transfer.service import application
from efss_transfer.service.http_messages import JSON, PROBLEM, STREAMS, Request, Response

_LONG: Final = 1 << 16
_CHUNK: Final = 1 << 16
# An oversized body is read on for a while, because a client that is still sending when
# the connection closes never sees the answer; and not for longer, because it may be endless.
_MOST_DISCARDED: Final = 64 << 20


class FlaskService(application.Service):
    """The service as an HTTP function."""

    def handle(self, request: flask.Request) -> flask.Response:
        """Answer a request. Never raises: whatever happens has an answer of its own."""
        delivery = DeliveryWatch(request.environ)
        answer = self.answer(
            Request(
                method=request.method,
                path=request.path,
                header=request.headers.get,
                kind=request.mimetype,
                representation=partial(_representation, request),
                body=partial(_body, request),
                remote=request.remote_addr,
                interrupted=watch(request.environ),
            )
        )
        response = _response(answer, delivery)
        response.call_on_close(answer.close)
        response.call_on_close(delivery.end)
        return response


def from_environment() -> FlaskService:
    """The service as the environment sets it; a wrong setting ends the start, in a line."""
    try:
        configured = FlaskService.configured()
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")
    warn_of_starved_server(configured.settings, os.environ)
    return configured


def _response(answer: Response, delivery: DeliveryWatch) -> flask.Response:
    body = answer.body
    if not isinstance(body, bytes):
        return flask.Response(_paced(body, delivery), answer.status, dict(answer.headers))
    response = flask.Response(body, answer.status, dict(answer.headers))
    if answer.early:
        # As a stream: for all others functions-framework reads what is left of the
        # request's body into memory, and that may be without an end.
        response.response = iter([body])
        response.headers["Content-Length"] = str(len(body))
    elif len(body) > _LONG:
        response.response = delivery.pieces(body)
    return response


def _paced(events: Iterator[bytes], delivery: DeliveryWatch) -> Iterator[bytes]:
    for event in events:
        delivery.wait_for_room()
        yield event


def _representation(request: flask.Request) -> str:
    if not request.headers.get("Accept"):
        return JSON
    # Some clients name a charset as well; all that is sent here is UTF-8.
    wanted = MIMEAccept(
        [(kind.partition(";")[0].strip(), quality) for kind, quality in request.accept_mimetypes]
    )
    best = wanted.best_match([JSON, PROBLEM, *STREAMS])
    if best is None:
        raise NotAcceptable(f"Answers are {JSON}, or as a stream {' or '.join(STREAMS)}.")
    return best if best in STREAMS else JSON


def _body(request: flask.Request, most: int) -> bytes:
    try:
        body = b""
        while len(body) <= most and (chunk := request.stream.read(_CHUNK)):
            body += chunk
        if len(body) > most:
            discarded = len(body)
            while discarded < _MOST_DISCARDED and (chunk := request.stream.read(_CHUNK)):
                discarded += len(chunk)
    except (HTTPException, OSError, ValueError):
        raise InvalidJson("The body could not be read to its end.") from None
    except Exception as error:
        # Each server has exceptions of its own for chunks that are malformed.
        if type(error).__module__.partition(".")[0] != "gunicorn":
            raise
        raise InvalidJson("The body is not encoded as its headers say.") from None
    if len(body) > most:
        raise BodyTooLarge(f"A request may have {most} bytes here.")
    if request.content_length is not None and len(body) < request.content_length:
        # What has arrived may be a whole request, and yet not what was meant to be sent.
        raise InvalidJson("The body ended before its Content-Length.")
    return body
