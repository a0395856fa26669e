"""HTTP in, JSON or NDJSON out. Nothing else knows Flask or functions-framework."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Final

from flask import Request, Response
from werkzeug.exceptions import HTTPException

from efss_transfer import __version__, caller, policy, runner, schemas
from efss_transfer import request as requests_in
from efss_transfer.engines.base import Engine
from efss_transfer.engines.rclone.engine import RcloneEngine
from efss_transfer.errors import (
    CODES,
    BodyTooLarge,
    Busy,
    ConfigurationError,
    EfssTransferError,
    InvalidJson,
    InvalidRequest,
    MethodNotAllowed,
    NotAcceptable,
    NotFound,
    UnsupportedMediaType,
)
from efss_transfer.events import Finished
from efss_transfer.result import Json, Result
from efss_transfer.settings import Settings, warn_of_starved_server

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
PROBLEM: Final = "application/problem+json"

_BUSY_RETRY_SECONDS: Final = 5
_STORAGE_RETRY_SECONDS: Final = 30
_CHUNK: Final = 1 << 16
# An oversized body is read on for a while, because a client that is still sending when
# the connection closes never sees the answer; and not for longer, because it may be endless.
_MOST_DISCARDED: Final = 64 << 20


class Service:
    """The HTTP function. One instance serves a process, from many threads at once."""

    def __init__(self, settings: Settings, engines: Mapping[str, Engine]) -> None:
        self._settings = settings
        self._engines = engines
        self._places = threading.BoundedSemaphore(settings.concurrent_transfers)

    def handle(self, request: Request) -> Response:
        """Answer a request. Never raises: whatever happens has an answer of its own."""
        try:
            return self._route(request)
        except EfssTransferError as error:
            return _without_reading_on(_refusal(error))
        except Exception as error:  # noqa: BLE001 - no caller may see a traceback
            runner.log_defect(error)
            return _problem("internal", CODES["internal"].title + "; its log says where.")

    def _route(self, request: Request) -> Response:
        path = request.path.rstrip("/") or "/"
        if path == "/" and request.method == "POST":
            return self._transfer(request)
        answers: dict[str, Callable[[], Response]] = {"/": self._describe, "/healthz": self._health}
        for name in schemas.NAMES:
            answers[f"/schema/{name}"] = lambda name=name: _json(  # type: ignore[misc]
                schemas.schema(name), "application/schema+json"
            )
        if path not in answers:
            raise NotFound("GET / lists what there is.")
        if request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(("GET", "HEAD", "POST") if path == "/" else ("GET", "HEAD"))
        return answers[path]()

    def _transfer(self, request: Request) -> Response:
        # Request in, and validated for security and for sense.
        accepted = _representation(request)
        checked = requests_in.parse(_body(request, self._settings.body_bytes))
        policy.check(checked)
        # One transfer, for as long as somebody waits for it.
        engine = self._engines[checked.engine]
        gone = caller.watch(request.environ)
        with _place(self._places) as place:
            run = runner.events(checked, engine, self._settings.duration_seconds, gone)
            if accepted == NDJSON:
                return _stream(run, place)
            return _answer(runner.result(run, checked.options.report))

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
                    "schemas": {name: f"/schema/{name}" for name in schemas.NAMES},
                },
            }
        )

    def _health(self) -> Response:
        engines = {name: engine.health() for name, engine in self._engines.items()}
        usable = all(health.usable for health in engines.values())
        return _json(
            {
                "status": "ok" if usable else "unusable",
                "version": __version__,
                "engines": {name: health.to_json() for name, health in engines.items()},
            },
            status=200 if usable else 503,
        )


def from_environment() -> Service:
    """The service as the environment sets it; a wrong setting ends the start, in a line."""
    try:
        settings = Settings.read(os.environ)
    except ConfigurationError as error:
        sys.exit(f"efss-transfer: {error}")
    log = logging.getLogger("efss_transfer")
    log.setLevel(settings.log_level)
    if not log.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
        log.propagate = False
    warn_of_starved_server(settings, os.environ)
    return Service(settings, {"rclone": RcloneEngine(settings)})


class _Place:
    """A place among the transfers that may run. Giving it back twice is once."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places: threading.BoundedSemaphore | None = places
        self.handed_on = False

    def give_back(self) -> None:
        if self._places is not None:
            places, self._places = self._places, None
            places.release()


@contextmanager
def _place(places: threading.BoundedSemaphore) -> Iterator[_Place]:
    """A place for the length of the block, or beyond it for a stream that took it over."""
    if not places.acquire(blocking=False):
        raise Busy("As many transfers run as are allowed here. Nothing was started.")
    place = _Place(places)
    try:
        yield place
    finally:
        if not place.handed_on:
            place.give_back()


def _representation(request: Request) -> str:
    if not request.headers.get("Accept"):
        return JSON
    best = request.accept_mimetypes.best_match([JSON, PROBLEM, NDJSON])
    if best is None:
        raise NotAcceptable(f"Answers are {JSON} or {NDJSON}.")
    return NDJSON if best == NDJSON else JSON


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


def _stream(run: runner.Events, place: _Place) -> Response:
    """The events as lines. What fails before the first still has its HTTP status."""
    first = next(run)
    if isinstance(first, Finished):
        return _answer(first.result)

    def lines() -> Iterator[bytes]:
        try:
            with closing(run):
                yield _encoded(first.to_json()) + b"\n"
                for event in run:
                    yield _encoded(event.to_json()) + b"\n"
        finally:
            place.give_back()

    body = lines()
    response = Response(body, mimetype=NDJSON, headers={"Cache-Control": "no-store"})
    # A generator that was never begun runs no `finally`: its server closes the response.
    response.call_on_close(run.close)
    response.call_on_close(place.give_back)
    place.handed_on = True
    return response


def _answer(result: Result) -> Response:
    """The result, or the problem that it is: 200 is for `succeeded` alone."""
    if result.code is None:
        return _json(result.to_json())
    code = CODES[result.code]
    reasons = [
        f"{CODES[group.code].title}{f', at the {group.side.value}' if group.side else ''}: "
        f"{group.samples[0].message}"
        for group in result.errors[:3]
    ]
    return _problem(
        result.code,
        "; ".join(reasons) or code.title + ".",
        retryable=result.retryable,
        result=result.to_json(),
    )


def _refusal(error: EfssTransferError) -> Response:
    extra: dict[str, Json] = {}
    headers: dict[str, str] = {}
    if isinstance(error, InvalidRequest):
        extra["errors"] = [violation.to_json() for violation in error.violations]
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    return _problem(error.code, str(error), error.retryable, headers, **extra)


def _without_reading_on(response: Response) -> Response:
    """The same answer, as a stream: for all others functions-framework reads what is left
    of the request's body into memory, and that may be without an end.
    """
    content = response.get_data()
    response.response = iter([content])
    response.headers["Content-Length"] = str(len(content))
    return response


def _problem(
    code: str,
    detail: str,
    retryable: bool | None = None,
    headers: Mapping[str, str] | None = None,
    **extra: Json,
) -> Response:
    """An answer as RFC 9457 has it."""
    known = CODES[code]
    retry_after = {
        "busy": _BUSY_RETRY_SECONDS,
        "storage_busy": _STORAGE_RETRY_SECONDS,
        "incomplete": 0,
    }
    problem: dict[str, Json] = {
        "type": f"urn:efss-transfer:problem:{code}",
        "title": known.title,
        "status": known.status,
        "code": code,
        "retryable": known.retryable if retryable is None else retryable,
        "detail": detail,
    }
    response = _json(problem | extra, PROBLEM, known.status)
    response.headers.update(headers or {})
    if code in retry_after:
        response.headers["Retry-After"] = str(retry_after[code])
    return response


def _json(content: Json, mimetype: str = JSON, status: int = 200) -> Response:
    return Response(
        _encoded(content) + b"\n",
        status=status,
        mimetype=mimetype,
        headers={"Cache-Control": "no-store"},
    )


def _encoded(content: Json) -> bytes:
    # A name that is no text (half a surrogate pair) must not lose the whole answer.
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
