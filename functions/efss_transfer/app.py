"""HTTP in, JSON or a stream of events out. Nothing else knows Flask or functions-framework."""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Final
from uuid import uuid4

from flask import Request, Response
from werkzeug.datastructures import MIMEAccept
from werkzeug.exceptions import HTTPException

from efss_transfer import __version__, logs, openapi, policy, problems, runner, schemas
from efss_transfer import request as requests_in
from efss_transfer import site as sites
from efss_transfer.admission import Admission
from efss_transfer.caller import watch
from efss_transfer.capacity import Capacity, Place
from efss_transfer.delivery import Delivery
from efss_transfer.engines.base import Engine
from efss_transfer.engines.rclone.engine import RcloneEngine
from efss_transfer.errors import (
    BodyTooLarge,
    ConfigurationError,
    EfssTransferError,
    EngineError,
    InvalidJson,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    UnsupportedMediaType,
)
from efss_transfer.events import Finished
from efss_transfer.listing import fitted
from efss_transfer.metrics import Metrics
from efss_transfer.notify import Notifier
from efss_transfer.result import Json, Result, encoded
from efss_transfer.runner import Terms
from efss_transfer.settings import Settings, warn_of_starved_server
from efss_transfer.site import Site
from efss_transfer.storages import Storages

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"

_LOG: Final = logging.getLogger(__name__)
_END: Final = b"\n"
_LONG: Final = 1 << 16
_CHUNK: Final = 1 << 16
# An oversized body is read on for a while, because a client that is still sending when
# the connection closes never sees the answer; and not for longer, because it may be endless.
_MOST_DISCARDED: Final = 64 << 20


class Service:
    """The HTTP function. One instance serves a process, from many threads at once."""

    def __init__(
        self,
        settings: Settings,
        site: Site,
        engines: Mapping[str, Engine],
    ) -> None:
        self._settings = settings
        self._site = site
        self._admission = Admission(site)
        self._engines = engines
        self._storages = Storages(site)
        self._capacity = Capacity(settings.concurrent_transfers)
        self._notifier = Notifier(site)
        self._metrics = Metrics()

    def handle(self, request: Request) -> Response:
        """Answer a request. Never raises: whatever happens has an answer of its own."""
        delivery = Delivery(request.environ)
        response = self._answered(request, delivery)
        if not response.is_streamed and len(content := response.get_data()) > _LONG:
            response.response = delivery.pieces(content)
        response.call_on_close(delivery.end)
        return response

    def _answered(self, request: Request, delivery: Delivery) -> Response:
        # What is known of the request, for the log; more is added where it becomes known.
        about = logs.trace(request.headers.get("traceparent"))
        try:
            return self._route(request, delivery, about)
        except EfssTransferError as error:
            if not isinstance(error, EngineError):  # that is a transfer's end, and told as such
                self._refused(error, about)
            return _without_reading_on(_problem(problems.of_error(error)))
        except Exception as error:  # noqa: BLE001 - no caller may see a traceback
            runner.log_defect(error, about)
            return _problem(problems.of_defect())

    def _refused(self, error: EfssTransferError, about: dict[str, str]) -> None:
        self._metrics.refused(error.code)
        extra = logs.line("refused", about, code=error.code, status=error.status)
        _LOG.info("refused: %s", error.code, extra=extra)

    def _route(self, request: Request, delivery: Delivery, about: dict[str, str]) -> Response:
        path = request.path.rstrip("/") or "/"
        if path == "/" and request.method == "POST":
            return self._transfer(request, delivery, about)
        answers: dict[str, Callable[[], Response]] = {
            "/": self._describe,
            "/healthz": self._health,
            "/metrics": lambda: self._measured(request.headers.get("Accept", "")),
            "/openapi.json": lambda: _json(openapi.description()),
        }
        for name in schemas.NAMES:
            answers[f"/schema/{name}"] = lambda name=name: _json(  # type: ignore[misc]
                schemas.schema(name), "application/schema+json"
            )
        if path not in answers:
            raise NotFound("GET / lists what there is.")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(("GET", "HEAD", "POST") if path == "/" else ("GET", "HEAD"))
        return answers[path]()

    def _transfer(self, request: Request, delivery: Delivery, about: dict[str, str]) -> Response:
        # Request in: from somebody who may ask, and validated for security and for sense.
        name, caller = self._admission.admit(
            request.headers.get("Authorization"),
            request.remote_addr,
            request.headers.get("Origin"),
        )
        about["caller"] = name
        accepted = _representation(request)
        named = partial(self._storages.endpoint, caller)
        asked = requests_in.parse(_body(request, self._settings.body_bytes), named)
        if asked.id is not None:
            about["request_id"] = asked.id
        engine = self._engines[asked.engine]
        admitted = policy.admit(asked, self._site, caller, engine)
        transfer = uuid4().hex
        notify = None
        if asked.notify is not None:
            notify = self._notifier.prepared(asked.notify, transfer)
        # One transfer, for as long as somebody waits for it.
        limits = self._site.limits.within(caller.limits)
        duration = min(
            self._settings.duration_seconds,
            limits.duration_seconds or math.inf,
            asked.options.deadline_seconds or math.inf,
        )
        gone = watch(request.environ)
        with self._capacity.place(name, caller.limits.concurrent_transfers) as place:
            run = runner.events(
                admitted.request,
                engine,
                Terms(
                    name,
                    duration,
                    limits,
                    admitted.egress,
                    interrupted=gone,
                    notify=notify,
                    metrics=self._metrics,
                    about={**about, "transfer": transfer},
                ),
            )
            most = self._settings.response_bytes
            if accepted in _FRAMES:
                return _stream(run, place, accepted, most, delivery)
            return _answer(runner.result(run, asked.options.report, most), most)

    def _describe(self) -> Response:
        types = schemas.schema("request")["$defs"]["endpoint"]["properties"]["type"]["enum"]
        return _json(
            {
                "name": "efss-transfer",
                "version": __version__,
                "description": "POST a request here to copy from one storage to another.",
                "engines": sorted(self._engines),
                "storage_types": types,
                "links": {
                    "health": "/healthz",
                    "metrics": "/metrics",
                    "openapi": "/openapi.json",
                    "schemas": {name: f"/schema/{name}" for name in schemas.NAMES},
                },
            }
        )

    def _measured(self, accept: str) -> Response:
        numbers, kind = self._metrics.exposed(accept)
        return Response(numbers, content_type=kind, headers={"Cache-Control": "no-store"})

    def _health(self) -> Response:
        engines = {name: engine.health() for name, engine in self._engines.items()}
        usable = all(health.usable for health in engines.values())
        return _json(
            {
                "status": "ok" if usable else "unusable",
                "version": __version__,
                "authentication": self._site.authentication["mode"],
                "engines": {name: health.to_json() for name, health in engines.items()},
            },
            status=200 if usable else 503,
        )


def from_environment() -> Service:
    """The service as the environment sets it; a wrong setting ends the start, in a line."""
    try:
        return _configured()
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")


def _configured() -> Service:
    settings = Settings.read(os.environ)
    site = Site()
    if settings.site is not None:
        site = sites.read(settings.site)
        settings = Settings.read(os.environ, site.settings())
    logs.configure(settings.log_level, settings.log_format)
    warn_of_starved_server(settings, os.environ)
    return Service(settings, site, {"rclone": RcloneEngine(settings)})


def _representation(request: Request) -> str:
    if not request.headers.get("Accept"):
        return JSON
    # Some clients name a charset as well; all that is sent here is UTF-8.
    wanted = MIMEAccept(
        [(kind.partition(";")[0].strip(), quality) for kind, quality in request.accept_mimetypes]
    )
    best = wanted.best_match([JSON, PROBLEM, *_FRAMES])
    if best is None:
        raise NotAcceptable(f"Answers are {JSON}, or as a stream {' or '.join(_FRAMES)}.")
    return best if best in _FRAMES else JSON


def _body(request: Request, most: int) -> bytes:
    kind = request.mimetype
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType(f"Send the request with Content-Type: {JSON}.")
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


def _line(_: int, event: dict[str, Json]) -> bytes:
    return encoded(event) + b"\n"


def _message(number: int, event: dict[str, Json]) -> bytes:
    """An event as browsers read it (HTML, "Server-sent events"): JSON has no line ends."""
    return f"id: {number}\nevent: {event['event']}\ndata: ".encode() + encoded(event) + b"\n\n"


_FRAMES: Final = {NDJSON: _line, SSE: _message}


def _stream(
    run: runner.Events, place: Place, accepted: str, most: int, delivery: Delivery
) -> Response:
    """The events one by one. What fails before the first still has its HTTP status."""
    first = next(run)
    if isinstance(first, Finished):
        return _answer(first.result, most)

    def framed() -> Iterator[bytes]:
        try:
            with closing(run):
                for number, event in enumerate(chain([first], run), 1):
                    delivery.wait_for_room()
                    yield _FRAMES[accepted](number, event.to_json())
        finally:
            place.give_back()

    response = Response(framed(), mimetype=accepted, headers={"Cache-Control": "no-store"})
    # A generator that was never begun runs no `finally`: its server closes the response.
    response.call_on_close(run.close)
    response.call_on_close(place.give_back)
    place.handed_on = True
    return response


def _answer(result: Result, most: int) -> Response:
    """The result, or the problem that it is: 200 is for `succeeded` alone."""
    code = result.code
    if code is None:
        return _json(fitted(result, most - len(_END), Result.to_json).to_json())
    shown = fitted(result, most - len(_END), lambda told: problems.of_result(code, told).document)
    return _problem(problems.of_result(code, shown))


def _without_reading_on(response: Response) -> Response:
    """The same answer, as a stream: for all others functions-framework reads what is left
    of the request's body into memory, and that may be without an end.
    """
    content = response.get_data()
    response.response = iter([content])
    response.headers["Content-Length"] = str(len(content))
    return response


def _problem(problem: problems.Problem) -> Response:
    response = _json(problem.document, PROBLEM, problem.status)
    response.headers.update(problem.headers)
    return response


def _json(content: Json, mimetype: str = JSON, status: int = 200) -> Response:
    return Response(
        encoded(content) + _END,
        status=status,
        mimetype=mimetype,
        headers={"Cache-Control": "no-store"},
    )
