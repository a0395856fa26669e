"""Calls, and how they are answered: what a runtime's adapter hands over, and gets back."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from efss_transfer.contract import problems
from efss_transfer.model.errors import UnsupportedMediaType
from efss_transfer.model.events import Event, Finished
from efss_transfer.model.result import Json, Result, State, encoded
from efss_transfer.service.concurrency import Slot
from efss_transfer.service.file_report import fitted

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
SSE: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"
STREAMS: Final = (NDJSON, SSE)

_END: Final = b"\n"
_LEAST_BYTES: Final = 64 << 10


@dataclass(frozen=True)
class Request:
    """A request, as a runtime's adapter tells it.

    `header` gives a header whatever the case of its name, `kind` is the body's media type
    without parameters, `remote` the address that the connection came from.
    `representation` says which media type the caller wants, and may raise NotAcceptable.
    `body` reads what was sent, at most so many bytes; it raises BodyTooLarge or InvalidJson.
    `interrupted` is asked, while a transfer runs, whether it must end early; `seconds` is
    all the time that the runtime gives. `fits` says whether an answer can go back: where
    it cannot, its list of files is shortened. `vouched` is for a caller whom the platform
    has let in by itself, so that there is no address to ask for.
    """

    method: str
    path: str
    header: Callable[[str], str | None]
    kind: str
    representation: Callable[[], str]
    body: Callable[[int], bytes]
    remote: str | None = None
    interrupted: Callable[[], State | None] = lambda: None
    seconds: float = math.inf
    fits: Callable[[Response], bool] = lambda _: True
    vouched: bool = False


@dataclass(frozen=True)
class Response:
    """What goes back: a body at once, or an iterator of events as they happen.

    Whoever has the answer calls `close` when done with it, also where nothing of it was
    read. After an `early` answer a part of the request may still be unread.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes | Iterator[bytes]
    close: Callable[[], None] = field(default=lambda: None)
    early: bool = False


def told(problem: problems.ProblemDocument, *, early: bool = False) -> Response:
    """A problem as an answer."""
    content = encoded(problem.document) + _END
    return Response(problem.status, headers(PROBLEM) | problem.headers, content, early=early)


def body(call: Request, most: int) -> bytes:
    """What was sent, if it is JSON. Raises UnsupportedMediaType, and what `Call.body` raises."""
    kind = call.kind
    if kind != JSON and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMediaType(f"Send the request with Content-Type: {JSON}.")
    return call.body(most)


def _line(_: int, event: dict[str, Json]) -> bytes:
    return encoded(event) + b"\n"


def _message(number: int, event: dict[str, Json]) -> bytes:
    """An event as browsers read it (HTML, "Server-sent events"): JSON has no line ends."""
    return f"id: {number}\nevent: {event['event']}\ndata: ".encode() + encoded(event) + b"\n\n"


_FRAMES: Final = {NDJSON: (NDJSON, _line), SSE: (f"{SSE}; charset=utf-8", _message)}


def streamed(run: Generator[Event, None, None], place: Slot, accepted: str, most: int) -> Response:
    """The events one by one. What fails before the first still has its HTTP status."""
    first = next(run)
    if isinstance(first, Finished):
        return of_result(first.result, most)
    kind, frame = _FRAMES[accepted]

    def framed() -> Iterator[bytes]:
        try:
            with closing(run):
                for number, event in enumerate(chain([first], run), 1):
                    yield frame(number, event.to_json())
        finally:
            place.give_back()

    def close() -> None:
        # A generator that was never begun runs no `finally`.
        run.close()
        place.give_back()

    place.handed_on = True
    return Response(200, headers(kind), framed(), close)


def of_result(
    result: Result, most: int, fits: Callable[[Response], bool] = lambda _: True
) -> Response:
    """The result, or the problem that it is: 200 is for `succeeded` alone."""
    while not fits(answer := _within(result, most)) and most > _LEAST_BYTES:
        most = max(_LEAST_BYTES, most * 3 // 4)
    return answer


def _within(result: Result, most: int) -> Response:
    code = result.code
    if code is None:
        return of_json(fitted(result, most - len(_END), Result.to_json).to_json())
    shown = fitted(result, most - len(_END), lambda it: problems.of_result(code, it).document)
    return told(problems.of_result(code, shown))


def of_json(content: Json, kind: str = JSON, status: int = 200) -> Response:
    """A document as an answer."""
    return Response(status, headers(kind), encoded(content) + _END)


def headers(kind: str) -> dict[str, str]:
    """Of an answer with such a body: what is true now is not so for long."""
    return {"Content-Type": kind, "Cache-Control": "no-store"}
