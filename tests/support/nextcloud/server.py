"""The HTTP server: it logs each request, lets it meet its fault, and hands it on."""

from __future__ import annotations

import http.server
import os
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support import storages
from support.nextcloud.cloud import Cost, Nextcloud
from support.nextcloud.errors import DavError
from support.nextcloud.exchange import ConnectionLost, Exchange
from support.nextcloud.faults import Fault, Kind
from support.nextcloud.routes import answer


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer is head and body in two writes, and a client must not wait between them.
    disable_nagle_algorithm = True
    server: _Server

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionLost, OSError):
            self.close_connection = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        cloud = self.server.cloud
        exchange = Exchange(cloud, self)
        with cloud.guard:
            cloud.requests.append(exchange.request)
            fault = cloud.faults.of(exchange.request) or cloud.on_request(exchange.request)
        try:
            self._meet(exchange, fault)
        finally:
            exchange.request.ended = time.monotonic()

    def _meet(self, exchange: Exchange, fault: Fault | None) -> None:
        if fault is None:
            serve(exchange)
        elif fault.kind is Kind.DELAY:
            self.server.cloud.ended.wait(fault.seconds)
            serve(exchange)
        elif fault.kind is Kind.ANSWER:
            if fault.carried_out:
                exchange.muted = True
                serve(exchange)
                exchange.muted = False
            exchange.reply(fault.status, fault.body, *fault.headers)
        else:
            self._break(exchange, fault)

    def _break(self, exchange: Exchange, fault: Fault) -> None:
        """Serve until so many bytes have passed, and end as the fault says."""
        try:
            if exchange.length or exchange.chunked:
                exchange.cut_body_after, exchange.muted = fault.after, True
                serve(exchange)
            elif fault.after or fault.kind is Kind.TRUNCATE:
                exchange.cut_answer_after = fault.after
                serve(exchange)
        except ConnectionLost:
            pass
        if fault.kind is Kind.STALL:
            self.server.cloud.ended.wait()
        if fault.kind is Kind.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Past what the library does before it closes, which would be an orderly end.
            os.close(self.connection.detach())
        raise ConnectionLost

    def log_message(self, *_: object) -> None:
        pass


def serve(exchange: Exchange) -> None:
    """Answer, or refuse in Nextcloud's form."""
    if exchange.cloud.buffered:
        exchange.hold()
    try:
        with exchange.cloud.worker():
            exchange.cloud.spend(exchange.cloud.cost.start)
            answer(exchange)
    except DavError as refusal:
        exchange.reply(
            refusal.status, refusal.body(), *refusal.headers, kind="application/xml; charset=utf-8"
        )
    finally:
        exchange.release()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, cloud: Nextcloud) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.cloud = cloud

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def serving(*, cost: Cost | None = None, buffered: bool = False) -> Iterator[Nextcloud]:
    """A stand-in with the account `alice`, for the length of the block."""
    with tempfile.TemporaryDirectory(prefix="nextcloud-") as folder:
        cloud = Nextcloud(Path(folder), cost=cost or Cost(), buffered=buffered)
        with _Server(cloud) as server:
            cloud.url = f"http://127.0.0.1:{server.server_address[1]}"
            with storages.serving(lambda: server.serve_forever(0.02), server.shutdown):
                try:
                    yield cloud
                finally:
                    cloud.ended.set()
