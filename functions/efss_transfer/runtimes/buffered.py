"""A whole request in, a whole answer out: what the adapters share of runtimes that do not stream.

The caller's address is not known there, so that a site which asks nobody who they are (mode
`none`) serves nobody, but whom the platform has let in by itself (`vouched`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from efss_transfer.model.errors import BodyTooLarge, ConfigurationError, NotAcceptable

if TYPE_CHECKING:
    from efss_transfer.service.application import Service
    from efss_transfer.service.http_messages import Response

# The answer needs a moment to get back, before the runtime ends the call.
_RETURNING_SECONDS: Final = 1.0
_ACCEPTABLE: Final = ("application/json", "application/problem+json", "application/*", "*/*")

_LOG: Final = logging.getLogger(__name__)
_made: list[Service] = []
_making: Final = threading.Lock()


def service() -> Service:
    """The service, one for the process, made when it is first asked for.

    Raises ConfigurationError.
    """
    # Here and not above: starting a function must be fast, and only a request needs it.
    from efss_transfer.service.application import Service

    with _making:
        if not _made:
            _made.append(Service.configured())
        return _made[0]


def answer(
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float = math.inf,
    fits: Callable[[Response], bool] = lambda _: True,
    vouched: bool = False,
) -> tuple[int, dict[str, str], bytes]:
    """Answer a request: status, headers and body. Never raises.

    Names of headers are in any case. `seconds` is what the runtime leaves to the call; for
    `fits` and `vouched` see `answers.Call`. A wrong setting is told in the log each time,
    and the caller is told that it is not theirs to mend.
    """
    began = time.monotonic()
    from efss_transfer.contract import problems
    from efss_transfer.service.http_messages import Request, Response, told

    sent = {name.lower(): value for name, value in headers.items()}
    try:
        configured = service()
    except ConfigurationError as error:
        _LOG.error("%s", error)
        given = told(problems.of_defect())
    else:
        given = configured.answer(
            Request(
                method=method.upper(),
                path=path or "/",
                header=lambda name: sent.get(name.lower()),
                kind=sent.get("content-type", "").partition(";")[0].strip().lower(),
                representation=lambda: representation(sent.get("accept", "")),
                body=reader(body),
                # The service may have been made just now, and that takes a while, too.
                seconds=usable(seconds - (time.monotonic() - began)),
                fits=fits,
                vouched=vouched,
            )
        )
    if method.upper() == "HEAD":
        given = Response(given.status, given.headers, b"")
    content = given.body if isinstance(given.body, bytes) else b"".join(given.body)
    return given.status, dict(given.headers), content


def usable(left: float) -> float:
    """How much of the seconds that a runtime leaves to a call may be spent on it."""
    return left - min(_RETURNING_SECONDS, left / 4)


def representation(accept: str) -> str:
    """What is returned is whole, so that an answer is JSON. Raises NotAcceptable."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    if accept and not any(kind in _ACCEPTABLE for kind in kinds):
        raise NotAcceptable("Answers are application/json here; there are no streams.")
    return "application/json"


def reader(body: bytes) -> Callable[[int], bytes]:
    """What gives a body that is here already, if it is not too long."""

    def read(most: int) -> bytes:
        if len(body) > most:
            raise BodyTooLarge(f"A request may have {most} bytes here.")
        return body

    return read
