"""Asks an FTS server who the operator's token is, to find out whether it can be used."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as NotDone
from contextlib import contextmanager
from typing import Final

from efss_transfer.config.settings import Settings
from efss_transfer.egress.proxy import Guard, guard
from efss_transfer.engines.base import Context, ServerProbe
from efss_transfer.engines.fts.identity import namespace
from efss_transfer.engines.fts.server import FtsApi, FtsFailed
from efss_transfer.engines.redaction import Redactor
from efss_transfer.engines.side_route import SideRoute
from efss_transfer.model.errors import CODES
from efss_transfer.model.request import FTS, FtsServer
from efss_transfer.model.result import Failure
from efss_transfer.webdav.http.connections import NoAnswer

_STOP_SECONDS: Final = 1.0
_LATE: Final = "The FTS server did not answer in time."
_NO_VO: Final = "The FTS server does not say which VO it takes the token for."


def probe(settings: Settings, server: FtsServer, context: Context) -> ServerProbe:
    """Ask `GET /whoami`, until the context's deadline. Raises ConfigurationError."""
    egress = context.egress
    seconds = max(0.0, context.deadline - time.monotonic())
    with guard(egress.permits, {FTS: egress.of(FTS).permits}) as running:
        api = FtsApi(
            server,
            SideRoute(running, FTS, egress.of(FTS), None),
            Redactor([server.token or ""]),
            settings.rclone.stall_seconds,
        )

        async def ask() -> None:
            async with asyncio.timeout(seconds):
                namespace(await api.caller())

        with _closed(running, api):
            try:
                running.start(ask).result(seconds + _STOP_SECONDS)
            except FtsFailed as error:
                return _failed(error)
            except ValueError:
                return ServerProbe(True, True, _failure("authentication_failed", _NO_VO))
            except (TimeoutError, NotDone, CancelledError):
                return ServerProbe(False, False, _failure("storage_unreachable", _LATE))
    return ServerProbe(True, True)


@contextmanager
def _closed(running: Guard, api: FtsApi) -> Iterator[None]:
    try:
        yield
    finally:
        running.call_soon(api.connections.close)


def _failed(error: FtsFailed) -> ServerProbe:
    if error.status is not None:
        return ServerProbe(True, True, error.failure)
    cause = error.__cause__
    is_untrusted = isinstance(cause, NoAnswer) and cause.cause == "tls"
    return ServerProbe(is_untrusted, False, error.failure)


def _failure(code: str, text: str) -> Failure:
    return Failure(code, text, CODES[code].retryable, None)
