"""A complete request in, a complete response out: shared by the adapters that cannot stream.

These runtimes do not tell the address of the peer. A site without authentication (mode `none`)
therefore serves only callers whom the platform itself has authenticated (`vouched`).
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from efss_transfer.model.errors import ConfigurationError

if TYPE_CHECKING:
    from efss_transfer.service.application import Service
    from efss_transfer.service.http_messages import Response

# The response must be delivered before the runtime ends the invocation.
_DELIVERY_SECONDS: Final = 1.0

_LOG: Final = logging.getLogger(__name__)
_services: list[Service] = []
_lock: Final = threading.Lock()


def service() -> Service:
    """The service of this process, created at the first call. Raises ConfigurationError."""
    # Imported here because a function must start fast, and only a request needs it.
    from efss_transfer.service.application import Service

    with _lock:
        if not _services:
            _services.append(Service.from_environment())
        return _services[0]


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
    """Answer a request; returns status, headers and body. Never raises.

    The names of `headers` may have any case. `seconds` is the time left to the invocation;
    `fits` and `vouched` are described at `http_messages.Request`. A wrong setting is logged at
    every request, and the caller gets `internal`.
    """
    began = time.monotonic()
    from efss_transfer.contract import problems
    from efss_transfer.service import http_messages

    lowercase = {name.lower(): value for name, value in headers.items()}
    try:
        configured = service()
    except ConfigurationError as error:
        _LOG.error("configuration error: %s", error)
        response = http_messages.problem_response(problems.of_defect())
    else:
        response = configured.answer(
            http_messages.Request(
                method=method.upper(),
                path=path or "/",
                header=lambda name: lowercase.get(name.lower()),
                content_type=http_messages.media_type(lowercase.get("content-type", "")),
                negotiate=lambda: negotiate(lowercase.get("accept", "")),
                read_body=http_messages.body_reader(body),
                # `service()` may have taken part of the time.
                seconds=usable_seconds(seconds - (time.monotonic() - began)),
                fits=fits,
                vouched=vouched,
            )
        )
    if method.upper() == "HEAD":
        return response.status, dict(response.headers), b""
    return response.status, dict(response.headers), content(response)


def content(response: Response) -> bytes:
    """The body of a response, whole."""
    return response.body if isinstance(response.body, bytes) else b"".join(response.body)


def usable_seconds(left: float) -> float:
    """How much of the time left to an invocation a request may take."""
    return left - min(_DELIVERY_SECONDS, left / 4)


def negotiate(accept: str) -> str:
    """The media type for an Accept header: always JSON. Raises NotAcceptable."""
    from efss_transfer.service import http_messages

    return http_messages.negotiate(accept, streams=False)
