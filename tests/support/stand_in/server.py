"""The HTTP server: it logs each request, lets it meet its fault, and hands it on."""

from __future__ import annotations

import http.server
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support import storages
from support.stand_in.exchange import ConnectionLost, Exchange, SiteT
from support.stand_in.faults import Fault, Kind
from support.stand_in.site import Site


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
        site = self.server.site
        exchange = Exchange(site, self)
        with site.guard:
            site.requests.append(exchange.request)
            fault = site.faults.of(exchange.request) or site.on_request(exchange.request)
        try:
            self._meet(exchange, fault)
        finally:
            exchange.request.ended = time.monotonic()

    def _meet(self, exchange: Exchange[Site], fault: Fault | None) -> None:
        if fault is None:
            self.server.serve(exchange)
        elif fault.kind is Kind.DELAY:
            self.server.site.ended.wait(fault.seconds)
            self.server.serve(exchange)
        elif fault.event is not None:
            fault.event.wait(fault.seconds)
            self.server.serve(exchange)
        elif fault.kind is Kind.ANSWER:
            if fault.carried_out:
                exchange.muted = True
                self.server.serve(exchange)
                exchange.muted = False
            exchange.reply(fault.status, fault.body, *fault.headers)
        else:
            self._break(exchange, fault)

    def _break(self, exchange: Exchange[Site], fault: Fault) -> None:
        """Serve until so many bytes have passed, and end as the fault says."""
        try:
            if (exchange.length or exchange.chunked) and not fault.of_answer:
                exchange.cut_body_after, exchange.muted = fault.after, True
                self.server.serve(exchange)
            elif fault.after or fault.kind is Kind.TRUNCATE:
                exchange.cut_answer_after = fault.after
                self.server.serve(exchange)
        except ConnectionLost:
            pass
        if fault.kind is Kind.STALL:
            self.server.site.ended.wait()
        if fault.kind is Kind.RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Past what the library does before it closes, which would be an orderly end.
            os.close(self.connection.detach())
        raise ConnectionLost

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def __init__(self, site: SiteT, serve: Callable[[Exchange[SiteT]], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.site: Site = site
        self.serve: Callable[[Any], None] = serve

    def handle_error(self, *_: object) -> None:
        pass


@contextmanager
def running(site: SiteT, serve: Callable[[Exchange[SiteT]], None]) -> Iterator[None]:
    """Serve a site for the length of the block, at the address that is then its `url`."""
    with _Server(site, serve) as server:
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        with storages.serving(lambda: server.serve_forever(0.02), server.shutdown):
            try:
                yield
            finally:
                site.ended.set()
