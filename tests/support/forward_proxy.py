"""An HTTP proxy as sites have them: it resolves names, and notes who asked for what."""

from __future__ import annotations

import http.client
import http.server
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from support.storages import serving


@dataclass(frozen=True)
class Seen:
    """A request as the proxy saw it; of a tunnel only CONNECT is seen."""

    method: str
    host: str
    authorization: str | None
    proxy_authorization: str | None = None


@dataclass
class ForwardProxy:
    """`hosts` are the names that it resolves: each is on this machine, at that port."""

    hosts: Mapping[str, int]
    url: str = ""
    requests: list[Seen] = field(default_factory=list)

    def seen(self, host: str) -> list[Seen]:
        return [one for one in self.requests if one.host == host]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ForwardProxy

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def do_CONNECT(self) -> None:
        port = self._port_of(self.path.rpartition(":")[0])
        if port is None:
            return
        self.close_connection = True
        with socket.create_connection(("127.0.0.1", port)) as there:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_carry, args=(there, self.connection), daemon=True)
            back.start()
            _carry(self.connection, there)
            back.join()

    def _forward(self) -> None:
        url = urlsplit(self.path)
        port = self._port_of(url.hostname or "")
        if port is None:
            return
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name: text for name, text in self.headers.items() if name != "Connection"}
        there = http.client.HTTPConnection("127.0.0.1", port)
        there.request(
            self.command,
            url.path + (f"?{url.query}" if url.query else ""),
            self.rfile.read(length) if length else None,
            headers,
        )
        with there.getresponse() as answer:
            body = answer.read()
            self.send_response_only(answer.status)
            for name, text in answer.getheaders():
                if name.lower() not in ("connection", "content-length", "transfer-encoding"):
                    self.send_header(name, text)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", size or str(len(body)))
            if self.headers.get("Connection") == "close":
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(body)
        there.close()

    def _port_of(self, host: str) -> int | None:
        """Note the request; answer it, if there is no such host."""
        names = ("Authorization", "Proxy-Authorization")
        seen = Seen(self.command, host, *(self.headers.get(name) for name in names))
        self.proxy.requests.append(seen)
        port = self.proxy.hosts.get(host)
        if port is None:
            self.close_connection = True
            self.send_response(503, "No such host")
            self.send_header("Content-Length", "0")
            self.end_headers()
        return port

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass  # a client that hung up


@contextmanager
def forward_proxy(hosts: Mapping[str, int]) -> Iterator[ForwardProxy]:
    """The proxy, for the length of the block."""
    proxy = ForwardProxy(hosts)
    handler = type("Handler", (_Handler,), {"proxy": proxy})
    with (
        _Server(("127.0.0.1", 0), handler) as server,
        serving(lambda: server.serve_forever(0.02), server.shutdown),
    ):
        proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield proxy


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
