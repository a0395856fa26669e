"""HTTP requests and responses without a runtime: each adapter builds one and sends the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from efss_transfer.contract import problems
from efss_transfer.model.encoding import encode_json
from efss_transfer.model.errors import BodyTooLarge, NotAcceptable, UnsupportedMediaType
from efss_transfer.model.events import Event, Finished
from efss_transfer.model.result import Json, Result, State
from efss_transfer.service.concurrency import Slot
from efss_transfer.service.file_report import fit

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"
STREAMS: Final = (NDJSON, SSE)
ACCEPT: Final = f"Accept {JSON}, or for a stream {NDJSON} or {SSE}."
"""The text of NotAcceptable where the service can stream."""
_ACCEPT_JSON: Final = f"This runtime does not stream. Accept {JSON}."

_NEWLINE: Final = b"\n"
_MIN_RESPONSE_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class Request:
    """A request as a runtime's adapter presents it.

    `header` looks up a header, ignoring case. `content_type` is the media type of the body
    without parameters. `remote` is the address of the peer, if the runtime tells it.
    `negotiate` returns the media type to respond with; it may raise NotAcceptable.
    `read_body` reads the body, up to a maximum length in bytes; it raises BodyTooLarge or
    InvalidJson.
    `interrupted` is polled during a transfer and returns the state in which to end early.
    `seconds` is the time that the runtime gives to the whole request.
    `fits` says whether the runtime can deliver a response; if not, its list of files is
    shortened.
    `vouched` means that the platform has authenticated the caller itself, so the address of the
    peer does not matter.
    """

    method: str
    path: str
    header: Callable[[str], str | None]
    content_type: str
    negotiate: Callable[[], str]
    read_body: Callable[[int], bytes]
    remote: str | None = None
    interrupted: Callable[[], State | None] = lambda: None
    seconds: float = math.inf
    fits: Callable[[Response], bool] = lambda _: True
    vouched: bool = False


@dataclass(frozen=True)
class Response:
    """A response: its body is complete, or an iterator over events as they happen.

    The adapter calls `close` when it is done with the response, also if it has read nothing of
    it. `request_unread` means that part of the request body may still be unread.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Iterator[bytes]
    close: Callable[[], None] = field(default=lambda: None)
    request_unread: bool = False


def media_type(value: str) -> str:
    """The media type in a Content-Type header or an Accept range, lower-case, no parameters."""
    return value.partition(";")[0].strip().lower()


def negotiate(accept: str, *, streams: bool) -> str:
    """The media type to respond with, by an Accept header: RFC 9110, section 12.5.1.

    The highest quality wins, then the most specific range, then JSON. A problem document is JSON
    too, and the form of every error, so it is no choice of its own: a client that accepts a stream
    and problem documents gets the stream. Raises NotAcceptable.
    """
    if not accept.strip():
        return JSON
    ranges = dict(map(_range, accept.split(",")))
    offers = (JSON, *STREAMS) if streams else (JSON,)
    best = max(offers, key=lambda offer: _rank(offer, ranges))
    if _rank(best, ranges) > (0, 0) or ranges.get(PROBLEM, 0) > 0:
        return best
    raise NotAcceptable(ACCEPT if streams else _ACCEPT_JSON)


def _range(text: str) -> tuple[str, float]:
    """A range of an Accept header, and its quality; one that is no number counts as 1."""
    quality = 1.0
    for parameter in text.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            with suppress(ValueError):
                quality = float(value)
    return media_type(text), quality


def _rank(offer: str, ranges: Mapping[str, float]) -> tuple[float, int]:
    """The quality that the most specific range gives a media type, and how specific it is."""
    names = (offer, f"{offer.partition('/')[0]}/*", "*/*")
    found = ((ranges[name], -place) for place, name in enumerate(names) if name in ranges)
    quality, specific = next(found, (0.0, 0))
    return (quality, specific + len(names)) if quality > 0 else (0.0, 0)


def body_too_large(max_bytes: int) -> BodyTooLarge:
    """The error for a request body of more than `max_bytes`."""
    return BodyTooLarge(f"The request body exceeds {max_bytes} bytes, the limit of this service.")


def body_reader(body: bytes) -> Callable[[int], bytes]:
    """`Request.read_body` for a body that is in memory already."""

    def read(max_bytes: int) -> bytes:
        if len(body) > max_bytes:
            raise body_too_large(max_bytes)
        return body

    return read


def read_json(request: Request, max_bytes: int) -> bytes:
    """Read the body of a JSON request. Raises UnsupportedMediaType, BodyTooLarge, InvalidJson."""
    kind = request.content_type
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType(f"Send the request with Content-Type: {JSON}.")
    return request.read_body(max_bytes)


def json_response(content: Json, content_type: str = JSON, status: int = 200) -> Response:
    """A response with a JSON document."""
    return Response(status, headers(content_type), encode_json(content) + _NEWLINE)


def problem_response(
    problem: problems.ProblemDocument, *, request_unread: bool = False
) -> Response:
    """A response with a problem document (RFC 9457)."""
    content = encode_json(problem.document) + _NEWLINE
    return Response(
        problem.status,
        headers(PROBLEM) | problem.headers,
        content,
        request_unread=request_unread,
    )


def result_response(
    result: Result, max_bytes: int, fits: Callable[[Response], bool] = lambda _: True
) -> Response:
    """A response with a result: 200 for `succeeded` only, otherwise a problem document.

    Its list of files is shortened until the body takes at most `max_bytes` and `fits` accepts it.
    """
    while not fits(response := _sized(result, max_bytes)) and max_bytes > _MIN_RESPONSE_BYTES:
        max_bytes = max(_MIN_RESPONSE_BYTES, max_bytes * 3 // 4)
    return response


def _sized(result: Result, max_bytes: int) -> Response:
    code = result.code
    space = max_bytes - len(_NEWLINE)
    if code is None:
        return json_response(fit(result, space, Result.to_json).to_json())
    shown = fit(result, space, lambda it: problems.of_result(code, it).document)
    return problem_response(problems.of_result(code, shown))


def stream_response(
    events: Generator[Event, None, None], slot: Slot, content_type: str, max_bytes: int
) -> Response:
    """A response that streams events. An error before the first event keeps its HTTP status."""
    first = next(events)
    if isinstance(first, Finished):
        return result_response(first.result, max_bytes)
    content_type, frame = _FRAMES[content_type]

    def frames() -> Iterator[bytes]:
        try:
            with closing(events):
                for number, event in enumerate(chain([first], events), 1):
                    yield frame(number, event.to_json())
        finally:
            slot.release()

    def close() -> None:
        # Closing a generator that was never started runs no `finally`.
        events.close()
        slot.release()

    slot.detached = True
    return Response(200, headers(content_type), frames(), close)


def _ndjson_line(_: int, event: dict[str, Json]) -> bytes:
    return encode_json(event) + b"\n"


def _sse_message(number: int, event: dict[str, Json]) -> bytes:
    """A server-sent event (HTML standard, section 9.2); one `data` line: JSON has no newline."""
    return f"id: {number}\nevent: {event['event']}\ndata: ".encode() + encode_json(event) + b"\n\n"


_FRAMES: Final = {
    NDJSON: (NDJSON, _ndjson_line),
    SSE: (f"{SSE}; charset=utf-8", _sse_message),
}


def headers(content_type: str) -> dict[str, str]:
    """The headers of a response with such a body. No cache may keep it: state changes."""
    return {"Content-Type": content_type, "Cache-Control": "no-store"}
